"""The server of the soak: /N is a file that depends on N alone; a fifth of its answers are no good. It remembers, for
each N, how often it sent the file to its end, and what else it answered.

Run by soak.py: `python3 server.py PORT LOG SEED`. On SIGTERM it writes LOG and ends.
"""

import asyncio
import hashlib
import json
import random
import signal
import sys

ERRORS = 0.2  # of all answers
GONE = 50  # every so many files there is none: 404, for good; these are among the errors
BIG = 40  # every so many is large enough to be gone on with


def size_of(n):
    return 150_000 + n % 7919 if n % BIG == 7 else 60 + n * 7919 % 4001


def is_gone(n):
    return n % GONE == 13


def body_of(n):
    size = size_of(n)
    block = hashlib.sha256(b"%d" % n).digest()
    return (block * (size // len(block) + 1))[:size]


class Log:
    def __init__(self):
        self.whole, self.bad, self.requests, self.kinds = {}, {}, 0, {}

    def error(self, n, kind):
        self.bad[n] = self.bad.get(n, 0) + 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def write(self, path):
        with open(path, "w") as file:
            json.dump({"whole": self.whole, "bad": self.bad, "requests": self.requests, "kinds": self.kinds}, file)


class Connection(asyncio.Protocol):
    """Requests one after another, also pipelined; a connection may end by an error."""

    log, random = None, None

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while b"\r\n\r\n" in self.buffer and not self.transport.is_closing():
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            self.request(head)

    def request(self, head):
        lines = head.split(b"\r\n")
        n = int(lines[0].split(b" ")[1][1:])
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
        self.log.requests += 1
        if is_gone(n):
            self.log.error(n, "404")
            self.answer(b"404 Not Found", b"gone")
        elif self.random.random() < (ERRORS - 1 / GONE) / (1 - 1 / GONE):
            self.fail(n, headers)
        else:
            self.serve(n, headers)

    def answer(self, status, body, more=b"", length=None):
        self.transport.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" %
                             (status, len(body) if length is None else length, more, body))

    def part(self, n, headers):
        """What is asked for of the file: its bytes, status, and headers."""
        body, tag = body_of(n), b'"%d"' % n
        more = b"ETag: %s\r\n" % tag
        asked = headers.get(b"range", b"")
        if not asked or headers.get(b"if-range", tag) != tag:
            return b"200 OK", body, more
        start = int(asked.removeprefix(b"bytes=").split(b"-")[0])
        if start >= len(body):
            return b"200 OK", body, more
        more += b"Content-Range: bytes %d-%d/%d\r\n" % (start, len(body) - 1, len(body))
        return b"206 Partial Content", body[start:], more

    def serve(self, n, headers):
        status, body, more = self.part(n, headers)
        self.log.whole[n] = self.log.whole.get(n, 0) + 1
        self.answer(status, body, more)

    def fail(self, n, headers):
        kind = self.random.choice(["500", "503", "429", "cut", "reset", "silence"])
        self.log.error(n, kind)
        if kind in ("500", "503", "429"):
            self.answer(b"%s Try Again" % kind.encode(), b"not now")
        elif kind == "cut":
            status, body, more = self.part(n, headers)
            self.answer(status, body[:len(body) * 3 // 4], more, len(body))
            self.transport.close()
        elif kind == "reset":
            self.transport.abort()
        else:
            self.transport.close()


async def main(port, path, seed):
    Connection.log, Connection.random = Log(), random.Random(seed)
    loop = asyncio.get_running_loop()
    stop = loop.create_future()
    loop.add_signal_handler(signal.SIGTERM, lambda: stop.done() or stop.set_result(None))
    await loop.create_server(Connection, "0.0.0.0", port, backlog=4096)
    print("ready", flush=True)
    await stop
    Connection.log.write(path)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
