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
import ssl
import sys
import threading
from urllib.parse import unquote


import behaviours_answers  # noqa: F401 (their behaviours register themselves)
import behaviours_auth  # noqa: F401
import behaviours_files  # noqa: F401
import behaviours_raw  # noqa: F401
import behaviours_segments  # noqa: F401
import behaviours_framing  # noqa: F401
import behaviours_stray  # noqa: F401
from behaviours import BEHAVIOURS, FOREVER, Reply, Request


class BadServer:
    """Runs in a thread of its own. The log may be read at any time."""

    def __init__(self, port=0):
        self.log = []
        self.port = port
        self.silent_port = None  # accepts connections and never reads
        self._counts = {}
        self._connections = 0
        self.owed = set()  # paths whose answers were never sent
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
                # asyncio closes a TLS connection as soon as the client has said its last word: what is written then
                # is dropped, and the answer is owed for ever.
                if reply.keep and writer.transport.is_closing():
                    self.owed.add(request.path)
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
