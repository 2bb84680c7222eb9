"""Apache httpd, as Debian has it: who may have what, going on, versions, codings."""

import os

import pytest

from apache import PASSWORD, USER, Apache
from support import MIB, content, files_under, have, wait_for
from test_auth import give
from test_download import done, failed

pytestmark = pytest.mark.skipif(not have("apache2") and not os.path.exists("/usr/sbin/apache2"), reason="needs apache2-bin")

RIGHT = f"{USER}:{PASSWORD}"


@pytest.fixture
def apache(tmp):
    server = Apache(tmp / "apache", tmp / "files")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def secret(make_daemon, tmp):
    """A daemon with the credentials right and wrong."""
    daemon = make_daemon(settings={"credentials.dir": tmp / "dld" / "credentials"})
    give(daemon, "right", RIGHT)
    give(daemon, "wrong", USER + ":other")
    return daemon.start()


def auth(kind, name="right"):
    return {"auth": {"type": kind, "credential": name}}


@pytest.mark.parametrize("kind, requests", [("basic", [200]), ("digest", [401, 200])])
def test_right_password(secret, apache, kind, requests):
    data = content("a", 50000)
    apache.add("a.bin", data)
    job = done(secret.run_one(apache.url(f"{kind}/a.bin"), **auth(kind)))
    assert job["attempts"] == 1 and job["http_status"] == 200 and job["size"] == 50000
    assert secret.file("a.bin").read_bytes() == data
    assert files_under(secret.root) == ["a.bin"]
    wait_for(lambda: [r.status for r in apache.requests()] == requests)
    assert apache.requests()[-1].authorization.startswith(kind.title() + " ")


@pytest.mark.parametrize("kind, requests", [("basic", [401]), ("digest", [401, 401])])
def test_wrong_password(secret, apache, kind, requests):
    apache.add("a.bin", b"secret")
    good = [{"url": apache.add(f"g{i}", content(str(i), 5000))} for i in range(20)]
    jobs = secret.run([{"url": apache.url(f"{kind}/a.bin"), "retries": 3, **auth(kind, "wrong")}, *good])
    job = failed(jobs[0], "http")
    assert job["attempts"] == 1 and job["http_status"] == 401
    assert "Unauthorized" in job["answer"]
    assert all(done(other)["attempts"] == 1 for other in jobs[1:])
    assert files_under(secret.root) == sorted(f"g{i}" for i in range(20))
    wait_for(lambda: [r.status for r in apache.requests() if r.path.endswith("a.bin")] == requests)


def test_no_password(secret, apache):
    apache.add("a.bin", b"secret")
    assert failed(secret.run_one(apache.url("basic/a.bin")), "http")["http_status"] == 401
    assert files_under(secret.root) == []


def test_digest_without_redirects(make_daemon, tmp, apache):
    """The answer to a challenge is no redirect."""
    daemon = make_daemon(settings={"credentials.dir": tmp / "dld" / "credentials", "transfer.max_redirects": 0})
    give(daemon, "right", RIGHT)
    daemon.start()
    apache.add("a.bin", b"secret")
    done(daemon.run_one(apache.url("digest/a.bin"), **auth("digest")))
    assert daemon.file("a.bin").read_bytes() == b"secret"


@pytest.mark.parametrize("kind", ["", "digest/"])
def test_goes_on_by_range(make_daemon, tmp, apache, kind):
    daemon = make_daemon(workers=1, settings={"credentials.dir": tmp / "dld" / "credentials"})
    give(daemon, "right", RIGHT)
    daemon.start()
    data = content("large", MIB) * 60
    apache.add("a.slow", data)
    os.utime(apache.files / "a.slow", (1, 1))
    daemon.submit([{"url": apache.url(f"{kind}a.slow"), **(auth("digest") if kind else {})}])
    part = wait_for(lambda: [*daemon.root.glob(".dld-*")], what="a part file")[0]
    wait_for(lambda: part.stat().st_size > 20 * MIB, what="some of the file")
    daemon.restart()
    wait_for(daemon.none_left, 60)
    assert done(daemon.jobs()[0])["size"] == len(data)
    assert daemon.file("a.slow").read_bytes() == data
    ended = wait_for(lambda: [r for r in apache.requests() if r.status == 206], what="the second request in the log")
    assert len(ended) == 1 and ended[0].range.startswith("bytes=") and ended[0].size < len(data)


@pytest.mark.parametrize("keys", [{}, {"checksum": True}])
def test_large_file(secret, apache, keys):
    import hashlib
    data = content("large", MIB) * 200
    url = apache.add("a.bin", data)
    if keys:
        keys = {"checksum": "sha-256:" + hashlib.sha256(data).hexdigest()}
    assert done(secret.run_one(url, **keys))["size"] == len(data)
    assert secret.file("a.bin").read_bytes() == data


def test_if_modified(secret, apache):
    url = apache.add("a.bin", content("one", 5000))
    os.utime(apache.files / "a.bin", (1000000000, 1000000000))
    first = done(secret.run_one(url, if_modified=True, remote_time=True))
    assert "not_modified" not in first
    again = done(secret.run_one(url, if_modified=True, remote_time=True))
    assert again["not_modified"] and again["output"] == "a.bin" and again["bytes"] == 0
    apache.add("a.bin", content("two", 6000))
    changed = done(secret.run_one(url, if_modified=True))
    assert "not_modified" not in changed
    assert secret.file("a.bin").read_bytes() == content("two", 6000)
    assert files_under(secret.root) == ["a.bin"]
    wait_for(lambda: [r.status for r in apache.requests()] == [200, 304, 200])


@pytest.mark.parametrize("compressed", [True, False])
def test_deflate(secret, apache, compressed):
    data = b"a line of text\n" * 10000
    url = apache.add("a.txt", data)
    job = done(secret.run_one(url, compressed=compressed))
    assert secret.file("a.txt").read_bytes() == data
    assert job["size"] == len(data)
    sent = wait_for(apache.requests)[0].size
    assert (sent < len(data) / 10) if compressed else (sent == len(data))
