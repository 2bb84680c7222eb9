"""Over SFTP: only from hosts that are known, and then like any other file."""

import hashlib
import os
import signal
import time
from urllib.parse import quote

import pytest

from badftp import OLD_SECONDS, BadFtp
from dld import run
from proxy import Proxy
from sftp import Sftp, hashed, make_key
from support import MIB, children_of, closed_port, content, files_under, is_part, wait_for
from test_auth import give, make_secret  # noqa: F401: a fixture
from test_download import done, failed


@pytest.fixture
def sftp(tmp):
    server = Sftp(tmp / "sftp", ("ed25519", "rsa"))
    yield server.start()
    server.stop()


@pytest.fixture
def make_known(make_secret, tmp, sftp):  # noqa: F811
    """Makes daemons that know the server by these lines, and have the key to it."""
    def make(lines=None, **settings):
        known = tmp / "known_hosts"
        known.write_text(f"{sftp.name} {sftp.host_key()}\n" if lines is None else lines)
        daemon = make_secret(settings={"transfer.known_hosts": known, **settings})
        give(daemon, "key", sftp.client_key.read_text())
        return daemon.start()
    return make


@pytest.fixture
def auth(sftp):
    return {"type": "key", "user": sftp.user, "credential": "key"}


@pytest.mark.parametrize("name", ["a.bin", "sub/a b.bin", "ümlaut?*.bin"])
def test_file(make_known, sftp, auth, name):
    daemon = make_known()
    data = content(name, 3 * MIB)
    sftp.add(name, data)
    job = done(daemon.run_one(sftp.url(quote(name)), auth=auth, output="a", size=len(data),
                              checksum="sha-256:" + hashlib.sha256(data).hexdigest()))
    assert (job["bytes"], job["size"], job["attempts"], job["http_status"]) == (len(data), len(data), 1, None)
    assert daemon.file("a").read_bytes() == data
    assert files_under(daemon.root) == ["a"]


def test_empty_file_and_remote_time(make_known, sftp, auth):
    daemon = make_known()
    url = sftp.add("empty", b"")
    os.utime(sftp.files / "empty", (OLD_SECONDS, OLD_SECONDS))
    job = done(daemon.run_one(url, auth=auth, remote_time=True))
    assert (job["bytes"], job["size"]) == (0, 0)
    assert daemon.file("empty").read_bytes() == b""
    assert daemon.file("empty").stat().st_mtime == OLD_SECONDS


def test_if_modified(make_known, sftp, auth):
    daemon = make_known()
    url = sftp.add("a", b"first")
    os.utime(sftp.files / "a", (OLD_SECONDS, OLD_SECONDS))
    keys = {"if_modified": True, "remote_time": True, "auth": auth}
    assert not done(daemon.run_one(url, **keys)).get("not_modified")
    assert done(daemon.run_one(url, **keys))["not_modified"] is True
    sftp.add("a", b"other")
    assert not done(daemon.run_one(url, **keys)).get("not_modified")
    assert daemon.file("a").read_bytes() == b"other"


def test_many_files_at_once(make_known, sftp, auth):
    daemon = make_known()
    wanted = {f"{i:02}": content(i, 50000) for i in range(40)}
    jobs = daemon.run([{"url": sftp.add(name, data), "auth": auth} for name, data in wanted.items()])
    assert all(job["state"] == "done" for job in jobs)
    assert all(daemon.file(name).read_bytes() == data for name, data in wanted.items())


