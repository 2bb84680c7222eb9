"""kill -9 at any instant: no acknowledged job is lost, none is done twice, no final name is ever incomplete."""

import os
import signal
import time
from urllib.parse import urlsplit

import pytest

from dld import RpcError
from support import KIB, SLOWER, alive, content, files_under, is_part, kill_session, seeded, wait_for
from test_download import done

# More workers die in these tests than in years of use.
CALM = {"master.crash_limit": "100", "host.connections": "32"}


class Work:
    """Jobs whose files are known: half small and fast, half slow enough to be in flight when something dies."""

    def __init__(self, nginx, count, random):
        self.wanted = {f"{i}.bin": content(i, random.randrange(1, 40 * KIB)) for i in range(count)}
        self.urls = []
        for i, (name, data) in enumerate(self.wanted.items()):
            nginx.add(name, data)
            self.urls.append(nginx.url(f"rate/100k/{name}" if i % 2 else name))

    def jobs(self, **keys):
        return [{"url": url, **keys} for url in self.urls]

    def check_what_is_visible(self, root):
        """At any instant: what has a final name is whole."""
        for name in files_under(root):
            if not is_part(name):
                assert (root / name).read_bytes() == self.wanted.get(name), f"{name} is not what was served"

    def check_the_end(self, daemon):
        wait_for(daemon.none_left, 60, "the end of all jobs")
        jobs = daemon.jobs()
        assert [j["url"] for j in jobs] == self.urls
        assert all(done(j) for j in jobs)
        counts = daemon.counts()
        assert counts == {**dict.fromkeys(counts, 0), "done": len(self.urls)}
        self.check_what_is_visible(daemon.root)
        assert files_under(daemon.root) == sorted(self.wanted)


def kill_and_start(daemon, work):
    daemon.kill()
    wait_for(daemon.has_no_processes, what="orphaned workers to go away")
    work.check_what_is_visible(daemon.root)
    daemon.start()


@pytest.mark.parametrize("on_conflict", ["rename", "fail", "overwrite", "skip"])
def test_master_killed_at_random_instants(make_daemon, nginx, on_conflict):
    random = seeded()
    daemon, work = make_daemon(settings=CALM).start(), Work(nginx, 300, random)
    assert daemon.submit(work.jobs(on_conflict=on_conflict))["count"] == 300
    for _ in range(5):
        time.sleep(random.uniform(0, 0.15))
        kill_and_start(daemon, work)
    work.check_the_end(daemon)


def test_everything_killed_at_random_instants(make_daemon, nginx):
    random = seeded()
    daemon, work = make_daemon(settings=CALM).start(), Work(nginx, 300, random)
    daemon.submit(work.jobs())
    for _ in range(5):
        time.sleep(random.uniform(0, 0.15))
        kill_session(daemon.pid)
        kill_and_start(daemon, work)
    work.check_the_end(daemon)


def test_workers_killed_at_random_instants(make_daemon, nginx):
    random = seeded()
    daemon, work = make_daemon(settings=CALM).start(), Work(nginx, 300, random)
    daemon.submit(work.jobs())
    for _ in range(8):
        time.sleep(random.uniform(0, 0.15))
        os.kill(random.choice(wait_for(daemon.worker_pids)), signal.SIGKILL)
        work.check_what_is_visible(daemon.root)
    work.check_the_end(daemon)


def test_master_killed_while_jobs_are_submitted(make_daemon, nginx):
    """What was acknowledged is there, what was not is sent again under its key, and nothing is there twice."""
    random = seeded()
    daemon, work = make_daemon(settings=CALM).start(), Work(nginx, 300, random)
    batches = [work.jobs()[i:i + 10] for i in range(0, 300, 10)]
    for number, jobs in enumerate(batches):
        while True:
            try:
                with daemon.control() as c:
                    request = c.send("submit", {"jobs": jobs, "submit_key": f"batch {number}"})
                    if random.randrange(4) == 0:
                        time.sleep(random.uniform(0, 0.005))
                        daemon.kill()
                    assert c.answer(request)["count"] == 10
                    break
            except (OSError, AssertionError, RpcError):
                assert not daemon.running, daemon.stderr
            finally:
                if not daemon.running:
                    daemon.start()
    work.check_the_end(daemon)


