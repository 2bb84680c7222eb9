"""pause, resume, set, purge, drain, and cancel and retry by tag and host."""

import os
import signal
import time
from collections import Counter

import pytest

from dld import ENDED, RpcError
from support import content, files_under, is_part, wait_for
from test_download import done
from test_resume import ETAG, parts


def states(daemon):
    return [j["state"] for j in daemon.jobs()]


def host_of(url):
    return url.split("/")[2]


# ---- pause and resume ----


def test_paused_transfer_goes_on_where_it_was(daemon, nginx, tmp):
    """What it has fetched is kept: it is asked for no second time."""
    data = content("big", 3_000_000)
    (tmp / "files" / "big").write_bytes(data)
    (job,) = daemon.submit([{"url": nginx.url("rate/1m/big"), "output": "big"}])["ids"]
    wait_for(lambda: (daemon.show(job)["bytes"] or 0) > 500_000)
    start = time.monotonic()
    daemon.dlctl("pause", str(job))
    wait_for(lambda: daemon.show(job)["state"] == "paused")
    assert time.monotonic() - start < 2
    assert [is_part(f) for f in files_under(daemon.root)] == [True]
    daemon.dlctl("resume", str(job))
    daemon.dlctl("wait", str(job), code=0)
    assert daemon.file("big").read_bytes() == data
    assert done(daemon.show(job))["bytes"] < len(data)
    assert 206 in [status for _, status, _, _ in nginx.requests()]


def test_paused_jobs_stay_paused_over_a_restart(daemon, bad):
    daemon.submit([{"url": bad.silent_url(f"/{i}")} for i in range(30)])
    wait_for(lambda: daemon.counts()["active"] > 0)
    daemon.dlctl("pause", "--all")
    wait_for(lambda: daemon.counts()["paused"] == 30)
    daemon.restart()
    assert daemon.counts()["paused"] == 30 and daemon.counts()["active"] == 0
    daemon.dlctl("resume", "--all")
    wait_for(lambda: daemon.counts()["active"] > 0)
    assert daemon.counts()["paused"] == 0
    daemon.dlctl("cancel", "--all")


@pytest.mark.parametrize("how", ["submit", "resume", "priority"])
def test_jobs_that_come_between_others_are_all_started(make_daemon, bad, how):
    """More of them than are read at a time, in front of one that is in memory, and of different ranks."""
    daemon = make_daemon(workers=1, settings={"host.connections": 1}).start()
    (first,) = daemon.submit([{"url": bad.url("/silent-request/a")}])["ids"]
    wait_for(lambda: daemon.show(first)["state"] == "active")
    if how != "submit":
        with daemon.control() as c:
            for i in range(100):
                c.call("submit", {"jobs": [{"url": bad.url(f"/any/{i}"), "tag": "t"}]})
        if how == "resume":
            daemon.call("pause", {"tag": "t"})
    daemon.submit([{"url": bad.url("/any/last"), "priority": -100}])
    for _ in range(50):  # it is read meanwhile
        daemon.counts()
    if how == "submit":
        daemon.submit([{"url": bad.url(f"/any/{i}"), "priority": 10 if i < 40 else 5} for i in range(100)])
    elif how == "resume":
        daemon.call("resume", {"tag": "t"})
    else:
        daemon.call("set", {"tag": "t", "priority": 20})
    daemon.call("cancel", {"ids": [first]})
    wait_for(lambda: daemon.counts()["done"] == 101)


def test_priority_of_an_active_job_counts_when_its_worker_is_lost(make_daemon, bad):
    daemon = make_daemon(workers=1, settings={"host.connections": 1}).start()
    daemon.submit([{"url": bad.url("/silent-request/a")}])
    daemon.submit([{"url": bad.url(f"/any/{i}")} for i in range(3)])
    wait_for(lambda: bad.count() == 1)
    daemon.dlctl("set", "1", "priority=-100")
    os.kill(daemon.call("status")["workers"][0]["pid"], signal.SIGKILL)
    wait_for(lambda: bad.count("/silent-request/a") == 2)
    assert [r.path for r in bad.requests()] == ["/silent-request/a", "/any/0", "/any/1", "/any/2", "/silent-request/a"]


