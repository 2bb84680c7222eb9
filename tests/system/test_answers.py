"""An answer counts only when it can mean one thing; whatever else comes leaves no file and disturbs nobody."""

import time

import pytest

from behaviours import GOOD_SIZE
from behaviours_answers import HEADS
from support import content, files_under
from test_download import done, failed

NEIGHBOURS = 20


def run_beside(daemon, bad, url, **keys):
    """The job at that URL, with twenty good ones of the same host around it whose bytes must be right."""
    good = [{"url": bad.url(f"/any/good/{i}"), "output": f"good/{i}"} for i in range(NEIGHBOURS)]
    half = NEIGHBOURS // 2
    jobs = daemon.run([*good[:half], {"url": url, "output": "the.file", **keys}, *good[half:]])
    job = jobs.pop(half)
    for i, neighbour in enumerate(jobs):
        done(neighbour)
        assert neighbour["attempts"] == 1, neighbour
        assert daemon.file(f"good/{i}").read_bytes() == content(f"/any/good/{i}", GOOD_SIZE)
    return job


def others(daemon):
    return [f for f in files_under(daemon.root) if not f.startswith("good/")]


# ---- what has more than one meaning ----

ERRORS = {"no-place": ("redirect", 302), "unasked-206": ("protocol", 206), "unasked-101": ("protocol", 101),
          "unasked-304": ("protocol", 304)}


@pytest.mark.parametrize("name", HEADS)
def test_header_without_one_meaning(daemon, bad, name):
    error, status = ERRORS.get(name, ("protocol", None))
    job = failed(run_beside(daemon, bad, bad.url(f"/head/{name}/a")), error)
    assert job["attempts"] == 1
    assert status is None or job["http_status"] == status
    assert others(daemon) == []


@pytest.mark.parametrize("kind", ["empty", "field", "text", "zero"])
def test_something_before_the_status_line(daemon, bad, kind):
    job = failed(run_beside(daemon, bad, bad.url(f"/before-status/{kind}/a")), "protocol")
    assert job["attempts"] == 1
    assert others(daemon) == []


@pytest.mark.parametrize("path", ["/many-headers/100000/a", "/huge-header/1048576/a", "/huge-header/90000/a",
                                  "/endless-interim/a"])
def test_header_without_measure(daemon, bad, path):
    if "90000" in path:  # large, and yet bounded
        done(run_beside(daemon, bad, bad.url(path)))
        return
    job = failed(run_beside(daemon, bad, bad.url(path)), "protocol")
    assert job["attempts"] == 1
    assert others(daemon) == []


def test_folded_first_line_after_a_good_answer(make_daemon, bad):
    """One slot, so that handle and connection have been used before: libcurl 7.88.1 by itself writes to freed memory."""
    daemon = make_daemon(workers=1, settings={"worker.transfers": "1"}).start()
    for i in range(3):
        done(daemon.run_one(bad.url(f"/any/{i}")))
        failed(daemon.run_one(bad.url(f"/head/folded-first/{i}")), "protocol")
    assert all(w["restarts"] == 0 for w in daemon.call("status")["workers"])
    assert others(daemon) == ["0", "1", "2"]


# ---- the bodies of error answers ----


@pytest.mark.parametrize("kind, shown", [
    ("text", "No such file.  Try another."),
    ("long", ("0123456789" * 52)[:512]),
    ("binary", "\\x1b[31m\\x00\\xff\u00e9 end"),
])
def test_error_body_is_kept(daemon, bad, kind, shown):
    job = failed(run_beside(daemon, bad, bad.url(f"/error-body/404/{kind}/a")), "http")
    assert (job["attempts"], job["http_status"], job["answer"]) == (1, 404, shown)
    assert f"answer        {shown}\n" in daemon.dlctl("show", job["id"]).out
    assert others(daemon) == []


def test_error_without_a_body(daemon, bad):
    job = failed(daemon.run_one(bad.url("/error-body/410/empty/a")), "http")
    assert job.get("answer") is None


def test_answer_of_an_earlier_attempt_is_gone_when_it_ends_well(daemon, bad):
    job = done(daemon.run_one(bad.url("/flaky/503/1/a")))
    assert job["attempts"] == 2 and job.get("answer") is None


# ---- more on a connection than was asked for ----

FRAMINGS = ["length", "chunked", "redirect", "empty", "error"]


def good_jobs(bad, n=NEIGHBOURS):
    return [{"url": bad.url(f"/any/good/{i}"), "output": f"good/{i}"} for i in range(n)]


def check_good(daemon, jobs):
    for i, job in enumerate(jobs):
        done(job)
        assert daemon.file(f"good/{i}").read_bytes() == content(f"/any/good/{i}", GOOD_SIZE), i


@pytest.mark.parametrize("framing", FRAMINGS)
def test_stray_answer_in_the_same_breath(make_daemon, bad, framing):
    """One slot and one worker, so that the next job would be the one to get it."""
    daemon = make_daemon(workers=1, settings={"worker.transfers": "1"}).start()
    jobs = daemon.run([{"url": bad.url(f"/stray/0/{framing}/a"), "output": "a"}, *good_jobs(bad)])
    check_good(daemon, jobs[1:])


@pytest.mark.parametrize("framing", FRAMINGS)
def test_stray_answer_while_the_connection_is_idle(make_daemon, bad, framing):
    daemon = make_daemon(workers=1, settings={"worker.transfers": "1"}).start()
    daemon.run_one(bad.url(f"/stray/0.2/{framing}/a"), output="a")
    time.sleep(0.5)
    jobs = daemon.run(good_jobs(bad))
    check_good(daemon, jobs)
    assert all(j["attempts"] == 1 for j in jobs)
