"""A body without a length over TLS: its end is the server's close_notify, not the end of the connection."""

import contextlib
import socket
import ssl
import threading

import pytest

from support import content, files_under, have
from test_download import done, failed
from tls import Authority

pytestmark = pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")

BODY = content("tls-end", 20000)


class Ender:
    """Answers every request with head and the first `sent` bytes of BODY; then says goodbye, or just goes."""

    def __init__(self, authority, sent, goodbye, head=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.base / "good.pem", authority.base / "good.key")
        self.sent, self.goodbye, self.head = sent, goodbye, head
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)

    def _serve(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                self._answer(plain)

    def _answer(self, plain):
        plain.settimeout(10)
        with self.context.wrap_socket(plain, server_side=True) as stream:
            while not stream.recv(65536).endswith(b"\r\n\r\n"):
                pass
            stream.sendall(self.head + BODY[:self.sent])
            if self.goodbye:
                stream.unwrap()
            stream.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def trusting(make_daemon, authority):
    return make_daemon("trusting", settings={"transfer.ca_file": authority.file}).start()


def test_body_ends_with_the_servers_goodbye(trusting, authority):
    with Ender(authority, len(BODY), True) as server:
        done(trusting.run_one(f"https://127.0.0.1:{server.port}/a"))
    assert trusting.file("a").read_bytes() == BODY


def test_body_that_is_cut_is_no_file(trusting, authority):
    with Ender(authority, len(BODY) // 2, False) as server:
        job = failed(trusting.run_one(f"https://127.0.0.1:{server.port}/a", retries=1), "partial")
    assert job["attempts"] == 2
    assert files_under(trusting.root) == []


def test_body_that_is_cut_before_its_first_byte_is_no_file(trusting, authority):
    with Ender(authority, 0, False) as server:
        job = failed(trusting.run_one(f"https://127.0.0.1:{server.port}/a", retries=1), "partial")
    assert job["attempts"] == 2
    assert files_under(trusting.root) == []


def test_empty_body_with_the_servers_goodbye(trusting, authority):
    with Ender(authority, 0, True) as server:
        done(trusting.run_one(f"https://127.0.0.1:{server.port}/a"))
    assert trusting.file("a").read_bytes() == b""


@pytest.mark.parametrize("goodbye", [True, False])
def test_header_that_is_cut_is_no_answer(trusting, authority, goodbye):
    with Ender(authority, 0, goodbye, b"HTTP/1.1 200 OK\r\nX: y\r\n") as server:
        job = failed(trusting.run_one(f"https://127.0.0.1:{server.port}/a", retries=1), "partial")
    assert job["attempts"] == 2
    assert files_under(trusting.root) == []


@pytest.mark.parametrize("goodbye", [True, False])
@pytest.mark.parametrize("field", [f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("sent", [len(BODY) // 2, len(BODY)])
def test_length_counts_whatever_the_end(trusting, authority, sent, field, goodbye):
    """A goodbye does not make half a body whole; a whole one needs none, unless the last chunk is missing."""
    chunk = b"%x\r\n" % len(BODY) if "chunked" in field else b""
    head = b"HTTP/1.1 200 OK\r\n" + field.encode() + b"\r\n\r\n" + chunk
    with Ender(authority, sent, goodbye, head) as server:
        job = trusting.run_one(f"https://127.0.0.1:{server.port}/a", retries=0)
    if sent == len(BODY) and "Length" in field:
        done(job)
        assert trusting.file("a").read_bytes() == BODY
        return
    assert job["state"] == "failed" and job["error"]["name"] in ("partial", "reset")
    assert files_under(trusting.root) == []
