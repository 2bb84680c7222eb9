"""Who asks: credentials by name, and that they go nowhere but to where they are for."""

import base64
import contextlib
import http.server
import json
import os
import socket
import threading
from urllib.parse import quote

import pytest

from behaviours import GOOD_SIZE
from dld import DLD, run
from support import SLOWER, content, files_under
from test_download import done, failed
from tls import Authority

SECRET = "hunter2-is-secret"
BASIC = {"type": "basic", "credential": "site"}
SENT = "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()
PRIVATE = {"Cookie": "a=1", "Proxy-Authorization": "Basic x", "X-Other": "1"}


def give(daemon, name, text, mode=0o600):
    """Puts a credential in place."""
    path = daemon.base / "credentials" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def make_secret(make_daemon, tmp):
    """Makes daemons that have the credential "site"."""
    def make(name="dld", settings=None, **options):
        directory = tmp / name / "credentials"
        daemon = make_daemon(name, settings={"credentials.dir": directory, **(settings or {})}, **options)
        give(daemon, "site", f"ann:{SECRET}\nmore\n")
        return daemon
    return make


@pytest.fixture
def secret(make_secret):
    return make_secret().start()


def private_headers(request):
    return {name: request.header(name) for name in ("Authorization", "Cookie", "Proxy-Authorization")}


def all_of_them(request):
    assert private_headers(request) == {"Authorization": SENT, "Cookie": "a=1", "Proxy-Authorization": "Basic x"}
    assert request.header("X-Other") == "1"


def none_of_them(request):
    assert private_headers(request) == {"Authorization": None, "Cookie": None, "Proxy-Authorization": None}
    assert request.header("X-Other") == "1"


# ---- kinds ----


@pytest.mark.parametrize("kind, text, sent", [
    ("basic", f"ann:{SECRET}", SENT),
    ("basic", f"ann:{SECRET}\r\nann:other\n", SENT),
    ("basic", ":", "Basic Og=="),
    ("basic", "ann:p:w\u00e4", "Basic " + base64.b64encode("ann:p:w\u00e4".encode()).decode()),
    ("bearer", "abc.DEF-123_~+/==\n", "Bearer abc.DEF-123_~+/=="),
    ("netrc", f"machine example.org login x password y\nmachine 127.0.0.1 login ann password {SECRET}\n", SENT),
    ("netrc", f'default login "ann" password "{SECRET}"', SENT),
    ("netrc", "machine example.org login x password y\n", None),
])
def test_what_is_sent(secret, bad, kind, text, sent):
    give(secret, "a", text)
    done(secret.run_one(bad.url("/ok/2000/a"), auth={"type": kind, "credential": "a"}))
    (request,) = bad.requests()
    assert request.header("Authorization") == sent


def test_changed_credential_counts_at_once(secret, bad):
    done(secret.run_one(bad.url("/ok/10/a"), auth=BASIC))
    give(secret, "site", "ann:new")
    done(secret.run_one(bad.url("/ok/10/a"), auth=BASIC))
    assert [r.header("Authorization") for r in bad.requests()] == [SENT, "Basic YW5uOm5ldw=="]


def test_next_job_on_the_connection_has_none_of_it(make_secret, bad):
    daemon = make_secret(workers=1, settings={"worker.transfers": 1}).start()
    daemon.run([{"url": bad.url("/ok/10/a"), "auth": BASIC, "headers": PRIVATE}, {"url": bad.url("/ok/10/b")}])
    first, second = bad.requests()
    all_of_them(first)
    assert set(private_headers(second).values()) == {None}


def test_wrong_password_is_not_tried_again(secret, bad):
    job = failed(secret.run_one(bad.url("/status/401/a"), auth=BASIC, retries=3), "http")
    assert (job["attempts"], job["http_status"], bad.count()) == (1, 401, 1)
    assert files_under(secret.root) == []


