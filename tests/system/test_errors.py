"""What goes wrong has a name, is tried again where that may help, and leaves nothing half-done behind."""

import resource
import time

import pytest

from behaviours import GOOD_SIZE
from dld import run
from support import closed_port, content, files_under, have, unanswered_port, wait_for
from test_download import done, failed


def gaps(requests):
    """Seconds between the requests of a log."""
    return [later.time - earlier.time for earlier, later in zip(requests, requests[1:])]


# ---- no connection ----


def test_refused_connection(daemon):
    with closed_port() as port:
        job = failed(daemon.run_one(port.url(), retries=2), "connect")
    assert job["attempts"] == 3
    assert job["http_status"] is None
    assert str(port.port) in job["error"]["message"]


def test_unknown_host(daemon):
    job = failed(daemon.run_one("http://nosuchhost.invalid/file", retries=1), "dns")
    assert job["attempts"] == 2
    assert "nosuchhost.invalid" in job["error"]["message"]


def test_connection_that_is_never_answered(make_daemon):
    daemon = make_daemon(settings={"transfer.connect_timeout": "300ms"}).start()
    with unanswered_port() as port:
        job = daemon.run_one(port.url(), retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in {"connect", "timeout"}, job
    assert job["finished"] - job["started"] < 5


# ---- statuses ----


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501, 505])
def test_lasting_error_status_fails_at_once(daemon, bad, status):
    job = failed(daemon.run_one(bad.url(f"/status/{status}/a.html")), "http")
    assert (job["attempts"], job["http_status"], bad.count()) == (1, status, 1)
    assert str(status) in job["error"]["message"]
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_error_status_is_tried_again(daemon, bad, status):
    path = f"/flaky/{status}/2/a.bin"
    job = done(daemon.run_one(bad.url(path)))
    assert (job["attempts"], job["http_status"], bad.count()) == (3, 200, 3)
    assert job["error"] is None
    assert daemon.file("a.bin").read_bytes() == content(path, GOOD_SIZE)


@pytest.mark.parametrize("status", [429, 503])
def test_retries_have_an_end(daemon, bad, status):
    job = failed(daemon.run_one(bad.url(f"/status/{status}/a"), retries=2), "http")
    assert (job["attempts"], job["http_status"], bad.count()) == (3, status, 3)
    assert files_under(daemon.root) == []


def test_number_of_retries_is_configured(make_daemon, bad):
    daemon = make_daemon(settings={"retry.count": "1"}).start()
    assert daemon.run_one(bad.url("/status/500/a"))["attempts"] == 2


def test_no_retries_when_asked_for_none(daemon, bad):
    assert daemon.run_one(bad.url("/status/500/a"), retries=0)["attempts"] == 1


def test_back_off_grows(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "100ms", "retry.max": "10s"}).start()
    daemon.run_one(bad.url("/status/500/a"), retries=3)
    # the jitter takes away at most half of 100, 200, 400 ms
    assert all(gap >= floor for gap, floor in zip(gaps(bad.requests()), [0.05, 0.1, 0.2]))


def test_back_off_has_a_cap(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "50ms", "retry.max": "60ms"}).start()
    job = daemon.run_one(bad.url("/status/500/a"), retries=10)
    assert job["attempts"] == 11
    assert job["finished"] - job["created"] < 30  # uncapped it would be a minute


def test_retry_after_is_respected(daemon, bad):
    done(daemon.run_one(bad.url("/flaky/503/1/a?retry-after=1")))
    (gap,) = gaps(bad.requests())
    assert 1 <= gap < 10


def test_waiting_job_says_so(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "1h", "retry.max": "1h"}).start()
    number = daemon.submit([{"url": bad.url("/status/500/a")}])["ids"][0]
    job = wait_for(lambda: (j := daemon.show(number))["state"] == "waiting" and j)
    assert time.time() < job["due"] < time.time() + 3700
    assert (job["attempts"], job["http_status"], job["error"]["name"]) == (1, 500, "http")
    assert daemon.counts()["waiting"] == 1


def test_history_goes_on_after_retry(daemon, bad):
    (job,) = daemon.run([{"url": bad.url("/flaky/503/2/a"), "retries": 1}])
    assert job["state"] == "failed"
    daemon.dlctl("retry", str(job["id"]))
    daemon.dlctl("wait", str(job["id"]))
    history = daemon.show(job["id"])["history"]
    assert [(h["attempt"], h["outcome"]) for h in history] == [(1, "failed"), (2, "failed"), (3, "done")]


