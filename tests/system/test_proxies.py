"""The proxy that a job names, or none; and by what it shows itself there."""

from urllib.parse import quote

import pytest

from proxy import Proxy, basic
from support import files_under, have
from test_auth import give
from test_download import done, failed
from tls import Authority, TlsNginx

RIGHT = "ann:proxy-secret"
LOOPBACK = "127.0.0.0/8 ::1/128"


@pytest.fixture
def make_secret(make_daemon, tmp):
    """One worker and one slot, so that connections are used again where they may be."""
    def make(**settings):
        daemon = make_daemon(workers=1, settings={"credentials.dir": tmp / "dld" / "credentials", "worker.transfers": 1,
                                                  **settings})
        give(daemon, "right", RIGHT)
        give(daemon, "wrong", "ann:other")
        return daemon.start()
    return make


@pytest.fixture
def locked(bad):
    with Proxy({"files.example": ("127.0.0.1", bad.port)}, password=RIGHT) as p:
        yield p


@pytest.fixture
def proxy(bad):
    with Proxy({"files.example": ("127.0.0.1", bad.port)}) as p:
        yield p


@pytest.fixture
def tls(tmp):
    if not have("openssl"):
        pytest.skip("needs openssl to make certificates")
    server = TlsNginx(tmp / "nginx", tmp / "files", Authority(tmp / "ca"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.parametrize("scheme, kind", [("http", "get"), ("socks5h", "socks-name")])
def test_proxy_of_a_job(make_secret, bad, proxy, scheme, kind):
    daemon = make_secret()
    done(daemon.run_one("http://files.example/ok/10/a", proxy=proxy.url(scheme)))
    done(daemon.run_one(bad.url("/ok/10/b")))
    assert proxy.log == [(kind, "files.example", 80)] and bad.count() == 2


def test_proxy_of_a_job_beats_the_configured_one(make_secret, bad, proxy):
    with Proxy() as configured:
        daemon = make_secret(**{"network.proxy": configured.url()})
        done(daemon.run_one("http://files.example/ok/10/a", proxy=proxy.url()))
        done(daemon.run_one(bad.url("/ok/10/b")))
        assert (len(proxy.log), len(configured.log)) == (1, 1)
        done(daemon.run_one(bad.url("/ok/10/c"), proxy="none"))
        assert (len(proxy.log), len(configured.log)) == (1, 1) and bad.count() == 3


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("of", ["job", "configuration"])
def test_password_for_the_proxy(make_secret, bad, locked, scheme, of):
    url = "http://files.example/ok/10/a"
    if of == "job":
        job = make_secret().run_one(url, proxy=locked.url(scheme), proxy_auth="right")
    else:
        settings = {"network.proxy": locked.url(scheme), "network.proxy_auth": "right"}
        job = make_secret(**settings).run_one(url)
    done(job)
    assert locked.authorizations == [RIGHT if scheme == "socks5h" else f"Proxy-Authorization: {basic(RIGHT)}"]
    assert bad.requests()[0].header("Proxy-Authorization") is None


@pytest.mark.parametrize("scheme, keys, error", [
    ("http", {"proxy_auth": "wrong"}, "http"), ("http", {}, "http"), ("socks5h", {"proxy_auth": "wrong"}, "connect"),
    ("http", {"proxy_auth": "missing"}, "credential")])
def test_wrong_password_for_the_proxy(make_secret, bad, locked, scheme, keys, error):
    daemon = make_secret()
    job = failed(daemon.run_one("http://files.example/ok/10/a", proxy=locked.url(scheme), retries=0, **keys), error)
    assert bad.count() == 0 and files_under(daemon.root) == []
    assert job["http_status"] == (407 if error == "http" else None)


def test_missing_credential_of_the_configured_proxy(make_secret, bad, proxy):
    daemon = make_secret(**{"network.proxy": proxy.url(), "network.proxy_auth": "missing"})
    failed(daemon.run_one("http://files.example/ok/10/a"), "credential")
    done(daemon.run_one(bad.url("/ok/10/b"), proxy="none"))
    assert proxy.connections == 0


def test_password_is_for_that_proxy_alone(make_secret, bad, locked, proxy):
    daemon = make_secret(**{"network.proxy": locked.url(), "network.proxy_auth": "right"})
    done(daemon.run_one("http://files.example/ok/10/a"))
    done(daemon.run_one("http://files.example/ok/10/b", proxy=proxy.url()))
    done(daemon.run_one(bad.url("/ok/10/c"), proxy="none"))
    assert proxy.authorizations == [] and len(proxy.log) == 1
    assert all(request.header("Proxy-Authorization") is None for request in bad.requests())


def test_tunnel_of_one_job_is_not_for_others(make_secret, tls, locked):
    daemon = make_secret(**{"transfer.ca_file": tls.authority.file})
    tls.add("a", b"a")
    url, keys = tls.https("a"), {"proxy": locked.url()}
    done(daemon.run_one(url, proxy_auth="right", **keys))
    job = failed(daemon.run_one(url, retries=0, **keys), "connect")
    assert "407" in job["error"]["message"] and job["attempts"] == 1
    done(daemon.run_one(url, proxy_auth="right", output="b", **keys))
    assert locked.kinds() == ["connect", "connect"]


def test_tunnels_of_the_configured_proxy_are_kept(make_secret, tls, locked):
    daemon = make_secret(**{"transfer.ca_file": tls.authority.file, "network.proxy": locked.url(),
                            "network.proxy_auth": "right"})
    tls.add("a", b"a")
    for _ in range(3):
        done(daemon.run_one(tls.https("a")))
    assert locked.kinds() == ["connect"]
    assert tls.versions() == ["HTTP/2.0"] * 3


# ---- deny ----


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_deny_judges_the_address_of_a_jobs_proxy(make_secret, bad, proxy, scheme):
    daemon = make_secret(**{"network.deny": LOOPBACK})
    job = failed(daemon.run_one("http://files.example/ok/10/a", proxy=proxy.url(scheme)), "denied-address")
    assert "127.0.0.1" in job["error"]["message"] and job["attempts"] == 1
    assert proxy.connections == 0 and bad.count() == 0


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_deny_judges_addresses_in_urls(make_secret, bad, proxy, scheme):
    daemon = make_secret(**{"network.deny": LOOPBACK + " 127.0.0.2/32", "network.allow": "127.0.0.1/32"})
    done(daemon.run_one("http://files.example/ok/10/a", proxy=proxy.url(scheme)))
    url = f"http://127.0.0.2:{bad.port}/ok/10/b"
    job = failed(daemon.run_one(url, proxy=proxy.url(scheme)), "denied-address")
    assert "127.0.0.2" in job["error"]["message"] and job["attempts"] == 1
    job = failed(daemon.run_one("http://files.example/go?to=" + quote(url), proxy=proxy.url(scheme)), "denied-address")
    assert "127.0.0.2" in job["error"]["message"]
    assert all(host == "files.example" for _, host, _ in proxy.log)


def test_deny_judges_a_job_without_the_configured_proxy(make_secret, bad, proxy):
    daemon = make_secret(**{"network.proxy": proxy.url(), "network.deny": LOOPBACK})
    done(daemon.run_one("http://files.example/ok/10/a"))
    failed(daemon.run_one(f"http://localhost:{bad.port}/ok/10/b", proxy="none"), "denied-address")
    failed(daemon.run_one("http://files.example/ok/10/c", proxy=proxy.url("socks5h")), "denied-address")
    assert bad.count() == 1
