"""Behaviours of the misbehaving server: answers sent as raw bytes, each with what a client must make of it.

RAW gives for each name the bytes and either what the file must hold or the name of the error.
"""

from behaviours import behaviour
from behaviours_answers import BODY

SIZE = f"{len(BODY):x}".encode()
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: 40\r\n"
ONE = SIZE + b"\r\n" + BODY + b"\r\n"
END = b"0\r\n\r\n"


def fields(*lines, status=OK):
    return status + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def chunks(data):
    return CHUNKED + data


RAW = {
    # lengths
    "length-hex": (fields(b"Content-Length: 0x28") + BODY, "protocol"),
    "length-blank-inside": (fields(b"Content-Length: 4 0") + BODY, "protocol"),
    "length-fraction": (fields(b"Content-Length: 40.0") + BODY, "protocol"),
    "length-list-differs": (fields(b"Content-Length: 40, 41") + BODY, "protocol"),
    "length-list-empty": (fields(b"Content-Length: ,40") + BODY, "protocol"),
    "length-vertical-tab": (fields(b"Content-Length:\x0b40") + BODY, "protocol"),
    "length-wraps": (fields(b"Content-Length: 18446744073709551656") + BODY, "protocol"),
    "length-exponent": (fields(b"Content-Length: 4e1") + BODY, "protocol"),
    "length-zeros": (fields(b"Content-Length: 0000040") + BODY, BODY),
    "length-twice-same": (fields(b"Content-Length: 40", b"Content-Length: 40") + BODY, BODY),
    "length-blanks": (fields(b"Content-Length: \t 40 \t") + BODY, BODY),
    "length-in-interim": (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n" + fields(b"Content-Length: 40") + BODY,
                          BODY),
    # transfer codings
    "coding-identity": (fields(b"Transfer-Encoding: identity") + BODY, BODY),
    "coding-empty": (fields(b"Transfer-Encoding:", b"Content-Length: 40") + BODY, "protocol"),
    "coding-twice-in-one": (fields(b"Transfer-Encoding: chunked, chunked") + ONE + END, "protocol"),
    "coding-gzip-chunked": (fields(b"Transfer-Encoding: gzip, chunked") + ONE + END, "protocol"),
    "coding-parameter": (fields(b"Transfer-Encoding: chunked;q=1") + ONE + END, "protocol"),
    "coding-vertical-tab": (fields(b"Transfer-Encoding: \x0bchunked") + ONE + END, "protocol"),
    "coding-in-1.0": (fields(b"Transfer-Encoding: chunked", status=b"HTTP/1.0 200 OK\r\n") + ONE + END, "protocol"),
    "coding-upper-case": (fields(b"TRANSFER-ENCODING: CHUNKED") + ONE + END, BODY),
    "coding-folded": (fields(b"Transfer-Encoding:", b" chunked") + ONE + END, "protocol"),
    # chunks
    "chunk-hex-prefix": (chunks(b"0x28\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-tail": (chunks(SIZE + b"xyz\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-minus": (chunks(b"-28\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-plus": (chunks(b"+28\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-blank-before": (chunks(b" 28\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-blank-inside": (chunks(b"2 8\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-empty": (chunks(b"\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-underscore": (chunks(b"2_8\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-wraps": (chunks(b"10000000000000028\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-negative": (chunks(b"ffffffffffffffff\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-bare-lf": (chunks(SIZE + b"\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-bare-cr": (chunks(SIZE + b"\r" + BODY + b"\r\n" + END), "protocol"),
    "chunk-size-nul": (chunks(SIZE + b"\0\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-zero-first": (chunks(b"0 28\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-end-missing": (chunks(SIZE + b"\r\n" + BODY + END), "protocol"),
    "chunk-end-bare-lf": (chunks(SIZE + b"\r\n" + BODY + b"\n" + END), "protocol"),
    "chunk-too-short": (chunks(b"20\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-too-long": (chunks(b"2d\r\n" + BODY + b"\r\n" + END), "partial"),
    "chunk-extension-lf": (chunks(SIZE + b";a\n" + b"x" + b"\r\n" + BODY + b"\r\n" + END), "protocol"),
    "chunk-cut-in-size": (chunks(ONE + b"2"), "partial"),
    "chunk-cut-at-end": (chunks(ONE), "partial"),
    "chunk-cut-in-last": (chunks(ONE + b"0\r\n"), "partial"),
    "chunk-cut-in-trailer": (chunks(ONE + b"0\r\nX-Trailer: a\r\n"), "partial"),
    "chunk-trailer-without-colon": (chunks(ONE + b"0\r\nno field\r\n\r\n"), "protocol"),
    "chunk-trailer-nul": (chunks(ONE + b"0\r\nX: a\0b\r\n\r\n"), "protocol"),
    "chunk-extension": (chunks(SIZE + b';name="va;lue";other\r\n' + BODY + b"\r\n0;last\r\n\r\n"), BODY),
    "chunk-blanks-behind": (chunks(SIZE + b"  \r\n" + BODY + b"\r\n" + END), BODY),
    "chunk-zeros": (chunks(b"000000" + SIZE + b"\r\n" + BODY + b"\r\n0000\r\n\r\n"), BODY),
    "chunk-upper-case": (chunks(b"A\r\n" + BODY[:10] + b"\r\n1E\r\n" + BODY[10:] + b"\r\n" + END), BODY),
    "chunk-trailers": (chunks(ONE + b"0\r\nX-Trailer: a\r\nContent-Length: 3\r\nLocation: /x\r\n\r\n"), BODY),
    "chunk-bytes": (chunks(b"".join(b"1\r\n%c\r\n" % c for c in BODY) + END), BODY),
    # fields
    "field-blank-in-name": (fields(b"X Y: z", b"Content-Length: 40") + BODY, BODY),
    "field-tab-before-colon": (fields(b"Content-Length\t: 40") + BODY, "protocol"),
    "field-control-in-name": (fields(b"X\x01: z", b"Content-Length: 40") + BODY, BODY),
    "field-high-in-name": (fields(b"X\xe9: z", b"Content-Length: 40") + BODY, BODY),
    "field-nul-first": (fields(b"Content-Length: 40", b"\0: x") + BODY, "partial"),
    "field-cr-cr-lf": (fields(b"Content-Length: 40\r") + BODY, "protocol"),
    "field-folded": (fields(b"Content-Length: 40", b"X-Long: one", b" two") + BODY, BODY),
    "field-text-high": (fields(b"Content-Length: 40", b"X-Text: \xe9\xff") + BODY, BODY),
    "field-lf-only": (b"HTTP/1.1 200 OK\nContent-Length: 40\n\n" + BODY, BODY),
    "field-cut": (OK + b"Content-Length: 40\r\n", "partial"),
    "field-cut-in-name": (OK + b"Content-Len", "partial"),
    # status lines
    "status-two-digits": (fields(LENGTH[:-2], status=b"HTTP/1.1 20 OK\r\n") + BODY, "protocol"),
    "status-four-digits": (fields(LENGTH[:-2], status=b"HTTP/1.1 2000 OK\r\n") + BODY, "protocol"),
    "status-zero-first": (fields(LENGTH[:-2], status=b"HTTP/1.1 0200 OK\r\n") + BODY, "protocol"),
    "status-below-100": (fields(LENGTH[:-2], status=b"HTTP/1.1 099 OK\r\n") + BODY, "protocol"),
    "status-negative": (fields(LENGTH[:-2], status=b"HTTP/1.1 -20 OK\r\n") + BODY, "protocol"),
    "status-none": (fields(LENGTH[:-2], status=b"HTTP/1.1\r\n") + BODY, "protocol"),
    "status-two-blanks": (fields(LENGTH[:-2], status=b"HTTP/1.1  200 OK\r\n") + BODY, "protocol"),
    "status-tab": (fields(LENGTH[:-2], status=b"HTTP/1.1\t200 OK\r\n") + BODY, "protocol"),
    "status-nul": (fields(LENGTH[:-2], status=b"HTTP/1.1 200 O\0K\r\n") + BODY, "protocol"),
    "status-cr": (fields(LENGTH[:-2], status=b"HTTP/1.1 200 O\rK\r\n") + BODY, "protocol"),
    "status-folded": (b"HTTP/1.1\r\n 200 OK\r\n" + LENGTH + b"\r\n" + BODY, "protocol"),
    "status-bare": (fields(LENGTH[:-2], status=b"HTTP/1.1 200\r\n") + BODY, BODY),
    "status-999": (fields(LENGTH[:-2], status=b"HTTP/1.1 999 Odd\r\n") + BODY, "http"),
    "status-299": (fields(LENGTH[:-2], status=b"HTTP/1.1 299 Odd\r\n") + BODY, "http"),
    "version-9.9": (fields(LENGTH[:-2], status=b"HTTP/9.9 200 OK\r\n") + BODY, "protocol"),
    "version-1.9": (fields(LENGTH[:-2], status=b"HTTP/1.9 200 OK\r\n") + BODY, "protocol"),
    "version-0.9": (fields(LENGTH[:-2], status=b"HTTP/0.9 200 OK\r\n") + BODY, "protocol"),
    "version-2": (fields(LENGTH[:-2], status=b"HTTP/2 200 OK\r\n") + BODY, "protocol"),
    "version-2.0": (fields(LENGTH[:-2], status=b"HTTP/2.0 200 OK\r\n") + BODY, "protocol"),
    "version-1": (fields(LENGTH[:-2], status=b"HTTP/1 200 OK\r\n") + BODY, "protocol"),
    "version-11": (fields(LENGTH[:-2], status=b"HTTP/11 200 OK\r\n") + BODY, "protocol"),
    "version-1.10": (fields(LENGTH[:-2], status=b"HTTP/1.10 200 OK\r\n") + BODY, "protocol"),
    "version-lower-case": (fields(LENGTH[:-2], status=b"http/1.1 200 OK\r\n") + BODY, "protocol"),
    "version-icy": (fields(LENGTH[:-2], status=b"ICY 200 OK\r\n") + BODY, "protocol"),
    "version-rtsp": (fields(LENGTH[:-2], status=b"RTSP/1.0 200 OK\r\n") + BODY, "protocol"),
    # statuses and what goes with them
    "interim-with-body": (b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + fields(b"Content-Length: 40") + BODY,
                          "protocol"),
    "interim-only": (b"HTTP/1.1 103 Early Hints\r\n\r\n", "reset"),
    "interim-199": (b"HTTP/1.1 199 Odd\r\n\r\n" + fields(b"Content-Length: 40") + BODY, BODY),
    "switch-then-file": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + fields(b"Content-Length: 40") + BODY,
                         "protocol"),
    "no-content-with-body": (fields(b"Content-Length: 40", status=b"HTTP/1.1 204 No Content\r\n") + BODY, "http"),
    "reset-content-with-body": (fields(b"Content-Length: 40", status=b"HTTP/1.1 205 Reset Content\r\n") + BODY, "http"),
    "not-modified-with-body": (fields(b"Content-Length: 40", status=b"HTTP/1.1 304 Not Modified\r\n") + BODY, "protocol"),
    "part-in-parts": (fields(b"Content-Type: multipart/byteranges; boundary=x", b"Content-Length: 40",
                             status=b"HTTP/1.1 206 Partial Content\r\n") + BODY, "protocol"),
    "parts-as-whole": (fields(b"Content-Type: multipart/byteranges; boundary=x", b"Content-Length: 40") + BODY, BODY),
    "range-that-is-whole": (fields(b"Content-Range: bytes 0-39/40", b"Content-Length: 40") + BODY, BODY),
    "range-of-whole": (fields(b"Content-Range: bytes 10-49/80", b"Content-Length: 40") + BODY, "protocol"),
    "place-empty": (fields(b"Location:", b"Content-Length: 0", status=b"HTTP/1.1 302 Found\r\n"), "redirect"),
    "choices": (fields(b"Content-Length: 40", status=b"HTTP/1.1 300 Multiple Choices\r\n") + BODY, "redirect"),
    "proxy-only": (fields(b"Content-Length: 40", status=b"HTTP/1.1 305 Use Proxy\r\n") + BODY, "protocol"),
    # ends
    "length-too-long": (fields(b"Content-Length: 41") + BODY, "partial"),
    "length-too-short": (fields(b"Content-Length: 40") + BODY + b"more", BODY),
    "until-close": (fields(b"Connection: close") + BODY, BODY),
}


@behaviour
async def framed(request, reply, name: str):
    await reply.raw(RAW[name][0])
    reply.close()
