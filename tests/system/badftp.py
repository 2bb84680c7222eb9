"""An FTP server that misbehaves, one way for each first part of a path; runs in a thread.

    ftp://127.0.0.1:PORT/BEHAVIOUR/ARGUMENT/.../NAME

Each function below is how RETR is answered. It is given the session, the number of the attempt (from 1) and
the path's arguments as its annotations have it. `size`, `mdtm`, `rest`, `epsv` of a behaviour, where there are
any, answer these commands: a function of the session, which returns the reply's text. A server that errs before
there is a path listens on a port of its own: url(path, at="MODE").
"""

import asyncio
import inspect
import socket
import ssl
import threading
from urllib.parse import quote, unquote

from support import content

GOOD_SIZE = 20000
OLD = "20230102100000"
OLD_SECONDS = 1672653600
FOREVER = 3600
LONG = 1 << 20

BEHAVIOURS = {}


def behaviour(**commands):
    def keep(function):
        function.commands = commands
        BEHAVIOURS[function.__name__.replace("_", "-")] = function
        return function
    return keep


def no_size(_):
    return "502 SIZE is not known here"


class Session:
    def __init__(self, server, reader, writer, mode, tls=None):
        self.server, self.reader, self.writer, self.mode, self.tls = server, reader, writer, mode, tls
        self.cwd, self.rest, self.name, self.data, self.user = [], 0, None, None, None

    async def say(self, text):
        self.writer.write(text.encode("latin-1") + b"\r\n")
        await self.writer.drain()

    @property
    def path(self):
        return "/" + "/".join(map(quote, [*self.cwd, self.name or ""]))

    @property
    def behaviour(self):
        return BEHAVIOURS.get(self.cwd[0] if self.cwd else "", good)

    def good(self, size=GOOD_SIZE, version=""):
        return content(self.path + version, size)

    async def send(self, data, end=True):
        """Bytes over the data connection."""
        _, writer = await asyncio.wait_for(self.data, 10)
        writer.write(data)
        await writer.drain()
        if end:
            writer.close()
            await writer.wait_closed()

    async def whole(self, data):
        await self.say("150 here it comes")
        await self.send(data)
        await self.say("226 done")

    # ---- commands ----

    async def listen(self):
        self.data = asyncio.get_running_loop().create_future()

        async def accept(reader, writer):
            if not self.data.done():
                self.data.set_result((reader, writer))
        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=self.tls)
        self.server.listeners.append(server)
        return server.sockets[0].getsockname()[1]

    async def on_epsv(self, _):
        answer = self.behaviour.commands.get("epsv")
        if answer:
            await self.say(answer(self))
        else:
            await self.say(f"229 go on (|||{await self.listen()}|)")

    async def on_pasv(self, _):
        port = await self.listen()
        host = self.behaviour.commands.get("pasv", "127,0,0,1")
        await self.say(f"227 go on ({host},{port >> 8},{port & 255})")

    async def on_user(self, name):
        self.user = name
        if self.mode == "login":
            await self.say("331 a password, please")
        elif self.mode in ("530", "421"):
            await self.say(f"{self.mode} nobody gets in")
        else:
            await self.say("331 anything will do")

    async def on_pass(self, word):
        good = self.mode != "login" or (self.user, word) == ("anna", "se:cret")
        await self.say("230 welcome" if good else "530 wrong name or password")

    async def on_cwd(self, name):
        self.cwd += [] if name == "/" else [part for part in name.split("/") if part]
        await self.say("250 there")

    async def on_rest(self, where):
        answer = self.behaviour.commands.get("rest")
        if answer:
            await self.say(answer(self))
            return
        self.rest = int(where)
        await self.say("350 go on")

    async def on_size(self, name):
        self.name = name
        answer = self.behaviour.commands.get("size")
        await self.say(answer(self) if answer else f"213 {GOOD_SIZE}")

    async def on_mdtm(self, name):
        self.name = name
        answer = self.behaviour.commands.get("mdtm")
        await self.say(answer(self) if answer else f"213 {OLD}")

    async def on_retr(self, name):
        self.name = name
        self.server.counts[self.path] = attempt = self.server.counts.get(self.path, 0) + 1
        function = self.behaviour
        wanted = list(inspect.signature(function).parameters.values())[2:]
        args = [p.annotation(value) for p, value in zip(wanted, self.cwd[1:])]
        await function(self, attempt, *args)
        self.rest = 0

    # ---- all ----

    async def run(self):
        if self.mode == "silent":
            await asyncio.sleep(FOREVER)
        elif self.mode == "garbage":
            self.writer.write(bytes(range(256)) * 100 + b"\r\n")
        elif self.mode == "endless-line":
            while True:
                self.writer.write(b"2" * LONG)
                await self.writer.drain()
        elif self.mode == "endless-lines":
            while True:
                await self.say("220-" + "welcome " * 100)
        elif self.mode == "busy":
            await self.say("421 too many are here")
            return
        else:
            await self.say("220 bad things happen here")
        while line := (await self.reader.readline()).decode("latin-1").rstrip("\r\n"):
            self.server.log.append(line)
            command, _, argument = line.partition(" ")
            if self.mode == command.lower():
                await asyncio.sleep(FOREVER)
            function = getattr(self, f"on_{command.lower()}", None)
            if function:
                await function(argument)
            elif command == "PWD":
                await self.say('257 "/"')
            elif command == "PBSZ" or (command == "PROT" and self.mode != "clear"):
                await self.say("200 yes")
            elif command == "QUIT":
                await self.say("221 bye")
            else:
                await self.say("200 yes" if command == "TYPE" else "502 what?")


