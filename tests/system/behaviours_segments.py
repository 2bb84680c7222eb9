"""Behaviours of the misbehaving server: a large file that may be had in ranges."""

import asyncio
from functools import lru_cache

from behaviours import FOREVER, behaviour
from support import MIB, content

STEP = 1 << 16
body_of = lru_cache(4)(content)
running = {}  # requests that are being answered, by path


def span(request, size):
    """[begin, end) of the range asked for; None: the whole."""
    wanted = request.header("Range")
    if not wanted:
        return None
    begin, _, last = wanted.removeprefix("bytes=").partition("-")
    return int(begin), int(last) + 1 if last else size


@behaviour
async def ranges(request, reply, size: int):
    """A file with an ETag and ranges; ?rate=: bytes a second of each answer.

    ?fault=: what is wrong with the answers to requests number ?from= (2) to ?to= (all): 416, 503, 404 (that status),
    ignores (the whole instead), first, total, etag, short (another range, size or version than asked for), unnamed
    (no version), wrong (another version's bytes under this one's name),
    stall, reset (after ?after= bytes, 1 MiB), silent (no answer), chunked. ?most=N: 503 where more than N are answered at once.
    ?changes=N: another version from request N on. ?accept=: of Accept-Ranges.
    """
    query = request.query
    faulty = int(query.get("from", 2)) <= request.nth <= int(query.get("to", FOREVER))
    fault = query.get("fault", "") if faulty else ""
    version = "2" if request.nth >= int(query.get("changes", FOREVER)) else "1"
    etag = f'"{version}"'
    headers = [("ETag", etag), ("Accept-Ranges", query.get("accept", "bytes"))]
    running[request.path] = running.get(request.path, 0) + 1
    try:
        if running[request.path] > int(query.get("most", FOREVER)):
            fault = "503"
        wanted = span(request, size)
        if fault == "silent":
            await asyncio.sleep(FOREVER)
        if fault.isdigit():
            await reply.whole(b"no", int(fault), headers)
            return
        if fault == "ignores" or request.header("If-Range") not in (None, etag):
            wanted = None
        begin, end = wanted or (0, size)
        body = memoryview(body_of(request.path + (version if fault != "wrong" else "3"), size))[begin:end]
        if wanted:
            first, last, total = begin, end - 1, size
            first -= fault == "first"
            total += fault == "total"
            last -= fault == "short"
            if fault == "etag":
                headers[0] = ("ETag", '"other"')
            if fault == "unnamed":
                headers = headers[1:]
            headers.append(("Content-Range", f"bytes {first}-{last}/{total}"))
        chunked = fault == "chunked"
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", len(body))
        await reply.head(206 if wanted else 200, [*headers, framing])
        after = int(query.get("after", MIB)) if fault in ("stall", "reset") else size
        for at in range(0, len(body), STEP):
            if at >= after:
                if fault == "stall":
                    await asyncio.sleep(1000)
                reply.close()
                return
            await (reply.chunk if chunked else reply.raw)(bytes(body[at:at + STEP]))
            if "rate" in query:
                await asyncio.sleep(STEP / float(query["rate"]))
        if chunked:
            await reply.raw(b"0\r\n\r\n")
    finally:
        running[request.path] -= 1
