"""Which addresses dld connects to, by which proxy, and whose certificates it trusts."""

import socket
from urllib.parse import quote

import pytest

from proxy import Cutter, Proxy
from support import ROOT, content, files_under, have, server_port
from test_config import check
from test_download import done, failed
from tls import Authority, TlsNginx

LOOPBACK = "127.0.0.0/8 ::1/128"


def with_network(make_daemon, name="dld", **network):
    return make_daemon(name, settings={f"network.{key}": value for key, value in network.items()}).start()


def neighbours(nginx, amount=20):
    return [{"url": nginx.add(f"good/{i}", content(str(i), 5000)), "output": f"good/{i}"} for i in range(amount)]


def assert_neighbours(daemon, jobs):
    for i, job in enumerate(jobs):
        assert done(job)["attempts"] == 1
        assert daemon.file(f"good/{i}").read_bytes() == content(str(i), 5000)


# ---- configuration ----


@pytest.mark.parametrize("section, key, value, words", [
    ("network", "deny", "10.0.0.0/8 10.0.0/8", ['"10.0.0/8"']),
    ("network", "deny", "localhost", ['"localhost"']),
    ("network", "deny", "10.0.0.0/8, ::/0", ['"10.0.0.0/8,"', "0 to 32"]),
    ("network", "allow", "10.0.0.1/8", ['"10.0.0.1/8"', "behind its prefix"]),
    ("network", "allow", "fe80::/129", ['"fe80::/129"', "0 to 128"]),
    ("network", "schemes", "http gopher", ['"gopher"', "https"]),
    ("network", "schemes", "", ["no scheme"]),
    ("network", "proxy", "127.0.0.1:3128", ["socks5h://HOST:PORT"]),
    ("network", "proxy", "http://proxy.example", ["no port"]),
    ("network", "proxy", "socks4://proxy.example:1080", ["socks5h://HOST:PORT"]),
    ("network", "proxy", "http://proxy.example:3128/path", ["path"]),
    ("network", "proxy", "http://pro xy.example:3128", ["character"]),
    ("network", "proxy", "http://256.1.1.1:3128", ["host"]),
    ("network", "proxy_auth", "me:hunter2", ["name of a credential"]),
    ("credentials", "dir", "", ["absolute path"]),
    ("transfer", "ca_file", "ca.pem", ["absolute path"]),
    ("transfer", "ca_file", "/nonexistent/ca.pem", ["/nonexistent/ca.pem", "No such file"]),
    ("transfer", "ca_file", "/etc", ["/etc", "not a file"]),
    ("transfer", "ca_file", "/etc/passwd", ["/etc/passwd", "no certificate"]),
])
def test_wrong_value_names_the_place_and_the_word(tmp, section, key, value, words):
    result = check(tmp, text=f"# a comment\n[{section}]\n{key} = {value}\n")
    assert result.code == 2
    assert f"{tmp}/dld.conf:3: [{section}] {key}:" in result.err and all(w in result.err for w in words), result


def test_passwords_of_proxies_are_not_printed(tmp):
    result = check(tmp, text="[network]\nproxy = http://me:hunter2@proxy.example\n")
    assert result.code == 2 and "hunter2" not in result.err


@pytest.mark.parametrize("text", [
    "[network]\ndeny =\nallow =\nproxy =\n[transfer]\nca_file =\n",
    "[network]\ndeny = 10.0.0.0/8 fe80::/10 192.0.2.1 ::ffff:10.0.0.0/104\nschemes = https\n",
    "[network]\nproxy = http://me:secret@proxy.example:3128/\n",
    "[network]\nproxy = socks5h://[::1]:1080\n",
])
def test_right_values(tmp, text):
    result = check(tmp, "--check-config", text=text)
    assert result.code == 0 and not result.err, result


def test_documented_list_for_strangers_is_right(tmp):
    page = (ROOT / "daemon" / "dld.conf.5").read_text()
    line = next(line for line in page.splitlines() if line.startswith("deny = "))
    result = check(tmp, "--check-config", text=f"[network]\n{line}\n")
    assert result.code == 0 and not result.err, result


