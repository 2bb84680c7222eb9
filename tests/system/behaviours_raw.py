"""Behaviours of the misbehaving server: answers byte for byte, and what dld makes of each.

The tables name an answer and say what it is: a file that has to arrive, whatever the server's manners, or no file.
An answer is a list of bytes, of seconds to wait, and of RST or KEEP at its end; without one the connection is closed.
A function makes one of the request. Jobs have one retry, so an error that may pass takes two attempts.
"""

import asyncio
import base64
import gzip
import hashlib
import zlib

from behaviours import behaviour
from support import content

BODY = content("raw", 3000)
LARGE, OTHER = content("raw large", 300000), content("raw other", 300000)
RST, KEEP = "rst", "keep"
CHUNKED, GZIP = "Transfer-Encoding: chunked", "Content-Encoding: gzip"


def latin(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def answer(*fields, body=BODY, line="HTTP/1.1 200 OK", length=True, end=b"\r\n"):
    lines = [line, *([f"Content-Length: {len(body)}"] if length else []), *fields]
    return b"".join(latin(item) + end for item in lines) + end + body


def chunks(body, size=1000, extension=b"", last=b"0\r\n\r\n", end=b"\r\n"):
    pieces = (body[at:at + size] for at in range(0, len(body), size))
    return b"".join(b"%x%s%s%s%s" % (len(piece), extension, end, piece, end) for piece in pieces) + last


def chunked(raw, *fields):
    return answer(CHUNKED, *fields, body=raw, length=False)


def bytewise(data, pause=0.001):
    return [step for byte in data for step in (bytes([byte]), pause)]


def sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def after(first, then):
    """Another answer from the second request on."""
    return lambda request: first if request.nth == 1 else then(request) if callable(then) else then


PACKED = gzip.compress(BODY, mtime=0)
PACKED_TWICE = gzip.compress(BODY[:1000], mtime=0) + gzip.compress(BODY[1000:], mtime=0)

# ---- servers that mean well: BODY has to arrive, at the first attempt ----

SLOPPY = {
    "no-reason": [answer(line="HTTP/1.1 200")],
    "no-reason-but-blank": [answer(line="HTTP/1.1 200 ")],
    "latin-reason": [answer(line="HTTP/1.1 200 F\xfcr Sie")],
    "long-reason": [answer(line="HTTP/1.1 200 " + "x" * 5000)],
    "line-feeds": [answer(end=b"\n")],
    "some-line-feeds": [b"HTTP/1.1 200 OK\nContent-Length: 3000\r\nX: y\n\r\n" + BODY],
    "http10": [answer(line="HTTP/1.0 200 OK")],
    "http10-until-close": [answer(line="HTTP/1.0 200 OK", length=False)],
    "odd-case": [answer("cOnTeNt-tYpE: X/Y", "CONNECTION: CLOSE")],
    "length-twice": [answer("Content-Length: 3000")],
    "length-list": [answer("Content-Length: 3000, 3000", length=False)],
    "length-list-and-field": [answer("Content-Length: 3000,3000 ,\t3000")],
    "length-zeros": [answer("Content-Length: 0003000", length=False)],
    "length-blanks": [answer("Content-Length:  \t 3000 \t ", length=False)],
    "length-beside-chunks": [answer(CHUNKED, "Content-Length: 3000", body=chunks(BODY), length=False)],
    "length-before-chunks": [answer("Content-Length: 3000", CHUNKED, body=chunks(BODY), length=False), KEEP],
    "coding-identity": [answer("Transfer-Encoding: identity")],
    "coding-identity-stays-open": [answer("Transfer-Encoding: identity"), KEEP],
    "coding-identity-until-close": [answer("Transfer-Encoding: identity", length=False)],
    "coding-case": [answer("transfer-encoding: Chunked", body=chunks(BODY), length=False)],
    "chunk-extensions": [chunked(chunks(BODY, extension=b';a="b;\\"c";d'))],
    "chunk-blanks": [chunked(chunks(BODY, extension=b"   "))],
    "chunk-zeros": [chunked(b"00000bb8\r\n" + BODY + b"\r\n0000\r\n\r\n")],
    "chunk-capitals": [chunked(b"BB8\r\n" + BODY + b"\r\n0\r\n\r\n")],
    "chunk-trailers": [chunked(chunks(BODY, last=b"0\r\nX: y\r\nContent-Length: 7\r\n\r\n"))],
    "blank-before-colon": [answer("X-Field : a", "Server\t: b")],
    "name-in-latin": [answer("X-M\xfcller: a")],
    "name-of-words": [answer("Two words: a", " and a folded one")],
    "no-name": [answer(": a")],
    "value-in-latin": [answer("Server: M\xfcller")],
    "value-in-utf8": [answer("X-Name: Jos\u00e9 \u4e2d".encode())],
    "value-controls": [answer("X: \x01\x02\x7f")],
    "folded": [answer("X: a", "  b", "\tc")],
    "hundred-cookies": [answer(*[f"Set-Cookie: c{i}={'v' * 50}" for i in range(100)])],
    "bad-cookies": [answer("Set-Cookie: =;;;", "Set-Cookie: a=b; Domain=.com", "Set-Cookie: \x01=\x02")],
    "fifty-fields": [answer(*[f"X-{i}: {'y' * 900}" for i in range(50)])],
    "type-garbage": [answer("Content-Type: ;;;=,\x01\xff")],
    "dates-garbage": [answer("Date: yesterday", "Last-Modified: 42", "Expires: -1", "Age: -5")],
    "etags": [answer('ETag: "a"', "ETag: b", 'ETag: W/"c"', 'ETag: "\xff"')],
    "etag-huge": [answer(f'ETag: "{"e" * 90000}"')],
    "range-beside-whole": [answer("Content-Range: bytes 0-2999/3000")],
    "place-beside-whole": [answer("Location: /nowhere", "Content-Location: /nowhere", "Refresh: 0; url=/nowhere")],
    "upgrade-offered": [answer("Upgrade: h2,h2c", "Connection: Upgrade", 'Alt-Svc: h2="nowhere.example:443"')],
    "interim-100": [b"HTTP/1.1 100 Continue\r\n\r\n" + answer()],
    "interim-103": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 20 + answer()],
    "status-203": [answer(line="HTTP/1.1 203 Non-Authoritative Information")],
    "content-coding-none": [answer("Content-Encoding: none")],
    "content-coding-empty": [answer("Content-Encoding:")],
    "digest-garbage": [answer("Content-Digest: ?1, \x02", "Repr-Digest: sha-256=:AAAA:", "Digest: =,=", "Content-MD5: z")],
    "content-digest": [answer(f"Content-Digest: sha-256=:{sha256(BODY)}:;a=b, unixsum=:AAAA:")],
    "retry-after-on-200": [answer("Retry-After: 1000")],
    "byte-by-byte": bytewise(answer("X: y")[:60]) + [answer("X: y")[60:]],
    "line-end-in-two": [b"HTTP/1.1 200 OK\r", 0.05, b"\nContent-Len", 0.05, b"gth: 3000\r\n\r", 0.05, b"\n", 0.05, BODY],
    "reset-after-all": [answer(), 0.2, RST],
    "says-close-stays-open": [answer("Connection: close"), KEEP],
    "says-nothing-closes": [answer()],
    "more-than-its-length": [answer() + b"more"],
}

