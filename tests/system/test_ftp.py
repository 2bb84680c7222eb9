"""Over FTP and FTPS too: every byte or a clear failure, whatever the server does."""

import hashlib
import json
import os
import subprocess
import time
from urllib.parse import quote

import pytest

from badftp import GOOD_SIZE, OLD_SECONDS, BadFtp
from support import MIB, clean_environment, content, die_with_parent, files_under, is_part, wait_for
from test_download import done, failed
from proxy import Proxy
from tls import Authority
from vsftpd import Vsftpd

SIZE, CUT = 300000, 200000


@pytest.fixture
def ftp():
    server = BadFtp().start()
    yield server
    server.stop()


@pytest.fixture
def vsftpd(tmp):
    server = Vsftpd(tmp / "vsftpd", tmp / "ftp-files")
    yield server.start()
    server.stop()


@pytest.fixture
def ftps(tmp):
    authority = Authority(tmp / "ca")
    server = Vsftpd(tmp / "vsftpd-tls", tmp / "ftps-files", authority.base / "good.pem", authority.base / "good.key")
    server.authority = authority
    yield server.start()
    server.stop()


@pytest.fixture
def impatient(make_daemon):
    """A daemon that waits for no more than two seconds of silence."""
    return make_daemon(settings={"transfer.low_speed_limit": "1000", "transfer.low_speed_time": "2s",
                                 "transfer.connect_timeout": "2s"}).start()


def run_beside(daemon, nginx, url, **keys):
    """The job, run in the midst of twenty good ones that it must not disturb."""
    good = {f"good-{i}": content(i, 30000) for i in range(20)}
    jobs = [{"url": nginx.add(name, data)} for name, data in good.items()]
    jobs.insert(10, {"url": url, **keys})
    ended = daemon.run(jobs)
    job = ended.pop(10)
    for neighbour in ended:
        done(neighbour)
        assert neighbour["attempts"] == 1, neighbour
        assert neighbour["finished"] - neighbour["started"] < 1, neighbour
    assert all(daemon.file(name).read_bytes() == data for name, data in good.items())
    for name in good:
        daemon.file(name).unlink()
    return job


# ---- vsftpd ----


@pytest.mark.parametrize("name", ["a.bin", "sub/dir/a b.bin", "x;type.bin", "ümlaut.bin", "100%.bin", "-l.bin"])
def test_file_from_vsftpd(daemon, vsftpd, name):
    data = content(name, 100000)
    vsftpd.add(name, data)
    job = done(daemon.run_one(vsftpd.url(quote(name)), output="a"))
    assert (job["size"], job["bytes"], job["attempts"], job["http_status"]) == (100000, 100000, 1, None)
    assert daemon.file("a").read_bytes() == data
    assert files_under(daemon.root) == ["a"]


def test_empty_file(daemon, vsftpd):
    job = done(daemon.run_one(vsftpd.add("empty", b"")))
    assert (job["bytes"], job["size"]) == (0, 0)
    assert daemon.file("empty").read_bytes() == b""


def test_hundred_mebibytes_with_everything(daemon, vsftpd):
    data = content("large", MIB) * 100
    url = vsftpd.add("large.bin", data)
    os.utime(vsftpd.files / "large.bin", (OLD_SECONDS, OLD_SECONDS))
    job = done(daemon.run_one(url, checksum="sha-256:" + hashlib.sha256(data).hexdigest(), size=len(data),
                              max_size="101M", remote_time=True))
    assert job["bytes"] == len(data)
    assert daemon.file("large.bin").read_bytes() == data
    assert daemon.file("large.bin").stat().st_mtime == OLD_SECONDS


def test_hundred_files(daemon, vsftpd):
    wanted = {f"{i:03}": content(i, 5000) for i in range(100)}
    jobs = daemon.run([{"url": vsftpd.add(name, data)} for name, data in wanted.items()])
    assert all(job["state"] == "done" for job in jobs)
    assert all(daemon.file(name).read_bytes() == data for name, data in wanted.items())


def test_no_such_file(daemon, vsftpd):
    job = failed(daemon.run_one(vsftpd.url("none")), "refused")
    assert job["attempts"] == 1 and "550" in job["error"]["message"]
    assert files_under(daemon.root) == []


def test_wrong_checksum_size_and_too_large(daemon, vsftpd):
    url = vsftpd.add("a", content("a", 5000))
    failed(daemon.run_one(url, checksum="md5:" + 32 * "0"), "checksum")
    failed(daemon.run_one(url, size=4999), "size")
    failed(daemon.run_one(url, max_size=4999), "too-large")
    assert files_under(daemon.root) == []


