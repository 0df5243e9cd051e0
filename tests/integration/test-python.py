#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/client.py, as a module and as a command, against a private service; and against one that lies.

    test-python.py FSCACHED OPENER_DIR

The output is TAP. Whatever happens, the service that it has started is ended.
"""
import contextlib
import errno
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")
COMMAND = os.path.join(EXAMPLES, "client.py")
SYSTEM, BAD_URI, BAD_REQUEST, UNKNOWN_SCHEME = 1, 3, 4, 5
CACHE = 1
TESTS = []

sys.dont_write_bytecode = True
sys.path.insert(0, EXAMPLES)


class Skip(Exception):
    pass


def test(function):
    TESTS.append(function)
    return function


def equal(is_, should_be):
    assert is_ == should_be, f"is {is_!r}, should be {should_be!r}"


def descriptors():
    """{number: what it is} of this process, without the one for reading this."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(fd)] = os.readlink(f"/proc/self/fd/{fd}")
    return {fd: what for fd, what in found.items() if not what.endswith("/fd")}


@contextlib.contextmanager
def refused(code, number):
    """The block must raise this."""
    try:
        yield
    except fscache.Refused as error:
        equal((error.code, error.errno), (code, number))
        assert error.strerror, "there is no text"
    else:
        raise AssertionError("was not refused")