def test_pause_of_a_job_that_waits_keeps_its_time(daemon, bad):
    (job,) = daemon.submit([{"url": bad.url("/any/a"), "not_before": "+1h"}])["ids"]
    daemon.dlctl("pause", str(job))
    assert daemon.show(job)["state"] == "paused"
    daemon.dlctl("resume", str(job))
    assert daemon.show(job)["state"] == "waiting"
    assert bad.count() == 0
    daemon.dlctl("cancel", str(job))


@pytest.mark.parametrize("choice", ["batch", "tag", "host", "ids"])
def test_what_is_chosen_and_nothing_else(daemon, bad, choice):
    """Of two batches, each with a tag and a host of its own, one is paused, resumed and cancelled."""
    one = daemon.submit([{"url": bad.silent_url(f"/{i}"), "tag": "one"} for i in range(40)])
    other = daemon.submit([{"url": f"http://other.invalid/{i}", "tag": "other", "not_before": "+1h"} for i in range(3)])
    words = {"batch": ["--batch", str(one["batch"])], "tag": ["--tag", "one"], "ids": [str(i) for i in one["ids"]],
             "host": ["--host", host_of(bad.silent_url())]}[choice]
    others = lambda: {j["state"] for j in daemon.jobs(batch=other["batch"])}
    mine = lambda: [j["state"] for j in daemon.jobs(batch=one["batch"])]
    result = daemon.dlctl("pause", *words)
    assert result.out == "Paused 40 jobs.\n"
    wait_for(lambda: set(mine()) == {"paused"})
    assert others() == {"waiting"}
    assert daemon.dlctl("resume", *words).out == "Resumed 40 jobs.\n"
    wait_for(lambda: "active" in mine())
    assert "paused" not in mine()
    assert daemon.dlctl("cancel", *words).out == "Cancelled 40 jobs.\n"
    wait_for(lambda: set(mine()) == {"cancelled"})
    assert others() == {"waiting"}
    assert files_under(daemon.root) == []
    daemon.dlctl("cancel", "--all")


def test_retry_by_tag(daemon, bad):
    daemon.run([{"url": bad.url("/flaky/404/1/a"), "tag": "x"}, {"url": bad.url("/flaky/404/1/b"), "tag": "y"}])
    assert daemon.dlctl("retry", "--tag", "x").out == "Queued 1 job again.\n"
    wait_for(daemon.none_left)
    assert states(daemon) == ["done", "failed"]


def test_pause_of_what_has_ended_says_so(daemon, bad):
    job = done(daemon.run_one(bad.url("/any/a")))
    result = daemon.dlctl("pause", str(job["id"]), code=1)
    assert f"job {job['id']}" in result.err and "ended" in result.err
    result = daemon.dlctl("resume", "77", code=1)
    assert "job 77 does not exist" in result.err


@pytest.mark.parametrize("method, choices", [
    ("wait", '"ids", "batch", "all"'), ("purge", '"ids", "batch", "tag", "all"'),
    ("cancel", '"ids", "batch", "tag", "host", "all"')])
def test_choice_of_nothing_names_what_can_be_chosen(daemon, method, choices):
    with pytest.raises(RpcError) as error:
        daemon.call(method, {})
    assert str(error.value) == f"params: expected one of {choices}"


def test_resume_takes_back_a_pause(daemon, bad):
    (job,) = daemon.submit([{"url": bad.silent_url()}])["ids"]
    wait_for(lambda: daemon.counts()["active"] == 1)
    with daemon.control() as c:
        c.call("pause", {"ids": [job]})
        c.call("resume", {"ids": [job]})
    wait_for(lambda: daemon.counts()["active"] == 1)
    daemon.dlctl("cancel", "--all")
    wait_for(daemon.none_left)