def test_no_such_file_and_none_of_ours(make_known, sftp, auth):
    daemon = make_known()
    job = failed(daemon.run_one(sftp.url("none"), auth=auth), "refused")
    assert job["attempts"] == 1
    (sftp.files / "dir").mkdir()
    job = daemon.run_one(sftp.url("dir"), auth=auth, retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in {"refused", "reset"}, job
    failed(daemon.run_one(sftp.add("large", bytes(5000)), auth=auth, max_size=4999), "too-large")
    assert files_under(daemon.root) == []


# ---- host keys ----


def test_unknown_host(make_known, sftp, auth):
    daemon = make_known("")
    job = failed(daemon.run_one(sftp.add("a", b"x"), auth=auth), "host-key")
    assert job["attempts"] == 1
    assert "known_hosts" in job["error"]["message"] and sftp.name in job["error"]["message"]
    assert files_under(daemon.root) == []


def test_no_known_hosts_file(make_known, sftp, auth, tmp):
    daemon = make_known(**{"transfer.known_hosts": tmp / "nowhere"})
    failed(daemon.run_one(sftp.add("a", b"x"), auth=auth), "host-key")


def test_changed_host_key(make_known, sftp, auth, tmp):
    other = " ".join(make_key(tmp / "other").with_suffix(".pub").read_text().split()[:2])
    daemon = make_known(f"{sftp.name} {other}\n")
    job = failed(daemon.run_one(sftp.add("a", b"x"), auth=auth), "host-key")
    assert job["attempts"] == 1 and "another host key" in job["error"]["message"]
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("kind", ["host", "hosts", "other-port", "revoked"])
def test_keys_that_are_not_the_hosts(make_known, sftp, auth, kind):
    key = sftp.host_key()
    lines = {"host": f"127.0.0.1 {key}\n", "hosts": f"example.org,10.0.0.1 {key}\n",
             "other-port": f"[127.0.0.1]:{sftp.port + 1} {key}\n",
             "revoked": f"{sftp.name} {key}\n@revoked * {key}\n"}
    failed(make_known(lines[kind]).run_one(sftp.add("a", b"x"), auth=auth), "host-key")


@pytest.mark.parametrize("kind", ["hashed", "pattern", "among-others", "rsa-too"])
def test_ways_to_be_known(make_known, sftp, auth, tmp, kind):
    key = sftp.host_key()
    other = " ".join(make_key(tmp / "other", "rsa").with_suffix(".pub").read_text().split()[:2])
    lines = {"hashed": f"{hashed('elsewhere')} {other}\n{hashed(sftp.name)} {key}\n",
             "pattern": f"[127.0.0.*]:* {key}\n", "among-others": f"example.org {other}\na,{sftp.name} {key} me@here\n",
             "rsa-too": f"{sftp.name} {sftp.host_key('rsa')}\n{sftp.name} {key}\n"}
    done(make_known(lines[kind]).run_one(sftp.add("a", b"x"), auth=auth))


# ---- who asks ----


def test_without_auth(make_known, sftp):
    job = failed(make_known().run_one(sftp.add("a", b"x")), "login")
    assert job["attempts"] == 1 and '"auth"' in job["error"]["message"]


def test_key_that_is_not_let_in(make_known, sftp, auth, tmp):
    daemon = make_known()
    give(daemon, "key", make_key(tmp / "other").read_text())
    job = failed(daemon.run_one(sftp.add("a", b"x"), auth=auth), "login")
    assert job["attempts"] == 1
    assert "BEGIN" not in job["error"]["message"]


def test_wrong_password(make_known, sftp):
    daemon = make_known()
    give(daemon, "word", f"{sftp.user}:certainly-not-this\n")
    job = failed(daemon.run_one(sftp.add("a", b"x"), auth={"type": "basic", "credential": "word"}), "login")
    assert "certainly" not in job["error"]["message"]


def test_key_is_in_no_file(make_known, sftp, auth):
    daemon = make_known()
    done(daemon.run_one(sftp.add("a", b"x"), auth=auth))
    found = run(["grep", "-rl", sftp.client_key.read_text().splitlines()[1], daemon.base]).out.split()
    assert found == [str(daemon.base / "credentials" / "key")]


def test_key_is_for_sftp_alone(make_known, nginx, auth):
    job = failed(make_known().run_one(nginx.add("a", b"x"), auth=auth), "credential")
    assert "sftp" in job["error"]["message"]


def test_password_over_ftp(make_secret):  # noqa: F811
    ftp = BadFtp().start()
    try:
        daemon = make_secret()
        give(daemon, "anna", "anna:se:cret\n")
        give(daemon, "wrong", "anna:wrong\n")
        daemon.start()
        done(daemon.run_one(ftp.url("/good/a", at="login"), auth={"type": "basic", "credential": "anna"}))
        job = failed(daemon.run_one(ftp.url("/good/b", at="login"), auth={"type": "basic", "credential": "wrong"}), "login")
        assert job["attempts"] == 1 and "530" in job["error"]["message"]
        failed(daemon.run_one(ftp.url("/good/b", at="login")), "login")
        failed(daemon.run_one(ftp.url("/good/b"), auth={"type": "bearer", "credential": "bearer"}), "credential")
        give(daemon, "token", "abc\n")
        failed(daemon.run_one(ftp.url("/good/b"), auth={"type": "bearer", "credential": "token"}), "login")
    finally:
        ftp.stop()


def test_through_a_proxy(make_known, sftp, auth):
    with Proxy() as proxy:
        daemon = make_known(**{"network.proxy": proxy.url()})
        done(daemon.run_one(sftp.add("a", b"x"), auth=auth))
        assert proxy.log == [("connect", "127.0.0.1", sftp.port)]


# ---- what goes wrong ----


def test_refused_connection(make_known, auth):
    with closed_port() as port:
        job = failed(make_known().run_one(f"sftp://127.0.0.1:{port.port}/a", auth=auth, retries=1), "connect")
    assert job["attempts"] == 2


def test_server_that_is_none(make_known, bad, auth):
    daemon = make_known(**{"transfer.connect_timeout": "2s", "transfer.low_speed_time": "2s"})
    job = daemon.run_one(f"sftp://127.0.0.1:{bad.silent_port}/a", auth=auth, retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in {"timeout", "connect", "stalled"}, job
    job = daemon.run_one(f"sftp://127.0.0.1:{bad.port}/a", auth=auth, retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in {"timeout", "connect", "reset", "stalled"}, job


def descendants(pid):
    return [p for child in children_of(pid) for p in (child, *descendants(child))]


def test_resume_after_the_connection_broke(make_known, sftp, auth):
    daemon = make_known()
    data = content("large", MIB) * 300
    url = sftp.add("large", data)
    os.utime(sftp.files / "large", (OLD_SECONDS, OLD_SECONDS))
    number = daemon.submit([{"url": url, "auth": auth}])["ids"][0]
    wait_for(lambda: any(is_part(f) and daemon.file(f).stat().st_size > 10 * MIB for f in files_under(daemon.root)))
    for pid in descendants(sftp.process.pid):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: daemon.show(number)["state"] == "done")
    job = daemon.show(number)
    assert job["attempts"] == 2, job
    assert job["bytes"] < len(data)
    assert daemon.file("large").read_bytes() == data


def test_stopped_server_holds_up_nobody(make_known, sftp, auth, nginx):
    daemon = make_known(**{"transfer.low_speed_time": "2s", "transfer.low_speed_limit": "1000"})
    url = sftp.add("large", bytes(MIB) * 300)
    number = daemon.submit([{"url": url, "auth": auth, "retries": 0}])["ids"][0]
    wait_for(lambda: any(is_part(f) for f in files_under(daemon.root)))
    held = descendants(sftp.process.pid)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    jobs = daemon.run([{"url": nginx.add(f"{i}", content(i, 5000))} for i in range(100)])
    assert all(job["state"] == "done" for job in jobs) and time.monotonic() - begun < 5
    wait_for(lambda: daemon.show(number)["state"] == "failed")
    failed(daemon.show(number), "stalled")
    failed(daemon.run_one(url, auth=auth, timeout="500ms", retries=0), "timeout")
    for pid in held:
        os.kill(pid, signal.SIGKILL)
