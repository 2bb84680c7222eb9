"""Part files: they are gone when nobody will go on with them, and never taken for what they are not."""

import os
import shutil
import signal
import time

import pytest

from support import MIB, SLOWER, content, files_under, is_part, parts_under, wait_for
from test_download import done, failed
from test_resume import CUT, ETAG, SIZE, check, parts, ranges, start_and_wait, throttled

PATIENT = {"retry.base": "1h", "retry.max": "1h"}


def waits_with_part(daemon, bad, **query):
    """A job that waits for its next attempt, with a part file; its number."""
    url, _ = parts(bad, etag=ETAG, **query)
    (number,) = daemon.submit([{"url": url, "output": "deep/er/a"}])["ids"]
    wait_for(lambda: daemon.show(number)["state"] == "waiting")
    assert parts_under(daemon.root) == [number]
    return number


def gone(daemon):
    wait_for(lambda: files_under(daemon.root) == [], 10, "the part files to go")


# ---- cancelled ----


def test_cancelled_while_it_waits(make_daemon, bad):
    daemon = make_daemon(settings=PATIENT).start()
    number = waits_with_part(daemon, bad)
    assert daemon.call("cancel", {"ids": [number]})["cancelled"] == 1
    assert daemon.show(number)["state"] == "cancelled"
    gone(daemon)


def test_many_cancelled_while_they_wait(make_daemon, bad):
    """More than are removed at a time, beside some that go on waiting."""
    daemon = make_daemon(settings=PATIENT).start()
    jobs = [{"url": parts(bad, size=80000, cut=70000, name=f"n{i}", etag=ETAG)[0]} for i in range(600)]
    numbers = daemon.submit(jobs)["ids"]
    wait_for(lambda: daemon.counts()["waiting"] == 600)
    daemon.call("cancel", {"ids": numbers[10:]})
    wait_for(lambda: parts_under(daemon.root) == numbers[:10])
    time.sleep(0.3)
    assert parts_under(daemon.root) == numbers[:10]


def test_cancelled_while_queued_with_a_part(make_daemon, bad):
    """Its attempt was broken off by a stop; after the start another job has the only slot."""
    settings = {"worker.transfers": "1"}
    daemon = make_daemon(workers=1, settings=settings).start()
    url, path = throttled(bad)
    start_and_wait(daemon, bad, url, path)
    daemon.stop()
    assert len(files_under(daemon.root)) == 1
    # Started by the same daemon, a job of a higher rank comes first.
    other = bad.url("/silent-request/first")
    daemon.settings["transfer.low_speed_time"] = "1h"
    daemon.start()
    wait_for(lambda: len(bad.requests(path)) == 2)
    daemon.call("submit", {"jobs": [{"url": other, "priority": 100}]})
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    wait_for(lambda: bad.count("/silent-request/first") == 1)
    assert daemon.show(1)["state"] == "queued" and len(files_under(daemon.root)) == 1
    daemon.call("cancel", {"ids": [1]})
    gone(daemon)
    daemon.call("cancel", {"all": True})


def test_cancelled_while_the_part_is_synced(make_daemon, bad):
    """The round begins a second after the last one."""
    daemon = make_daemon(settings={**PATIENT, "transfer.sync_interval": "1s"}, workers=1).start()
    done(daemon.run_one(bad.url("/any/first")))
    url, path = parts(bad, etag=ETAG)
    (number,) = daemon.submit([{"url": url}])["ids"]
    wait_for(lambda: any(is_part(f) for f in files_under(daemon.root)))
    time.sleep(0.2)
    assert daemon.show(number)["state"] == "active"
    daemon.call("cancel", {"ids": [number]})
    wait_for(lambda: daemon.show(number)["state"] == "cancelled")
    assert files_under(daemon.root) == ["first"]


def test_cancelled_after_its_worker_was_lost(make_daemon, bad):
    """Nothing durable is known of the part."""
    daemon = make_daemon(workers=1).start()
    url, _ = parts(bad, size=5 * MIB, cuts=0, rate=MIB)
    (number,) = daemon.submit([{"url": url}])["ids"]
    wait_for(lambda: parts_under(daemon.root) == [number])
    os.kill(daemon.worker_pids()[0], signal.SIGSTOP)
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    daemon.call("cancel", {"ids": [number]})
    wait_for(lambda: daemon.show(number)["state"] == "cancelled")
    gone(daemon)


