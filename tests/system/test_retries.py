"""What is tried again and what isn't, until when, and what a job waits for."""

import os
import re
import subprocess
import time

import pytest

from behaviours import GOOD_SIZE
from support import ROOT, content, files_under, wait_for
from test_download import done, failed


def times(job):
    return job["finished"] - job["created"]


# ---- retry_on ----


def test_status_of_retry_on_is_tried_again(daemon, bad):
    path = "/flaky/404/2/a"
    job = done(daemon.run_one(bad.url(path), retry_on=[404]))
    assert (job["attempts"], bad.count()) == (3, 3)
    assert daemon.file("a").read_bytes() == content(path, GOOD_SIZE)


def test_other_statuses_are_not(daemon, bad):
    job = failed(daemon.run_one(bad.url("/status/410/a"), retry_on=[404]), "http")
    assert (job["attempts"], bad.count()) == (1, 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 522, 524])
def test_statuses_that_curl_retries(daemon, bad, status):
    assert done(daemon.run_one(bad.url(f"/flaky/{status}/1/a")))["attempts"] == 2


# ---- while it lasts ----


def test_times_of_a_job_that_has_not_ended(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "1h", "retry.max": "1h"}).start()
    before = time.time()
    daemon.submit([{"url": bad.url("/silent-body/100/2000/a")}, {"url": bad.url("/status/503/a")}])
    job = wait_for(lambda: (j := daemon.show(1))["state"] == "active" and j["bytes"] and j)
    assert before <= job["created"] <= job["started"] <= time.time()
    assert job["finished"] is None
    job = wait_for(lambda: (j := daemon.show(2))["state"] == "waiting" and j)
    assert job["started"] >= job["created"] and job["finished"] is None
    assert [h["finished"] >= h["started"] for h in job["history"]] == [True]


# ---- deadline ----


def test_deadline_ends_the_attempt(daemon, bad):
    job = failed(daemon.run_one(bad.url("/silent-body/100/2000/a"), deadline="+1s"), "deadline")
    assert job["attempts"] == 1
    assert 0.9 <= times(job) < 10
    assert files_under(daemon.root) == []


def test_deadline_leaves_no_time_for_a_retry(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "1h", "retry.max": "1h"}).start()
    job = failed(daemon.run_one(bad.url("/status/503/a"), deadline="+60s"), "deadline")
    assert (job["attempts"], job["http_status"]) == (1, 503)
    assert "503" in job["error"]["message"]
    assert times(job) < 20


def test_deadline_that_has_passed(daemon, bad):
    job = failed(daemon.run_one(bad.url("/any/a"), deadline=time.time() - 10), "deadline")
    assert (job["attempts"], bad.count()) == (0, 0)


def test_deadline_passes_while_the_daemon_is_down(daemon, bad):
    number = daemon.submit([{"url": bad.url("/silent-request/a"), "deadline": "+2s"}])["ids"][0]
    wait_for(lambda: bad.count() == 1)
    assert daemon.stop() == 0
    time.sleep(2)
    daemon.start()
    wait_for(daemon.none_left)
    failed(daemon.show(number), "deadline")
    assert bad.count() == 1


def test_timeout_before_the_deadline_is_a_timeout(daemon, bad):
    job = failed(daemon.run_one(bad.url("/silent-request/a"), timeout="200ms", deadline="+1h", retries=1), "timeout")
    assert job["attempts"] == 2


# ---- not_before ----


def test_job_begins_when_it_may(daemon, bad):
    submitted = time.time()
    early, late = daemon.submit([{"url": bad.url("/any/a")}, {"url": bad.url("/any/b"), "not_before": "+2s"}])["ids"]
    job = daemon.show(late)
    assert job["state"] == "waiting" and submitted + 1.5 < job["due"] < submitted + 3, job
    (listed,) = daemon.jobs(state="waiting")
    assert (listed["id"], listed["due"]) == (late, job["due"])
    assert " (in " in daemon.dlctl("list", "--state", "waiting").out
    wait_for(lambda: daemon.show(early)["state"] == "done")
    assert daemon.counts()["waiting"] == 1
    wait_for(daemon.none_left)
    job = done(daemon.show(late))
    assert job["started"] >= submitted + 1.9
    assert daemon.counts() == {**daemon.counts(), "queued": 0, "waiting": 0, "done": 2}


def test_job_waits_over_a_restart(daemon, bad):
    number = daemon.submit([{"url": bad.url("/any/a"), "not_before": "+2s"}])["ids"][0]
    daemon.restart()
    assert daemon.counts()["waiting"] == 1
    wait_for(daemon.none_left)
    done(daemon.show(number))


def test_large_batch_with_some_that_wait(daemon, bad):
    """In chunks, whose jobs are staged before they wait."""
    jobs = [{"url": bad.url(f"/any/{i}"), **({"not_before": "+3s"} if i % 10 == 0 else {})} for i in range(300)]
    with daemon.control() as c:
        first = c.call("submit", {"jobs": jobs[:200], "submit_key": "k", "offset": 0, "last": False})
        c.call("submit", {"jobs": jobs[200:], "submit_key": "k", "offset": 200, "last": True})
    wait_for(lambda: daemon.counts()["done"] == 270, 30)
    assert daemon.counts()["waiting"] == 30
    wait_for(daemon.none_left, 30)
    assert daemon.counts()["done"] == 300
    assert len(daemon.jobs(batch=first["batch"], state="done")) == 300


