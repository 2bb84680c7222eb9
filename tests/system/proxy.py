"""A small proxy: HTTP, CONNECT and SOCKS5 on one port, with names of its own and a log of what was asked.

Also Cutter, which passes connections on to a server and resets the first ones.
"""

import asyncio
import base64
import socket
import ssl
import struct
import threading
from urllib.parse import urlsplit


def basic(password):
    return "Basic " + base64.b64encode(password.encode()).decode()


class _Threaded:
    """An asyncio server in a thread of its own."""

    def __init__(self):
        self.port = None
        self.tls = None  # ssl.SSLContext
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve_quietly, "127.0.0.1", 0, ssl=self.tls))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve_quietly(self, reader, writer):
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _pass_on(self, reader, writer, other_reader, other_writer):
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()


class Proxy(_Threaded):
    """names: host name -> (address, port) to which all ports of that name lead. log: (kind, host, port)."""

    def __init__(self, names=None, refuse=None, certificate=None, key=None, password=None):
        super().__init__()
        self.password = password  # "user:password" that is asked for
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate, key)
        self.names = names or {}
        self.refuse = refuse  # status for every CONNECT
        self.log = []
        self.authorizations = []
        self.connections = 0

    def url(self, scheme="http", user=""):
        return f"{scheme}://{user}127.0.0.1:{self.port}"

    def kinds(self):
        return [kind for kind, _, _ in self.log]

    async def _connect(self, kind, host, port):
        self.log.append((kind, host, port))
        return await asyncio.open_connection(*self.names.get(host, (host, port)))

    async def _serve(self, reader, writer):
        self.connections += 1
        first = await reader.readexactly(1)
        if first == b"\x05":
            await self._socks(reader, writer)
        else:
            await self._http(first, reader, writer)

    async def _socks(self, reader, writer):
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x02" if self.password else b"\x05\x00")
        if self.password and not await self._socks_password(reader, writer):
            return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        elif kind == 1:
            host = socket.inet_ntop(socket.AF_INET, await reader.readexactly(4))
        else:
            host = socket.inet_ntop(socket.AF_INET6, await reader.readexactly(16))
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        try:
            other = await self._connect(f"socks-{('', 'ipv4', '', 'name', 'ipv6')[kind]}", host, port)
        except OSError:
            writer.write(b"\x05\x04\x00\x01" + bytes(6))
            return
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await self._pass_on(reader, writer, *other)

    async def _socks_password(self, reader, writer):
        await reader.readexactly(1)
        user, password = [(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in range(2)]
        self.authorizations.append(f"{user}:{password}")
        writer.write(b"\x01\x00" if self.authorizations[-1] == self.password else b"\x01\x01")
        return self.authorizations[-1] == self.password

    async def _http(self, first, reader, writer):
        """Requests one after the other, until a CONNECT takes the connection."""
        while True:
            head = first + await reader.readuntil(b"\r\n\r\n")
            first = b""
            line, *fields = head.decode("latin-1").split("\r\n")[:-2]
            method, target, _ = line.split(" ", 2)
            self.authorizations += [f for f in fields if f.lower().startswith("proxy-authorization:")]
            if self.password and basic(self.password) not in [f.partition(": ")[2] for f in fields]:
                writer.write(b"HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic realm=r\r\nContent-Length: 0\r\n\r\n")
                continue
            if method == "CONNECT":
                await self._tunnel(target, reader, writer)
                return
            await self._forward(target, fields, writer)

    async def _tunnel(self, target, reader, writer):
        host, _, port = target.rpartition(":")
        if self.refuse:
            self.log.append(("connect", host, int(port)))
            writer.write(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\n\r\n" % self.refuse)
            return
        other = await self._connect("connect", host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await self._pass_on(reader, writer, *other)

    async def _forward(self, target, fields, writer):
        """One request by a connection of its own; the answer must have a Content-Length."""
        parts = urlsplit(target)
        other_reader, other_writer = await self._connect("get", parts.hostname, parts.port or 80)
        path = parts.path + ("?" + parts.query if parts.query else "")
        keep = [f for f in fields if not f.lower().startswith(("proxy-", "connection:"))]
        other_writer.write(("\r\n".join([f"GET {path} HTTP/1.1", *keep]) + "\r\n\r\n").encode("latin-1"))
        head = await other_reader.readuntil(b"\r\n\r\n")
        length = next(int(f.split(":")[1]) for f in head.decode("latin-1").split("\r\n")
                      if f.lower().startswith("content-length:"))
        writer.write(head + await other_reader.readexactly(length))
        await writer.drain()
        other_writer.close()


class Cutter(_Threaded):
    """Passes connections on to a port; the first ones are ended after the client's first bytes, by RST or by FIN."""

    def __init__(self, port, times, reset=True):
        super().__init__()
        self.target, self.times, self.reset = port, times, reset
        self.connections = 0

    async def _serve(self, reader, writer):
        self.connections += 1
        if self.connections <= self.times:
            await reader.read(65536)
            if self.reset:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            return
        await self._pass_on(reader, writer, *await asyncio.open_connection("127.0.0.1", self.target))