def published_and_unrecorded(make_daemon, bad, on_conflict):
    """A daemon that hangs while its workers publish the files of 40 jobs: the ends of them are recorded nowhere."""
    daemon = make_daemon(settings=CALM).start()
    jobs = [{"url": bad.url(f"/delay/0.3/3000/{i}"), "on_conflict": on_conflict} for i in range(30)]
    jobs += [{"url": bad.url(f"/delay/0.3/3000/{i}"), "output": f"new/{i}.bin", "on_conflict": on_conflict}
             for i in range(30, 40)]
    daemon.submit(jobs)
    wait_for(lambda: bad.count() >= 30)
    os.kill(daemon.pid, signal.SIGSTOP)
    published = lambda: sum(not is_part(name) for name in files_under(daemon.root))
    wait_for(lambda: bad.count() == published() >= 30, what="all that was asked for to be published")
    return daemon


def check_each_file_once(daemon):
    wait_for(daemon.none_left, 60)
    jobs = daemon.jobs()
    assert [done(j)["output"] for j in jobs] == [str(i) for i in range(30)] + [f"new/{i}.bin" for i in range(30, 40)]
    assert files_under(daemon.root) == sorted(j["output"] for j in jobs)
    for job in jobs:
        assert job["bytes"] == job["size"] == 3000 and not job.get("skipped"), job
        assert daemon.file(job["output"]).read_bytes() == content(urlsplit(job["url"]).path, 3000)


@pytest.mark.parametrize("on_conflict", ["rename", "fail", "overwrite", "skip"])
def test_master_killed_between_publishing_and_recording(make_daemon, bad, on_conflict):
    daemon = published_and_unrecorded(make_daemon, bad, on_conflict)
    daemon.kill()
    daemon.start()
    check_each_file_once(daemon)


@pytest.mark.parametrize("on_conflict", ["rename", "fail", "overwrite", "skip"])
def test_workers_killed_between_publishing_and_recording(make_daemon, bad, on_conflict):
    daemon = published_and_unrecorded(make_daemon, bad, on_conflict)
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGKILL)
    os.kill(daemon.pid, signal.SIGCONT)
    check_each_file_once(daemon)


def test_file_changed_by_others_is_not_taken_for_its_own(make_daemon, bad):
    """Published, not recorded, and then overwritten by someone: that one's file stays, the job gets another name."""
    daemon = published_and_unrecorded(make_daemon, bad, "rename")
    daemon.kill()
    daemon.file("7").unlink()
    daemon.file("7").write_bytes(b"somebody else's")
    daemon.start()
    wait_for(daemon.none_left, 60)
    assert daemon.file("7").read_bytes() == b"somebody else's"
    assert [j["output"] for j in daemon.jobs() if j["url"].endswith("/7")] == ["7.1"]


def test_killed_right_after_a_large_submission(make_daemon, bad):
    """The jobs of many chunks are made visible in steps: all of them are there afterwards, once."""
    random = seeded()
    daemon = make_daemon().start()
    jobs = [{"url": bad.silent_url(f"/{i}")} for i in range(60000)]
    with daemon.control() as c:
        for start in range(0, 60000, 10000):
            chunk = {"jobs": jobs[start:start + 10000], "submit_key": "k", "offset": start, "last": start == 50000}
            assert c.call("submit", chunk)["count"] == start + 10000
    for _ in range(3):
        time.sleep(random.uniform(0, 0.03))
        daemon.kill()
        daemon.start()
    wait_for(lambda: daemon.counts()["active"] > 0)
    assert sum(daemon.counts().values()) == 60000
    assert daemon.call("status", {"batch": 1})["batch"]["count"] == 60000
    daemon.call("cancel", {"all": True})
    wait_for(lambda: daemon.counts()["cancelled"] == 60000)