def test_cancel_takes_effect_at_once(daemon, bad):
    ids = daemon.submit([{"url": bad.url(f"/silent-body/1000/100000/{i}")} for i in range(8)])["ids"]
    wait_for(lambda: daemon.counts()["active"] == 8 and bad.count() == 8)
    start = time.monotonic()
    daemon.dlctl("cancel", *map(str, ids))
    wait_for(lambda: daemon.counts()["cancelled"] == 8)
    assert time.monotonic() - start < 2  # 100 ms, and the time of dlctl on a busy machine
    wait_for(lambda: files_under(daemon.root) == [])


def test_pause_and_resume_of_jobs_that_are_just_being_started(make_daemon, bad):
    """Whatever meets: at last all are paused, and then all are done, each in one attempt. What a worker still has is
    active."""
    daemon = make_daemon(settings={"worker.transfers": "64", "host.connections": "128"}).start()
    daemon.submit([{"url": bad.url(f"/delay/0.01/100/{i}")} for i in range(3000)])
    with daemon.control() as c:
        for _ in range(30):
            c.call("pause", {"all": True})
            c.call("resume", {"all": True})
        c.call("pause", {"all": True})
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: Counter(states(daemon)) == {state: n for state, n in daemon.counts().items() if n})
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: set(states(daemon)) <= {"paused", "done"})
    left = daemon.counts()["paused"]
    time.sleep(0.5)
    assert daemon.counts()["paused"] == left
    assert "can't be written" not in daemon.stderr
    daemon.restart()
    assert daemon.counts()["paused"] == left
    daemon.dlctl("resume", "--all")
    wait_for(daemon.none_left)
    assert daemon.counts()["done"] == 3000
    assert [daemon.show(j["id"]) for j in daemon.jobs() if j["attempts"] != 1] == []


def test_part_of_a_killed_worker_goes_with_a_job_that_was_paused(daemon, bad):
    (job,) = daemon.submit([{"url": bad.url("/silent-body/2000000/3000000/a")}])["ids"]
    wait_for(lambda: [is_part(f) for f in files_under(daemon.root)] == [True])
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGKILL)
    daemon.dlctl("drain")
    daemon.dlctl("pause", str(job))
    wait_for(lambda: daemon.show(job)["state"] == "paused")
    daemon.restart()
    daemon.dlctl("cancel", str(job))
    wait_for(lambda: files_under(daemon.root) == [], 10, "the part file to go")


# ---- drain ----


def test_drain_finishes_what_is_active_and_starts_nothing(daemon, bad):
    daemon.submit([{"url": bad.url("/delay/1/100/running")}])
    wait_for(lambda: bad.count() == 1)
    assert "1 still active" in daemon.dlctl("drain").out
    daemon.submit([{"url": bad.url("/any/queued")}])
    wait_for(lambda: daemon.counts()["done"] == 1)
    assert daemon.call("status")["draining"] is True
    assert "Draining: no job is started until dlctl drain --off." in daemon.dlctl("status").out
    assert states(daemon) == ["done", "queued"]
    daemon.dlctl("drain", "--off")
    wait_for(daemon.none_left)
    assert "Draining" not in daemon.dlctl("status").out
    assert states(daemon) == ["done", "done"]


# ---- purge and history ----


def test_purge_forgets_what_has_ended(daemon, bad):
    daemon.run([{"url": bad.url("/any/a")}, {"url": bad.url("/status/404/b")}, {"url": bad.url("/any/c")}])
    daemon.submit([{"url": bad.silent_url()}])
    assert daemon.dlctl("purge", "--all", "--state", "failed").out == "Forgot 1 job.\n"
    assert [j["id"] for j in daemon.jobs()] == [1, 3, 4]
    daemon.dlctl("purge", "--all")
    assert [j["id"] for j in daemon.jobs()] == [4]
    assert daemon.file("a").exists()
    with pytest.raises(RpcError, match="no job 1"):
        daemon.show(1)
    daemon.dlctl("cancel", "--all")


def test_purge_of_a_job_that_was_done_after_its_worker_died(daemon, bad):
    (job,) = daemon.submit([{"url": bad.url("/delay/1/100/a"), "output": "a"}])["ids"]
    wait_for(lambda: bad.count() == 1)
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_for(daemon.none_left)
    done(daemon.show(job))
    assert daemon.call("purge", {"ids": [job]})["purged"] == 1
    assert daemon.counts()["done"] == 0 and daemon.jobs() == []
    assert files_under(daemon.root) == ["a"]