def test_not_before_the_past_begins_at_once(daemon, bad):
    done(daemon.run_one(bad.url("/any/a"), not_before=time.time() - 100))


def test_deadline_before_not_before(daemon, bad):
    job = failed(daemon.run_one(bad.url("/any/a"), not_before="+1h", deadline="+1s"), "deadline")
    assert (job["attempts"], bad.count()) == (0, 0)


# ---- silence ----


@pytest.mark.parametrize("path", ["/silent-request/a", "/silent-headers/a", "/silent-body/100/2000/a", "/drip-headers/a"])
def test_silence_ends(make_daemon, bad, path):
    daemon = make_daemon(settings={"transfer.low_speed_time": "1s"}).start()
    job = failed(daemon.run_one(bad.url(path), retries=1), "stalled")
    assert job["attempts"] == 2
    assert files_under(daemon.root) == []


def test_silence_in_the_tls_handshake_ends(make_daemon, bad):
    daemon = make_daemon(settings={"transfer.connect_timeout": "500ms"}).start()
    job = daemon.run_one(bad.silent_url().replace("http:", "https:"), retries=1)
    assert job["state"] == "failed" and job["error"]["name"] in {"timeout", "connect"}, job
    assert job["attempts"] == 2 and times(job) < 20


# ---- no room ----


@pytest.fixture
def small_disk(tmp):
    """A directory on a file system of 4 MiB."""
    place = tmp / "small"
    place.mkdir()
    made = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", place],
                                                capture_output=True).returncode == 0
    if not made:
        pytest.skip("needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def on(make_daemon, disk, **settings):
    return make_daemon(args=["--output-root", str(disk)],
                       settings={"transfer.min_free_space": "0", "retry.max": "300ms", **settings}).start()


def blocked(daemon, number):
    """Waits until the job waits for room; it as it is shown."""
    job = wait_for(lambda: (j := daemon.show(number))["state"] == "waiting" and j["attempts"] >= 5 and j)
    assert job["error"]["name"] == "no-space" and job["due"], job
    return job


def test_full_disk_is_waited_for(make_daemon, bad, small_disk):
    daemon = on(make_daemon, small_disk)
    (small_disk / "ballast").write_bytes(bytes(3 << 20))
    path = "/ok/2000000/a"
    number = daemon.submit([{"url": bad.url(path), "retries": 1}])["ids"][0]
    blocked(daemon, number)
    neighbours = daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(20)])
    assert all(j["state"] == "done" for j in neighbours)
    (small_disk / "ballast").unlink()
    wait_for(daemon.none_left)
    done(daemon.show(number))
    assert (small_disk / "a").read_bytes() == content(path, 2000000)


def test_full_disk_without_a_length(make_daemon, bad, small_disk):
    """Only writing can tell."""
    daemon = on(make_daemon, small_disk)
    (small_disk / "ballast").write_bytes(bytes(3 << 20))
    path = "/until-close/2000000/a"
    number = daemon.submit([{"url": bad.url(path), "retries": 0}])["ids"][0]
    blocked(daemon, number)
    (small_disk / "ballast").unlink()
    wait_for(daemon.none_left)
    done(daemon.show(number))
    assert (small_disk / "a").read_bytes() == content(path, 2000000)


def test_free_space_to_leave(make_daemon, bad, small_disk):
    daemon = on(make_daemon, small_disk, **{"transfer.min_free_space": "3M"})
    done(daemon.run_one(bad.url("/ok/500000/a")))
    number = daemon.submit([{"url": bad.url("/ok/600000/b")}])["ids"][0]
    job = blocked(daemon, number)
    assert "min_free_space" in job["error"]["message"]
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize >= 3 << 20
    (small_disk / "a").unlink()
    wait_for(daemon.none_left)
    done(daemon.show(number))


def test_free_space_to_leave_without_a_length(make_daemon, bad, small_disk):
    daemon = on(make_daemon, small_disk, **{"transfer.min_free_space": "2M"})
    number = daemon.submit([{"url": bad.url("/endless/a"), "retries": 0}])["ids"][0]
    wait_for(lambda: (j := daemon.show(number))["error"] and j["error"]["name"] == "no-space")
    daemon.call("cancel", {"ids": [number]})
    wait_for(daemon.none_left)


def test_read_only_file_system_is_waited_for(make_daemon, bad, small_disk):
    daemon = on(make_daemon, small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    number = daemon.submit([{"url": bad.url("/any/a"), "retries": 0}])["ids"][0]
    job = blocked(daemon, number)
    assert "read-only" in job["error"]["message"]
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    wait_for(daemon.none_left)
    done(daemon.show(number))


# ---- names ----


def test_manual_lists_every_error():
    header = (ROOT / "common/errors.h").read_text()
    table = re.findall(r'X\(\w+, \d+, "([a-z-]+)", (true|false)', header)
    assert len(table) >= 20
    manual = (ROOT / "client/dlctl.1").read_text()
    section = manual.split(".SH ERRORS")[1].split(".SH ")[0].replace("\\-", "-")
    listed = re.findall(r'\.TP\n\.BR ([a-z-]+) " \((permanent|transient)\)"', section)
    assert listed == [(name, "transient" if transient == "true" else "permanent") for name, transient in table]