@contextlib.contextmanager
def no_free_descriptors(left=0):
    """Within the block this process can have just so many descriptors more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    filled = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 1 + left, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.dup(0))
        for _ in range(left):
            os.close(filled.pop())
        yield
    finally:
        for fd in filled:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def write(name, content):
    path = os.path.join(directory, name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def command(*arguments, **environment):
    """(exit status, standard output, standard error) of the client as a command."""
    env = {name: value for name, value in os.environ.items() if name not in ("FSCACHE_SOCKET", "XDG_RUNTIME_DIR")}
    done = subprocess.run([sys.executable, COMMAND, *arguments], env={**env, **environment}, cwd=directory,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def connect():
    return fscache.Client(socket_path)


# A service that listens

@test
def connects_and_pings():
    with connect() as client:
        client.ping()
        client.ping()
        assert client.name.startswith("fscached"), client.name
        assert not os.get_inheritable(client.socket.fileno())


@test
def reads_an_independent_handle():
    with connect() as client, client.open(file_a) as handle, open(file_a, "rb") as file:
        equal(handle.sharing, fscache.INDEPENDENT)
        equal(handle.kind, fscache.REGULAR)
        equal(os.fstat(handle.fd), os.fstat(file.fileno()))
        assert not os.get_inheritable(handle.fd), "would be inherited"
        content = file.read()
        equal(os.read(handle.fd, len(content) + 1), content)
        equal(b"".join(handle.chunks(1000)), content)


@test
def learns_that_it_is_watched():
    watched = write("watched", b"as it was")
    with connect() as client:
        for _ in range(500):
            with client.open(watched):
                pass
            if any(entry.coherence == 3 and entry.uri.endswith("/watched") for entry in client.list()):
                break
            time.sleep(0.01)
        else:
            raise AssertionError("it is never watched")
        with client.open(watched) as handle:
            assert os.path.samestat(os.fstat(handle.fd), os.stat(watched))


@test
def takes_uris_of_any_form():
    with connect() as client:
        for uri in ("file://" + file_a, "FILE:" + file_a, "file://localhost" + file_a, "file:///." + file_a):
            with client.open(uri) as handle:
                assert os.path.samestat(os.fstat(handle.fd), os.stat(file_a)), uri


@test
def takes_names_of_any_bytes():
    names = ["a b", "50%", "%41", "*?#", "\u00fc", os.fsdecode(b"\xff\xfe"), "a:b", "\n"]
    paths = [write(name, os.fsencode(name)) for name in names]
    with connect() as client:
        for name, path in zip(names, paths):
            with client.open(path) as handle:
                equal(b"".join(handle.chunks()), os.fsencode(name))
    equal(command("--socket", socket_path, "./a:b", "a b"), (0, b"a:ba b", ""))


@test
def opens_several_in_one_request():
    missing = os.path.join(directory, "missing")
    names = [file_a, missing, file_b, "file:relative", directory, "nobody-has-this:x", file_a]
    with connect() as client, contextlib.ExitStack() as stack:
        answers = client.open_many(names)
        for handle in answers:
            if isinstance(handle, fscache.Handle):
                stack.enter_context(handle)
        equal([isinstance(answer, fscache.Handle) for answer in answers], [True, False, True, False, True, False, True])
        equal([(answers[i].code, answers[i].errno) for i in (1, 3, 5)],
              [(SYSTEM, errno.ENOENT), (BAD_URI, errno.EINVAL), (UNKNOWN_SCHEME, errno.EPROTONOSUPPORT)])
        for i in (0, 2, 6):
            with open(names[i], "rb") as file:
                equal(b"".join(answers[i].chunks()), file.read())
        assert "a.bin" in os.listdir(answers[4].fd)


@test
def opens_as_many_as_a_request_takes():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1024:
        raise Skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    paths = [write(f"many-{i}", b"%d" % i) for i in range(253)]
    try:
        with connect() as client, contextlib.ExitStack() as stack:
            paths = paths[:client.items_max]
            for i, handle in enumerate(client.open_many(paths)):
                stack.enter_context(handle)
                equal(os.read(handle.fd, 10), b"%d" % i)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@test
def is_never_kept_waiting():
    """Who has read all answers gets the next ones, however many descriptors there have been (section 14)."""
    paths = [write(f"next-{i}", b"") for i in range(1270)]
    with connect() as client:
        client.socket.settimeout(10)
        for paths in [paths[i:i + 127] for i in range(0, len(paths), 127)] * 3:
            for handle in client.open_many(paths, fscache.SHARED):
                handle.close()


@test
def a_missing_file():
    with connect() as client:
        with refused(SYSTEM, errno.ENOENT):
            client.open(os.path.join(directory, "missing"))
        with refused(SYSTEM, errno.ENOTDIR):
            client.open(file_a + "/")
        client.ping()


@test
def a_bad_uri():
    with connect() as client:
        for uri in ("file:relative", "file://server/x", "file:///a?b", "file:///a%zz", "file:///%00", ""):
            with refused(BAD_URI, errno.EINVAL):
                client.open(uri)
        with refused(UNKNOWN_SCHEME, errno.EPROTONOSUPPORT):
            client.open("nobody-has-this:x")
        client.ping()


@test
def names_that_are_too_long():
    with connect() as client:
        try:
            client.open("/" * 20000)
        except OSError as error:
            equal(error.errno, errno.E2BIG)
        else:
            raise AssertionError("was not refused")
        client.ping()


@test
def shared_handles_share_the_offset():
    with connect() as client, client.open(file_a, fscache.SHARED) as one, client.open(file_a, fscache.SHARED) as other:
        if other.source != CACHE:
            raise Skip("nothing is cached of this file system")
        equal((one.sharing, other.sharing), (fscache.SHARED, fscache.SHARED))
        equal(os.lseek(one.fd, 0, os.SEEK_CUR), 0)
        os.lseek(one.fd, 3, os.SEEK_SET)  # not polite: it is what shared means
        equal(os.lseek(other.fd, 0, os.SEEK_CUR), 3)
        os.lseek(other.fd, 0, os.SEEK_SET)
        with open(file_a, "rb") as file:
            equal(b"".join(one.chunks(1000)), file.read())
        equal(os.lseek(other.fd, 0, os.SEEK_CUR), 0)
        with refused(BAD_REQUEST, errno.EISDIR):
            client.open(directory, fscache.SHARED)


@test
def independent_handles_do_not():
    with connect() as client, client.open(file_a) as one, client.open(file_a) as other, \
            client.open(file_a, fscache.SHARED) as shared:
        os.read(one.fd, 3)
        equal([os.lseek(handle.fd, 0, os.SEEK_CUR) for handle in (one, other, shared)], [3, 0, 0])


@test
def independent_handles_without_reopening():
    with connect() as client:
        one, other = client.open_many([file_a, file_a], options=0)
        with one, other:
            equal((one.sharing, other.sharing), (fscache.INDEPENDENT, fscache.INDEPENDENT))
            os.read(one.fd, 3)
            equal(os.lseek(other.fd, 0, os.SEEK_CUR), 0)


@test
def exclusive_handles_are_lent():
    with connect() as client:
        with client.open(file_a, fscache.EXCLUSIVE) as one, client.open(file_a, fscache.EXCLUSIVE) as other:
            equal((one.sharing, other.sharing), (fscache.EXCLUSIVE, fscache.EXCLUSIVE))
            assert not one.lease or one.lease != other.lease, "the same lease twice"
            os.lseek(one.fd, 3, os.SEEK_SET)
            equal(os.lseek(other.fd, 0, os.SEEK_CUR), 0)
        with open(file_a, "rb") as file, client.open(file_a, fscache.EXCLUSIVE) as again:
            equal(b"".join(again.chunks()), file.read())  # wherever the offset is now


@test
def descriptors_that_are_paths():
    link = os.path.join(directory, "link")
    os.symlink(file_a, link)
    with connect() as client, client.open(link, flags=os.O_PATH | os.O_NOFOLLOW) as handle:
        equal(os.readlink("", dir_fd=handle.fd), file_a)


@test
def writing_is_passed_through():
    path = write("written", b"old")
    with connect() as client, client.open(path, flags=os.O_WRONLY | os.O_TRUNC) as handle:
        equal(handle.sharing, fscache.INDEPENDENT)
        os.write(handle.fd, b"new!")
    with open(path, "rb") as file:
        equal(file.read(), b"new!")


@test
def what_the_service_does_not_open():
    with connect() as client, client.open("/proc/self/status") as handle:
        assert f"Pid:\t{os.getpid()}\n".encode() in b"".join(handle.chunks())


@test
def lists_and_counts():
    with connect() as client, client.open(file_b, fscache.SHARED) as handle:
        status = client.status()
        for counter in ("handles bytes clients hits misses opens open_errors coalesced evictions invalidations".split()):
            assert counter in status, counter
        assert status["clients"] >= 1, status
        entries = [entry for entry in client.list() if entry.uri == "file://" + file_b]
        if handle.sharing == fscache.SHARED:
            assert len(entries) == 1 and entries[0].kind == fscache.REGULAR, entries


@test
def no_free_descriptors_is_nobodys_fault():
    with connect() as client:
        for sharing in (fscache.INDEPENDENT, fscache.SHARED, fscache.EXCLUSIVE):
            for left in (0, 1, 3):
                with no_free_descriptors(left):
                    answers = client.open_many([file_a, file_b] * 4, sharing)
                    errors = [answer.errno for answer in answers if isinstance(answer, OSError)]
                    for answer in answers:
                        if isinstance(answer, fscache.Handle):
                            answer.close()
                assert errors and set(errors) == {errno.EMFILE}, errors
                client.ping()
                client.open(file_a, sharing).close()


@test
def descriptors_are_not_lost():
    before = descriptors()
    for _ in range(20):
        with connect() as client:
            for sharing in (fscache.INDEPENDENT, fscache.SHARED, fscache.EXCLUSIVE):
                for answer in client.open_many([file_a, directory, "file:x", file_b, directory + "/missing"], sharing):
                    if isinstance(answer, fscache.Handle):
                        answer.close()
    equal(descriptors(), before)


# As a command

@test
def command_writes_contents():
    with open(file_a, "rb") as a, open(file_b, "rb") as b:
        content = a.read() + b.read()
    for sharing in ("independent", "shared", "exclusive"):
        equal(command("--socket", socket_path, "--sharing", sharing, file_a, "file://" + file_b), (0, content, ""))
    equal(command("--socket", socket_path, "a.bin", "./b.bin"), (0, content, ""))


@test
def command_finds_the_socket():
    runtime = os.path.join(directory, "runtime")
    os.makedirs(os.path.join(runtime, "fscache"))
    os.symlink(socket_path, os.path.join(runtime, "fscache", "socket"))
    equal(command("--status", FSCACHE_SOCKET=socket_path)[0], 0)
    equal(command("--status", XDG_RUNTIME_DIR=runtime)[0], 0)
    equal(command("--status", FSCACHE_SOCKET=os.path.join(directory, "none"), XDG_RUNTIME_DIR=runtime)[0], 1)


@test
def command_prints_counters():
    status, output, error = command("--socket", socket_path, "--status")
    equal((status, error), (0, ""))
    counters = dict(line.split() for line in output.decode().splitlines())
    assert int(counters["clients"]) >= 1 and "hits" in counters, counters


@test
def command_reports_errors():
    for arguments in (["missing"], ["file:relative"], ["nobody-has-this:x"], [directory],
                      ["--sharing", "shared", directory], ["--socket", directory + "/none", file_a]):
        status, output, error = command("--socket", socket_path, *arguments)
        equal((status, output), (1, b""))
        equal(len(error.splitlines()), 1)
        assert error.startswith("client.py: ") and "Traceback" not in error, error


# A service that lies

def result(index=0, code=0, number=0, lease=0, mount=0, has_fd=None, sharing=1, source=1, coherence=1, kind=1,
           validator=b"", text=b"", padding=None):
    has_fd = (code == 0) if has_fd is None else has_fd
    padding = bytes(-(len(text) + len(validator)) % 4) if padding is None else padding
    return struct.pack("<HHIQIIBBBBBBH", index, code, number, lease, 0, mount, has_fd, sharing, source, coherence, kind,
                       len(validator), len(text)) + text + validator + padding


def packet(opcode, body, n_fds=0, serial=1, flags=0, length=0, reserved=0):
    return struct.pack("<HHIIHH", opcode, flags, serial, len(body) + length, n_fds, reserved) + body


def opened(*results, n_fds=None, n_results=None, extra=b"", **header):
    body = struct.pack("<I", len(results) if n_results is None else n_results) + b"".join(results) + extra
    return packet(fscache.OPENED, body, sum(r[24] for r in results) if n_fds is None else n_fds, **header)


def welcome(version=1, reserved=0, packet_max=65536, items_max=253, name=b"liar", opcode=2, serial=0, **header):
    body = struct.pack("<HHIIIHH", version, reserved, 0, 1, packet_max, items_max, len(name)) + name
    return packet(opcode, body, serial=serial, **header)


@contextlib.contextmanager
def liar(*answers, hello=None, hello_fds=0):
    """A service for one connection: it answers HELLO, then each packet that comes with the next (packet, number of
    descriptors) of the answers. Gives the path of its socket, and the packets that it receives."""
    path, received = os.path.join(directory, "liar"), []

    def send(connection, data, n_fds):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{n_fds}i", *[0] * n_fds))] if n_fds else []
        connection.sendmsg([data], rights)

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            connection.recvmsg(65536)
            send(connection, hello or welcome(), hello_fds)
            for data, n_fds in answers:
                received.append(connection.recvmsg(65536)[0])
                send(connection, data, n_fds)
            while received[-1:] != [b""]:
                received.append(connection.recvmsg(65536)[0])

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path, received
        finally:
            os.unlink(path)
            thread.join()


def is_malformed(what, call):
    try:
        call()
    except OSError as error:
        assert error.errno == errno.EPROTO and not isinstance(error, fscache.Refused), f"{what}: {error!r}"
    else:
        raise AssertionError(f"{what}: was accepted")


@test
def liar_says_what_is_right():
    with liar((opened(result(1), result(0, 1, errno.ENOENT, text=b"no!")), 1)) as (path, _):
        with fscache.Client(path) as client:
            error, handle = client.open_many(["/x", "/y"], fscache.SHARED)
            handle.close()
            equal((error.code, error.strerror), (1, "no!"))
    with liar((opened(result(1)), 1), hello=welcome()) as (path, _), fscache.Client(path) as client:
        is_malformed("the wrong index", lambda: client.open("/x", fscache.SHARED))
    with liar((packet(fscache.ERROR, struct.pack("<HHI", 8, 0, errno.EAGAIN)), 0),
              (packet(fscache.DONE, bytes(8), serial=2), 0)) as (path, _), fscache.Client(path) as client:
        with refused(8, errno.EAGAIN):
            client.open("/x")
        client.ping()


@test
def malformed_results():
    shared, exclusive = fscache.SHARED, fscache.EXCLUSIVE
    cases = {
        "fewer descriptors": (opened(result(), result(1)), 1), "more descriptors": (opened(result(), result(1)), 3),
        "none": (opened(result(), result(1)), 0), "n_fds too low": (opened(result(), result(1), n_fds=1), 2),
        "n_fds as sent, results with fewer": (opened(result(), result(1, 1, 2), n_fds=2), 2),
        "n_fds as sent, results with more": (opened(result(), result(1), n_fds=1), 1),
        "a wrong index": (opened(result(), result(2)), 2), "an index twice": (opened(result(), result()), 2),
        "no result": (opened(), 0), "too many results announced": (opened(result(), n_results=2), 1),
        "too few announced": (opened(result(), result(1), n_results=1), 2),
        "something after the end": (opened(result(), result(1), extra=bytes(4)), 2),
        "the wrong serial": (opened(result(), result(1), serial=2), 2), "flags": (opened(result(), flags=1), 1),
        "reserved": (opened(result(), reserved=1), 1), "too long": (opened(result(), length=-4), 1),
        "too short": (opened(result(), length=4), 1), "a header cut off": (opened(result())[:15], 1),
        "the wrong opcode": (packet(fscache.DONE, bytes(8)), 0), "an unknown one": (packet(99, bytes(8)), 0),
        "an unknown code": (opened(result(code=15)), 0), "UNCHANGED": (opened(result(code=2)), 0),
        "an errno of success": (opened(result(number=1)), 1), "a huge errno": (opened(result(code=1, number=1 << 31)), 0),
        "a failure with a descriptor": (opened(result(code=1, number=2, has_fd=1)), 1),
        "a success without": (opened(result(has_fd=0)), 0), "has_fd 2": (opened(result(has_fd=2), n_fds=2), 2),
        "a sharing": (opened(result(sharing=3)), 1), "exclusive unasked": (opened(result(sharing=exclusive)), 1),
        "a source": (opened(result(source=4)), 1), "a coherence": (opened(result(coherence=4)), 1),
        "a kind": (opened(result(kind=8)), 1), "a lease of a shared one": (opened(result(lease=1)), 1),
        "a mount": (opened(result(mount=1)), 1), "a validator": (opened(result(validator=b"abcd")), 1),
        "a padding": (opened(result(text=b"abc", padding=b"x")), 1),
        "no padding": (opened(result(text=b"abc", padding=b"")), 1), "a long text": (opened(result(text=b"x" * 516)), 1),
        "an ERROR with a descriptor": (packet(fscache.ERROR, struct.pack("<HHI", 1, 0, 2), n_fds=1), 1),
        "an ERROR of code 0": (packet(fscache.ERROR, struct.pack("<HHI", 0, 0, 0)), 0),
        "an ERROR of a huge errno": (packet(fscache.ERROR, struct.pack("<HHI", 1, 0, 1 << 31)), 0),
        "an ERROR that goes on": (packet(fscache.ERROR, struct.pack("<HHI", 1, 0, 1) + bytes(4)), 0),
        "more than a packet": (opened(result(), extra=bytes(65536)), 1),
    }
    for what, (data, n_fds) in cases.items():
        with liar((data, n_fds)) as (path, _), fscache.Client(path) as client:
            before = descriptors()
            is_malformed(what, lambda: client.open_many(["/x", "/y"], shared))
            after = descriptors()
            assert len(before) - len(after) in (1, 2), what  # it has closed the connection; the liar does so, too
            assert not set(after) - set(before), what


@test
def malformed_answers_to_others():
    counter = struct.pack("<QHHI", 1, 1, 0, 0) + b"x\0\0\0"
    entry = struct.pack("<QQQIIIIIIBBBBHH", 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0)
    cases = {
        "a counter missing": (fscache.Client.status, packet(15, struct.pack("<II", 2, 0) + counter), 0),
        "a counter more": (fscache.Client.status, packet(15, struct.pack("<II", 0, 0) + counter), 0),
        "reserved": (fscache.Client.status, packet(15, struct.pack("<II", 1, 1) + counter), 0),
        "a descriptor": (fscache.Client.ping, packet(4, bytes(8)), 1),
        "a descriptor announced": (fscache.Client.ping, packet(4, bytes(8), n_fds=1), 1),
        "a count": (fscache.Client.ping, packet(4, b"\1" + bytes(7)), 0),
        "the answer to STATUS": (fscache.Client.ping, packet(15, bytes(8)), 0),
        "an entry missing": (lambda client: list(client.list()), packet(13, struct.pack("<QII", 0, 2, 0) + entry), 0),
    }
    for what, at in (("kind", 48), ("coherence", 49), ("sharing", 50), ("reserved byte", 51)):
        cases[f"an entry's {what}"] = (lambda client: list(client.list()), packet(
            13, struct.pack("<QII", 0, 1, 0) + entry[:at] + b"\x09" + entry[at + 1:]), 0)
    for what, (call, data, n_fds) in cases.items():
        before = descriptors()
        with liar((data, n_fds)) as (path, _), fscache.Client(path) as client:
            is_malformed(what, lambda: call(client))
        equal(descriptors(), before)


@test
def malformed_welcomes():
    cases = {"version": (welcome(version=2), 0), "reserved": (welcome(reserved=1), 0), "opcode": (welcome(opcode=4), 0),
             "packet_max": (welcome(packet_max=65537), 0), "items_max": (welcome(items_max=254), 0),
             "serial": (welcome(serial=1), 0), "name": (welcome(name=b"x" * 68), 0), "a descriptor": (welcome(), 1),
             "a descriptor announced": (welcome(n_fds=1), 1)}
    for what, (data, n_fds) in cases.items():
        before = descriptors()
        with liar(hello=data, hello_fds=n_fds) as (path, _):
            is_malformed(what, lambda: fscache.Client(path))
        equal(descriptors(), before)
    with liar(hello=packet(fscache.ERROR, struct.pack("<HHI", 13, 0, errno.EPROTONOSUPPORT), serial=0)) as (path, _):
        with refused(13, errno.EPROTONOSUPPORT):
            fscache.Client(path)


@test
def leases_of_lost_descriptors_are_given_back():
    leases = [result(0, lease=7, sharing=2), result(1, lease=8, sharing=2)]
    for left in (0, 1):
        with liar((opened(*leases), 2)) as (path, received):
            with fscache.Client(path) as client:
                with no_free_descriptors(left):
                    answers = client.open_many(["/x", "/y"], fscache.EXCLUSIVE)
            equal([answer.errno for answer in answers], [errno.EMFILE, errno.EMFILE])
        equal([data[16:] for data in received[1:3]], [struct.pack("<IIQ", 1, 0, 7), struct.pack("<IIQ", 1, 0, 8)])


@test
def handles_are_given_back_when_closed():
    with liar((opened(result(lease=7, sharing=2)), 1)) as (path, received):
        with fscache.Client(path) as client:
            handle = client.open("/x", fscache.EXCLUSIVE)
            handle.close()
            handle.close()
    equal(received[1:], [packet(fscache.GIVE_BACK, struct.pack("<IIQ", 1, 0, 7), serial=0), b""])


# The end

@test
def the_service_ends_cleanly():
    assert service.poll() is None, f"it has ended before, with {service.returncode}"
    service.terminate()
    equal(service.wait(30), 0)


def wait_for_service():
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect().close()
        except OSError as error:
            if service.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service does not accept: {error}") from None
        time.sleep(0.02)


def run_tests():
    print(f"1..{len(TESTS)}", flush=True)
    failed = False
    for number, function in enumerate(TESTS, 1):
        description, before, problem, skip = function.__name__.replace("_", " "), descriptors(), "", ""
        try:
            function()
        except Skip as reason:
            skip = f" # SKIP {reason}"
        except Exception:
            problem = traceback.format_exc()
        if descriptors() != before:
            problem += f"descriptors before: {before}\ndescriptors after: {descriptors()}\n"
        failed = failed or bool(problem)
        print(f"{'not ok' if problem else 'ok'} {number} - {description}{skip}")
        for line in problem.splitlines():
            print(f"# {line}")
        sys.stdout.flush()
    return failed


if len(sys.argv) != 3:
    sys.exit(__doc__)
if sys.version_info < (3, 9):
    print("1..0 # SKIP the example needs Python 3.9")
    sys.exit(0)
import client as fscache

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, _: sys.exit(128 + number))

directory = os.path.realpath(tempfile.mkdtemp(prefix="fscache-python-"))
socket_path = os.path.join(directory, "socket")
service, failed = None, True
try:
    file_a = write("a.bin", bytes(range(256)) * 4000)
    file_b = write("b.bin", b"the other one\n")
    with open(os.path.join(directory, "log"), "wb") as log:
        service = subprocess.Popen([sys.argv[1], "--socket", socket_path], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env={**os.environ, "FSCACHE_OPENER_DIR": os.path.abspath(sys.argv[2])})
    try:
        wait_for_service()
    except RuntimeError as error:
        print(f"Bail out! {error}")
    else:
        failed = run_tests()
finally:
    if service and service.poll() is None:
        service.terminate()
        try:
            service.wait(10)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()
    if failed and os.path.exists(os.path.join(directory, "log")):
        with open(os.path.join(directory, "log"), errors="replace") as log:
            for line in log:
                print("# fscached:", line.rstrip("\n"))
    shutil.rmtree(directory, ignore_errors=True)
sys.exit(1 if failed else 0)