def test_purge_of_failed_jobs_takes_their_parts(daemon, bad):
    daemon.run([{"url": parts(bad, name=f"n{i}", etag=ETAG, fault="503")[0], "retries": 0} for i in range(5)])
    assert [is_part(f) for f in files_under(daemon.root)] == [True] * 5
    daemon.dlctl("purge", "--all", "--state", "failed")
    wait_for(lambda: files_under(daemon.root) == [])
    wait_for(lambda: daemon.counts()["failed"] == 0)


def test_purge_of_a_job_that_is_not_there_says_so(daemon, bad):
    job = done(daemon.run_one(bad.url("/any/a")))
    result = daemon.dlctl("purge", str(job["id"]), "77", code=1)
    assert result.out == "Forgot 1 job.\n" and "1 of these jobs" in result.err


def test_purge_of_a_job_that_is_named_twice(daemon, bad):
    job = str(done(daemon.run_one(bad.url("/any/a")))["id"])
    result = daemon.dlctl("purge", job, job)
    assert (result.out, result.err) == ("Forgot 1 job.\n", "")


def test_purge_of_a_batch_that_is_not_there_says_so(daemon):
    assert "there is no batch 99" in daemon.dlctl("purge", "--batch", "99", code=1).err


@pytest.mark.parametrize("chosen", ["ids", "batch", "all", "followed"])
def test_wait_ends_though_what_was_cancelled_is_purged_at_once(daemon, chosen):
    with daemon.control() as waiting, daemon.control() as other:
        later = [{"url": "http://127.0.0.1:9/x", "not_before": "+1h"}] * 2
        batch = waiting.call("submit", {"jobs": later, "watch": chosen == "followed"})
        first, last = batch["ids"]
        if chosen != "followed":
            choice = {"ids": batch["ids"], "batch": batch["batch"], "all": True}[chosen]
            number = waiting.send("wait", {chosen: choice})
        waiting.call("status")  # it waits
        purge = [other.send(method, {"ids": [first]}) for method in ("cancel", "purge")]
        assert [other.answer(n) for n in purge][1] == {"purged": 1}
        other.call("cancel", {"ids": [last]})
        if chosen != "followed":
            sums = waiting.answer(number)
        else:
            told = []
            while not told or told[-1][0] != "end":
                told.append(waiting.notification())
            *jobs, (_, sums) = told
            assert jobs[-1][1]["id"] == last and len(jobs) <= 2
        assert sums["cancelled"] == 2


def test_purge_of_jobs_that_have_not_ended_is_refused(daemon, bad):
    daemon.dlctl("purge", "--all", "--state", "queued", code=2)


def test_history_is_kept_by_count(make_daemon, bad):
    daemon = make_daemon(settings={"history.keep": "50"}).start()
    daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(200)])
    last = daemon.run([{"url": bad.url("/any/last")}])
    wait_for(lambda: len(daemon.jobs()) == 50)
    assert last == daemon.jobs()[-1:]


def test_history_is_kept_by_age(make_daemon, bad):
    daemon = make_daemon(settings={"history.keep": "2s"}).start()
    daemon.submit([{"url": bad.silent_url()}])
    daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(20)])
    wait_for(lambda: len(daemon.jobs()) == 1)
    assert states(daemon) == ["active"]
    daemon.dlctl("cancel", "--all")


def test_every_job_of_a_batch_is_counted_though_it_is_forgotten(make_daemon, bad):
    daemon = make_daemon(settings={"history.keep": "10"}).start()
    result = daemon.dlctl("--json", "submit", "--wait", "-", stdin="[%s]" % ",".join(
        '{"url": "%s"}' % bad.url(f"/any/{i}") for i in range(100)))
    assert result.summary["done"] == 100
    assert all(d["state"] in ENDED for d in result.documents[:-1] if "state" in d)