def test_state_changes_survive_a_kill(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "1h", "retry.max": "1h"}).start()
    jobs = ["/any/a", "/status/404/b", "/status/500/c", "/silent-request/d", "/silent-request/e"]
    daemon.submit([{"url": bad.url(path)} for path in jobs])
    wait_for(lambda: bad.count() == 5)
    daemon.dlctl("cancel", "5")
    wait_for(lambda: [j["state"] for j in daemon.jobs()] == ["done", "failed", "waiting", "active", "cancelled"])
    before = daemon.jobs()
    daemon.kill()
    daemon.start()
    wait_for(lambda: bad.count("/silent-request/d") == 2)
    after = daemon.jobs()
    same = ("id", "batch", "url", "http_status", "bytes", "output", "error", "started", "finished", "due")
    for i in (0, 1, 2, 4):
        assert {k: after[i].get(k) for k in same} == {k: before[i].get(k) for k in same}
    assert [j["state"] for j in after] == [j["state"] for j in before]
    assert bad.count() == 6


def test_idle_daemon_restarts_with_jobs_queued(make_daemon, bad):
    """One slot only: the others are queued, on disk alone."""
    daemon = make_daemon(workers=1, settings={"worker.transfers": "1"}).start()
    first = {"url": bad.url("/silent-request/first"), "priority": 1}
    daemon.submit([first] + [{"url": bad.url(f"/any/{i}")} for i in range(50)])
    wait_for(lambda: bad.count() == 1)
    daemon.kill()
    daemon.start()
    daemon.call("cancel", {"ids": [1]})
    wait_for(daemon.none_left)
    assert [j["state"] for j in daemon.jobs()] == ["cancelled"] + ["done"] * 50


def test_part_files_of_a_killed_daemon_are_cleared_away(make_daemon, bad):
    daemon = make_daemon().start()
    jobs = [{"url": bad.url(f"/silent-body/100/2000/{i}"), "output": f"new/{i}"} for i in range(5)]
    numbers = daemon.submit(jobs)["ids"]
    wait_for(lambda: len(files_under(daemon.root)) == 5 or bad.count() == 5)
    daemon.kill()
    wait_for(daemon.has_no_processes)
    daemon.start()
    wait_for(lambda: bad.count() == 10)
    daemon.call("cancel", {"ids": numbers})
    wait_for(daemon.none_left)
    wait_for(lambda: files_under(daemon.root) == [])


# ---- workers ----


def workers_ready(daemon):
    workers = daemon.call("status")["workers"]
    return all(w["state"] == "ready" for w in workers) and workers


def test_killed_worker_is_replaced(daemon, bad):
    before = workers_ready(daemon)
    os.kill(before[0]["pid"], signal.SIGKILL)
    after = wait_for(lambda: (w := workers_ready(daemon)) and w[0]["pid"] != before[0]["pid"] and w)
    assert after[0]["restarts"] == 1
    assert (after[1]["pid"], after[1]["restarts"]) == (before[1]["pid"], 0)
    assert done(daemon.run_one(bad.url("/any/a")))


