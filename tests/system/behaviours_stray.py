"""Behaviours of the misbehaving server: answers that nobody asked for, sooner or later on a kept connection."""

import asyncio

from behaviours import behaviour, good_body
from behaviours_answers import BODY

_tasks = set()  # asyncio keeps no reference of its own


def answer(body, status="200 OK", fields="", chunked=False):
    if chunked:
        return f"HTTP/1.1 {status}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode() + body + \
            b"\r\n0\r\n\r\n"
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


STRAYS = {
    "other": answer(BODY),
    "chunked": answer(BODY, chunked=True),
    "empty": answer(b""),
    "missing": answer(b"gone", "404 Not Found"),
    "elsewhere": answer(b"", "302 Found", "Location: /other-file\r\n"),
    "timeout": answer(b"", "408 Request Timeout", "Connection: close\r\n"),
    "interim": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "half": answer(BODY)[:-20],
    "noise": b"\0\0 this is no answer at all \r\n\r\n",
    "byte": b"x",
}


@behaviour
async def late(request, reply, milliseconds: float, kind: str, turn: str):
    """The file, then a stray answer; turn is "before" the next request is read, or "beside" its answer."""
    body = good_body(request)
    stray = answer(body) if kind == "twice" else STRAYS[kind]

    async def send_stray():
        if milliseconds > 0:
            await asyncio.sleep(milliseconds / 1000)
        if not reply.writer.is_closing():
            reply.writer.write(stray)

    first = answer(body, chunked=kind == "chunked")
    if milliseconds == 0 and turn == "before":
        await reply.raw(first + stray)
        return
    await reply.raw(first)
    if turn == "before":
        await send_stray()
    else:
        task = asyncio.get_running_loop().create_task(send_stray())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)
    if kind == "timeout" and turn == "before":
        reply.close()


@behaviour
async def other_file(request, reply):
    await reply.raw(answer(BODY))
