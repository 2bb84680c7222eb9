"""An HTTP/2 server that misbehaves, frame by frame: what a stream lacks is never a file."""

import asyncio
import ssl
import struct
import threading

import pytest

from beside import done_right, not_done, run_beside
from support import content, have
from tls import Authority

pytestmark = pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")

BODY = content("http2", 3000)
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
OK, PARTIAL, NOT_MODIFIED, NOT_FOUND = b"\x88", b"\x8a", b"\x8b", b"\x8d"  # :status of HPACK's static table
LENGTH = ("content-length", "3000")
CUT = "cut"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(n):
    """With a prefix of seven bits."""
    if n < 127:
        return bytes([n])
    rest, out = n - 127, [127]
    while rest >= 128:
        out.append(rest % 128 | 128)
        rest //= 128
    return bytes([*out, rest])


def field(name, value):
    return b"\0" + number(len(name)) + name.encode() + number(len(value)) + value.encode()


def head(stream, *fields, status=OK, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, status + b"".join(field(*f) for f in fields))


def body(stream, data=BODY, end=True):
    return frame(DATA, END_STREAM if end else 0, stream, data)


def reset(stream, error):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", error))


def goaway(last, error):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, error))


GOOD = {
    "length": lambda s: [head(s, LENGTH), body(s)],
    "no-length": lambda s: [head(s), body(s)],
    "trailers": lambda s: [head(s), body(s, end=False), head(s, ("x", "y"), status=b"", flags=END_HEADERS | END_STREAM)],
    "interim": lambda s: [head(s, status=field(":status", "103")), head(s, LENGTH), body(s)],
    "goaway-before-body": lambda s: [head(s), goaway(s, 0), body(s)],
    "reset-behind-the-end": lambda s: [head(s), body(s), reset(s, 0)],
    "pings": lambda s: [frame(PING, 0, 0, b"12345678") * 1000, head(s, LENGTH), body(s)],
}

# error, attempts
BAD = {
    "short": (lambda s: [head(s, LENGTH), body(s, BODY[:-1])], "reset", 2),
    "long": (lambda s: [head(s, LENGTH), body(s, BODY + b"x")], "reset", 2),
    "two-lengths": (lambda s: [head(s, LENGTH, ("content-length", "5")), body(s)], "reset", 2),
    "no-body-of-length": (lambda s: [head(s, LENGTH, flags=END_HEADERS | END_STREAM)], "reset", 2),
    "transfer-encoding": (lambda s: [head(s, ("transfer-encoding", "chunked")), body(s)], "reset", 2),
    "no-status": (lambda s: [head(s, LENGTH, status=b""), body(s)], "reset", 2),
    "reset-in-body": (lambda s: [head(s), body(s, end=False), reset(s, 2)], "reset", 2),
    "reset-without-error": (lambda s: [head(s), body(s, end=False), reset(s, 0)], "reset", 2),
    "refused": (lambda s: [reset(s, 7)], "reset", 2),
    "cut-in-header": (lambda s: [frame(HEADERS, 0, s, OK), 0.1, CUT], "partial", 2),
    "cut-in-body": (lambda s: [head(s), body(s, end=False), 0.1, CUT], "partial", 2),
    "goaway-in-body": (lambda s: [head(s), body(s, end=False), goaway(s, 0), 0.1, CUT], "partial", 2),
    "trailers-without-end": (lambda s: [head(s), body(s, end=False), head(s, ("x", "y"), status=b"")], "reset", 2),
    "part": (lambda s: [head(s, ("content-range", "bytes 0-2999/9000"), status=PARTIAL), body(s)], "protocol", 1),
    "not-modified-elsewhere": (lambda s: [head(s, ("location", "/x"), status=NOT_MODIFIED, flags=END_HEADERS | END_STREAM)],
                               "protocol", 1),
    "not-found": (lambda s: [head(s, status=NOT_FOUND), body(s)], "http", 1),
    "silent": (lambda s: [head(s, LENGTH), body(s, BODY[:50], end=False), 30], "stalled", 2),
    "endless-header": (lambda s: [frame(HEADERS, 0, s, OK + field("x", "y" * 9000))]
                       + [frame(CONTINUATION, 0, s, field("x", "y" * 9000))] * 200, "reset", 2),
}


class Server:
    """A port for each list of frames."""

    def __init__(self, authority):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.base / "good.pem", authority.base / "good.key")
        self.context.set_alpn_protocols(["h2"])
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def url(self, frames):
        async def serve(reader, writer):
            try:
                await self._serve(reader, writer, frames)
            except (OSError, asyncio.IncompleteReadError):
                pass  # clients may leave when they like
            finally:
                writer.close()
        starting = asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.context)
        server = asyncio.run_coroutine_threadsafe(starting, self.loop).result(10)
        return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"

    async def _serve(self, reader, writer, frames):
        await reader.readexactly(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        writer.write(frame(SETTINGS, 0, 0))
        while True:
            top = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(top[:3], "big"))
            kind, flags, stream = top[3], top[4], int.from_bytes(top[5:], "big")
            if kind == SETTINGS and not flags & ACK:
                writer.write(frame(SETTINGS, ACK, 0))
            for step in frames(stream) if kind == HEADERS else []:
                if step == CUT:
                    writer.transport.abort()
                    return
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                else:
                    await asyncio.sleep(step)


def test_streams_beside_good_answers(make_daemon, bad, tmp):
    authority = Authority(tmp / "ca")
    server = Server(authority)
    daemon = make_daemon(settings={"transfer.ca_file": authority.file, "transfer.low_speed_limit": "100",
                                   "transfer.low_speed_time": "2s"}).start()
    streams = {**GOOD, **{name: row[0] for name, row in BAD.items()}}
    jobs = run_beside(daemon, bad, {name: {"url": server.url(frames)} for name, frames in streams.items()})
    assert done_right(daemon, {name: jobs.pop(name) for name in GOOD}, {name: (BODY, 1) for name in GOOD}) == []
    assert not_done(daemon, jobs, {name: row[1:] for name, row in BAD.items()}) == []
