"""Behaviours of the misbehaving server: digests promised, files in parts."""

import asyncio
from base64 import b64encode
from email.utils import formatdate
from hashlib import sha256

from behaviours import FOREVER, behaviour, good_body
from support import content

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

    ?etag=, ?modified=, ?date= say how the version is named; ?changes=N: after N requests it is another one,
    ?back=N: after N the first one again;
    ?vouch=: with a Repr-Digest (first: whole answers only; wrong: likewise, and it is another file's);
    ?header=: whole answers have a Content-Disposition with that name, and a Last-Modified (OLD); ?rate=: bytes a second (?rates=N: of the first N answers only); ?fault=: what is wrong with answers to requests for a part.
    """
    query = request.query
    fault = query.get("fault", "")
    version = "2" if int(query.get("changes", FOREVER)) < request.nth <= int(query.get("back", FOREVER)) else "1"
    body = content(request.path + version, size)
    etag = query.get("etag", "").replace("VERSION", version)
    modified = query.get("modified")
    headers = [("Date", query.get("date", formatdate(usegmt=True)))]
    headers += [("ETag", etag)] if etag else []
    headers += [("Last-Modified", modified)] if modified else []
    start = 0 if fault == "ignores" else range_of(request, etag, modified)
    if "vouch" in query and (query["vouch"] not in ("first", "wrong") or start == 0):
        vouched = body if query["vouch"] != "wrong" else b"other"
        headers.append(("Repr-Digest", f"sha-256=:{b64encode(sha256(vouched).digest()).decode()}:"))
    if "header" in query and start == 0:
        headers += [("Content-Disposition", f"attachment; filename={query['header']}"), ("Last-Modified", OLD)]
    if start >= size:
        await reply.whole(b"no", 416, [*headers, ("Content-Range", f"bytes */{size}")])
        return
    if fault in ("416", "503", "404", "410") and request.header("Range") and request.nth == 2:
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
        if "rate" in query and request.nth <= int(query.get("rates", FOREVER)):
            await asyncio.sleep(step / float(query["rate"]))
    if end < size:
        reply.close()


@behaviour
async def turns(request, reply):
    """Redirects: the first request to ?1=URL, the second and all later ones to ?2=URL."""
    await reply.whole(b"", 302, [("Location", request.query["1" if request.nth == 1 else "2"])])