# ---- addresses ----


def test_denied_address(make_daemon, nginx):
    daemon = with_network(make_daemon, deny="127.0.0.0/8")
    job = failed(daemon.run_one(nginx.add("a", b"secret")), "denied-address")
    assert (job["attempts"], job["bytes"], job["http_status"]) == (1, 0, None)
    assert "127.0.0.1" in job["error"]["message"] and str(nginx.port) in job["error"]["message"]
    assert nginx.requests() == [] and files_under(daemon.root) == []


def test_default_denies_link_local_and_nothing_at_home(daemon, nginx):
    jobs = daemon.run([{"url": "http://169.254.169.254/latest/meta-data/"}, {"url": "http://[fe80::1]/a"},
                       {"url": "http://0.0.0.0/a"}, {"url": "http://[::]/a"}, {"url": "http://224.0.0.1/a"},
                       {"url": "http://255.255.255.255/a"}, {"url": "http://[::ffff:169.254.169.254]/a"},
                       {"url": "http://[2002:a9fe:a9fe::1]/a"}, {"url": "http://[64:ff9b::169.254.169.254]/a"},
                       *neighbours(nginx)])
    for job in jobs[:9]:
        assert failed(job, "denied-address")["attempts"] == 1
    assert_neighbours(daemon, jobs[9:])


def test_a_list_given_replaces_the_default(make_daemon, nginx):
    daemon = with_network(make_daemon, deny="198.51.100.0/24")
    done(daemon.run_one(nginx.add("a", b"x")))
    job = failed(daemon.run_one("http://198.51.100.7/a"), "denied-address")
    assert "198.51.100.7" in job["error"]["message"]


def test_nothing_is_denied_by_an_empty_list(make_daemon, nginx):
    done(with_network(make_daemon, deny="").run_one(nginx.add("a", b"x")))


def test_allow_beats_deny(make_daemon, nginx):
    url = nginx.add("a", b"x")
    done(with_network(make_daemon, "a", deny="0.0.0.0/0 ::/0", allow="127.0.0.1").run_one(url))
    failed(with_network(make_daemon, "b", deny="127.0.0.0/8", allow="127.0.0.2/31").run_one(url), "denied-address")


def test_mapped_address_is_judged_as_ipv4(make_daemon, nginx):
    daemon = with_network(make_daemon, deny="127.0.0.0/8")
    nginx.add("a", b"x")
    failed(daemon.run_one(f"http://[::ffff:127.0.0.1]:{nginx.port}/a"), "denied-address")
    assert nginx.requests() == []


def test_names_are_judged_by_their_addresses(make_daemon, nginx):
    daemon = with_network(make_daemon, deny=LOOPBACK)
    nginx.add("a", b"x")
    job = failed(daemon.run_one(f"http://localhost:{nginx.port}/a"), "denied-address")
    assert job["attempts"] == 1 and f"localhost:{nginx.port}" in job["error"]["message"]
    assert nginx.requests() == []


def test_other_addresses_of_a_host_are_used(make_daemon, nginx):
    """localhost is ::1 and 127.0.0.1."""
    daemon = with_network(make_daemon, deny="::1/128")
    nginx.add("a", b"x")
    assert done(daemon.run_one(f"http://localhost:{nginx.port}/a"))["attempts"] == 1


def test_redirect_to_a_denied_address(make_daemon, bad, nginx):
    daemon = with_network(make_daemon, deny="127.0.0.2/32")
    target = nginx.add("secret", b"x").replace("127.0.0.1", "127.0.0.2")
    jobs = daemon.run([{"url": bad.url("/redirect-to/a?to=" + quote(target))}, *neighbours(nginx)])
    job = failed(jobs[0], "denied-address")
    assert (job["attempts"], job["http_status"], job["bytes"]) == (1, 302, 0)
    assert target in job["error"]["message"] and "to 127.0.0.2" in job["error"]["message"]
    assert not any(uri == "/secret" for _, _, _, uri in nginx.requests())
    assert_neighbours(daemon, jobs[1:])
    assert all(name.startswith("good/") for name in files_under(daemon.root))