def test_if_modified(daemon, vsftpd):
    url = vsftpd.add("a", b"first")
    os.utime(vsftpd.files / "a", (OLD_SECONDS, OLD_SECONDS))
    keys = {"if_modified": True, "remote_time": True}
    assert done(daemon.run_one(url, **keys)).get("not_modified") in (None, False)
    assert done(daemon.run_one(url, **keys))["not_modified"] is True
    vsftpd.add("a", b"other")
    os.utime(vsftpd.files / "a", (OLD_SECONDS + 1, OLD_SECONDS + 1))
    assert done(daemon.run_one(url, **keys)).get("not_modified") in (None, False)
    assert daemon.file("a").read_bytes() == b"other"
    vsftpd.add("a", b"longer one")
    os.utime(vsftpd.files / "a", (OLD_SECONDS, OLD_SECONDS))
    done(daemon.run_one(url, **keys))
    assert daemon.file("a").read_bytes() == b"longer one"
    assert files_under(daemon.root) == ["a"]


def test_denied_address(make_daemon, vsftpd):
    daemon = make_daemon(settings={"network.deny": "127.0.0.0/8"}).start()
    failed(daemon.run_one(vsftpd.add("a", b"x")), "denied-address")


def test_scheme_that_is_not_permitted(make_daemon, vsftpd):
    daemon = make_daemon(settings={"network.schemes": "http https"}).start()
    job = failed(daemon.run_one(vsftpd.add("a", b"x")), "url")
    assert "ftp" in job["error"]["message"] and "schemes" in job["error"]["message"]


def test_http_redirect_to_ftp_is_not_followed(daemon, bad, vsftpd):
    failed(daemon.run_one(bad.url("/redirect-to/a?to=" + vsftpd.add("a", b"x"))), "redirect")
    assert files_under(daemon.root) == []


# ---- FTPS ----


def test_file_over_ftps(make_daemon, ftps):
    daemon = make_daemon(settings={"transfer.ca_file": str(ftps.authority.file)}).start()
    data = content("a", 500000)
    done(daemon.run_one(ftps.add("a.bin", data)))
    assert daemon.file("a.bin").read_bytes() == data


def test_ftps_certificate_is_checked(daemon, ftps):
    assert failed(daemon.run_one(ftps.add("a", b"x")), "tls")["attempts"] == 1
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("path, error", [
    ("/good/a", None), ("/plain/a", None), ("/tls-cut/0/a", None), ("/tls-cut/10/a", {"partial"}),
    ("/tls-cut-unannounced/0/a", {"partial"}), ("/tls-cut-unannounced/10/a", {"partial"}), ("/cut-unannounced/700/426/a", {"partial"})])
def test_end_of_tls(make_daemon, ftp, tmp, path, error):
    authority = Authority(tmp / "ca")
    url = ftp.listen_tls(authority.base / "good.pem", authority.base / "good.key")
    daemon = make_daemon(settings={"transfer.ca_file": str(authority.file)}).start()
    job = daemon.run_one(url + path, retries=1)
    if error is None:
        done(job)
        assert daemon.file("a").read_bytes() == content(path, GOOD_SIZE)
    else:
        assert job["state"] == "failed" and job["error"]["name"] in error, job
        assert job["attempts"] == 2
        assert files_under(daemon.root) == []


