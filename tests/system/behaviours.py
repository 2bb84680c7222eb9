"""What the misbehaving server can do: a behaviour is a function, its name the first part of the path.

behaviours_answers.py has those about the header of an answer and its meaning, behaviours_files.py those about
digests and parts.
"""

import asyncio
import json
import socket
import struct
import time
from urllib.parse import parse_qs, urlsplit

from support import content

GOOD_SIZE = 2000  # of bodies whose size is of no interest
FOREVER = 3600

REASONS = {200: "OK", 204: "No Content", 301: "Moved Permanently", 302: "Found", 404: "Not Found",
           429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}

BEHAVIOURS = {}


def behaviour(function):
    BEHAVIOURS[function.__name__.replace("_", "-")] = function
    return function


class Request:
    """One request as it came. nth counts those for the same target, from 1."""

    def __init__(self, method, target, headers, connection, nth):
        self.method = method
        self.target = target
        self.headers = headers  # list of (name, value), as sent
        self.connection = connection
        self.nth = nth
        self.time = time.monotonic()
        parts = urlsplit(target)
        self.path = parts.path
        self.query = {k: v[-1] for k, v in parse_qs(parts.query).items()}

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        return ", ".join(values) if values else None


class Reply:
    """What is sent back. Nothing is checked or completed: a behaviour may send what it likes."""

    def __init__(self, writer):
        self.writer = writer
        self.keep = True  # the connection, for a next request

    async def raw(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status=200, headers=(), reason=None):
        lines = [f"HTTP/1.1 {status} {reason or REASONS.get(status, 'Whatever')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def whole(self, body, status=200, headers=()):
        await self.head(status, [*headers, ("Content-Length", len(body))])
        await self.raw(body)

    async def chunk(self, data):
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def close(self):
        self.keep = False

    def reset(self):
        """Ends the connection by RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep = False


def good_body(request, size=GOOD_SIZE):
    return content(request.path, size)


# ---- behaviours: statuses ----


@behaviour
async def ok(request, reply, size: int):
    await reply.whole(good_body(request, size), headers=[("Content-Type", "application/x-test")])


@behaviour
async def any(request, reply):
    """/any/WHATEVER: the file, whatever the rest of the path looks like."""
    await reply.whole(good_body(request))


@behaviour
async def status(request, reply, code: int):
    await reply.whole(b"<h1>an error page</h1>" * 20, code, [("Content-Type", "text/html")])


@behaviour
async def flaky(request, reply, code: int, times: int):
    """?retry-after=VALUE goes with the failures."""
    if request.nth > times:
        await reply.whole(good_body(request))
        return
    wait = request.query.get("retry-after")
    await reply.whole(b"not now", code, [("Retry-After", wait)] if wait else [])


@behaviour
async def flaky_cut(request, reply, times: int):
    """A body cut short for the first requests, whole afterwards."""
    body = good_body(request)
    await reply.head(200, [("Content-Length", len(body))])
    await reply.raw(body if request.nth > times else body[:len(body) // 2])
    if request.nth <= times:
        reply.close()


# ---- bodies ----


@behaviour
async def cut_length(request, reply, sent: int, announced: int):
    await reply.head(200, [("Content-Length", announced)])
    await reply.raw(good_body(request, announced)[:sent])
    reply.close()


@behaviour
async def until_close(request, reply, size: int):
    """No length at all: the end of the connection is the end of the body."""
    await reply.head(200, [("Connection", "close")])
    await reply.raw(good_body(request, size))
    reply.close()


@behaviour
async def chunked(request, reply, size: int):
    body = good_body(request, size)
    await reply.head(200, [("Transfer-Encoding", "chunked")])
    for start in range(0, size, 1000):
        await reply.chunk(body[start:start + 1000])
    await reply.raw(b"0\r\n\r\n")


@behaviour
async def cut_chunked(request, reply, size: int):
    """The last chunk and the end are missing."""
    await reply.head(200, [("Transfer-Encoding", "chunked")])
    await reply.chunk(good_body(request, size))
    reply.close()


@behaviour
async def endless(request, reply):
    await reply.head(200, [("Transfer-Encoding", "chunked")])
    while True:
        await reply.chunk(b"x" * 16384)


@behaviour
async def drip(request, reply, size: int, pause: float):
    """A byte, then a pause in seconds, and so on."""
    await reply.head(200, [("Content-Length", size)])
    for byte in good_body(request, size):
        await reply.raw(bytes([byte]))
        await asyncio.sleep(pause)


# ---- silence ----


@behaviour
async def delay(request, reply, seconds: float, size: int):
    await asyncio.sleep(seconds)
    await reply.whole(good_body(request, size))


@behaviour
async def silent_request(request, reply):
    await asyncio.sleep(FOREVER)


@behaviour
async def silent_headers(request, reply):
    """A status line and some headers, then nothing."""
    await reply.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n")
    await asyncio.sleep(FOREVER)


@behaviour
async def silent_body(request, reply, sent: int, announced: int):
    await reply.head(200, [("Content-Length", announced)])
    await reply.raw(good_body(request, announced)[:sent])
    await asyncio.sleep(FOREVER)


# ---- redirects ----


@behaviour
async def redirect(request, reply, hops: int, name: str):
    target = f"/redirect/{hops - 1}/{name}" if hops > 1 else f"/any/{name}"
    await reply.whole(b"", 302, [("Location", target)])


@behaviour
async def redirect_loop(request, reply):
    await reply.whole(b"", 302, [("Location", request.target)])


@behaviour
async def redirect_to(request, reply):
    """?to=URL, sent as it is, with ?body= bytes besides."""
    await reply.whole(b"gone elsewhere" + bytes(int(request.query.get("body", 0))), 302, [("Location", request.query["to"])])


@behaviour
async def redirect_nowhere(request, reply):
    await reply.whole(b"no Location here", 302)


# ---- broken protocol ----


@behaviour
async def huge_header(request, reply, size: int):
    await reply.head(200, [("X-Huge", "y" * size), ("Content-Length", "0")])


@behaviour
async def http09(request, reply):
    """A body without any head, as in 1991."""
    await reply.raw(b"<html>no head at all</html>" * 10)
    reply.close()


@behaviour
async def garbage(request, reply):
    await reply.raw(bytes(range(128, 256)) * 20 + b"\r\n\r\nbody")
    reply.close()


@behaviour
async def odd_status(request, reply):
    """Not a status line, though it begins like one; libcurl by itself takes it for 200."""
    await reply.raw(b"HTTP/x.y banana\r\nContent-Length: 4\r\n\r\nbody")
    reply.close()


@behaviour
async def reset(request, reply):
    reply.reset()


@behaviour
async def reset_body(request, reply, sent: int, announced: int):
    await reply.head(200, [("Content-Length", announced)])
    await reply.raw(good_body(request, announced)[:sent])
    await asyncio.sleep(0.02)  # the bytes go out first: RST drops what waits
    reply.reset()


@behaviour
async def hang_up(request, reply):
    """Closes without a word."""
    reply.close()


@behaviour
async def echo(request, reply):
    """The request as JSON."""
    body = {"method": request.method, "target": request.target, "headers": request.headers}
    await reply.whole(json.dumps(body).encode())


@behaviour
async def hostile_text(request, reply, code: int):
    """Escape sequences for terminals wherever a server has a say."""
    escape = "\x1b[31m\x1b]0;title\x07\x9b5m"
    headers = [("Content-Type", f"text/{escape}"), ("X-Text", escape)]
    body = good_body(request)
    await reply.head(code, [*headers, ("Content-Length", len(body))], reason=escape)
    await reply.raw(body)


@behaviour
async def drip_headers(request, reply):
    """Header lines without end, one at a time."""
    await reply.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        await reply.raw(b"X-More: more\r\n")
        await asyncio.sleep(0.2)


@behaviour
async def mirror_cut(request, reply, sent: int, size: int):
    """A body cut short, the same for every server and path that ends in the same name."""
    await reply.head(200, [("Content-Length", size)])
    await reply.raw(content(request.path.rsplit("/")[-1], size)[:sent])
    reply.close()


@behaviour
async def mirror_good(request, reply, size: int):
    """That body, whole."""
    await reply.whole(content(request.path.rsplit("/")[-1], size))
