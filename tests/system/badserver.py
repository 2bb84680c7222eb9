"""An HTTP server that misbehaves on demand, one behaviour per path, and remembers every request.

The first part of a path names the behaviour, the next ones are its arguments, the rest is a name of
the caller's choice that keeps jobs apart:

    /flaky/503/2/photo.jpg    503 to the first two requests for this very path, then the file

A behaviour is a coroutine with @behaviour; its arguments are converted by their annotations. What it
serves as a good body is content(path, size) of support.py, so a test knows what must arrive.

By hand: `python3 badserver.py PORT`, then curl.
"""

import asyncio
import inspect
import json
import socket
import ssl
import struct
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit

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
    """?to=URL, sent as it is."""
    await reply.whole(b"gone elsewhere", 302, [("Location", request.query["to"])])


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


# ---- digests ----


@behaviour
async def promise(request, reply, size: int, damaged: int):
    """Fields of the caller's choice (?Name=VALUE), and a body whose last byte is wrong in the first so many answers."""
    body = good_body(request, size)
    if request.nth <= damaged:
        body = body[:-1] + bytes([body[-1] ^ 1])
    await reply.whole(body, headers=list(request.query.items()))


# ---- parts of files ----

OLD = "Mon, 02 Jan 2023 10:00:00 GMT"


def range_of(request, etag, modified):
    """The offset asked for, if the condition holds that goes with it; 0: the whole file."""
    wanted, condition = request.header("Range"), request.header("If-Range")
    if not wanted or condition and condition not in (etag, modified):
        return 0
    return int(wanted.removeprefix("bytes=").rstrip("-"))


@behaviour
async def parts(request, reply, size: int, cut: int, cuts: int):
    """A file in parts. The first answers (as many as cuts) break off after cut bytes.

    ?etag=, ?modified=, ?date= say how the version is named; ?changes=N: after N requests it is another one;
    ?rate=: bytes a second; ?fault=: what is wrong with answers to requests for a part.
    """
    query = request.query
    fault = query.get("fault", "")
    version = "2" if request.nth > int(query.get("changes", FOREVER)) else "1"
    body = content(request.path + version, size)
    etag = query.get("etag", "").replace("VERSION", version)
    modified = query.get("modified")
    headers = [("Date", query.get("date", formatdate(usegmt=True)))]
    headers += [("ETag", etag)] if etag else []
    headers += [("Last-Modified", modified)] if modified else []
    start = 0 if fault == "ignores" else range_of(request, etag, modified)
    if start >= size:
        await reply.whole(b"no", 416, [*headers, ("Content-Range", f"bytes */{size}")])
        return
    if fault in ("416", "503", "404") and request.header("Range") and request.nth == 2:
        await reply.whole(b"no", int(fault), headers)
        return
    if start > 0:
        first, total, kind = start, size, []
        if fault == "first":
            first -= 1
        elif fault == "total":
            total += 1
        elif fault == "multipart":
            kind = [("Content-Type", "multipart/byteranges; boundary=x")]
        elif fault == "etag":
            headers = [(n, '"other"') if n == "ETag" else (n, v) for n, v in headers]
        parts_of = [] if fault == "no-range" else [("Content-Range", f"bytes {first}-{size - 1}/{total}")]
        await reply.head(206, [*headers, *kind, *parts_of, ("Content-Length", size - start)])
    elif fault == "chunked":
        await reply.head(200, [*headers, ("Transfer-Encoding", "chunked")])
    else:
        await reply.head(200, [*headers, ("Content-Length", size)])
    end = min(size, start + cut) if request.nth <= cuts else size
    if fault == "chunked" and start == 0:
        await reply.chunk(body[:end])
        reply.close()
        return
    step = 1 << 18
    for at in range(start, end, step):
        await reply.raw(body[at:min(at + step, end)])
        if "rate" in query:
            await asyncio.sleep(step / float(query["rate"]))
    if end < size:
        reply.close()
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


# ---- the server ----


class BadServer:
    """Runs in a thread of its own. The log may be read at any time."""

    def __init__(self, port=0):
        self.log = []
        self.port = port
        self.silent_port = None  # accepts connections and never reads
        self._counts = {}
        self._connections = 0
        self._servers = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()

    def start(self):
        self._thread.start()
        assert self._started.wait(10)
        return self

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def listen_tls(self, certificate, key):
        """Serves the same over TLS, on one port more; returns the URL's beginning."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        started = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        server = asyncio.run_coroutine_threadsafe(started, self._loop).result(10)
        self._servers.append(server)
        return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def silent_url(self, path="/file"):
        return f"http://127.0.0.1:{self.silent_port}{path}"

    def requests(self, path=None):
        """Those for a path (with its query or without), all without one."""
        return [r for r in list(self.log) if path in (None, r.path, r.target)]

    def count(self, path=None):
        return len(self.requests(path))

    def _run(self):
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen())
            self._started.set()
            self._loop.run_forever()
        finally:
            for server in self._servers:
                server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _listen(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        silent = await asyncio.start_server(self._ignore, "127.0.0.1", 0, backlog=4096)
        self._servers += [server, silent]
        self.silent_port = silent.sockets[0].getsockname()[1]

    async def _ignore(self, reader, writer):
        await asyncio.sleep(FOREVER)

    async def _serve(self, reader, writer):
        self._connections += 1
        connection = self._connections
        reply = Reply(writer)
        try:
            while reply.keep:
                request = await self._read(reader, connection)
                if request is None:
                    break
                await self._answer(request, reply)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # clients may leave when they like
        finally:
            writer.close()

    async def _read(self, reader, connection):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[:-2]
        method, target, _ = lines[0].split(" ", 2)
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]
        self._counts[target] = self._counts.get(target, 0) + 1
        request = Request(method, target, headers, connection, self._counts[target])
        self.log.append(request)
        return request

    async def _answer(self, request, reply):
        name, *rest = request.path.lstrip("/").split("/")
        function = BEHAVIOURS.get(unquote(name))
        if function is None:
            await reply.whole(b"no such behaviour", 404)
            return
        wanted = list(inspect.signature(function).parameters.values())[2:]
        args = [p.annotation(unquote(value)) for p, value in zip(wanted, rest)]
        await function(request, reply, *args)


if __name__ == "__main__":
    running = BadServer(int(sys.argv[1]) if len(sys.argv) > 1 else 8081).start()
    print(f"http://127.0.0.1:{running.port}/  " + " ".join(sorted(BEHAVIOURS)))
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        running.stop()