def test_digest_whose_nonces_are_always_stale_ends(secret, bad):
    job = failed(secret.run_one(bad.url("/stale/a"), auth={"type": "digest", "credential": "site"}, retries=2),
                 "http")
    assert job["attempts"] == 1
    assert bad.count() == 23  # max_redirects, and the challenges of an honest server


def test_digest_of_one_server_is_not_said_to_another(make_secret, bad, other):
    daemon = make_secret(workers=1, settings={"worker.transfers": 1}).start()
    digest = {"type": "digest", "credential": "site"}
    failed(daemon.run_one(bad.url("/stale/a"), auth=digest), "http")
    done(daemon.run_one(other.url("/any/a"), auth=digest))
    assert [r.header("Authorization") for r in other.requests()] == [None]


@pytest.mark.parametrize("fault", ["close", "reset", "silent"])
def test_no_answer_behind_a_challenge_is_worth_another_attempt(make_secret, bad, fault):
    daemon = make_secret(settings={"transfer.low_speed_time": "1s"}).start()
    job = done(daemon.run_one(bad.url(f"/challenge/{fault}/a"), output="a",
                              auth={"type": "digest", "credential": "site"}))
    assert job["attempts"] == 2
    assert daemon.file("a").read_bytes() == content(f"/challenge/{fault}/a", GOOD_SIZE)


def test_garbage_behind_a_challenge_is_not_the_challenge(secret, bad):
    job = failed(secret.run_one(bad.url("/challenge/garbage/a"), auth={"type": "digest", "credential": "site"}),
                 "protocol")
    assert job["attempts"] == 1


