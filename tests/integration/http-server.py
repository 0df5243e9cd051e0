#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# A server that does what it is told to, right or wrong, for test-http. It listens on the loopback,
# says on which port, and writes a line for each request to LOG: the method, the target, and the
# headers that matter, as NAME=VALUE. It ends with its standard input.
#
#   http-server.py LOG [CERTIFICATE KEY]
#
# The path is /WHAT/ANYTHING?OPTIONS, so that each test has names of its own. Options that all have:
# h=NAME:VALUE, a line of header (many are possible); s=STATUS; n=BYTES of content, which is always
# the same; v=NUMBER, another content.
import http.server
import os
import socket
import ssl
import sys
import threading
import time
import urllib.parse

log = open(sys.argv[1], "a", buffering=1)
lock = threading.Lock()
counts = {}


def content(n, version=0):
    line = b"%020d version %06d\n"
    return b"".join(line % (i, version) for i in range(n // 36 + 1))[:n]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, *arguments):
        pass

    def note(self):
        seen = [
            "%s=%s" % (name, self.headers[name])
            for name in (
                "Host",
                "Accept-Encoding",
                "If-None-Match",
                "If-Modified-Since",
                "Range",
                "If-Range",
                "Authorization",
                "Cookie",
            )
            if self.headers[name] is not None
        ]
        log.write(" ".join([self.command, self.path] + [s.replace(" ", "_") for s in seen]) + "\n")

    def reply(self, status, headers, body=b"", length=None):
        """Sends a whole answer; `length` is what Content-Length says, False: nothing."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def break_off(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_CONNECT(self):
        self.note()
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host.strip("[]"), int(port))) as there:
            self.send_response_only(200)
            self.send_header("X-Of-Proxy", "1")
            self.end_headers()
            here = self.connection
            back = threading.Thread(target=self.pump, args=(there, here), daemon=True)
            back.start()
            self.pump(here, there)
            back.join()
        self.close_connection = True

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def do_GET(self):
        self.note()
        url = urllib.parse.urlsplit(self.path)
        options = urllib.parse.parse_qs(url.query)
        self.option = lambda name, otherwise: options.get(name, [otherwise])[0]
        self.lines = [line.split(":", 1) for line in options.get("h", [])]
        self.body = content(int(self.option("n", "100")), int(self.option("v", "0")))
        with lock:
            self.count = counts[self.path] = counts.get(self.path, 0) + 1
        what = getattr(self, "do_" + url.path.split("/")[1].replace("-", "_"), None)
        try:
            if url.scheme == "http":
                self.reply(200, [], b"by the proxy")
            elif what is None:
                self.reply(404, [], b"no such thing")
            else:
                what()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # What is right.

    def is_unmodified(self):
        etag = dict(self.lines).get("ETag")
        if etag is None or self.headers["If-None-Match"] != etag:
            return False
        self.reply(304, self.lines, length=False)
        return True

    def do_plain(self):
        if not self.is_unmodified():
            self.reply(int(self.option("s", "200")), self.lines, self.body)

    def do_counted(self):
        """Another content each time, with an ETag of it."""
        body = content(100, self.count)
        self.reply(200, self.lines + [("ETag", '"%d"' % self.count)], body)

    def do_rewritten(self):
        """Twice the same, then another content, without any other name for that."""
        self.reply(200, self.lines, content(100, (self.count - 1) // 2))

    def do_renewed(self):
        """Holds for a second, and for an hour once it has been asked for again."""
        if self.headers["If-None-Match"] == '"a"':
            self.reply(304, [("Cache-Control", "max-age=3600"), ("ETag", '"a"')], length=False)
        else:
            self.reply(200, [("Cache-Control", "max-age=1"), ("ETag", '"a"')], self.body)

    def do_withdrawn(self):
        """May be kept, until it is asked for again."""
        if self.headers["If-None-Match"] == '"a"':
            self.reply(304, [("Cache-Control", "no-store"), ("ETag", '"a"')], length=False)
        else:
            self.reply(200, [("ETag", '"a"')], self.body)

    def do_flaky(self):
        """There, away for a moment, still there, gone."""
        etag = [("ETag", '"flaky"')]
        if self.count == 1:
            self.reply(200, etag, self.body)
        elif self.count == 3:
            self.reply(304, etag, length=False)
        else:
            self.reply(503 if self.count == 2 else 404, [])

    def do_moving(self):
        """Leads each time to another place, whose ETag is the same."""
        self.reply(302, [("Location", "/plain/moved?v=%d&h=ETag:%%22same%%22" % self.count)])

    def do_chunked(self):
        self.send_response_only(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(self.body), 1000):
            part = self.body[start : start + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\nETag: \"of the trailer\"\r\n\r\n")

    def do_until_closed(self):
        self.close_connection = True
        self.reply(200, [("Connection", "close")], self.body, length=False)

    def do_slowly(self):
        """In ten parts, one each 100 ms."""
        if self.is_unmodified():
            return
        self.reply(200, self.lines, length=len(self.body))
        step = len(self.body) // 10
        for start in range(0, len(self.body), step):
            self.wfile.write(self.body[start : start + step])
            time.sleep(0.1)

    # What is broken, or lies.

    def do_cut(self):
        """Breaks off half-way, and has more or less to say of the rest."""
        half = len(self.body) // 2
        how = self.option("how", "right")
        total = len(self.body)
        etag = [("ETag", self.option("etag", '"cut"'))] if how != "nameless" else []
        if self.headers["Range"] is None or how == "no-ranges":
            if self.count > 1 and how not in ("always", "no-ranges"):
                self.reply(200, etag, self.body)
                return
            self.reply(200, etag, self.body[:half], length=total)
            if how == "restarts":
                restart(self.break_off)
            elif self.count < 3 or how == "always":
                self.break_off()
            else:
                self.wfile.write(self.body[half:])
            return
        start = int(self.headers["Range"].split("=")[1].split("-")[0])
        rest = self.body[start:]
        right = ("Content-Range", "bytes %d-%d/%d" % (start, total - 1, total))
        if how in ("right", "restarts"):
            self.reply(206, etag + [right], rest)
        elif how == "often":
            self.reply(206, etag + [right], rest[: total // 20], length=len(rest))
            self.break_off()
        elif how == "changed":
            self.reply(200, [("ETag", '"new"')], content(total, 7))
        elif how == "other-etag":
            self.reply(206, [("ETag", '"new"'), right], content(total, 7)[start:])
        elif how == "no-etag":
            self.reply(206, [right], rest)
        elif how == "other-start":
            wrong = ("Content-Range", "bytes %d-%d/%d" % (start - 9, total - 1, total))
            self.reply(206, etag + [wrong], self.body[start - 9 :])
        elif how == "other-total":
            wrong = ("Content-Range", "bytes %d-%d/%d" % (start, total, total + 1))
            self.reply(206, etag + [wrong], rest + b"!")
        elif how == "part":
            wrong = ("Content-Range", "bytes %d-%d/%d" % (start, total - 11, total))
            self.reply(206, etag + [wrong], rest[:-10])
        elif how == "more":
            self.reply(206, etag + [right], rest + b"more")
        elif how == "less":
            self.reply(206, etag + [right], rest[:-10])
        elif how == "no-range":
            self.reply(206, etag, rest)
        elif how == "many":
            multipart = ("Content-Type", "multipart/byteranges; boundary=x")
            self.reply(206, etag + [multipart, right], rest)
        elif how == "refused":
            self.reply(416, [("Content-Range", "bytes */%d" % total)])
        elif how == "gone":
            self.reply(404, [])

    def do_partial(self):
        """A part, without having been asked for one."""
        self.reply(206, [("Content-Range", "bytes 0-9/100")], self.body[:10])

    def do_unmodified(self):
        self.reply(304, self.lines, length=False)

    def do_two_lengths(self):
        self.send_response_only(200)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\n")
        self.wfile.write(self.body[:50])
        self.break_off()

    def do_chunk_cut(self):
        self.send_response_only(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"64\r\n" + self.body)
        self.break_off()

    def do_loop(self):
        self.reply(302, [("Location", self.path)])

    def do_turn(self):
        """Between two hosts that are one."""
        port = self.server.server_port
        there = "127.0.0.1" if self.headers["Host"].startswith("localhost") else "localhost"
        self.reply(302, [("Location", "http://%s:%d%s" % (there, port, self.path))])

    def do_redirect(self):
        headers = self.lines
        if self.option("to", "") != "":
            headers = headers + [("Location", self.option("to", ""))]
        self.reply(int(self.option("s", "302")), headers, b"look there" * int(self.option("n", "1")))

    def do_endless(self):
        self.reply(200, [], length=False)
        while True:
            self.wfile.write(self.body)

    def do_headers(self):
        self.send_response_only(200)
        while True:
            self.send_header("X-%d" % self.count, "x" * 1000)
            self.flush_headers()

    def do_interim(self):
        """100 Continue, for ever."""
        while True:
            self.wfile.write(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 100)

    def do_silent(self):
        time.sleep(3600)

    def do_stalls(self):
        """Half of it, and then nothing; the second time, all."""
        etag = [("ETag", '"stalls"')]
        start = self.headers["Range"]
        if start is not None:
            start = int(start.split("=")[1].split("-")[0])
            total = len(self.body)
            where = ("Content-Range", "bytes %d-%d/%d" % (start, total - 1, total))
            self.reply(206, etag + [where], self.body[start:])
        else:
            self.reply(200, etag, self.body[:50], length=len(self.body))
            time.sleep(3600)

    def do_nonsense(self):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        self.break_off()

    def do_nothing(self):
        self.break_off()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def restart(break_off):
    """Nobody listens for a second."""
    global server
    port = server.server_port
    server.shutdown()
    server.server_close()
    break_off()
    time.sleep(1)
    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
