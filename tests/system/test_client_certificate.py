"""nginx that asks who we are: by certificate, over TLS with HTTP/2, and by password."""

import contextlib
import socket
import ssl
import threading

import pytest

from support import content, files_under, have, server_port, wait_for
from test_auth import give
from test_download import done, failed
from tls import Authority, TlsNginx

pytestmark = pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")

SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {base}/good.pem;
        ssl_certificate_key {base}/good.key;
        ssl_verify_client {verify};
        ssl_client_certificate {base}/ca.pem;
        access_log {log} client;
        location / {{ root {files}; }}
        location /go/ {{ return 302 $arg_to; }}
        location /basic/ {{
            auth_basic realm;
            auth_basic_user_file {passwords};
            alias {files}/;
        }}
    }}
"""


class Asking(TlsNginx):
    """Also serves on the ports `required` and `optional`, where it asks for a certificate."""

    def configure(self):
        command = super().configure()
        self.clients = self.base / "clients.log"
        passwords = self.base / "passwords"
        passwords.write_text("ann:{PLAIN}password\n")
        self.ports.update(required=server_port(), optional=server_port())
        servers = "".join(SERVER.format(port=self.ports[name], base=self.authority.base, verify=verify, files=self.files,
                                        log=self.clients, passwords=passwords)
                          for name, verify in (("required", "on"), ("optional", "optional")))
        path = self.base / "nginx.conf"
        text = path.read_text().rstrip()
        path.write_text(f"{text[:-1]}    log_format client '$server_port $server_protocol $status $ssl_client_verify "
                        f"$connection $uri';\n{servers}}}\n")
        return command

    def asked(self):
        """(port's name, version, status, what was made of the client's certificate, connection) of each request."""
        names = {str(port): name for name, port in self.ports.items()}
        lines = [line.split() for line in self.clients.read_text().splitlines()]
        return [(names[port], version, int(status), verify, connection)
                for port, version, status, verify, connection, _ in lines]


@pytest.fixture
def authority(tmp):
    authority = Authority(tmp / "ca")
    authority._sign("client", "DNS:client")
    return authority


@pytest.fixture
def asking(tmp, authority):
    server = Asking(tmp / "nginx", tmp / "files", authority)
    try:
        yield server.start()
    finally:
        server.stop()


def pem(authority, name="client"):
    return (authority.base / f"{name}.pem").read_text() + (authority.base / f"{name}.key").read_text()


@pytest.fixture
def secret(make_daemon, tmp, authority):
    """One worker and one slot, so that connections are used again where they may be."""
    daemon = make_daemon(workers=1, settings={"credentials.dir": tmp / "dld" / "credentials", "worker.transfers": 1,
                                              "transfer.ca_file": authority.file})
    give(daemon, "me", pem(authority))
    give(daemon, "site", "ann:password")
    give(daemon, "wrong", "ann:other")
    return daemon.start()


def seen(asking, amount):
    return wait_for(lambda: len(asking.asked()) >= amount and asking.asked(), what="requests in the log")


def test_right_certificate(secret, asking):
    asking.add("a", content("a", 50000))
    done(secret.run_one(asking.https("a", "required"), client_certificate="me"))
    assert secret.file("a").read_bytes() == content("a", 50000)
    assert [entry[:4] for entry in seen(asking, 1)] == [("required", "HTTP/2.0", 200, "SUCCESS")]


def test_no_certificate(secret, asking):
    asking.add("a", b"secret")
    job = failed(secret.run_one(asking.https("a", "required"), retries=3), "http")
    assert job["http_status"] == 400 and job["attempts"] == 1
    assert "No required SSL certificate" in job["answer"]
    assert files_under(secret.root) == []


def test_certificate_of_another_authority(secret, asking, tmp):
    other = Authority(tmp / "other")
    give(secret, "other", pem(other, "good"))
    asking.add("a", b"secret")
    job = failed(secret.run_one(asking.https("a", "required"), client_certificate="other", retries=3), "http")
    assert job["http_status"] == 400 and job["attempts"] == 1
    assert files_under(secret.root) == []


class Strict:
    """A TLS server that speaks to clients with a certificate of the authority only, and tells others so by an alert."""

    def __init__(self, authority, newest):
        base = authority.base
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(base / "good.pem", base / "good.key")
        self.context.load_verify_locations(authority.file)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.maximum_version = newest
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return f"https://127.0.0.1:{self.socket.getsockname()[1]}/a"

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)

    def _serve(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            plain.settimeout(10)
            tls = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            try:
                tls.do_handshake()
                tls.recv(10000)
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                tls.unwrap()
            except OSError:  # and wait until the client has read the alert
                rest = tls.detach()
                with contextlib.suppress(OSError), socket.socket(fileno=rest) as s:
                    s.settimeout(10)
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(10000):
                        pass
            tls.close()


@pytest.mark.parametrize("newest", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("name", ["me", "other", None])
def test_server_that_breaks_off_without_the_right_certificate(secret, authority, tmp, name, newest):
    give(secret, "other", pem(Authority(tmp / "other"), "good"))
    with Strict(authority, ssl.TLSVersion[newest]) as url:
        job = secret.run_one(url, retries=2, **({"client_certificate": name} if name else {}))
    if name == "me":
        done(job)
    else:
        failed(job, "tls")
        assert job["attempts"] == (1 if name or newest == "TLSv1_3" else 3)  # "handshake failure" may be anything
        assert files_under(secret.root) == []


@pytest.mark.parametrize("spoil, words", [
    (lambda text: text.split("-----BEGIN PRIVATE")[0], "holds no key"),
    (lambda text: "-----BEGIN PRIVATE" + text.split("-----BEGIN PRIVATE")[1], "holds no certificate"),
    (lambda text: text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "has a passphrase"),
    (lambda text: text[:60] + "!!!!" + text[64:], "certificate"),
])
def test_certificate_that_is_none(secret, asking, authority, spoil, words):
    asking.add("a", b"secret")
    give(secret, "broken", spoil(pem(authority)))
    job = failed(secret.run_one(asking.https("a", "required"), client_certificate="broken"), "credential")
    assert words in job["error"]["message"]
    assert files_under(secret.root) == []


def test_connection_with_a_certificate_is_not_for_others(secret, asking):
    asking.add("a", b"a")
    url = asking.https("a", "optional")
    jobs = secret.run([{"url": url, "client_certificate": "me"}, {"url": url}, {"url": url, "client_certificate": "me"}])
    assert [job["state"] for job in jobs] == ["done"] * 3
    entries = seen(asking, 3)
    assert [entry[3] for entry in entries] == ["SUCCESS", "NONE", "SUCCESS"]
    assert entries[0][4] == entries[2][4] != entries[1][4]


@pytest.mark.parametrize("to", ["optional", "elsewhere"])
def test_certificate_is_not_shown_after_a_redirect_elsewhere(secret, asking, to):
    asking.add("a", b"a")
    there = asking.https("a", "optional")
    if to == "elsewhere":  # and back home
        there = asking.https("go/?to=" + asking.https("a", "required"), "optional")
    job = secret.run_one(asking.https("go/?to=" + there, "required"), client_certificate="me", output="a", retries=0)
    entries = [entry[:4] for entry in seen(asking, 2 if to == "optional" else 3)]
    assert entries[0] == ("required", "HTTP/2.0", 302, "SUCCESS")
    assert {entry[3] for entry in entries[1:]} == {"NONE"} and entries[1][0] == "optional"
    if to == "optional":
        done(job)
    else:
        assert failed(job, "http")["http_status"] == 400


def test_certificate_is_shown_after_a_redirect_at_home(secret, asking):
    asking.add("a", b"a")
    done(secret.run_one(asking.https("go/?to=/a", "required"), client_certificate="me", output="a"))
    assert [entry[3] for entry in seen(asking, 2)] == ["SUCCESS", "SUCCESS"]


def test_mirror_elsewhere_sees_no_certificate(secret, asking):
    asking.add("a", b"a")
    job = secret.run([{"urls": [asking.https("missing", "required"), asking.https("a", "optional")], "client_certificate": "me"}])[0]
    done(job)
    assert [entry[3] for entry in seen(asking, 2)] == ["SUCCESS", "NONE"]


@pytest.mark.parametrize("name, status", [("site", 200), ("wrong", 401), (None, 401)])
def test_password_over_http2(secret, asking, name, status):
    asking.add("a", content("a", 5000))
    auth = {"auth": {"type": "basic", "credential": name}} if name else {}
    job = secret.run_one(asking.https("basic/a", "optional"), retries=3, **auth)
    assert job["http_status"] == status and job["attempts"] == 1
    assert [entry[1:3] for entry in seen(asking, 1)] == [("HTTP/2.0", status)]
    if status == 200:
        assert secret.file(done(job)["output"]).read_bytes() == content("a", 5000)
    else:
        failed(job, "http")
        assert files_under(secret.root) == []


def test_http2_is_what_tls_speaks(make_daemon, asking, authority):
    """Twenty at once, by one connection of each worker."""
    daemon = make_daemon(settings={"transfer.ca_file": authority.file, "host.connections": 32}).start()
    wanted = {f"f{i}": content(str(i), 20000 + i) for i in range(20)}
    for name, data in wanted.items():
        asking.add(name, data)
    for job in daemon.run([{"url": asking.https(name, "optional")} for name in wanted]):
        done(job)
    assert all(daemon.file(name).read_bytes() == data for name, data in wanted.items())
    entries = seen(asking, 20)
    assert {entry[1] for entry in entries} == {"HTTP/2.0"}
    assert len({entry[4] for entry in entries}) <= 2


def test_redirect_from_http_leads_to_http2(secret, asking, bad):
    asking.add("a", b"a")
    done(secret.run_one(bad.url("/go?to=" + asking.https("a", "optional")), output="a"))
    assert [entry[1] for entry in seen(asking, 1)] == ["HTTP/2.0"]
