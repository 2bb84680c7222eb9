"""System calls fail in the master, a worker or dlctl: nothing is lost, there twice or half taken, no file is wrong.

faulty.py has what may fail how; tests/soak/faulty_calls.py tries all of it.
"""

import pytest

from faulty import LIBRARY, Rule, Trouble, run, run_client
from support import SANITIZE, content, files_under, wait_for
from test_download import done, failed

MASTER = [("pwrite", "ENOSPC", 60, 30), ("pwrite", "EIO", 45, 20), ("pread", "EIO", 32), ("fstat", "ENOMEM", 64), ("fdatasync", "EIO", 5),
          ("fdatasync", "ENOSPC", 32, 20), ("accept4", "EMFILE", 3, 5), ("recv", "SHORT", 5, 500),
          ("send", "SHORT", 5, 500), ("send", "ENOBUFS", 6), ("epoll_ctl", "ENOMEM", 30), ("posix_spawn", "EAGAIN", 1),
          ("timerfd_settime", "ENOMEM", 5)]
WORKER = [("pwrite", "ENOSPC", 8), ("pwrite", "SHORT", 5, 100), ("fsync", "EIO", 1), ("fsync", "EIO", 12), ("renameat2", "EIO", 8),
          ("openat", "EMFILE", 8), ("fsetxattr", "ENOSPC", 5), ("unlinkat", "EIO", 2), ("epoll_wait", "EINTR", 20, 40), ("poll", "ENOMEM", 5, 20),
          ("epoll_ctl", "ENOMEM", 40, 8)]
CLIENT = [("open", "EMFILE", 1), ("read", "EIO", 1), ("read", "EIO", 2), ("read", "SHORT", 1, 100), ("fstat", "EIO", 1),
          ("socket", "EMFILE", 1), ("connect", "ENOMEM", 1), ("send", "EAGAIN", 1), ("send", "SHORT", 1, 100), ("recv", "EINTR", 1, 10),
          ("recv", "SHORT", 1, 500), ("recv", "ENOMEM", 3), ("ppoll", "ENOMEM", 2)]

pytestmark = pytest.mark.skipif(SANITIZE, reason="the sanitizers want to be the first library")


@pytest.mark.parametrize("program, fault", [("dld", f) for f in MASTER] + [("dld-worker", f) for f in WORKER])
def test_call_fails(make_daemon, bad, program, fault):
    assert LIBRARY.exists(), "`make faults` builds it"
    assert run(Trouble(make_daemon(), bad), program, *fault) is not None, "the call was never made"


@pytest.mark.parametrize("on_conflict", ["rename", "fail", "skip", "overwrite"])
def test_directory_is_not_synced(make_daemon, bad, on_conflict):
    """The file had its name already: the job, which has failed, may be queued again and is done under the same."""
    daemon = make_daemon(workers=1)
    rule = Rule(daemon.base / "rule")
    daemon.env |= rule.environment
    rule.set("dld-worker", "fsync", "EIO", 2)
    job = failed(daemon.start().run_one(bad.url("/any/a"), on_conflict=on_conflict), "output")
    assert rule.left() <= 0 and files_under(daemon.root) == ["a"] * (on_conflict == "overwrite")
    daemon.call("retry", {"ids": [job["id"]]})
    wait_for(daemon.none_left)
    job = done(daemon.show(job["id"]))
    assert job["output"] == "a" and not job.get("skipped") and files_under(daemon.root) == ["a"]


@pytest.mark.parametrize("call, k", [("syncfs", 1), ("sync_file_range", 3)])
def test_files_are_not_synced_together(make_daemon, bad, call, k):
    """Then each is by itself. (The first file does not wait for others, and has a round of its own.)"""
    daemon = make_daemon(workers=1, settings={"transfer.sync_interval": "1s", "worker.transfers": "64", "host.connections": "64"})
    rule = Rule(daemon.base / "rule")
    daemon.env |= rule.environment
    rule.set("dld-worker", call, "EIO", k)
    for job in daemon.start().run([{"url": bad.url(f"/any/{i}")} for i in range(60)]):
        done(job)
        assert daemon.file(job["output"]).read_bytes() == content(f"/any/{job['output']}", 2000)
    assert rule.left() <= 0


def test_call_of_the_client_fails(daemon, bad):
    rule = Rule(daemon.base / "rule")
    for i, fault in enumerate(CLIENT):
        run_client(daemon, rule, bad.url("/any/"), f"t{i}", *fault)