def cut_short(make_daemon, bad, **job):
    """A job whose part the queue knows nothing of, for the daemon was killed; after the start another has the
    only slot."""
    daemon = make_daemon(workers=1, settings={"worker.transfers": "1", "transfer.low_speed_time": "1h"}).start()
    url, _ = parts(bad, size=5 * MIB, cuts=0, rate=MIB)
    (number,) = daemon.submit([{"url": url, **job}])["ids"]
    wait_for(lambda: parts_under(daemon.root) == [number])
    daemon.submit([{"url": bad.url("/silent-request/first"), "priority": 100}])
    daemon.kill()
    daemon.start()
    wait_for(lambda: bad.count("/silent-request/first") == 1)
    assert daemon.show(number)["state"] == "queued" and len(files_under(daemon.root)) == 1
    return daemon, number


def test_cancelled_after_the_daemon_was_killed(make_daemon, bad):
    daemon, number = cut_short(make_daemon, bad)
    daemon.call("cancel", {"ids": [number]})
    gone(daemon)
    daemon.call("cancel", {"all": True})


def test_too_late_after_the_daemon_was_killed(make_daemon, bad):
    daemon, number = cut_short(make_daemon, bad, deadline="+4s")
    time.sleep(max(0, 4 - (time.time() - daemon.show(number)["created"])))
    daemon.call("cancel", {"ids": [number + 1]})
    wait_for(lambda: daemon.show(number)["state"] == "failed")
    assert daemon.show(number)["error"]["name"] == "deadline"
    gone(daemon)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_cancel_is_carried_out_after_a_restart(make_daemon, bad, how):
    """Cancelled, and the daemon ends before a worker could remove the part."""
    daemon = make_daemon(workers=1, settings=PATIENT).start()
    number = waits_with_part(daemon, bad)
    (worker,) = daemon.worker_pids()
    os.kill(worker, signal.SIGSTOP)
    daemon.call("cancel", {"ids": [number]})
    (part,) = files_under(daemon.root)
    daemon.kill()
    os.kill(worker, signal.SIGKILL)
    wait_for(daemon.has_no_processes)
    assert len(files_under(daemon.root)) == 1
    if how == "stop":
        daemon.start()
        gone(daemon)
        daemon.stop()
        daemon.file(part).write_text("not to be touched: it was done already")
        daemon.start()
        done(daemon.run_one(bad.url("/any/later")))
        assert len(files_under(daemon.root)) == 2
    else:
        daemon.start()
        gone(daemon)


def test_cancelled_and_retried_at_once(make_daemon, bad):
    """The removal doesn't come after the new attempt's beginning."""
    daemon = make_daemon(settings=PATIENT).start()
    for i in range(20):
        url, path = parts(bad, etag=ETAG, name=f"n{i}")
        (number,) = daemon.submit([{"url": url}])["ids"]
        wait_for(lambda: daemon.show(number)["state"] == "waiting")
        with daemon.control() as c:
            requests = [c.send("cancel", {"ids": [number]}), c.send("retry", {"ids": [number]})]
            assert [next(iter(c.answer(r).values())) for r in requests] == [1, 1]
        wait_for(lambda: daemon.show(number)["state"] == "done")
        assert daemon.file(f"n{i}").read_bytes() == content(path + "1", SIZE)
    assert sorted(files_under(daemon.root)) == sorted(f"n{i}" for i in range(20))


def test_new_try_waits_for_the_removal(make_daemon, bad):
    """The worker that is to remove the part hangs; another one, which is free, doesn't begin before it has."""
    daemon = make_daemon(workers=2, settings=PATIENT).start()
    (silent,) = daemon.submit([{"url": bad.url("/silent-request/a")}])["ids"]
    wait_for(lambda: bad.count() == 1)
    number = waits_with_part(daemon, bad)  # with the second worker
    daemon.call("cancel", {"ids": [silent]})
    wait_for(lambda: daemon.show(silent)["state"] == "cancelled")
    first = daemon.call("status")["workers"][0]["pid"]
    os.kill(first, signal.SIGSTOP)
    try:
        assert daemon.call("cancel", {"ids": [number]})["cancelled"] == 1
        assert daemon.call("retry", {"ids": [number]})["retried"] == 1
        time.sleep(0.5)
        assert bad.count() == 2 and daemon.show(number)["state"] == "queued"
    finally:
        os.kill(first, signal.SIGCONT)
    wait_for(lambda: daemon.show(number)["state"] == "done")
    assert files_under(daemon.root) == ["deep/er/a"]


