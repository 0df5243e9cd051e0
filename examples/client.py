#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of fscache in plain Python, written from protocol/PROTOCOL.md alone ("section" means one of that).

It connects and shakes hands, asks for several handles in one request, reopens a duplicate to have an offset of its
own, uses pread() on a shared handle, gives an exclusive one back, and lists what is cached. It believes nothing that it
receives before it has checked it, and closes each descriptor that it does not hand out.
"""
import argparse, collections, contextlib, errno, io, os, re, socket, struct, sys, urllib.parse

HELLO, WELCOME, ERROR, DONE, OPEN, OPENED, GIVE_BACK = range(1, 8)  # opcodes
LIST, ENTRIES, STATUS, COUNTERS, PING = range(12, 17)
INDEPENDENT, SHARED, EXCLUSIVE = range(3)  # sharing
CODES, NOT_SERVED, REOPENS, REGULAR = set(range(15)) - {2}, 6, 1, 1  # codes (2 is for openers), an option, a kind
PACKET_MAX, FDS_MAX, URI_MAX, NAME_MAX, TEXT_MAX = 65536, 253, 12304, 64, 512  # section 20
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # of a reopen: there is no /proc, or no file any more
Entry = collections.namedtuple("Entry", "hits age_ms idle_ms checked_ms ttl_ms cost_us flags state mount_id kind "
                                        "coherence sharing uri")


class Refused(OSError):
    """The answer is no: `code` (section 12), `errno`, and `strerror`, which is a sentence for people."""

    def __init__(self, code, number, text):
        super().__init__(number, text or os.strerror(number))
        self.code = code


def check(condition, what):
    if not condition:
        raise OSError(errno.EPROTO, f"the service has sent a malformed packet: {what}")


def to_uri(name):
    """The URI, as bytes, of a path. What looks like a URI is one: a file of such a name is written ./a:b"""
    name = os.fsencode(name)
    if name and not re.match(rb"[A-Za-z][A-Za-z0-9+.-]*:", name):
        path = os.path.join(os.getcwdb(), name)  # not abspath(): only the kernel knows what ".." is
        name = b"file://" + urllib.parse.quote(path, safe="-._~!$&'()+,;=:@/").encode()
    return name


class Body(io.BytesIO):
    def record(self, layout):
        """Reads fields. Reserved ones and padding are x in the layout: pack() writes what has to be there, 0."""
        data = self.read(struct.calcsize(layout))
        check(len(data) == struct.calcsize(layout), "it is too short")
        fields = struct.unpack(layout, data)
        check(struct.pack(layout, *fields) == data, "a reserved field or a padding")
        return fields

    def string(self, length, limit):
        check(length <= limit, "a string that is too long")
        return self.record(f"{length}s{-length % 4}x")[0].decode(errors="replace")


class Handle(contextlib.ExitStack):
    """A descriptor `fd`, and what may be done with it (`sharing`, section 9), until close() or the end of a `with`."""

    def __init__(self, client, fd, sharing=INDEPENDENT, source=0, kind=0, lease=0):
        super().__init__()
        self.fd, self.sharing, self.source, self.kind, self.lease = fd, sharing, source, kind, lease
        self.callback(client._give_back, lease)
        self.callback(os.close, fd)  # is done first: what is given back may be lent to another at once

    def chunks(self, size=1 << 18):
        """The content. By position, since a shared offset is not to be moved, and a lent one may be anywhere."""
        offset, by_position = 0, self.sharing == SHARED or self.kind == REGULAR
        while data := os.pread(self.fd, size, offset) if by_position else os.read(self.fd, size):
            offset += len(data)
            yield data


class Client(contextlib.ExitStack):
    """A connection, until close() or the end of a `with`. That ends leases: close exclusive handles before.
    For one thread of one process, with one request under way at a time: after fork(), make another."""

    def __init__(self, path=None):
        super().__init__()
        user = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "fscache/socket")
        path = path or os.environ.get("FSCACHE_SOCKET") or (user if os.path.exists(user) else "/run/fscache/socket")
        with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
            self.serial, self.socket = 0, on_error.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            self.socket.connect(path)
            root = os.open("/", os.O_PATH)
            always.callback(os.close, root)
            self._send(HELLO, 0, struct.pack("<IHHIHxx9s3x", 0x43435346, 1, 1, 0, 9, b"client.py"), root)
            with self._answer(WELCOME) as (body, *_):
                version, _, _, self.packet_max, self.items_max, length = body.record("<HxxIIIHH")
                check(version == 1 and self.packet_max <= PACKET_MAX and self.items_max <= FDS_MAX, "a WELCOME")
                self.name = body.string(length, NAME_MAX)
            self.push(on_error.pop_all())

    def open(self, name, sharing=INDEPENDENT, flags=os.O_RDONLY):
        """The Handle of a path or a URI. An OSError says why not; it is Refused if it comes from the service."""
        answer, = self.open_many([name], sharing, flags)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def open_many(self, names, sharing=INDEPENDENT, flags=os.O_RDONLY, options=REOPENS):
        """For each name a Handle or an OSError, in one request. (This client makes no files: no O_CREAT.)"""
        uris = [to_uri(name) for name in names]
        if (not 0 < len(uris) <= self.items_max or max(map(len, uris)) > URI_MAX
                or 20 + sum(27 + len(uri) for uri in uris) > self.packet_max):
            raise OSError(errno.E2BIG, "more or longer names than a request takes, or none")
        self._request(OPEN, struct.pack("<I", len(uris)) + b"".join(
            struct.pack(f"<IIIIIHBB{len(uri)}s{-len(uri) % 4}x", flags, 0, 0, options, 0, len(uri), sharing, 0, uri)
            for uri in uris))
        answers = [None] * len(uris)
        with contextlib.ExitStack() as on_error:
            on_error.callback(lambda: [answer.close() for answer in answers if isinstance(answer, Handle)])
            try:
                while None in answers:
                    self._opened(answers, sharing)
            except Refused as error:  # the request as a whole: nothing more comes for it
                answers = [answer or error for answer in answers]
            for i, uri in enumerate(uris):
                try:
                    answers[i] = self._finish(answers[i], uri, sharing, flags)
                except OSError as error:
                    again = isinstance(answers[i], Handle) and error.errno in GONE
                    answers[i] = self.open_many([uri], sharing, flags, options=0)[0] if again else error
            on_error.pop_all()
        return answers

    def _opened(self, answers, asked):
        """Receives one OPENED: results for some of the answers that are still None."""
        with self._answer(OPENED) as (body, fds, n_fds):
            (n_results,), lost = body.record("<I"), len(fds) < n_fds
            for _ in range(n_results):
                i, code, number, lease, age, mount, has_fd, *fields = body.record("<HHIQIIBBBBBBH")
                sharing, source, coherence, kind, validator_length, text_length = fields
                text, n_fds = body.string(text_length, TEXT_MAX), n_fds - has_fd
                check(i < len(answers) and answers[i] is None, "a result that nobody waits for")
                check(code in CODES and has_fd == (code == 0) and number < 1 << 31 and mount == validator_length == 0
                      and sharing <= 2 and source <= 3 and coherence <= 3 and kind <= 7, "a field of a result")
                check(code or number == 0 and (sharing == EXCLUSIVE) == (asked == EXCLUSIVE), "the sharing given")
                check(n_fds >= 0 and (not lease or has_fd and sharing == EXCLUSIVE), "the handle of a result")
                if code:
                    answers[i] = Refused(code, number, text)
                elif lost:
                    answers[i] = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                    self._give_back(lease)
                else:
                    answers[i] = Handle(self, fds.pop(0), sharing, source, kind, lease)
            check(n_results > 0 and n_fds == 0, "the number of results or descriptors")

    def _finish(self, answer, uri, sharing, flags):
        """What is left to the client: to reopen a duplicate (section 9), and to open what the service does not."""
        if isinstance(answer, Handle) and answer.sharing == SHARED != sharing and not flags & os.O_PATH:
            with answer:
                mine = os.open(f"/proc/self/fd/{answer.fd}", flags & ~(os.O_NOFOLLOW | os.O_EXCL | os.O_TRUNC))
                return Handle(self, mine, INDEPENDENT, answer.source, answer.kind)
        if isinstance(answer, Refused) and answer.code == NOT_SERVED and uri.startswith(b"file:///"):
            return Handle(self, os.open(urllib.parse.unquote_to_bytes(uri[7:]), flags))
        return answer

    def list(self):
        """Yields an Entry for each handle that the service keeps."""
        cursor = None
        while cursor != 0:
            page = []
            with self._request(LIST, struct.pack("<QBxHxxxx", cursor or 0, 0, 0), ENTRIES) as (body, *_):
                cursor, n_entries = body.record("<QIxxxx")
                for _ in range(n_entries):
                    *fields, length = body.record("<QQQIIIIIIBBBxHxx")
                    page.append(Entry(*fields, body.string(length, URI_MAX)))
                    check(page[-1].kind <= 7 and page[-1].coherence <= 3 and 1 <= page[-1].sharing <= 2, "an entry")
            yield from page

    def status(self):
        """The counters of the service: a dict."""
        counters = {}
        with self._request(STATUS, b"", COUNTERS) as (body, *_):
            for _ in range(*body.record("<Ixxxx")):
                value, length = body.record("<QHxxxxxx")
                counters[body.string(length, NAME_MAX)] = value
        return counters

    def ping(self):
        with self._request(PING, b"", DONE) as (body, *_):
            check(body.record("<Q") == (0,), "the count of a PING")

    def _send(self, opcode, serial, body=b"", *fds):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd)) for fd in fds]  # never more than one
        self.socket.sendmsg([struct.pack("<HxxIIHxx", opcode, serial, len(body), len(fds)), body], rights)

    def _request(self, opcode, body, answer=None):
        self.serial = self.serial % 0xffffffff + 1
        self._send(opcode, self.serial, body)
        return self._answer(answer)

    def _give_back(self, lease):
        if lease:
            with contextlib.suppress(OSError):  # with the connection the lease has ended, too
                self._send(GIVE_BACK, 0, struct.pack("<IxxxxQ", 1, lease))

    @contextlib.contextmanager
    def _answer(self, opcode):
        """Receives one packet, which has to be an `opcode`: its body, its descriptors, and how many these should be
        (more, if this process has no room for them: section 17). Those that the block leaves there are closed. ERROR is
        raised as Refused. Anything else that is raised closes the connection: nobody would take what still comes."""
        fds = []
        try:
            room = socket.CMSG_SPACE(4 * FDS_MAX) if opcode == OPENED else 0
            packet, ancillary, flags, _ = self.socket.recvmsg(PACKET_MAX, room, socket.MSG_CMSG_CLOEXEC)
            rights = [data for *kind, data in ancillary if kind == [socket.SOL_SOCKET, socket.SCM_RIGHTS]]
            fds += [fd for data in rights for fd, in struct.iter_unpack("i", data[:len(data) // 4 * 4])]
            if not packet:
                raise ConnectionResetError(errno.ECONNRESET, "the service has closed the connection")
            body, lost = Body(packet), room and flags & socket.MSG_CTRUNC
            kind, serial, length, n_fds = body.record("<HxxIIHxx")
            check(serial == self.serial and (kind == opcode or kind == ERROR and n_fds == 0), "another is expected")
            check(length == len(packet) - 16 and not flags & socket.MSG_TRUNC, "its length")
            check(len(fds) < n_fds <= FDS_MAX if lost else len(fds) == n_fds, "the number of descriptors")
            check(len(rights) == len(ancillary) and (lost or not flags & socket.MSG_CTRUNC), "its control messages")
            if kind == ERROR:
                code, length, number = body.record("<HHI")
                text = body.string(length, TEXT_MAX)
                check(code in CODES - {0} and number < 1 << 31 and not body.read(), "an ERROR")
                raise Refused(code, number, text)
            yield body, fds, n_fds
            check(not body.read(), "it is too long")
        except BaseException as error:
            if not isinstance(error, Refused):
                self.close()
            raise
        finally:
            for fd in fds:
                os.close(fd)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes what files contain, like cat, by handles of fscache.")
    parser.add_argument("--socket", help="where the service listens")
    sharing = parser.add_argument("--sharing", choices=["independent", "shared", "exclusive"], default="independent")
    parser.add_argument("--status", action="store_true", help="print the counters of the service")
    parser.add_argument("names", metavar="PATH_OR_URI", nargs="*")
    args, name = parser.parse_args(), "fscache"
    try:
        with Client(args.socket) as client:
            if args.status:
                print(*(f"{counter} {value}" for counter, value in client.status().items()), sep="\n", flush=True)
            for name in args.names:
                with client.open(name, sharing.choices.index(args.sharing)) as handle:
                    sys.stdout.buffer.writelines(handle.chunks())
    except OSError as error:  # also Refused, and what check() found
        sys.exit(f"client.py: {name}: {error.strerror or error}")