# ---- answers that hold no file, or not all of it: error and attempts ----

HOSTILE = {
    # the connection ends within the header
    "cut-in-status": ([b"HTTP/1.1 20"], "reset", 2),
    "cut-in-field": ([b"HTTP/1.1 200 OK\r\nContent-Le"], "partial", 2),
    "cut-behind-field": ([b"HTTP/1.1 200 OK\r\nX: y\r\n"], "partial", 2),
    "cut-before-empty-line": ([answer()[:-3002]], "partial", 2),
    "cut-in-204": ([b"HTTP/1.1 204 No Content\r\nX: y"], "partial", 2),
    "interim-alone": ([b"HTTP/1.1 100 Continue\r\n\r\n"], "reset", 2),
    "reset-in-status": ([b"HTTP/1.1 20", 0.05, RST], "reset", 2),
    "reset-in-header": ([b"HTTP/1.1 200 OK\r\nX: ", 0.05, RST], "reset", 2),
    "reset-behind-header": ([answer()[:-3000], 0.05, RST], "reset", 2),
    "reset-without-length": ([answer(length=False)[:-500], 0.05, RST], "reset", 2),
    "reset-in-chunk": ([chunked(chunks(BODY)[:1500]), 0.05, RST], "reset", 2),
    # lengths
    "one-byte-short": ([answer()[:-1]], "partial", 2),
    "length-2-63-1": ([answer("Content-Length: 9223372036854775807", length=False)], "partial", 2),
    "length-2-64": ([answer("Content-Length: 18446744073709554616", length=False)], "protocol", 1),
    "length-thousand-digits": ([answer("Content-Length: " + "9" * 1000, length=False)], "protocol", 1),
    "length-hex": ([answer("Content-Length: 0xbb8", length=False)], "protocol", 1),
    "length-fraction": ([answer("Content-Length: 3000.0", length=False)], "protocol", 1),
    "length-gap": ([answer("Content-Length: 30 00", length=False)], "protocol", 1),
    "length-list-with-hole": ([answer("Content-Length: 3000,,3000", length=False)], "protocol", 1),
    "length-other-than-chunks": ([answer(CHUNKED, "Content-Length: 2999", body=chunks(BODY), length=False), KEEP],
                                 "protocol", 1),
    # chunks
    "chunk-end-missing": ([chunked(chunks(BODY, last=b"0\r\n"))], "partial", 2),
    "chunk-size-cut": ([chunked(chunks(BODY, last=b"3e"))], "partial", 2),
    "chunk-not-hex": ([chunked(b"zz\r\n" + BODY)], "protocol", 1),
    "chunk-negative": ([chunked(b"-5\r\n" + BODY)], "protocol", 1),
    "chunk-2-68": ([chunked(b"fffffffffffffffff\r\n" + BODY)], "protocol", 1),
    "chunk-2-63": ([chunked(b"8000000000000000\r\n" + BODY)], "protocol", 1),
    "chunk-2-63-1": ([chunked(b"7fffffffffffffff\r\n" + BODY)], "partial", 2),
    "chunk-without-end": ([chunked(b"3e8\r\n" + BODY[:1000] + b"3e8\r\n" + BODY[1000:2000])], "protocol", 1),
    "chunk-too-long": ([chunked(b"3e8\r\n" + BODY[:1010] + b"\r\n0\r\n\r\n")], "protocol", 1),
    "chunk-without-size": ([chunked(b"\r\n" + BODY)], "protocol", 1),
    "chunk-of-zeros": ([chunked(b"0" * 100000)], "protocol", 1),
    "coding-gzip-chunked": ([answer("Transfer-Encoding: gzip, chunked", body=chunks(PACKED), length=False)], "protocol", 1),
    "coding-vertical-tab": ([answer("Transfer-Encoding: \x0bchunked", body=chunks(BODY), length=False)], "protocol", 1),
    "coding-quoted": ([answer('Transfer-Encoding: "chunked"', body=chunks(BODY), length=False)], "protocol", 1),
    "coding-folded": ([answer("Transfer-Encoding:", " chunked", body=chunks(BODY), length=False)], "protocol", 1),
    "coding-in-http10": ([answer(CHUNKED, line="HTTP/1.0 200 OK", body=chunks(BODY), length=False)], "protocol", 1),
    "coding-identity-then-gzip": ([answer("Transfer-Encoding: identity", "Transfer-Encoding: gzip")], "protocol", 1),
    # status lines
    "version-9": ([answer(line="HTTP/9.9 200 OK")], "protocol", 1),
    "version-missing": ([answer(line="HTTP 200 OK")], "protocol", 1),
    "status-missing": ([b"HTTP/1.1\r\n"], "protocol", 1),
    "status-two-digits": ([answer(line="HTTP/1.1 20 OK")], "protocol", 1),
    "status-four-digits": ([answer(line="HTTP/1.1 2000 OK")], "protocol", 1),
    "status-0": ([answer(line="HTTP/1.1 000 OK")], "protocol", 1),
    "status-negative": ([answer(line="HTTP/1.1 -200 OK")], "protocol", 1),
    "status-600": ([answer(line="HTTP/1.1 600 OK")], "http", 1),
    "status-999": ([answer(line="HTTP/1.1 999 Request Denied")], "http", 1),
    "another-protocol": ([b"SSH-2.0-OpenSSH_9.2\r\n"], "protocol", 1),
    "endless-status": ([b"HTTP/1.1 200 "] + [b"y" * 65536] * 200, "protocol", 1),
    # statuses without a file, whatever their bodies
    "status-201": ([answer(line="HTTP/1.1 201 Created")], "http", 1),
    "status-204": ([b"HTTP/1.1 204 No Content\r\n\r\n"], "http", 1),
    "status-205": ([answer(line="HTTP/1.1 205 Reset Content", body=b"")], "http", 1),
    "status-207-large": ([answer(line="HTTP/1.1 207 Multi-Status", body=LARGE)], "http", 1),
    "status-226": ([answer("IM: diffe", line="HTTP/1.1 226 IM Used")], "http", 1),
    "status-299": ([answer(line="HTTP/1.1 299 Odd")], "http", 1),
    "status-300": ([answer(line="HTTP/1.1 300 Multiple Choices")], "redirect", 1),
    "status-302-large": ([answer(line="HTTP/1.1 302 Found", body=LARGE)], "redirect", 1),
    "status-304-large": ([answer("Connection: close", line="HTTP/1.1 304 Not Modified", body=LARGE)], "protocol", 1),
    "whole-as-206": ([answer("Content-Range: bytes 0-2999/3000", line="HTTP/1.1 206 Part")], "protocol", 1),
    "large-206": ([answer("Content-Range: bytes 0-299999/900000", line="HTTP/1.1 206 Part", body=LARGE)], "protocol", 1),
    "byteranges": ([answer("Content-Type: multipart/byteranges; boundary=x", line="HTTP/1.1 206 Part")], "protocol", 1),
    # digests
    "content-digest-wrong": ([answer(f"Content-Digest: sha-256=:{sha256(b'other')}:")], "checksum", 2),
    "content-digest-wrong-of-no-coding": ([answer("Content-Encoding:", f"Content-Digest: sha-256=:{sha256(b'other')}:")],
                                          "checksum", 2),
}