def test_history_tells_each_attempt(daemon, bad):
    job = done(daemon.run_one(bad.url("/flaky/503/2/a")))
    history = daemon.show(job["id"])["history"]
    failures = [h for h in history if h["error"]]
    assert [h["attempt"] for h in failures] == [1, 2]
    assert all(h["http_status"] == 503 and h["error"]["name"] == "http" and h["worker"] in (1, 2) for h in failures)
    assert all(h["started"] <= h["finished"] for h in failures)


# ---- bodies ----


@pytest.mark.parametrize("path", ["/cut-length/700/2000/a", "/cut-length/0/2000/a", "/cut-chunked/700/a"])
def test_body_cut_short_is_never_published(daemon, bad, path):
    job = failed(daemon.run_one(bad.url(path), retries=1), "partial")
    assert (job["attempts"], bad.count()) == (2, 2)
    assert files_under(daemon.root) == []


def test_body_cut_short_is_fetched_again(daemon, bad):
    path = "/flaky-cut/2/a.bin"
    assert done(daemon.run_one(bad.url(path)))["attempts"] == 3
    assert daemon.file("a.bin").read_bytes() == content(path, GOOD_SIZE)
    assert files_under(daemon.root) == ["a.bin"]


@pytest.mark.parametrize("path, errors", [
    ("/reset/a", {"reset"}),
    ("/reset-body/100/2000/a", {"reset", "partial"}),
    ("/hang-up/a", {"reset", "partial"}),
])
def test_broken_connection_is_tried_again(daemon, bad, path, errors):
    job = daemon.run_one(bad.url(path), retries=1)
    assert job["state"] == "failed" and job["error"]["name"] in errors, job
    assert job["attempts"] == 2
    assert files_under(daemon.root) == []


# ---- silence ----


@pytest.mark.parametrize("path", ["/silent-request/a", "/silent-headers/a", "/silent-body/100/2000/a",
                                  "/drip/2000/0.05/a", "/endless/a"])
def test_timeout(daemon, bad, path):
    job = failed(daemon.run_one(bad.url(path), timeout="300ms", retries=1), "timeout")
    assert job["attempts"] == 2
    assert files_under(daemon.root) == []


def test_timeout_on_a_server_that_never_reads(daemon, bad):
    failed(daemon.run_one(bad.silent_url(), timeout=0.3, retries=0), "timeout")


@pytest.mark.parametrize("path", ["/silent-body/100/2000/a", "/drip/2000/0.05/a", "/silent-request/a"])
def test_too_little_for_too_long(make_daemon, bad, path):
    daemon = make_daemon(settings={"transfer.low_speed_limit": "1000", "transfer.low_speed_time": "1s"}).start()
    failed(daemon.run_one(bad.url(path), retries=0), "stalled")
    assert files_under(daemon.root) == []


def test_endless_body_ends_at_max_size(daemon, bad):
    job = failed(daemon.run_one(bad.url("/endless/a"), max_size="100K"), "too-large")
    assert job["attempts"] == 1
    assert files_under(daemon.root) == []


# ---- redirects ----


def test_redirect_loop(make_daemon, bad):
    daemon = make_daemon(settings={"transfer.max_redirects": "5"}).start()
    job = failed(daemon.run_one(bad.url("/redirect-loop/a")), "redirect")
    assert (job["attempts"], bad.count()) == (1, 6)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/a",
                                    "javascript:alert(1)", "http://user:word@127.0.0.1:1/", "http:///a", "http://a b/"])
def test_redirect_to_what_is_no_place(daemon, bad, target):
    job = daemon.run_one(bad.url("/redirect-to/a?to=" + target.replace(" ", "%20")))
    assert job["state"] == "failed" and job["error"]["name"] in {"redirect", "url"}, job
    assert (job["attempts"], bad.count()) == (1, 1)
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("size", [65536, 1000000])
def test_redirect_with_a_long_body(daemon, bad, size):
    done(daemon.run_one(bad.url(f"/redirect-to/a?body={size}&to=/any/b"), output="a"))
    assert daemon.file("a").read_bytes() == content("/any/b", GOOD_SIZE)


def test_redirect_with_a_body_that_is_too_long(daemon, bad):
    job = failed(daemon.run_one(bad.url("/redirect-to/a?body=3000000&to=/any/b"), output="a"), "redirect")
    assert "more than 1048576 bytes with its redirect" in job["error"]["message"]
    assert job["attempts"] == 1 and bad.count() == 1


