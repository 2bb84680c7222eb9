"""A damaged queue: dld doesn't start with it, says what to do, and makes a new one of what can be read."""

import os
import re
import sqlite3

import pytest

from dld import run
from queue_file import discrepancies
from support import files_under, is_part, wait_for


def offline(daemon, option, code):
    result = run([*daemon.command(), option])
    assert result.code == code, result
    return result.err


def damage(path, first, n):
    with path.open("r+b") as file:
        file.seek(first * 4096)
        file.write(b"\x5a" * n * 4096)


def test_damaged_queue_is_recovered(daemon, bad):
    done = daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(30)])
    later = daemon.submit([{"url": bad.url(f"/any/later-{i}"), "not_before": "+1d", "tag": "t" * 200} for i in range(500)])
    assert daemon.stop() == 0
    assert "is sound" in offline(daemon, "--check-queue", 0)
    assert "is sound: there is nothing to recover" in offline(daemon, "--recover", 0)
    queue = daemon.state / "queue.db"
    damage(queue, 0, 1)
    before = queue.read_bytes()
    daemon.spawn()
    assert daemon.wait_exit() == 3
    assert f"{queue} is damaged (file is not a database)" in daemon.stderr and "dld --recover" in daemon.stderr
    offline(daemon, "--check-queue", 3)
    assert queue.read_bytes() == before, "nothing is written to a damaged queue"
    said = offline(daemon, "--recover", 0)
    assert "recovered 530 jobs (0 queued, 500 waiting, 0 paused, 30 done" in said and "lost no job" in said
    (kept,) = daemon.state.glob("queue.db.damaged-*")
    assert kept.read_bytes() == before and kept.stat().st_mode & 0o777 == 0o600
    daemon.start()
    jobs = daemon.jobs()
    assert [(j["id"], j["state"], j["output"]) for j in jobs[:30]] == [(j["id"], "done", j["output"]) for j in done]
    assert [j["id"] for j in jobs[30:]] == later["ids"]
    assert daemon.run_one(bad.url("/any/new"))["id"] > later["ids"][-1]
    assert len([f for f in files_under(daemon.root) if not is_part(f)]) == 31 and bad.count() == 31
    assert daemon.stop() == 0
    assert discrepancies(queue) == []


def test_what_is_lost_is_counted(daemon, bad):
    """Pages in the middle are gone, as after a fault of the disk; batches end without their jobs."""
    batch = daemon.submit([{"url": bad.url(f"/any/{i}"), "not_before": "+1d", "tag": "x" * 250} for i in range(800)])
    daemon.kill()
    wait_for(daemon.has_no_processes)
    daemon.start()
    assert daemon.stop() == 0
    queue = daemon.state / "queue.db"
    damage(queue, queue.stat().st_size // 8192, 12)
    said = offline(daemon, "--recover", 0)
    lost = int(re.search(r"jobs lost, by the numbers of the old queue: (\d+)", said)[1])
    assert 0 < lost < 300 and f"recovered {800 - lost} jobs" in said
    daemon.start()
    status = daemon.call("status", {"batch": batch["batch"]})["batch"]
    assert status["count"] == 800 - lost == len(daemon.jobs())
    daemon.call("cancel", {"all": True})
    assert daemon.call("status", {"batch": batch["batch"]})["batch"]["cancelled"] == 800 - lost
    assert daemon.stop() == 0
    assert discrepancies(queue) == []


def test_empty_file_is_no_empty_queue(daemon):
    assert daemon.stop() == 0
    queue = daemon.state / "queue.db"
    queue.write_bytes(b"")
    daemon.spawn()
    assert daemon.wait_exit() == 3
    assert "is damaged (it is empty)" in daemon.stderr
    assert "nothing of a queue can be found" in offline(daemon, "--recover", 1)
    queue.unlink()
    assert "there is no queue at" in offline(daemon, "--check-queue", 1)
    daemon.start()


def test_not_beside_a_dld_that_runs(daemon):
    assert "another daemon" in offline(daemon, "--recover", 1)


def test_queue_of_a_newer_dld_is_left_alone(daemon):
    """Neither started with nor recovered: the newer one can read it."""
    assert daemon.stop() == 0
    queue = daemon.state / "queue.db"
    store = sqlite3.connect(queue)
    store.execute("PRAGMA user_version = 99")
    store.close()
    before = queue.read_bytes()
    daemon.spawn()
    assert daemon.wait_exit() == 3
    assert f"{queue} was written by a newer dld (schema 99; this one, 0.1.0, knows up to" in daemon.stderr
    for option in ("--check-queue", "--recover"):
        assert "was written by a newer dld" in offline(daemon, option, 3)
    assert queue.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be someone else")
@pytest.mark.parametrize("options", [[], ["--check-queue"]])
def test_queue_that_may_only_be_read_is_no_disk_error(daemon, options):
    assert daemon.stop() == 0
    queue = daemon.state / "queue.db"
    for path in [daemon.state, *daemon.state.iterdir(), daemon.root]:
        os.chown(path, 65534, 65534)
    os.chown(queue, 0, 0)
    queue.chmod(0o444)
    result = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *daemon.command(), *options])
    assert result.code == 1 and f"{queue} can't be written" in result.err and "permissions" in result.err