# The same, of jobs that ask for a coding to be undone.
CODED = {
    "gzip-cut-in-tail": ([answer(GZIP, body=PACKED[:-1])], "partial", 2),
    "gzip-cut-before-tail": ([answer(GZIP, body=PACKED[:-8])], "partial", 2),
    "gzip-nothing-at-all": ([answer(GZIP, body=b"", length=False)], "partial", 2),
    "gzip-wrong-crc": ([answer(GZIP, body=PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:])], "protocol", 1),
    "gzip-wrong-size": ([answer(GZIP, body=PACKED[:-4] + b"\1\0\0\0")], "protocol", 1),
    "gzip-garbage-behind": ([answer(GZIP, body=PACKED + b"garbage")], "protocol", 1),
    "gzip-second-member-cut": ([answer(GZIP, body=PACKED_TWICE[:-30])], "partial", 2),
    "gzip-endless-name": ([answer(GZIP, body=PACKED[:3] + b"\x08" + PACKED[4:10] + b"n" * 2000000)], "partial", 2),
    "gzip-reserved-flags": ([answer(GZIP, body=PACKED[:3] + b"\xe0" + PACKED[4:])], "protocol", 1),
    "gzip-of-gzip": ([answer("Content-Encoding: gzip, gzip", body=gzip.compress(PACKED))], "protocol", 1),
    "gzip-in-two-fields": ([answer(GZIP, GZIP, body=gzip.compress(PACKED))], "protocol", 1),
    "fifty-codings": ([answer("Content-Encoding: " + ", ".join(["gzip"] * 50))], "protocol", 1),
    "not-gzip-at-all": ([answer(GZIP)], "protocol", 1),
    "brotli": ([answer("Content-Encoding: br")], "protocol", 1),
}
CODED_SLOPPY = {
    "x-gzip": [answer("Content-Encoding: x-gzip", body=PACKED)],
    "gzip-capitals": [answer("CONTENT-ENCODING: GZIP", body=PACKED)],
    "gzip-in-chunks": [chunked(chunks(PACKED, 7), GZIP)],
    "gzip-until-close": [answer(GZIP, body=PACKED, length=False)],
    "gzip-members": [answer(GZIP, body=PACKED_TWICE)],
    "gzip-with-name": [answer(GZIP, body=PACKED[:3] + b"\x08" + PACKED[4:10] + b"name\0" + PACKED[10:])],
    "gzip-identity-stays-open": [answer("Transfer-Encoding: identity", GZIP, body=PACKED), KEEP],
    "empty": [answer("Content-Encoding:")],
    "blank": [answer("Content-Encoding: \t ")],
    "deflate-instead": [answer("Content-Encoding: deflate", body=zlib.compress(BODY))],
}