def test_server_that_would_send_in_clear(make_daemon, ftp, tmp):
    authority = Authority(tmp / "ca")
    url = ftp.listen_tls(authority.base / "good.pem", authority.base / "good.key", mode="clear")
    daemon = make_daemon(settings={"transfer.ca_file": str(authority.file)}).start()
    job = daemon.run_one(url + "/good/a", retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in {"tls", "refused"}, job
    assert ftp.commands("RETR") == []


# ---- what ends well ----


@pytest.mark.parametrize("path", ["/good/a", "/plain/a", "/bounce/a", f"/opening/{GOOD_SIZE}/a",
                                  "/flaky/450/2/a", "/flaky/421/1/a", "/announce/0/a"])
def test_good_in_the_end(daemon, ftp, nginx, path):
    job = run_beside(daemon, nginx, ftp.url(path))
    if path == "/announce/0/a":
        failed(job, "protocol")
        return
    done(job)
    assert daemon.file("a").read_bytes() == content(path, GOOD_SIZE)
    assert ftp.commands("PORT") == ftp.commands("EPRT") == []
    assert set(ftp.commands("TYPE")) == {"I"}


def test_type_in_a_url(daemon, ftp):
    done(daemon.run_one(ftp.url("/good/a;type=i")))
    assert daemon.file("a").read_bytes() == content("/good/a", GOOD_SIZE)
    assert set(ftp.commands("TYPE")) == {"I"}


@pytest.mark.parametrize("path", ["/a;type=a", "/a;type=d", "/dir/", "/", "", "/a%0d%0aDELE%20b", "/a%00", "/a?b"])
def test_url_that_names_no_file(daemon, ftp, path):
    result = daemon.dlctl("submit", "-", stdin=json.dumps({"url": ftp.url(path)}), code=2)
    assert "url" in result.err
    assert ftp.log == []


def test_user_in_a_url(daemon):
    result = daemon.dlctl("submit", "-", stdin=json.dumps({"url": "ftp://anna:secret@127.0.0.1/a"}), code=2)
    assert '"auth"' in result.err and "secret" not in result.err


# ---- what ends badly, without touching the neighbours ----


@pytest.mark.parametrize("path, error, attempts", [
    ("/cut/700/226/a", "partial", 2), ("/cut/700/426/a", "partial", 2), ("/cut/700/451/a", "partial", 2),
    ("/cut/700/550/a", "partial", 2), ("/cut/0/226/a", "partial", 2), ("/cut/20000/426/a", "partial", 2),
    ("/cut-unannounced/700/426/a", "partial", 2), ("/cut-unannounced/700/550/a", "partial", 2),
    ("/cut-unannounced/700/451/a", "partial", 2),
    ("/opening/30000/a", "partial", 2), ("/opening/10000/a", "protocol", 2),
    ("/announce/30000/a", "partial", 2), ("/announce/10000/a", "protocol", 2),
    ("/hang-up/700/a", {"partial", "reset"}, 2), ("/endless/a", "protocol", 2),
    ("/code/550/a", "refused", 1), ("/code/553/a", "refused", 1), ("/code/530/a", "login", 1),
    ("/code/450/a", "refused", 2), ("/code/451/a", "refused", 2), ("/code/425/a", "refused", 2),
    ("/code/421/a", "refused", 2),
    ("/garbage/a", {"protocol", "reset", "partial"}, None), ("/endless-lines/a", "protocol", 1), ("/long-line/a", "protocol", 1),
])
def test_bad_file_is_never_published(daemon, ftp, nginx, path, error, attempts):
    job = run_beside(daemon, nginx, ftp.url(path), retries=1)
    assert job["state"] == "failed" and job["error"]["name"] in ({error} if isinstance(error, str) else error), job
    assert attempts in (None, job["attempts"]), job
    assert job["http_status"] is None
    assert files_under(daemon.root) == []


def test_endless_file_ends_at_max_size(daemon, ftp):
    failed(daemon.run_one(ftp.url("/endless-unannounced/a"), max_size="1M"), "too-large")
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("path, at, errors", [
    ("/silent-retr/a", "", {"stalled"}), ("/silent-data/a", "", {"stalled"}), ("/silent-end/a", "", {"stalled"}),
    ("/drip/a", "", {"stalled"}), ("/good/a", "silent", {"stalled", "timeout"}),
    ("/good/a", "pass", {"stalled", "timeout"}), ("/good/a", "size", {"stalled"}),
    ("/endless-line/a", "", {"protocol"}), ("/good/a", "endless-line", {"protocol"}),
    ("/good/a", "endless-lines", {"protocol"}), ("/good/a", "garbage", {"stalled", "timeout"}),
    ("/good/a", "busy", {"refused"}), ("/good/a", "421", {"refused"}), ("/good/a", "530", {"login"}),
])
def test_server_that_holds_up_nobody_else(impatient, ftp, nginx, path, at, errors):
    job = run_beside(impatient, nginx, ftp.url(path, at), retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in errors, job
    assert job["finished"] - job["started"] < 15
    assert files_under(impatient.root) == []


def test_many_that_never_say_the_end(make_daemon, ftp, nginx):
    """libcurl waits for the last reply; the loop must not."""
    daemon = make_daemon(workers=1).start()
    daemon.submit([{"url": ftp.url(f"/silent-end/{i}/a"), "output": f"bad/{i}", "retries": 0} for i in range(8)])
    wait_for(lambda: len(ftp.commands("RETR")) == 8)
    begun = time.monotonic()
    jobs = daemon.run([{"url": nginx.add(f"{i}", content(i, 5000))} for i in range(200)])
    assert all(job["state"] == "done" for job in jobs)
    assert time.monotonic() - begun < 10


def test_timeout_and_deadline(daemon, ftp):
    failed(daemon.run_one(ftp.url("/drip/a"), timeout="500ms", retries=0), "timeout")
    failed(daemon.run_one(ftp.url("/silent-end/a"), timeout="500ms", retries=0), "timeout")
    job = daemon.run_one(ftp.url("/silent-retr/a"), deadline=time.time() + 1)
    assert job["state"] == "failed" and job["error"]["name"] in {"deadline", "timeout"}, job
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("path", ["/drip/a", "/silent-retr/a", "/silent-end/a", "/silent-data/a"])
def test_cancel(daemon, ftp, path):
    number = daemon.submit([{"url": ftp.url(path)}])["ids"][0]
    wait_for(lambda: ftp.commands("RETR"))
    begun = time.monotonic()
    daemon.dlctl("cancel", str(number))
    wait_for(lambda: daemon.show(number)["state"] == "cancelled")
    assert time.monotonic() - begun < 3
    assert files_under(daemon.root) == []
    daemon.stop()
    assert time.monotonic() - begun < 8


def test_mirrors_of_both_kinds(daemon, ftp, bad):
    job = done(daemon.run([{"urls": [ftp.url("/code/550/x"), bad.url("/status/404/x"), ftp.url("/good/a")]}])[0])
    assert job["attempts"] == 3
    assert daemon.file("x").read_bytes() == content("/good/a", GOOD_SIZE)


# ---- proxies ----


@pytest.mark.parametrize("scheme, kind", [("http", "connect"), ("socks5h", "socks-name")])
def test_both_connections_go_through_the_proxy(make_daemon, ftp, scheme, kind):
    with Proxy({"files.example": ("127.0.0.1", ftp.ports[""])}) as proxy:
        daemon = make_daemon(settings={"network.proxy": proxy.url(scheme)}).start()
        done(daemon.run_one(ftp.url("/good/a")))
        assert len(proxy.log) == 2 and {host for _, host, _ in proxy.log} == {"127.0.0.1"}, proxy.log
        done(daemon.run_one(f"ftp://127.0.0.1:{ftp.ports['']}/bounce/b", proxy="none"))
        assert len(proxy.log) == 2
    assert daemon.file("a").read_bytes() == content("/good/a", GOOD_SIZE)


def test_proxy_that_makes_no_connection(make_daemon, ftp):
    with Proxy(refuse=403) as proxy:
        daemon = make_daemon(settings={"network.proxy": proxy.url()}).start()
        job = failed(daemon.run_one(ftp.url("/good/a"), retries=0), "connect")
    assert "403" in job["error"]["message"] and ftp.log == []


# ---- resume ----


def parts(ftp, *options, cuts=1):
    path = f"/parts/{SIZE}/{CUT}/{cuts}/{','.join(options) or '-'}/a"
    return ftp.url(path), path


def test_goes_on_where_it_broke_off(daemon, ftp):
    url, path = parts(ftp)
    job = done(daemon.run_one(url, checksum="md5:" + hashlib.md5(content(path + "1", SIZE)).hexdigest()))
    assert (job["attempts"], job["size"]) == (2, SIZE)
    assert ftp.commands("REST") == [str(CUT)]
    assert daemon.file("a").read_bytes() == content(path + "1", SIZE)
    assert files_under(daemon.root) == ["a"]


@pytest.mark.parametrize("option, rest, version, size", [
    ("changes", [], "2", SIZE), ("grows", [], "1", SIZE + 1), ("norest", [str(CUT)], "1", SIZE),
    ("nomdtm", [], "1", SIZE), ("nosize", [], "1", SIZE), ("young", [], "1", SIZE), ("lies", None, "1", SIZE)])
def test_starts_over(daemon, ftp, option, rest, version, size):
    """Another version, a server that knows no parts, a version without a name."""
    url, path = parts(ftp, option)
    job = done(daemon.run_one(url))
    assert job["size"] == size
    data = daemon.file("a").read_bytes()
    assert data == content(path + version, size)
    assert job["attempts"] == (3 if option == "lies" else 2)
    assert files_under(daemon.root) == ["a"]


def test_goes_on_after_a_restart_of_the_daemon(daemon, vsftpd):
    data = content("big", MIB) * 64
    url = vsftpd.add("big", data)
    os.utime(vsftpd.files / "big", (OLD_SECONDS, OLD_SECONDS))
    with open(vsftpd.base / "vsftpd.conf", "a") as config:
        config.write("anon_max_rate=8000000\n")
    vsftpd.process.kill()
    vsftpd.process.wait()
    vsftpd.process = subprocess.Popen(["/usr/sbin/vsftpd", vsftpd.base / "vsftpd.conf"], env=clean_environment(),
                                      start_new_session=True, preexec_fn=die_with_parent)
    wait_for(vsftpd._answers)
    number = daemon.submit([{"url": url}])["ids"][0]
    wait_for(lambda: any(is_part(f) and daemon.file(f).stat().st_size > 20 * MIB for f in files_under(daemon.root)))
    daemon.kill()
    daemon.start()
    wait_for(lambda: daemon.show(number)["state"] == "done")
    job = done(daemon.show(number))
    assert job["bytes"] < len(data)
    assert daemon.file("big").read_bytes() == data