def test_jobs_of_a_killed_worker_go_on(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    daemon.submit([{"url": bad.url(f"/silent-request/{i}")} for i in range(5)])
    wait_for(lambda: bad.count() == 5)
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    wait_for(lambda: bad.count() == 10, 30)
    assert daemon.counts()["active"] == 5
    daemon.call("cancel", {"all": True})


def test_worker_that_stopped_its_loop_is_replaced_on_stop(make_daemon, bad):
    """It doesn't answer STOP; the master ends in time all the same."""
    daemon = make_daemon(settings={"master.stop_grace": "1min"}).start()
    os.kill(daemon.worker_pids()[0], signal.SIGSTOP)
    start = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon.process.send_signal(number)
    wait_for(lambda: not alive(daemon.worker_pids()[-1]) or len(daemon.worker_pids()) == 1)
    assert daemon.stop() == 0, "the third signal kills what is left"
    assert time.monotonic() - start < 10 * SLOWER
    assert daemon.has_no_processes()


def test_job_that_crashes_workers_is_taken_out(make_daemon, bad):
    daemon = make_daemon(settings={"master.crash_limit": "2"}).start()
    number = daemon.submit([{"url": bad.url("/silent-request/poison")}])["ids"][0]
    for times in (1, 2):
        wait_for(lambda: bad.count() == times, 30)
        job = wait_for(lambda: (j := daemon.show(number))["state"] == "active" and j["worker"] and j)
        (worker,) = [w for w in daemon.call("status")["workers"] if w["worker"] == job["worker"]]
        os.kill(worker["pid"], signal.SIGABRT)
    wait_for(daemon.none_left)
    job = daemon.show(number)
    assert (job["state"], job["error"]["name"]) == ("failed", "crash")
    assert bad.count() == 2


def test_respawn_is_rate_limited(make_daemon):
    daemon = make_daemon(workers=1).start()
    seen = set()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for pid in daemon.worker_pids():
            seen.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.001)
    assert daemon.running and len(seen) < 50
    wait_for(lambda: workers_ready(daemon), 60)


# ---- an orderly end ----


def test_sigterm_gives_jobs_back_and_loses_nothing(make_daemon, nginx):
    random = seeded()
    daemon, work = make_daemon(settings=CALM).start(), Work(nginx, 200, random)
    daemon.submit(work.jobs())
    for _ in range(4):
        time.sleep(random.uniform(0, 0.1))
        assert daemon.stop() == 0
        assert daemon.has_no_processes()
        work.check_what_is_visible(daemon.root)
        assert not any(is_part(name) for name in files_under(daemon.root))
        daemon.start()
    work.check_the_end(daemon)
    assert all(j["attempts"] == 1 for j in daemon.jobs()), "what is given back on SIGTERM is no failed attempt"


# ---- one daemon for one state ----


def test_second_daemon_on_one_state_directory_says_who_holds_it(make_daemon):
    first, second = make_daemon("first").start(), make_daemon("second")
    second.state = first.state
    second.spawn()
    assert second.wait_exit() == 1
    assert str(first.pid) in second.stderr and str(first.state) in second.stderr
    assert first.call("status")["pid"] == first.pid


def test_second_daemon_on_one_socket_leaves_the_first_alone(make_daemon):
    first, second = make_daemon("first").start(), make_daemon("second")
    second.socket = first.socket
    second.spawn()
    assert second.wait_exit() == 1
    assert str(first.socket) in second.stderr
    assert first.call("status")["pid"] == first.pid


def test_stale_socket_is_replaced(make_daemon):
    daemon = make_daemon().start()
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.call("status")["pid"] == daemon.pid


def test_orphaned_workers_are_gone_before_a_new_daemon_starts(make_daemon, bad):
    daemon = make_daemon().start()
    daemon.submit([{"url": bad.silent_url(f"/{i}")} for i in range(20)])
    wait_for(lambda: daemon.counts()["active"] > 0)
    orphans = daemon.worker_pids()
    assert len(orphans) == 2
    daemon.kill()
    daemon.start()
    assert not any(alive(pid) for pid in orphans)


def test_orphan_that_hangs_doesnt_keep_a_new_daemon_from_starting(make_daemon):
    daemon = make_daemon().start()
    orphan = daemon.worker_pids()[0]
    os.kill(orphan, signal.SIGSTOP)
    daemon.kill()
    daemon.start()
    assert not alive(orphan)