def test_no_connection_behind_a_challenge_is_worth_another_attempt(secret):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def challenge():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                server.close()
                connection.sendall(b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n'
                                   b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        thread = threading.Thread(target=challenge)
        thread.start()
        job = failed(secret.run_one(url, auth={"type": "digest", "credential": "site"}, retries=1), "connect")
        thread.join()
    assert job["attempts"] == 2


def test_challenge_with_a_long_body(secret, bad):
    job = done(secret.run_one(bad.url("/challenge/none/a?body=200000"), auth={"type": "digest", "credential": "site"}))
    assert (job["attempts"], job["bytes"]) == (1, GOOD_SIZE)


def test_challenge_without_end(secret, bad):
    good = [{"url": bad.url(f"/ok/5000/g{i}")} for i in range(20)]
    jobs = secret.run([{"url": bad.url("/endless-challenge/a"), "retries": 1,
                        "auth": {"type": "digest", "credential": "site"}}, *good])
    assert failed(jobs[0], "protocol")["attempts"] == 1
    assert all(done(job)["attempts"] == 1 for job in jobs[1:])
    assert files_under(secret.root) == sorted(f"g{i}" for i in range(20))


# ---- where it goes ----


@pytest.mark.parametrize("where", ["host", "port"])
def test_redirect_elsewhere_takes_nothing_along(secret, bad, other, where):
    there = other.url("/ok/10/a") if where == "port" else f"http://localhost:{bad.port}/ok/10/a"
    done(secret.run_one(bad.url("/go?to=" + quote(there)), auth=BASIC, headers=PRIVATE, output="a"))
    all_of_them(bad.requests()[0])
    none_of_them((other.requests() if where == "port" else bad.requests())[-1])


def test_redirect_within_the_origin_takes_all_along(secret, bad):
    done(secret.run_one(bad.url("/go?to=/ok/10/a"), auth=BASIC, headers=PRIVATE, output="a"))
    assert bad.count() == 2
    for request in bad.requests():
        all_of_them(request)


def test_what_was_left_behind_stays_so_on_a_redirect_back_home(secret, bad, other):
    there = other.url("/go?to=" + quote(bad.url("/ok/10/a")))
    done(secret.run_one(bad.url("/go?to=" + quote(there)), auth=BASIC, headers=PRIVATE, output="a"))
    none_of_them(other.requests()[0])
    first, last = bad.requests()
    all_of_them(first), none_of_them(last)


def test_redirect_by_a_relative_reference_elsewhere_and_on(secret, bad, other):
    there = f"//127.0.0.1:{other.port}/go?to=/ok/10/a"
    done(secret.run_one(bad.url("/go?to=" + quote(there)), auth=BASIC, headers=PRIVATE, output="a"))
    assert other.count() == 2
    for request in other.requests():
        none_of_them(request)


@pytest.mark.parametrize("kind, text", [("digest", f"ann:{SECRET}"), ("bearer", SECRET), ("netrc", f"default login ann password {SECRET}")])
def test_no_kind_is_redirected_elsewhere(secret, bad, other, kind, text):
    give(secret, "a", text)
    done(secret.run_one(bad.url("/go?to=" + quote(other.url("/ok/10/a"))), auth={"type": kind, "credential": "a"}, output="a"))
    assert other.requests()[0].header("Authorization") is None


def test_header_authorization_is_kept_home_too(secret, bad, other):
    headers = {**PRIVATE, "authorization": SENT}
    done(secret.run_one(bad.url("/go?to=" + quote(other.url("/ok/10/a"))), headers=headers, output="a"))
    all_of_them(bad.requests()[0])
    none_of_them(other.requests()[0])


def test_redirect_from_https_to_http(make_secret, tmp, bad):
    authority = Authority(tmp / "ca")
    tls = bad.listen_tls(authority.base / "good.pem", authority.base / "good.key")
    daemon = make_secret(settings={"transfer.ca_file": authority.file}).start()
    done(daemon.run_one(tls + "/go?to=" + quote(bad.url("/ok/10/a")), auth=BASIC, headers=PRIVATE, output="a"))
    done(daemon.run_one(bad.url("/go?to=" + quote(tls + "/ok/10/b")), auth=BASIC, headers=PRIVATE, output="b"))
    one, two, three, four = bad.requests()
    all_of_them(one), none_of_them(two), all_of_them(three), none_of_them(four)


def test_mirror_elsewhere_gets_nothing(secret, bad, other):
    job = secret.run([{"urls": [bad.url("/status/404/a"), other.url("/status/404/a"), bad.url("/ok/10/a")],
                       "auth": BASIC, "headers": PRIVATE}])[0]
    done(job)
    none_of_them(other.requests()[0])
    assert bad.count() == 2
    for request in bad.requests():
        all_of_them(request)


def test_netrc_has_an_entry_for_each_host(secret, bad):
    give(secret, "a", f"machine 127.0.0.1 login ann password {SECRET}\nmachine localhost\n login me\n password you\n")
    url = f"http://localhost:{bad.port}/ok/10/a"
    done(secret.run([{"urls": [bad.url("/status/404/a"), url], "auth": {"type": "netrc", "credential": "a"}}])[0])
    assert [r.header("Authorization") for r in bad.requests()] == [SENT, "Basic bWU6eW91"]


def test_netrc_default_is_for_the_first_host(secret, bad):
    give(secret, "a", f"default login ann password {SECRET}")
    url = f"http://localhost:{bad.port}/ok/10/a"
    done(secret.run([{"urls": [bad.url("/status/404/a"), url], "auth": {"type": "netrc", "credential": "a"}}])[0])
    assert [r.header("Authorization") for r in bad.requests()] == [SENT, None]


# ---- what can't be used ----


@pytest.mark.parametrize("spoil, words", [
    (lambda path: path.unlink(), "there is no credential site in"),
    (lambda path: path.chmod(0o604), "has mode 0604: everyone may read it; set its mode to 0600"),
    (lambda path: path.chmod(0o620), "has mode 0620: others may write it; set its mode to 0600"),
    (lambda path: (path.rename(path.with_name("b")), path.symlink_to("b")), "is a symbolic link"),
    (lambda path: (path.unlink(), path.mkdir()), "is not a file"),
    (lambda path: (path.unlink(), os.mkfifo(path, 0o600)), "is not a file"),
    (lambda path: path.write_text(SECRET), "must be user:password"),
    (lambda path: path.write_text(""), "must be user:password"),
    (lambda path: path.write_bytes(b"ann:a\0b"), "has a NUL in it"),
    (lambda path: path.write_text("ann:a\tb"), "control characters"),
    (lambda path: path.write_text("ann:" + "x" * 5000), "too long"),
    (lambda path: path.write_text("ann:x\n" * 20000), "larger than 49152 bytes"),
    (lambda path: os.geteuid() == 0 and os.chown(path, 12345, 0), "belongs to another user"),
], ids=["missing", "readable", "writable", "link", "directory", "fifo", "no-colon", "empty", "nul", "control", "long",
        "large", "owner"])
def test_unusable_credential(secret, bad, spoil, words):
    if words == "belongs to another user" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    spoil(secret.base / "credentials" / "site")
    good = [{"url": bad.url(f"/ok/5000/g{i}")} for i in range(20)]
    jobs = secret.run([{"url": bad.url("/ok/10/a"), "auth": BASIC, "retries": 3}, *good])
    assert words in failed(jobs[0], "credential")["error"]["message"]
    assert jobs[0]["attempts"] == 0 and bad.count("/ok/10/a") == 0
    assert all(done(job)["attempts"] == 1 for job in jobs[1:])
    assert files_under(secret.root) == sorted(f"g{i}" for i in range(20))


@pytest.mark.parametrize("kind, text, words", [
    ("bearer", "a b", "must be a token"), ("bearer", "", "must be a token"), ("bearer", "x" * 9000, "longer than 8192"),
    ("netrc", "machine 127.0.0.1 login ann", "has no login, or no password, for this host"),
    ("netrc", 'machine 127.0.0.1 login "ann', "without its other end"),
    ("netrc", "machine 127.0.0.1 user ann", "none of machine, default"),
])
def test_credential_of_another_kind(secret, bad, kind, text, words):
    give(secret, "a", text)
    job = failed(secret.run_one(bad.url("/ok/10/a"), auth={"type": kind, "credential": "a"}), "credential")
    assert words in job["error"]["message"] and bad.count() == 0


def test_group_may_read(secret, bad):
    (secret.base / "credentials" / "site").chmod(0o640)
    done(secret.run_one(bad.url("/ok/10/a"), auth=BASIC))


def test_directory_of_systemd_is_the_default(make_daemon, tmp, bad):
    (tmp / "given").mkdir()
    daemon = make_daemon(env={"CREDENTIALS_DIRECTORY": str(tmp / "given")})
    path = tmp / "given" / "site"
    path.write_text(f"ann:{SECRET}")
    path.chmod(0o400)
    daemon.start()
    done(daemon.run_one(bad.url("/ok/10/a"), auth=BASIC))
    assert bad.requests()[0].header("Authorization") == SENT


def test_failed_job_can_be_retried_when_the_credential_is_there(secret, bad):
    path = secret.base / "credentials" / "site"
    path.rename(path.with_name("away"))
    job = failed(secret.run_one(bad.url("/ok/10/a"), auth=BASIC), "credential")
    path.with_name("away").rename(path)
    secret.call("retry", {"ids": [job["id"]]})
    with secret.control() as c:
        c.call("wait", {"ids": [job["id"]]})
    done(secret.jobs()[0])


# ---- that it stays secret ----


def test_secrets_are_nowhere(make_secret, bad):
    daemon = make_secret(settings={"log.level": "debug"}).start()
    give(daemon, "token", SECRET)
    give(daemon, "netrc", f"default login ann password {SECRET}")
    give(daemon, "broken", f"{SECRET} {SECRET}")
    jobs = [{"url": bad.url(f"/{path}/{kind}{name}"), "auth": {"type": kind, "credential": name}, "retries": 0}
            for kind, name in (("basic", "site"), ("digest", "site"), ("bearer", "token"), ("netrc", "netrc"),
                               ("basic", "broken"), ("bearer", "broken"), ("netrc", "broken"))
            for path in ("ok/10", "status/401", "status/500")]
    told = json.dumps([daemon.show(job["id"]) for job in daemon.run(jobs)])
    daemon.stop()
    encoded = SENT.split()[1]
    for text in (told, daemon.stderr, run([DLD, "--print-config"]).out):
        assert SECRET not in text and encoded not in text
    assert '"credential": "site"' in told
    for path in files_under(daemon.state):
        data = (daemon.state / path).read_bytes()
        assert SECRET.encode() not in data and encoded.encode() not in data


# ---- cookies ----


def cookies(server):
    return [request.header("Cookie") for request in server.requests()]


def test_cookie_of_a_redirect_is_sent_on(secret, bad):
    done(secret.run_one(bad.url("/go?to=/ok/10/a&cookie=" + quote("a=1; Path=/")), output="a"))
    assert cookies(bad) == [None, "a=1"]


def test_cookies_join_that_of_the_job(secret, bad):
    done(secret.run_one(bad.url("/go?to=/ok/10/a&cookie=" + quote("a=1; Path=/")), headers={"cookie": "b=2"}, output="a"))
    assert cookies(bad)[0] == "b=2" and sorted(cookies(bad)[1].split("; ")) == ["a=1", "b=2"]
    assert all(sum(name.lower() == "cookie" for name, _ in request.headers) <= 1 for request in bad.requests())


def test_cookies_keep_to_their_host(secret, bad):
    there = f"http://localhost:{bad.port}/go?to=" + quote(bad.url("/ok/10/a"))
    done(secret.run_one(bad.url("/go?to=" + quote(there) + "&cookie=" + quote("a=1; Path=/")), output="a"))
    assert cookies(bad) == [None, None, "a=1"]


@pytest.mark.parametrize("attributes", ["Domain=example.org", "Domain=1", "Path=/elsewhere", "Max-Age=0"])
def test_cookies_by_the_rules(secret, bad, attributes):
    done(secret.run_one(bad.url("/go?to=/ok/10/a&cookie=" + quote("a=1; " + attributes)), output="a"))
    assert cookies(bad) == [None, None]


def test_cookies_of_one_job_are_not_the_next_ones(make_secret, bad):
    daemon = make_secret(workers=1, settings={"worker.transfers": 1}).start()
    jobs = daemon.run([{"url": bad.url(f"/cookie/{i}?set=" + quote("a=1; Path=/"))} for i in range(3)])
    assert [job["state"] for job in jobs] == ["done"] * 3
    assert cookies(bad) == [None] * 3
    assert len({request.connection for request in bad.requests()}) == 1


# ---- two families of addresses ----


class Server(http.server.ThreadingHTTPServer):
    """Serves content("x", GOOD_SIZE) at an address of either family."""

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(GOOD_SIZE))
            self.end_headers()
            self.wfile.write(content("x", GOOD_SIZE))

        def log_message(self, *_):
            pass

    def __init__(self, address, port=0):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), self.RequestHandlerClass)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def fetch_from_localhost(daemon, port):
    job = done(daemon.run_one(f"http://localhost:{port}/a", retries=0))
    assert job["attempts"] == 1
    assert daemon.file("a").read_bytes() == content("x", GOOD_SIZE)
    return job["finished"] - job["started"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_name_with_two_addresses_of_which_one_refuses(daemon, address):
    with Server(address) as server:
        fetch_from_localhost(daemon, server.server_port)
        server.shutdown()


@pytest.mark.parametrize("silent, address", [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_name_with_two_addresses_of_which_one_does_not_answer(daemon, silent, address):
    """The other one is tried before the connection has timed out."""
    family = socket.AF_INET6 if ":" in silent else socket.AF_INET
    with Server(address) as server, socket.socket(family) as listener, contextlib.ExitStack() as held:
        listener.bind((silent, server.server_port))
        listener.listen(0)
        for _ in range(3):  # its queue is full
            s = held.enter_context(socket.socket(family))
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        assert fetch_from_localhost(daemon, server.server_port) < 5 * SLOWER
        server.shutdown()