def test_redirect_by_a_name_to_a_denied_address(make_daemon, bad):
    daemon = with_network(make_daemon, deny=LOOPBACK, allow="127.0.0.1/32")
    done(daemon.run_one(bad.url("/any/a")))
    daemon = with_network(make_daemon, "b", deny=LOOPBACK, allow="127.0.0.2/32")
    url = f"http://127.0.0.2:{bad.port}/redirect-to/a?to=" + quote(bad.url("/any/b"))
    failed(daemon.run_one(url), "connect")  # the server is at 127.0.0.1 alone; what counts is that it was tried


def test_a_connection_that_is_kept_opens_no_way(make_daemon, bad):
    """The first address has a connection; a redirect over it to the second is judged all the same."""
    daemon = make_daemon(workers=1, settings={"network.deny": "127.0.0.3/32"}).start()
    done(daemon.run_one(bad.url("/any/first")))
    job = daemon.run_one(bad.url("/redirect-to/a?to=" + quote(f"http://127.0.0.3:{bad.port}/any/b")))
    failed(job, "denied-address")
    assert bad.count("/any/b") == 0


def has_ipv6():
    with socket.socket(socket.AF_INET6) as s:
        try:
            s.bind(("::1", 0))
            return True
        except OSError:
            return False


@pytest.mark.skipif(not has_ipv6(), reason="needs ::1")
def test_permitted_address_that_does_not_answer(make_daemon, nginx):
    """Then the host was not refused: another attempt may find it there."""
    daemon = with_network(make_daemon, deny="127.0.0.0/8")
    job = failed(daemon.run_one(f"http://localhost:{nginx.port}/a", retries=1), "connect")
    assert job["attempts"] == 2 and nginx.requests() == []


# ---- schemes ----


def test_scheme_that_is_not_permitted(make_daemon, nginx):
    daemon = with_network(make_daemon, schemes="https")
    job = failed(daemon.run_one(nginx.add("a", b"x")), "url")
    assert job["attempts"] == 1 and "http" in job["error"]["message"] and "schemes" in job["error"]["message"]
    assert nginx.requests() == []


def test_redirect_to_a_scheme_that_is_not_permitted(make_daemon, bad):
    daemon = with_network(make_daemon, schemes="http")
    job = failed(daemon.run_one(bad.url("/redirect-to/a?to=" + quote("https://127.0.0.1/a"))), "redirect")
    assert job["attempts"] == 1


# ---- proxies ----


@pytest.fixture
def proxy(nginx):
    """One that knows where files.example is."""
    with Proxy({"files.example": ("127.0.0.1", nginx.port)}) as p:
        yield p


@pytest.mark.parametrize("scheme, kind", [("http", "get"), ("socks5h", "socks-name")])
def test_proxy_resolves_names(make_daemon, nginx, proxy, scheme, kind):
    daemon = with_network(make_daemon, proxy=proxy.url(scheme))
    data = content("a", 50000)
    nginx.add("a", data)
    done(daemon.run_one("http://files.example/a"))
    assert daemon.file("a").read_bytes() == data
    assert proxy.log == [(kind, "files.example", 80)]


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_local_addresses_go_through_the_proxy_too(make_daemon, nginx, proxy, scheme):
    daemon = with_network(make_daemon, proxy=proxy.url(scheme))
    jobs = daemon.run(neighbours(nginx))
    assert_neighbours(daemon, jobs)
    assert proxy.log and all(port == nginx.port for _, _, port in proxy.log)