def test_cancel_takes_effect_at_once(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    took = []
    for i in range(3):  # something else may have the processor once
        url, _ = parts(bad, size=50 * MIB, cuts=0, etag=ETAG, rate=40 * MIB, name=f"n{i}")
        daemon.submit([{"url": url}])
        wait_for(lambda: any((daemon.root / f).stat().st_size > 10 * MIB for f in files_under(daemon.root)))
        with daemon.control() as c:
            begin = time.monotonic()
            c.call("cancel", {"all": True})
            while files_under(daemon.root) or sum(c.call("status")["jobs"][s] for s in ("queued", "active")):
                assert time.monotonic() - begin < 5
            took.append(time.monotonic() - begin)
        assert daemon.counts()["cancelled"] == i + 1
    assert min(took) < 0.1 * SLOWER, took


# ---- failed ----


@pytest.mark.parametrize("fault", ["404", "410"])
def test_failed_for_good(make_daemon, bad, fault):
    daemon = make_daemon().start()
    url, _ = parts(bad, etag=ETAG, fault=fault)
    assert failed(daemon.run_one(url), "http")["http_status"] == int(fault)
    gone(daemon)


def test_failed_by_its_deadline(make_daemon, bad):
    """Another try would fail at once."""
    daemon = make_daemon(settings=PATIENT).start()
    url, _ = parts(bad, etag=ETAG)
    failed(daemon.run_one(url, deadline="+1m"), "deadline")
    gone(daemon)


def test_failed_by_a_checksum(daemon, bad):
    url, _ = parts(bad, etag=ETAG)
    failed(daemon.run_one(url, checksum="sha-256:" + "0" * 64), "checksum")
    gone(daemon)


def test_failed_for_its_size(daemon, bad):
    url, path = parts(bad, etag=ETAG)
    failed(daemon.run_one(url, max_size=SIZE - 1), "too-large")
    gone(daemon)


def test_failed_for_now(daemon, bad):
    """What could be gone on with is kept for `retry`, over a restart too."""
    url, path = parts(bad, etag=ETAG, fault="503")
    job = failed(daemon.run_one(url, retries=0), "http")
    assert parts_under(daemon.root) == [job["id"]]
    daemon.restart()
    assert parts_under(daemon.root) == [job["id"]]
    daemon.call("retry", {"ids": [job["id"]]})
    wait_for(lambda: daemon.show(job["id"])["state"] == "done")
    assert ranges(bad) == [None, f"bytes={CUT}-", f"bytes={CUT}-"]
    check(daemon, path)


def test_failed_at_another_mirror(daemon, bad):
    """Which could not go on with it."""
    url, _ = parts(bad, etag=ETAG)
    (job,) = daemon.run([{"urls": [url, bad.url("/status/503/a")], "retries": 0}])
    assert failed(job, "http")["attempts"] == 2
    gone(daemon)


# ---- begun anew ----


def test_what_begins_anew_is_not_taken_for_what_was_kept(make_daemon, bad):
    """The power goes while the store still says that so much of the old version is on disk.

    The part file has as much of the new one by then. After that the server has the old version again.
    """
    daemon = make_daemon(workers=1).start()
    url, path = parts(bad, size=4 * MIB, cut=3 * MIB, etag=ETAG, fault="503", changes=2, back=3, rate=2 * MIB)
    job = failed(daemon.run_one(url, retries=0), "http")
    part = daemon.part(job["id"])
    assert part.read_bytes() == content(path + "1", 4 * MIB)[:3 * MIB]
    daemon.stop()
    shutil.copytree(daemon.state, daemon.base / "before")

    daemon.start()
    daemon.call("retry", {"ids": [job["id"]]})
    other = content(path + "2", 4 * MIB)

    def has_other():
        try:
            kept = part.read_bytes()
        except FileNotFoundError:  # the part of the old version is removed before the other one is begun
            return False
        return len(kept) > 3 * MIB and kept[:100] == other[:100]

    wait_for(has_other)
    daemon.kill()
    wait_for(daemon.has_no_processes)
    assert part.read_bytes()[:3 * MIB] == other[:3 * MIB]
    shutil.rmtree(daemon.state)
    (daemon.base / "before").rename(daemon.state)

    daemon.start()
    daemon.call("retry", {"ids": [job["id"]]})
    wait_for(lambda: daemon.show(job["id"])["state"] == "done")
    assert ranges(bad) == [None, f"bytes={3 * MIB}-", f"bytes={3 * MIB}-", None]
    check(daemon, path, "1", 4 * MIB)
