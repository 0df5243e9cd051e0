#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of fscache in plain Python, written from protocol/PROTOCOL.md alone ("section" means one of that).

It shows what a client in any language does: connect and shake hands; ask for several handles in one request; reopen a
duplicate to have an offset of one's own, pread() from a shared one, give an exclusive one back; list what is cached.
It believes nothing that it receives before it has checked it, and closes each descriptor that it does not hand out.
A Client has one request under way at a time, and belongs to one thread of one process: after fork(), make another.
"""
import argparse, collections, contextlib, errno, io, os, re, socket, struct, sys, urllib.parse

HELLO, WELCOME, ERROR, DONE, OPEN, OPENED, GIVE_BACK = range(1, 8)  # opcodes
LIST, ENTRIES, STATUS, COUNTERS, PING = range(12, 17)
INDEPENDENT, SHARED, EXCLUSIVE = range(3)  # sharing
UNCHANGED, NOT_SERVED, LAST_CODE = 2, 6, 14  # codes
REOPENS, REGULAR = 1, 1  # an option, a kind
PACKET_MAX, FDS_MAX, URI_MAX, NAME_MAX, TEXT_MAX = 65536, 253, 12304, 64, 512  # section 20
Entry = collections.namedtuple("Entry", "hits age_ms idle_ms checked_ms ttl_ms cost_us flags state mount_id kind "
                                        "coherence sharing uri")


class Refused(OSError):
    """The answer is no: `code` (section 12), `errno`, and `strerror`, which is a sentence for people."""

    def __init__(self, code, number, text):
        super().__init__(number, text or os.strerror(number))
        self.code = code


class Malformed(Exception):
    """The service has sent what is not this protocol. The connection is closed."""


def check(condition, what):
    if not condition:
        raise Malformed(f"the service has sent a malformed packet: {what}")


def padded(string):
    return string + bytes(-len(string) % 4)


def to_uri(name):
    """The URI, as bytes, of a path. What looks like a URI is one: a file of such a name is written ./a:b"""
    name = os.fsencode(name)
    if not name or re.match(rb"[A-Za-z][A-Za-z0-9+.-]*:", name):
        return name
    path = os.path.join(os.getcwdb(), name)  # not abspath(): only the kernel knows what ".." is
    return b"file://" + urllib.parse.quote(path, safe="-._~!$&'()+,;=:@/").encode()


class Body(io.BytesIO):
    def record(self, layout):
        """Reads fields. A reserved one is xx in the layout, for which pack() writes what has to be there: 0."""
        data = self.read(struct.calcsize(layout))
        check(len(data) == struct.calcsize(layout), "it is too short")
        fields = struct.unpack(layout, data)
        check(struct.pack(layout, *fields) == data, "a reserved field")
        return fields

    def string(self, length, limit):
        string = self.read(length)
        check(len(string) == length <= limit and self.read(-length % 4) == bytes(-length % 4), "a string")
        return string.decode(errors="replace")


class Handle(contextlib.AbstractContextManager):
    """A descriptor `fd`, and what may be done with it (`sharing`, section 9). Closed at the end of a `with` block."""

    def __init__(self, client, fd, sharing=INDEPENDENT, source=0, kind=0, lease=0):
        self.client, self.fd, self.sharing, self.source, self.kind, self.lease = client, fd, sharing, source, kind, lease

    def chunks(self, size=1 << 18):
        """The content. By position, since a shared offset is not to be moved, and a lent one may be anywhere."""
        offset, by_position = 0, self.sharing == SHARED or self.kind == REGULAR
        while data := os.pread(self.fd, size, offset) if by_position else os.read(self.fd, size):
            offset += len(data)
            yield data

    def close(self):
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)  # first: what is given back may be lent to another at once
            self.client._give_back(self.lease)

    def __exit__(self, *_):
        self.close()


class Client(contextlib.AbstractContextManager):
    def __init__(self, path=None, name=b"client.py"):
        user = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent", "fscache/socket")
        default = user if os.path.exists(user) else "/run/fscache/socket"
        self.serial, self.socket = 0, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
            on_error.callback(self.close)
            self.socket.connect(path or os.environ.get("FSCACHE_SOCKET") or default)
            root = os.open("/", os.O_PATH)
            always.callback(os.close, root)
            self._send(HELLO, 0, struct.pack("<IHHIHxx", 0x43435346, 1, 1, 0, len(name)) + padded(name), root)
            with self._answer(WELCOME) as (body, *_):
                version, _, _, self.packet_max, self.items_max, length = body.record("<HxxIIIHH")
                check(version == 1 and self.packet_max <= PACKET_MAX and self.items_max <= FDS_MAX, "a field of WELCOME")
                self.name = body.string(length, NAME_MAX)
            on_error.pop_all()

    def close(self):
        """Ends the leases: close exclusive handles before. All else that is open stays open."""
        self.socket.close()

    def __exit__(self, *_):
        self.close()

    def open(self, name, sharing=INDEPENDENT, flags=os.O_RDONLY, options=REOPENS):
        """The Handle of a path or a URI. An OSError says why not; it is Refused if it comes from the service."""
        answer, = self.open_many([name], sharing, flags, options)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def open_many(self, names, sharing=INDEPENDENT, flags=os.O_RDONLY, options=REOPENS):
        """For each name a Handle or an OSError, in one request. (This client makes no files: no O_CREAT.)"""
        uris = [to_uri(name) for name in names]
        if not 1 <= len(uris) <= self.items_max or max(map(len, uris)) > URI_MAX:
            raise OSError(errno.E2BIG, "no names, or more or longer ones than a request takes")
        self._request(OPEN, struct.pack("<I", len(uris)) + b"".join(
            struct.pack("<IIIIIHBB", flags, 0, 0, options, 0, len(uri), sharing, 0) + padded(uri) for uri in uris))
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
                    answers[i] = error
            on_error.pop_all()
        return answers

    def _opened(self, answers, asked):
        """Receives one OPENED: results for some of the answers that are still None."""
        with self._answer(OPENED) as (body, fds, n_fds):
            n_results, = body.record("<I")
            lost = len(fds) < n_fds
            for _ in range(n_results):
                (i, code, number, lease, _, mount, has_fd, sharing, source, coherence, kind, validator,
                 length) = body.record("<HHIQIIBBBBBBH")
                text = body.string(length, TEXT_MAX)
                check(i < len(answers) and answers[i] is None, "a result that nobody waits for")
                check(has_fd == (code == 0) and code <= LAST_CODE and code != UNCHANGED and number < 1 << 31
                      and sharing <= EXCLUSIVE and source <= 3 and coherence <= 2 and kind <= 7
                      and not mount and not validator, "a field of a result")
                check(code or not number and (sharing == EXCLUSIVE) == (asked == EXCLUSIVE), "a field of a success")
                check(not lease or not code and sharing == EXCLUSIVE, "a lease of what is not lent")
                check(code or lost or fds, "too few descriptors")
                n_fds -= has_fd
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
            with answer, contextlib.suppress(FileNotFoundError, NotADirectoryError):
                mine = os.open(f"/proc/self/fd/{answer.fd}", flags & ~(os.O_NOFOLLOW | os.O_EXCL | os.O_TRUNC))
                return Handle(self, mine, INDEPENDENT, answer.source, answer.kind)
            return self.open(uri, sharing, flags, options=0)  # without /proc
        if isinstance(answer, Refused) and answer.code == NOT_SERVED and uri[:5].lower() == b"file:":
            path = re.sub(rb"^.....(//(?i:localhost)?(?=/))?", b"", uri)
            return Handle(self, os.open(urllib.parse.unquote_to_bytes(path), flags))
        return answer

    def list(self):
        """Yields an Entry for each handle that the service keeps."""
        cursor = None
        while cursor != 0:
            page = []
            with self._request(LIST, struct.pack("<QBxHxxxx", cursor or 0, 0, 0), ENTRIES) as (body, *_):
                cursor, n_entries = body.record("<QIxxxx")
                for _ in range(n_entries):
                    *fields, kind, coherence, sharing, length = body.record("<QQQIIIIIIBBBxHxx")
                    check(kind <= 7 and coherence <= 2 and sharing in (SHARED, EXCLUSIVE), "a field of an entry")
                    page.append(Entry(*fields, kind, coherence, sharing, body.string(length, URI_MAX)))
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
        packet = struct.pack("<HxxIIHxx", opcode, serial, len(body), len(fds)) + body
        rights = struct.pack(f"{len(fds)}i", *fds)
        self.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if fds else [])

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
        """Receives one packet, which answers the request with an `opcode`: its body, its descriptors, and how many these
        should be: more, if this process has no room for them (section 17). What the block leaves of them is closed.
        An ERROR is raised as Refused. Anything else that is raised ends the connection: an answer has been missed."""
        fds = []
        try:
            room = socket.CMSG_SPACE(4 * FDS_MAX) if opcode == OPENED else 0
            packet, ancillary, flags, _ = self.socket.recvmsg(PACKET_MAX, room, socket.MSG_CMSG_CLOEXEC)
            foreign = [item for item in ancillary if item[:2] != (socket.SOL_SOCKET, socket.SCM_RIGHTS)]
            for *_, data in (item for item in ancillary if item not in foreign):
                fds += struct.unpack_from(f"{len(data) // 4}i", data)
            if not packet:
                raise ConnectionResetError(errno.ECONNRESET, "the service has closed the connection")
            body = Body(packet)
            what, serial, length, n_fds = body.record("<HxxIIHxx")
            lost = room and flags & socket.MSG_CTRUNC and len(fds) < n_fds <= FDS_MAX
            check(length == len(packet) - 16 and not flags & socket.MSG_TRUNC, "its length")
            check(not foreign and (lost or n_fds == len(fds) and not flags & socket.MSG_CTRUNC), "its descriptors")
            check(serial == self.serial and (what == opcode or what == ERROR and not n_fds), "it is another answer")
            if what == ERROR:
                code, length, number = body.record("<HHI")
                text = body.string(length, TEXT_MAX)
                check(0 < code <= LAST_CODE and code != UNCHANGED and number < 1 << 31, "a field of ERROR")
                check(not body.read(), "it is too long")
                raise Refused(code, number, text)
            yield body, fds, n_fds
            check(not body.read(), "it is too long")
        except Refused:
            raise
        except BaseException:
            self.close()
            raise
        finally:
            for fd in fds:
                os.close(fd)
