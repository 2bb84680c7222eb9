"""Behaviours of the misbehaving server: answers with more than one meaning, names, versions and codings."""

import asyncio
import gzip
import zlib

from behaviours import GOOD_SIZE, behaviour, good_body
from support import content

# ---- answers with more than one meaning ----

# Each is a status line and fields; the body is BODY, as it is or in one chunk.
BODY = b"the bytes that nobody should call a file"
HEADS = {
    "two-lengths": (200, ["Content-Length: 40", "Content-Length: 10"], "plain"),
    "length-list": (200, ["Content-Length: 40, 10"], "plain"),
    "length-words": (200, ["Content-Length: forty"], "plain"),
    "length-tail": (200, ["Content-Length: 40x"], "plain"),
    "length-sign": (200, ["Content-Length: +40"], "plain"),
    "length-negative": (200, ["Content-Length: -40"], "plain"),
    "length-huge": (200, ["Content-Length: 99999999999999999999"], "plain"),
    "length-empty": (200, ["Content-Length:"], "plain"),
    "chunked-and-length": (200, ["Transfer-Encoding: chunked", "Content-Length: 10"], "chunked"),
    "coding-gzip": (200, ["Transfer-Encoding: gzip"], "plain"),
    "coding-not-last": (200, ["Transfer-Encoding: chunked, gzip"], "chunked"),
    "coding-twice": (200, ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "chunked"),
    "coding-unknown": (200, ["Transfer-Encoding: xchunked"], "plain"),
    "unasked-206": (206, ["Content-Length: 40", "Content-Range: bytes 0-39/80"], "plain"),
    "two-ranges": (206, ["Content-Length: 40", "Content-Range: bytes 0-39/80", "Content-Range: bytes 0-39/40"],
                   "plain"),
    "unasked-101": (101, ["Upgrade: something", "Connection: Upgrade"], "plain"),
    "unasked-304": (304, [], "none"),
    "304-with-place": (304, ["Location: /any/a"], "none"),
    "305-with-place": (305, ["Location: /any/a", "Content-Length: 40"], "plain"),
    "306-with-place": (306, ["Location: /any/a", "Content-Length: 40"], "plain"),
    "399-with-place": (399, ["Location: /any/a", "Content-Length: 40"], "plain"),
    "coding-list": (200, ["Transfer-Encoding: identity, chunked"], "chunked"),
    "blank-behind-coding": (200, ["Transfer-Encoding : chunked"], "chunked"),
    "no-colon": (200, ["Content-Length: 40", "this is no field"], "plain"),
    "blank-before-colon": (200, ["Content-Length : 40"], "plain"),
    "folded-length": (200, ["Content-Length: 4", " 0"], "plain"),
    "folded-first": (200, [" Content-Length: 40"], "plain"),
    "nul": (200, ["Content-Length: 40", "X-Nul: a\0b"], "plain"),
    "bare-cr": (200, ["Content-Length: 40", "X-Cr: a\rb"], "plain"),
    "two-places": (302, ["Location: /any/a", "Location: /any/b", "Content-Length: 40"], "plain"),
    "no-place": (302, ["Content-Length: 40"], "plain"),
}


@behaviour
async def head(request, reply, name: str):
    code, fields, body = HEADS[name]
    await reply.raw("\r\n".join([f"HTTP/1.1 {code} Whatever", *fields, "", ""]).encode("latin-1"))
    if body == "chunked":
        await reply.chunk(BODY)
        await reply.raw(b"0\r\n\r\n")
    elif body == "plain":
        await reply.raw(BODY)
    reply.close()


@behaviour
async def before_status(request, reply, kind: str):
    """Something before the status line of an answer that is good otherwise."""
    await reply.raw({"empty": b"\r\n", "field": b"X: y\r\n", "text": b"hello\r\n", "zero": b"\0"}[kind])
    await reply.whole(BODY)
    reply.close()


@behaviour
async def many_headers(request, reply, lines: int):
    await reply.head(200, [(f"X-{i}", i) for i in range(lines)] + [("Content-Length", 40)])
    await reply.raw(BODY)


@behaviour
async def endless_interim(request, reply):
    while True:
        await reply.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)


@behaviour
async def error_body(request, reply, code: int, kind: str):
    body = {"text": "No such file.\r\n\tTry another.\n".encode(), "long": b"0123456789" * 1000,
            "binary": b"\x1b[31m\0\xff\xc3\xa9 end", "empty": b""}[kind]
    await reply.whole(body, code)


# ---- what a server says of its file ----


@behaviour
async def with_header(request, reply):
    """?name=FIELD&value=TEXT: the file with that field."""
    await reply.whole(good_body(request), headers=[(request.query["name"], request.query["value"])])


@behaviour
async def versions(request, reply, change: int):
    """The file with an ETag and a Last-Modified; both are others from the change-th request on. Answers 304.

    ?without=etag or ?without=date leaves one of them out."""
    version = "one" if request.nth < change else "two"
    etag, date = f'"{version}"', f"Tue, 0{1 if version == 'one' else 2} Jun 2010 10:00:00 GMT"
    without = request.query.get("without")
    fields = [("ETag", etag)] * (without != "etag") + [("Last-Modified", date)] * (without != "date")
    match, since = request.header("If-None-Match"), request.header("If-Modified-Since")
    if match == etag if match else since == date:
        await reply.head(304, fields)
    else:
        await reply.whole(content(request.path + version, GOOD_SIZE), headers=fields)


@behaviour
async def always_304(request, reply):
    await reply.head(304)


@behaviour
async def coded(request, reply, coding: str, size: int):
    """The file in a content coding, if the request allows it; ?forced=1: also if not."""
    body = good_body(request, size)
    if coding not in (request.header("Accept-Encoding") or "") and "forced" not in request.query:
        await reply.whole(body)
        return
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "unknown": bytes}[coding](body)
    await reply.whole(packed, headers=[("Content-Encoding", coding)])


@behaviour
async def coded_cut(request, reply, framing: str):
    """Half of a gzip stream; framing: length, chunked or close."""
    body = gzip.compress(good_body(request, 20000))
    body = body[:len(body) // 2]
    if framing == "length":
        await reply.whole(body, headers=[("Content-Encoding", "gzip")])
        return
    await reply.head(200, [("Content-Encoding", "gzip")] + [("Transfer-Encoding", "chunked")] * (framing == "chunked"))
    if framing == "chunked":
        await reply.chunk(body)
        await reply.raw(b"0\r\n\r\n")
    else:
        await reply.raw(body)
        reply.close()


@behaviour
async def bomb(request, reply, size: int, framing: str):
    """That many zero bytes, a thousandth as many in gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    if framing == "length":
        await reply.whole(body, headers=[("Content-Encoding", "gzip")])
        return
    await reply.head(200, [("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")])
    for start in range(0, len(body), 1000):
        await reply.chunk(body[start:start + 1000])
    await reply.raw(b"0\r\n\r\n")


@behaviour
async def stray(request, reply, delay: float, framing: str):
    """A good answer and, after the delay, another one that nobody asked for."""
    body = good_body(request)
    if framing == "chunked":
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif framing == "redirect":
        answer = b"HTTP/1.1 302 Found\r\nLocation: /any/x\r\nContent-Length: 3\r\n\r\nabc"
    elif framing == "empty":
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    elif framing == "error":
        answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc"
    else:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    more = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    if delay == 0:
        await reply.raw(answer + more)
        return
    await reply.raw(answer)
    await asyncio.sleep(delay)
    await reply.raw(more)