def test_no_proxy_is_taken_from_the_environment(make_daemon, nginx, proxy):
    variables = {name: proxy.url() for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY")}
    daemon = make_daemon(env=variables).start()
    done(daemon.run_one(nginx.add("a", b"x")))
    assert proxy.log == []


def test_exceptions_in_the_environment_do_not_count(make_daemon, nginx, proxy):
    daemon = make_daemon(settings={"network.proxy": proxy.url()}, env={"no_proxy": "*", "NO_PROXY": "*"}).start()
    done(daemon.run_one(nginx.add("a", b"x")))
    assert proxy.kinds() == ["get"]


def test_password_for_the_proxy(make_daemon, nginx, proxy):
    daemon = with_network(make_daemon, proxy=proxy.url(user="me:secret@"))
    done(daemon.run_one(nginx.add("a", b"x")))
    assert proxy.authorizations == ["Proxy-Authorization: Basic bWU6c2VjcmV0"]


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_proxy_that_is_not_there(make_daemon, scheme):
    daemon = with_network(make_daemon, proxy=f"{scheme}://127.0.0.1:{server_port()}")
    job = failed(daemon.run_one("http://files.example/a", retries=1), "connect")
    assert job["attempts"] == 2


def test_host_that_a_socks_proxy_does_not_reach(make_daemon, proxy):
    daemon = with_network(make_daemon, proxy=proxy.url("socks5h"))
    job = failed(daemon.run_one(f"http://127.0.0.1:{server_port()}/a", retries=1), "connect")
    assert job["attempts"] == 2


@pytest.mark.parametrize("status, attempts", [(403, 1), (407, 1), (502, 2), (503, 2)])
def test_proxy_that_makes_no_tunnel(make_daemon, status, attempts):
    with Proxy(refuse=status) as proxy:
        daemon = with_network(make_daemon, proxy=proxy.url())
        job = failed(daemon.run_one("https://files.example/a", retries=1), "connect")
    assert job["attempts"] == attempts and str(status) in job["error"]["message"]


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_deny_judges_addresses_in_urls_not_the_proxy(make_daemon, bad, scheme):
    with Proxy({"files.example": ("127.0.0.1", bad.port)}) as proxy:
        daemon = make_daemon(workers=1, settings={"network.deny": LOOPBACK, "network.proxy": proxy.url(scheme)}).start()
        done(daemon.run_one("http://files.example/any/a"))
        job = failed(daemon.run_one(bad.url("/any/b")), "denied-address")
        assert job["attempts"] == 1 and "127.0.0.1" in job["error"]["message"]
        # Over a connection to the proxy that is kept.
        for host, error in [("127.0.0.1", "denied-address"), ("[::1]", "denied-address"),
                            ("[::ffff:127.0.0.1]", "denied-address"), ("0x7f.1", "redirect"), ("2130706433", "redirect")]:
            job = daemon.run_one("http://files.example/redirect-to/b?to=" + quote(f"http://{host}:{bad.port}/any/c"))
            assert failed(job, error)["attempts"] == 1
    assert all(host == "files.example" for _, host, _ in proxy.log)
    assert files_under(daemon.root) == ["a"]


# ---- TLS ----

needs_openssl = pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def tls(tmp, authority):
    server = TlsNginx(tmp / "tls", tmp / "files", authority)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def trusting(make_daemon, authority):
    return make_daemon("trusting", settings={"transfer.ca_file": authority.file}).start()


@needs_openssl
def test_certificate_of_the_configured_authority(trusting, tls):
    data = content("a", 300000)
    tls.add("a", data)
    done(trusting.run_one(tls.https("a")))
    assert trusting.file("a").read_bytes() == data
    assert tls.versions() == ["HTTP/2.0"]


@needs_openssl
def test_many_files_over_http2(trusting, tls):
    wanted = {f"{i:03}": content(str(i), 3000 + i) for i in range(200)}
    for name, data in wanted.items():
        tls.add(name, data)
    for job in trusting.run([{"url": tls.https(name)} for name in wanted]):
        assert done(job)["attempts"] == 1
    assert all(trusting.file(name).read_bytes() == data for name, data in wanted.items())
    assert tls.versions() == ["HTTP/2.0"] * 200


@needs_openssl
def test_authority_that_nobody_configured(daemon, tls):
    tls.add("a", b"x")
    job = failed(daemon.run_one(tls.https("a")), "tls")
    assert job["attempts"] == 1 and job["http_status"] is None and job["bytes"] == 0
    assert tls.versions() == [] and files_under(daemon.root) == []


@needs_openssl
@pytest.mark.parametrize("kind, word", [("expired", "expired"), ("wrong-host", "127.0.0.1"), ("self-signed", "self")])
def test_certificate_that_is_not_to_be_trusted(trusting, tls, kind, word):
    tls.add("secret", b"x")
    jobs = trusting.run([{"url": tls.https("secret", kind)}, *neighbours(tls)])
    job = failed(jobs[0], "tls")
    assert job["attempts"] == 1 and job["bytes"] == 0
    assert word in job["error"]["message"], job
    assert_neighbours(trusting, jobs[1:])
    assert tls.versions() == [] and "secret" not in files_under(trusting.root)


@needs_openssl
def test_ca_file_replaces_what_the_system_trusts(make_daemon, tls, authority):
    """A certificate that signs itself is trusted where it is the one configured, and then no other is."""
    daemon = make_daemon(settings={"transfer.ca_file": authority.base / "self-signed.pem"}).start()
    tls.add("a", b"x")
    done(daemon.run_one(tls.https("a", "self-signed")))
    failed(daemon.run_one(tls.https("a")), "tls")


@needs_openssl
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_handshake_that_is_cut_is_tried_again(trusting, tls, reset):
    tls.add("a", b"x" * 1000)
    with Cutter(tls.ports["good"], 2, reset) as cutter:
        job = done(trusting.run_one(f"https://127.0.0.1:{cutter.port}/a"))
        assert (job["attempts"], cutter.connections) == (3, 3)
    assert trusting.file("a").read_bytes() == b"x" * 1000


@needs_openssl
def test_handshake_that_is_always_cut(trusting, tls):
    with Cutter(tls.ports["good"], 100) as cutter:
        jobs = trusting.run([{"url": f"https://127.0.0.1:{cutter.port}/a", "retries": 2}, *neighbours(tls)])
        assert failed(jobs[0], "tls")["attempts"] == 3
    assert_neighbours(trusting, jobs[1:])


@needs_openssl
def test_https_to_a_server_without_tls(trusting, nginx):
    failed(trusting.run_one(nginx.url("a").replace("http:", "https:"), retries=1), "tls")


@needs_openssl
@pytest.mark.parametrize("scheme, kind", [("http", "connect"), ("socks5h", "socks-ipv4")])
def test_https_through_a_proxy(make_daemon, tls, authority, scheme, kind):
    with Proxy() as proxy:
        daemon = make_daemon(settings={"transfer.ca_file": authority.file, "network.proxy": proxy.url(scheme)}).start()
        tls.add("a", b"x" * 1000)
        done(daemon.run_one(tls.https("a")))
        failed(daemon.run_one(tls.https("a", "expired")), "tls")
    assert daemon.file("a").read_bytes() == b"x" * 1000
    assert proxy.log == [(kind, "127.0.0.1", tls.ports["good"]), (kind, "127.0.0.1", tls.ports["expired"])]
    assert tls.versions() == ["HTTP/2.0"]


@needs_openssl
@pytest.mark.parametrize("kind", ["good", "expired"])
def test_proxy_that_is_spoken_to_over_tls(make_daemon, tls, authority, kind):
    with Proxy(certificate=authority.base / f"{kind}.pem", key=authority.base / f"{kind}.key") as proxy:
        daemon = make_daemon(settings={"transfer.ca_file": authority.file, "network.proxy": proxy.url("https")}).start()
        jobs = daemon.run([{"url": tls.add("a", b"x" * 1000)}, {"url": tls.https("a"), "output": "b"}])
    if kind == "good":
        assert [done(job)["bytes"] for job in jobs] == [1000, 1000]
        assert sorted(proxy.kinds()) == ["connect", "get"]
    else:
        assert [failed(job, "tls")["attempts"] for job in jobs] == [1, 1]
        assert proxy.log == [] and files_under(daemon.root) == []


@needs_openssl
def test_ca_file_that_has_gone_is_no_end(make_daemon, tls, authority, tmp):
    copy = tmp / "ca.pem"
    copy.write_bytes(authority.file.read_bytes())
    daemon = make_daemon(settings={"transfer.ca_file": copy}).start()
    copy.unlink()
    assert failed(daemon.run_one(tls.https("a"), retries=1), "tls")["attempts"] == 2
