"""A server of HTTP/2 over TLS that misbehaves on demand: the first part of a path names the behaviour."""

import contextlib
import socket
import ssl
import struct
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.exceptions import ProtocolError

from support import content

SIZE = 3000
HALF = SIZE // 2
GOAWAY = 7
NO_ERROR, INTERNAL_ERROR = 0, 2


class Stream:
    """One request, and what can be said to it."""

    def __init__(self, server, h2, sock, number, path):
        self.server, self.h2, self.sock, self.number, self.path = server, h2, sock, number, path
        self.body = content(path, SIZE)

    def head(self, *fields, status=200, end=False):
        self.h2.send_headers(self.number, [(":status", str(status)), *fields], end_stream=end)
        self.flush()

    def length(self, n=SIZE):
        return ("content-length", str(n))

    def data(self, data, end=False):
        self.h2.send_data(self.number, data, end_stream=end)
        self.flush()

    def reset(self, code=INTERNAL_ERROR):
        self.h2.reset_stream(self.number, code)
        self.flush()

    def goaway(self, last, code=NO_ERROR):
        """By hand: the library would say nothing more."""
        self.flush()
        self.sock.sendall((8).to_bytes(3, "big") + bytes([GOAWAY, 0]) + bytes(4) + struct.pack(">II", last, code))

    def trailers(self, *fields):
        self.h2.send_headers(self.number, list(fields), end_stream=True)
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def good(self):
        self.head(self.length())
        self.data(self.body, end=True)

    def close(self):
        """The socket, without TLS's goodbye."""
        self.server.hang_up(self.sock)


def good(s):
    s.good()


def unmeasured(s):
    s.head()
    s.data(s.body, end=True)


def trailed(s):
    s.head(s.length())
    s.data(s.body)
    s.trailers(("x-trailer", "a"))


def short(s):
    s.head(s.length())
    s.data(s.body[:HALF], end=True)


def longer(s):
    s.head(s.length(HALF))
    s.data(s.body, end=True)


def empty(s):
    s.head(s.length(), end=True)


def lengths(s):
    s.head(s.length(), s.length(HALF))
    s.data(s.body, end=True)


def coded(s):
    s.head(("transfer-encoding", "chunked"))
    s.data(b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, s.body), end=True)


def reset_midway(s):
    s.head(s.length())
    s.data(s.body[:HALF])
    s.reset()


def reset_unmeasured(s):
    s.head()
    s.data(s.body[:HALF])
    s.reset()


def reset_without_error(s):
    """RST_STREAM with NO_ERROR before the end: the body broke off all the same."""
    s.head()
    s.data(s.body[:HALF])
    s.reset(NO_ERROR)


def reset_in_header(s):
    s.reset()


def cut(s):
    s.head()
    s.data(s.body[:HALF])
    s.close()


def goaway_before(s):
    """Streams above the last one that it names were not worked on."""
    s.goaway(s.number - 2 if s.number > 2 else 0)
    time.sleep(0.1)
    s.close()


def goaway_midway(s):
    s.head()
    s.data(s.body[:HALF])
    s.goaway(s.number, INTERNAL_ERROR)
    s.close()


def goaway_then_end(s):
    """A polite shutdown: what was begun is finished."""
    s.head(s.length())
    s.data(s.body[:HALF])
    s.goaway(s.number)
    s.data(s.body[HALF:], end=True)


def interim(s):
    s.h2.send_headers(s.number, [(":status", "103"), ("link", "</a>")])
    s.good()


def part(s):
    s.head(s.length(HALF), ("content-range", f"bytes 0-{HALF - 1}/{SIZE}"), status=206)
    s.data(s.body[:HALF], end=True)


BEHAVIOURS = {f.__name__.replace("_", "-"): f for f in (
    good, unmeasured, trailed, short, longer, empty, lengths, coded, reset_midway, reset_unmeasured, reset_without_error,
    reset_in_header, cut, goaway_before, goaway_midway, goaway_then_end, interim, part)}


class Http2Server:
    """Each connection in a thread of its own."""

    def __init__(self, certificate, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.context.set_alpn_protocols(["h2"])
        self.log = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = set()

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.sockets):
            self.hang_up(sock)

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def count(self, path):
        return self.log.count(path)

    def hang_up(self, sock):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        with contextlib.suppress(OSError, ProtocolError):
            plain.settimeout(30)
            with self.context.wrap_socket(plain, server_side=True) as sock:
                self.sockets.add(sock)
                self._talk(sock)

    def _talk(self, sock):
        h2 = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False,
                                          normalize_outbound_headers=False))
        h2.initiate_connection()
        sock.sendall(h2.data_to_send())
        while data := sock.recv(65536):
            for event in h2.receive_data(data):
                if isinstance(event, RequestReceived):
                    fields = {k.decode() if isinstance(k, bytes) else k: v for k, v in event.headers}
                    path = fields[":path"]
                    path = path.decode() if isinstance(path, bytes) else path
                    self.log.append(path)
                    BEHAVIOURS[path.split("/")[1]](Stream(self, h2, sock, event.stream_id, path))
            sock.sendall(h2.data_to_send())
