"""What the misbehaving server can do about who asks: cookies, redirects that set them, challenges."""

import asyncio

from behaviours import FOREVER, behaviour, good_body

DIGEST = 'Digest realm="r", nonce="n{nth}", qop="auth", algorithm=MD5'


@behaviour
async def go(request, reply):
    """A redirect ?to=URL; ?cookie=NAME=VALUE; ATTRIBUTES goes with it."""
    cookie = request.query.get("cookie")
    await reply.whole(b"", 302, [("Location", request.query["to"])] + [("Set-Cookie", cookie)] * bool(cookie))


@behaviour
async def cookie(request, reply):
    """The file, and ?set=NAME=VALUE."""
    await reply.whole(good_body(request), headers=[("Set-Cookie", request.query["set"])])


@behaviour
async def stale(request, reply):
    """A challenge to a digest, and whatever comes is too old."""
    challenge = DIGEST.format(nth=request.nth) + (", stale=true" if request.header("Authorization") else "")
    await reply.whole(b"who are you?", 401, [("WWW-Authenticate", challenge)])


@behaviour
async def challenge(request, reply, fault: str):
    """A challenge to a digest with ?body= bytes, the connection's last word unless the fault is none; the first answer
    to what comes of it is no answer then, the next is the file."""
    if not request.header("Authorization"):
        reply.keep = fault == "none"
        fields = [("WWW-Authenticate", DIGEST.format(nth=1))] + [("Connection", "close")] * (not reply.keep)
        await reply.whole(bytes(int(request.query.get("body", 0))), 401, fields)
    elif fault == "none" or request.nth > 2:
        await reply.whole(good_body(request))
    elif fault == "reset":
        reply.reset()
    elif fault == "garbage":
        await reply.raw(b"garbage\r\n\r\n")
        reply.close()
    elif fault == "silent":
        await asyncio.sleep(FOREVER)
    else:
        reply.close()


@behaviour
async def endless_challenge(request, reply):
    await reply.head(401, [("WWW-Authenticate", DIGEST.format(nth=1)), ("Transfer-Encoding", "chunked")])
    while True:
        await reply.chunk(b"x" * 10000)
        await asyncio.sleep(0.001)