# ---- the second answer to a job whose first one broke off after half of LARGE ----


def half(*fields):
    return [answer('ETag: "1"', *fields, body=LARGE)[:-150000], 0.1]


def rest(request, *fields, body=LARGE, span=None, data=None, etag='"1"', length=True):
    """A 206 with what is asked for, unless told otherwise."""
    start = int(request.header("Range").removeprefix("bytes=").rstrip("-"))
    span = f"bytes {start}-{len(body) - 1}/{len(body)}" if span is None else span.format(start)
    return [answer(f"ETag: {etag}", f"Content-Range: {span}", *fields, line="HTTP/1.1 206 Partial Content",
                   body=body[start:] if data is None else data, length=length)]


def second(make):
    """Whoever asks for the whole gets LARGE."""
    whole = [answer('ETag: "1"', body=LARGE)]
    return lambda request: half() if request.nth == 1 else make(request) if request.header("Range") else whole


def refusing(status):
    return second(lambda request: [answer(line=f"HTTP/1.1 {status} No", body=b"")])


# What the server has in the end, and how many attempts it takes.
SECOND = {
    "empty-now": (after(half(), [answer('ETag: "2"', body=b"")]), b"", 3),
    "empty-now-in-chunks": (after(half(), [chunked(b"0\r\n\r\n")]), b"", 3),
    "empty-now-203": (after(half(), [answer(body=b"", line="HTTP/1.1 203 Other")]), b"", 3),
    "smaller-now": (after(half(), [answer('ETag: "2"')]), BODY, 2),
    "another-without-name": (after(half(), [answer(body=OTHER)]), OTHER, 2),
    "part-without-name": (second(lambda r: rest(r, "X: y")), LARGE, 2),
    "part-in-chunks": (second(lambda r: rest(r, CHUNKED, data=chunks(LARGE[150000:], 20000), length=False)), LARGE, 2),
    "part-until-close": (second(lambda r: rest(r, length=False)), LARGE, 2),
    "part-of-unit-in-capitals": (second(lambda r: rest(r, span="Bytes {}-299999/300000")), LARGE, 2),
    "part-with-weak-name": (second(lambda r: rest(r, etag='W/"1"')), LARGE, 3),
    "part-of-another": (second(lambda r: rest(r, body=OTHER, etag='"2"')), LARGE, 3),
    "part-from-0": (second(lambda r: rest(r, span="bytes 0-299999/300000", data=LARGE)), LARGE, 3),
    "part-total-unknown": (second(lambda r: rest(r, span="bytes {}-299999/*")), LARGE, 3),
    "part-ends-early": (second(lambda r: rest(r, span="bytes {}-200000/300000", data=LARGE[150000:200001])), LARGE, 3),
    "part-ends-behind-total": (second(lambda r: rest(r, span="bytes {}-300010/300000")), LARGE, 3),
    "part-backwards": (second(lambda r: rest(r, span="bytes 299999-{}/300000")), LARGE, 3),
    "part-with-equals": (second(lambda r: rest(r, span="bytes={}-299999/300000")), LARGE, 3),
    "part-2-64": (second(lambda r: rest(r, span="bytes {}-18446744073709551615/18446744073709551616")), LARGE, 3),
    "part-with-two-spans": (second(lambda r: rest(r, "Content-Range: bytes 0-5/6")), LARGE, 3),
    "part-with-more": (second(lambda r: rest(r, data=LARGE[150000:] + b"more")), LARGE, 3),
    "part-in-chunks-with-more": (second(lambda r: rest(r, CHUNKED, data=chunks(LARGE[150000:] + b"more"), length=False)),
                                 LARGE, 3),
    "part-coded": (second(lambda r: rest(r, GZIP, data=OTHER[150000:])), LARGE, 3),
    "part-of-coded": (after(half(GZIP), lambda r: rest(r, GZIP)), LARGE, 2),
    "part-empty": (second(lambda r: rest(r, data=b"")), LARGE, 3),
    "part-without-empty-line": (second(lambda r: [b"HTTP/1.1 206 Part\r\nX: y\r\n"]), LARGE, 3),
    "grown-under-its-name": (second(lambda r: rest(r, body=LARGE + b"tail")), LARGE, 3),
    "digest-of-whole-wrong": (second(lambda r: rest(r, f"Repr-Digest: sha-256=:{sha256(LARGE)}:", body=OTHER)), LARGE, 3),
    "digests-of-part": (second(lambda r: rest(r, f"Content-Digest: sha-256=:{sha256(LARGE[150000:])}:")), LARGE, 2),
    "416-without-span": (refusing(416), LARGE, 3),
    **{f"{status}-to-parts": (refusing(status), LARGE, 3) for status in (204, 304, 400, 403, 405, 406, 412, 501)},
    "whole-cut-in-header": (second(lambda r: [b"HTTP/1.1 200 OK\r\nX: y\r\n"] if r.nth == 2 else rest(r)), LARGE, 3),
}

