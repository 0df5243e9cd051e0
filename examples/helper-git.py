#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A helper of fscached: files of git repositories, at any revision.

It needs Python 3 and git, and nothing of fscache: what it speaks is protocol/PROTOCOL.md, section 16.
Copy it, and replace open_resource(). In the configuration of fscached:

    [helper git]
    command=/usr/local/bin/helper-git.py

Then

    fscachectl cat 'helper+git:///srv/project.git#v1.2:src/main.c'

runs git once, and whoever asks for it again gets the same memory, in microseconds. Branches move: for that the
service asks again when [helper git] ttl= seconds have passed, and keeps what it has if it is still the same.
"""

import array
import errno
import fcntl
import os
import socket
import struct
import subprocess
import sys
import urllib.parse

HEADER = struct.Struct("<HHIIHH")  # opcode, flags, serial, length, n_fds, reserved
ITEM = struct.Struct("<IIIBBHIHBB")
RESULT = struct.Struct("<HHIQIIBBBBBBH")
HELLO, WELCOME, DONE, OPEN, OPENED, CANCEL, PING = 1, 2, 4, 5, 6, 8, 16
OK, SYSTEM, UNCHANGED = 0, 1, 2
WITH_TTL = 2
REGULAR_FILE = 1
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def git(repository, *arguments):
    """What git writes, or what it complains of as an OSError."""
    done = subprocess.run(["git", "-C", repository, *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(errno.ENOENT, done.stderr.decode(errors="replace").strip())
    return done.stdout


def open_resource(uri, validator):
    """Returns a descriptor, which is closed here, and a validator: up to 64 bytes that change if the content does.

    Without a descriptor: what has this validator is still the same.
    """
    path, _, name = uri.partition(":")[2].partition("#")
    repository = urllib.parse.unquote(path[2:])
    identity = git(repository, "rev-parse", "--verify", "--end-of-options",
                   urllib.parse.unquote(name)).strip()
    if identity == validator:
        return None, validator
    return make_sealed(git(repository, "cat-file", "blob", identity.decode())), identity


def make_sealed(content):
    """Content in memory that nobody can change any more: only that is passed on without this program's being asked."""
    fd = os.memfd_create("git", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    return readable


# The protocol


def padded(text):
    return text + bytes(-len(text) % 4)


def send(sock, opcode, serial, body, fds=()):
    header = HEADER.pack(opcode, 0, serial, len(body), len(fds), 0)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([header + body], rights, socket.MSG_NOSIGNAL)


def read_items(body):
    """The URI, the flags of open() and the validator of each item of an OPEN."""
    (count,) = struct.unpack_from("<I", body)
    at = 4
    for _ in range(count):
        item = ITEM.unpack_from(body, at)
        at += ITEM.size
        uri = body[at:at + item[7]].decode()
        validator = body[at + item[7]:at + item[7] + item[9]]
        at += len(padded(uri.encode() + validator)) + len(padded(bytes(item[4])))
        yield uri, item[0], validator


def answer(sock, serial, index, uri, flags, validator):
    """Sends the result of one item."""
    fd, code, error, text = None, OK, 0, b""
    try:
        if flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC):
            raise OSError(errno.EROFS, "it can only be read")
        fd, new = open_resource(uri, validator)
        if fd is None:
            code, new = UNCHANGED, b""
    except OSError as problem:
        code, error, new = SYSTEM, problem.errno or errno.EIO, b""
        text = f"cannot open {uri[:200]}: {problem.strerror}".encode()[:512]
    result = RESULT.pack(index, code, error, 0, 0, 0, fd is not None, 0, 0, WITH_TTL, REGULAR_FILE,
                         len(new), len(text))
    body = struct.pack("<I", 1) + result + padded(text + new)
    send(sock, OPENED, serial, body, () if fd is None else (fd,))
    if fd is not None:
        os.close(fd)


def serve(sock):
    """Until the other side closes: this program is not needed any more."""
    while packet := sock.recv(65536):
        opcode, _, serial, length, _, _ = HEADER.unpack_from(packet)
        body = packet[HEADER.size:HEADER.size + length]
        if opcode == HELLO:
            name = b"helper-git"
            send(sock, WELCOME, 0,
                 struct.pack("<HHIIIHH", 1, 0, 0, 0, 65536, 253, len(name)) + padded(name))
        elif opcode == OPEN:
            for index, item in enumerate(read_items(body)):
                answer(sock, serial, index, *item)
        elif opcode == PING:
            send(sock, DONE, serial, struct.pack("<Q", 0))


if __name__ == "__main__":
    try:
        serve(socket.socket(fileno=3))
    except OSError as failure:
        sys.exit(f"helper-git is started by fscached, with its socket at descriptor 3: {failure}")