# ---- good ----


@behaviour()
async def good(s, attempt):
    await s.whole(s.good()[s.rest:])


@behaviour(size=no_size, mdtm=lambda s: "502 no")
async def plain(s, attempt):
    """Knows none of the younger commands."""
    await s.whole(s.good())


@behaviour()
async def long_line(s, attempt):
    await s.say("150-" + "x" * LONG + "\r\n150 here it comes")
    await s.send(s.good())
    await s.say("226 done")


@behaviour(epsv=lambda s: "502 no", pasv="10,9,8,7")
async def bounce(s, attempt):
    """PASV leads to another host, as its address goes; the port is ours."""
    await s.whole(s.good())


# ---- cut short, or too long ----


@behaviour()
async def cut(s, attempt, n: int, code: int):
    """The data connection ends early, and then it says CODE."""
    await s.say("150 here it comes")
    await s.send(s.good()[:n])
    await s.say(f"{code} that was it")


@behaviour(size=no_size)
async def cut_unannounced(s, attempt, n: int, code: int):
    await cut(s, attempt, n, code)


@behaviour(size=no_size)
async def opening(s, attempt, size: int):
    """The size is announced in the 150 line alone."""
    await s.say(f"150 Opening BINARY mode data connection for x ({size} bytes).")
    await s.send(s.good())
    await s.say("226 done")


@behaviour(size=lambda s: f"213 {s.cwd[1]}")
async def announce(s, attempt, size: int):
    """SIZE says another number."""
    await s.whole(s.good())


@behaviour()
async def hang_up(s, attempt, n: int):
    """Both connections end in mid-file."""
    await s.say("150 here it comes")
    await s.send(s.good()[:n], end=False)
    s.writer.transport.abort()
    (await s.data)[1].transport.abort()


async def cut_tls(s, missing):
    """All bytes but the last few, and the end of the connection without the end of TLS."""
    await s.say("150 here it comes")
    await s.send(s.good()[:GOOD_SIZE - missing], end=False)
    writer = (await s.data)[1]
    await asyncio.sleep(0.1)
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await s.say("226 done")


@behaviour()
async def tls_cut(s, attempt, missing: int):
    await cut_tls(s, missing)


@behaviour(size=no_size)
async def tls_cut_unannounced(s, attempt, missing: int):
    await cut_tls(s, missing)


@behaviour()
async def endless(s, attempt):
    await s.say("150 here it comes")
    while True:
        await s.send(bytes(65536), end=False)


@behaviour(size=no_size)
async def endless_unannounced(s, attempt):
    await endless(s, attempt)


# ---- silence ----


@behaviour()
async def silent_retr(s, attempt):
    await asyncio.sleep(FOREVER)


@behaviour()
async def silent_data(s, attempt):
    await s.say("150 here it comes")
    await asyncio.sleep(FOREVER)