ALL = {**SLOPPY, **{name: row[0] for table in (HOSTILE, CODED, SECOND) for name, row in table.items()},
       **{"coded-" + name: steps for name, steps in CODED_SLOPPY.items()}}


@behaviour
async def raw(request, reply, name: str):
    steps = ALL[name]
    reply.keep = False
    for step in steps(request) if callable(steps) else steps:
        if step == RST:
            reply.reset()
        elif step == KEEP:
            reply.keep = True
        elif isinstance(step, bytes):
            await reply.raw(step)
        else:
            await asyncio.sleep(step)


# ---- every place at which an answer can end ----

SHORT = content("raw short", 40)
SHORT_PACKED = gzip.compress(SHORT, mtime=0)
CUTS = {
    "length": answer("X: y", body=SHORT),
    "line-feeds": answer("X: y", body=SHORT, end=b"\n"),
    "chunks": chunked(chunks(SHORT, 16)),
    "trailers": chunked(chunks(SHORT, 16, extension=b";a=b", last=b"0\r\nX: y\r\n\r\n")),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(body=SHORT),
    "gzip": answer(GZIP, body=SHORT_PACKED),
    "gzip-in-chunks": chunked(chunks(SHORT_PACKED, 16), GZIP),
    "gzip-until-close": answer(GZIP, body=SHORT_PACKED, length=False),
}


@behaviour
async def cut_at(request, reply, name: str, end: int, how: str):
    """The answer up to there; then FIN or RST."""
    await reply.raw(CUTS[name][:end])
    reply.close()
    if how == "rst":
        await asyncio.sleep(0.02)  # the bytes go out first
        reply.reset()