def test_redirect_without_a_place(daemon, bad):
    job = failed(daemon.run_one(bad.url("/redirect-nowhere/a")), "redirect")
    assert (job["http_status"], job["attempts"]) == (302, 1)
    assert files_under(daemon.root) == []


# ---- broken protocol ----


@pytest.mark.parametrize("path", ["/http09/a", "/garbage/a", "/odd-status/a"])
def test_answer_that_is_not_http(daemon, bad, path):
    assert failed(daemon.run_one(bad.url(path)), "protocol")["attempts"] == 1
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("path", ["/http09/a", "/garbage/a", "/framed/version-icy/a"])
def test_answer_to_a_redirect_that_is_not_http(daemon, bad, path):
    job = failed(daemon.run_one(bad.url("/redirect-to/a?to=" + bad.url(path))), "protocol")
    assert job["attempts"] == 1 and bad.url(path) in job["error"]["message"]
    assert files_under(daemon.root) == []


@pytest.mark.parametrize("path, keys", [
    ("/raw/cut-in-field", {}), ("/raw/one-byte-short", {}), ("/raw/chunk-not-hex", {}), ("/raw/length-hex", {}),
    ("/any/b", {"max_size": 5}), ("/any/b", {"size": 5}), ("/head/no-colon/a", {}), ("/raw/brotli", {"compressed": True})])
def test_message_names_the_server_that_a_redirect_led_to(daemon, bad, other, path, keys):
    job = daemon.run_one(bad.url("/redirect-to/a?to=" + other.url(path)), retries=0, **keys)
    assert job["state"] == "failed" and f"127.0.0.1:{other.port}" in job["error"]["message"], job
    assert f":{bad.port}" not in job["error"]["message"]


def test_huge_header(daemon, bad):
    failed(daemon.run_one(bad.url("/huge-header/2000000/a"), retries=0), "protocol")
    assert files_under(daemon.root) == []


# ---- TLS ----


def test_server_that_speaks_no_tls(daemon, nginx):
    failed(daemon.run_one(nginx.add("a", b"a").replace("http:", "https:")), "tls")
    assert files_under(daemon.root) == []


@pytest.mark.skipif(not have("openssl"), reason="needs openssl to make a certificate")
def test_certificate_that_nobody_vouches_for(daemon, bad, tmp):
    made = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                "-keyout", tmp / "key", "-out", tmp / "certificate"])
    assert made.code == 0, made
    job = failed(daemon.run_one(bad.listen_tls(tmp / "certificate", tmp / "key") + "/any/a"), "tls")
    assert job["attempts"] == 1
    assert bad.count() == 0 and files_under(daemon.root) == []


# ---- one server's fault is not another's ----


def test_silent_host_never_slows_others(make_daemon, bad, nginx):
    daemon = make_daemon(settings={"host.connections": "4"}).start()
    silent = daemon.submit([{"url": bad.silent_url(f"/{i}")} for i in range(200)])["batch"]
    wait_for(lambda: daemon.counts()["active"] >= 4)
    start = time.monotonic()
    for job in daemon.run([{"url": nginx.add(f"{i}", b"x")} for i in range(200)]):
        done(job)
    assert time.monotonic() - start < 20
    assert daemon.call("cancel", {"batch": silent})["cancelled"] == 200


def test_one_bad_job_fails_alone(daemon, bad):
    jobs = daemon.run([{"url": bad.url(f"/any/{i}" if i != 5 else "/status/404/5")} for i in range(10)])
    assert [j["state"] for j in jobs] == ["done"] * 5 + ["failed"] + ["done"] * 4


# ---- the disk ----


def test_output_root_that_can_not_be_written(daemon, bad):
    daemon.file("file").write_bytes(b"in the way of a directory")
    failed(daemon.run_one(bad.url("/any/a"), output="file/a", retries=0), "output")
    assert files_under(daemon.root) == ["file"]


def test_file_beyond_the_limit_on_its_size_fails_alone(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    (worker,) = daemon.worker_pids()
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    big, *small = daemon.run([{"url": bad.url(f"/delay/0.3/{size}/{i}")} for i, size in enumerate([2 << 20, *[9000] * 5])])
    assert "larger than the file system allows" in failed(big, "output")["error"]["message"]
    assert all(done(job)["attempts"] == 1 for job in small)
    assert daemon.worker_pids() == [worker]


def test_log_beyond_the_limit_on_its_size_ends_nothing(daemon):
    old = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (0, old[1]))
    daemon.call("reload")
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, old)
    before = daemon.stderr
    daemon.call("reload")
    assert daemon.running and "was read again" not in before and "was read again" in daemon.stderr