@behaviour()
async def silent_end(s, attempt):
    """The file is there, but it never says so."""
    await s.say("150 here it comes")
    await s.send(s.good())
    await asyncio.sleep(FOREVER)


@behaviour()
async def drip(s, attempt):
    await s.say("150 here it comes")
    for byte in s.good():
        await s.send(bytes([byte]), end=False)
        await asyncio.sleep(0.05)


# ---- replies ----


@behaviour()
async def code(s, attempt, number: int):
    await s.say(f"{number} no")


@behaviour()
async def flaky(s, attempt, number: int, times: int):
    if attempt <= times:
        await s.say(f"{number} not now")
    else:
        await s.whole(s.good())


@behaviour()
async def garbage(s, attempt):
    s.writer.write(bytes(b for b in range(256) if b not in b"\r\n") + b"\r\n")
    s.writer.close()


@behaviour()
async def endless_lines(s, attempt):
    for _ in range(100000):
        await s.say("150-" + "x" * 60)
    await s.whole(s.good())


@behaviour()
async def endless_line(s, attempt):
    while True:
        s.writer.write(b"1" * LONG)
        await s.writer.drain()


# ---- parts ----


def _options(s):
    return s.cwd[4].split(",")


def _version(s):
    changed = "changes" in _options(s) and s.server.counts.get(s.path, 0) >= 1
    return "2" if changed else "1"


def _parts_size(s):
    grown = "grows" in _options(s) and s.server.counts.get(s.path, 0) >= 1
    return no_size(s) if "nosize" in _options(s) else f"213 {int(s.cwd[1]) + grown}"


def _parts_mdtm(s):
    if "nomdtm" in _options(s):
        return "502 no"
    return "213 " + ("20230102100001" if _version(s) == "2" else "20990101000000" if "young" in _options(s) else OLD)


def _parts_rest(s):
    if "norest" in _options(s):
        return "502 no"
    s.rest = 0 if "lies" in _options(s) else None
    return "350 go on"


@behaviour(size=_parts_size, mdtm=_parts_mdtm, rest=_parts_rest)
async def parts(s, attempt, size: int, cut: int, cuts: int, options: str):
    """The first `cuts` attempts end after `cut` bytes. "restart at" is what REST said."""
    version = "1" if "changes" not in options or attempt == 1 else "2"
    data = content(s.path + version, size + ("grows" in options and attempt > 1))
    rest = 0
    if s.rest is None:
        rest = int(next(line for line in reversed(s.server.log) if line.startswith("REST")).split()[1])
    await s.say("150 here it comes")
    if attempt <= cuts:
        await s.send(data[rest:][:cut])
        await s.say("426 it broke")
    else:
        await s.send(data[rest:])
        await s.say("226 done")


class BadFtp:
    MODES = ("silent", "garbage", "endless-line", "endless-lines", "busy", "login", "530", "421", "pass", "size")

    def __init__(self):
        self.log = []  # commands as they came
        self.counts = {}  # attempts, by path
        self.ports = {}
        self.listeners = []
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        assert self._started.wait(10)
        return self

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def url(self, path, at=""):
        return f"ftp://127.0.0.1:{self.ports[at]}{path}"

    def listen_tls(self, certificate, key, mode=""):
        """Serves the same over TLS, on one port more; returns the URL's beginning."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        port = asyncio.run_coroutine_threadsafe(self._open(mode, context), self._loop).result(10)
        return f"ftps://127.0.0.1:{port}"

    def commands(self, name):
        """The arguments of each command of that name that came."""
        return [line.partition(" ")[2] for line in list(self.log) if line.split(" ")[0] == name]

    def _run(self):
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen())
            self._started.set()
            self._loop.run_forever()
        finally:
            for listener in self.listeners:
                listener.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _listen(self):
        for mode in ("", *self.MODES):
            self.ports[mode] = await self._open(mode)

    async def _open(self, mode, tls=None):
        async def serve(reader, writer):
            try:
                await Session(self, reader, writer, mode, tls).run()
            except (ConnectionError, asyncio.TimeoutError, asyncio.CancelledError):
                pass  # clients may leave when they like, and the tests end
            finally:
                writer.close()
        listener = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024, ssl=tls)
        self.listeners.append(listener)
        return listener.sockets[0].getsockname()[1]
