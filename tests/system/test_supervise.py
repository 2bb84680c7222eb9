"""Workers that hang, grow, or have served enough are replaced, and what they had under way is not begun anew."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dld import WORKER, with_worker
from support import content, files_under, parts_under, wait_for
from test_crash import workers_ready
from test_download import done, failed
from test_worker import fake_worker, hello

# Looked at eight times a second.
WATCHFUL = {"worker.hang_time": "1s"}

SIZE = 5 << 18


def slow(bad, name, rates=1):
    """A file that takes more than a second, but for requests after the first; and what is in it."""
    path = f"/parts/{SIZE}/0/0/{name}"
    return bad.url(f"{path}?{urlencode({'etag': '%cv%c' % (34, 34), 'rate': 1 << 20, 'rates': rates})}"), path


def check(daemon, path):
    assert daemon.file(os.path.basename(path)).read_bytes() == content(path + "1", SIZE)


def ranges(bad, path):
    return [r.header("Range") for r in bad.requests() if r.path == path]


def receiving(daemon, job):
    """Waits until some of the file has come."""
    wait_for(lambda: (daemon.show(job)["bytes"] or 0) > 0)


# ---- hanging ----


def test_worker_that_hangs_is_replaced(make_daemon, bad):
    daemon = make_daemon(settings=WATCHFUL, workers=1).start()
    (job,) = daemon.submit([{"url": bad.url("/delay/0.3/2000/a")}])["ids"]
    wait_for(lambda: bad.count() == 1)
    (before,) = daemon.worker_pids()
    os.kill(before, signal.SIGSTOP)
    wait_for(daemon.none_left)
    assert done(daemon.show(job))["attempts"] == 1
    assert daemon.worker_pids() != [before]
    assert "shows no life" in daemon.stderr and "for it showed no life; it held jobs: 1" in daemon.stderr


def test_silent_server_is_no_hanging_worker(make_daemon, bad):
    daemon = make_daemon(settings={"worker.hang_time": "2s"}, workers=1).start()
    before = daemon.worker_pids()
    daemon.submit([{"url": bad.silent_url()}])
    wait_for(lambda: daemon.counts()["active"] == 1)
    time.sleep(2.5)
    assert daemon.worker_pids() == before and "no life" not in daemon.stderr


def test_job_that_a_worker_hangs_at_is_named_and_taken_out(make_daemon, tmp, bad):
    """The other one goes on."""
    script = (f"channel.send({hello()!r})\njob()\nimport mmap\nboard = mmap.mmap(4, 0)\n"
              "board[16:24] = struct.pack('=q', 2)")
    daemon = make_daemon(program=fake_worker(tmp, script), workers=1,
                         settings={"worker.hang_time": "2s", "master.crash_limit": "1"}).start()
    daemon.submit([{"url": bad.url(f"/any/{name}")} for name in "ab"])
    wait_for(daemon.none_left)
    a, b = daemon.jobs()
    done(a)
    failed(b, "crash")
    assert f"job 2 ({b['url']}) has kept worker 1 from going on" in daemon.stderr
    assert "while at job 2; it held jobs: 1, 2" in daemon.stderr


def test_worker_that_hangs_with_part_files_to_remove_is_replaced(make_daemon, bad):
    daemon = make_daemon(settings={**WATCHFUL, "retry.base": "1h", "retry.max": "1h"}, workers=1).start()
    (job,) = daemon.submit([{"url": bad.url("/parts/400000/200000/1/a?etag=%22x%22")}])["ids"]
    wait_for(lambda: daemon.show(job)["state"] == "waiting")
    assert parts_under(daemon.root)
    (before,) = daemon.worker_pids()
    os.kill(before, signal.SIGSTOP)
    daemon.call("cancel", {"all": True})
    wait_for(lambda: not parts_under(daemon.root))
    assert daemon.worker_pids() != [before] and "for it showed no life" in daemon.stderr


def wakes(pids):
    text = "".join(open(f"/proc/{pid}/status").read() for pid in pids)
    return re.findall(r"voluntary_ctxt_switches:\t(\d+)", text)


def test_without_jobs_nothing_wakes_up(make_daemon, bad):
    daemon = make_daemon(settings=WATCHFUL).start()
    assert done(daemon.run_one(bad.url("/any/a")))
    pids = [daemon.pid, *daemon.worker_pids()]

    def asleep():
        before = wakes(pids)
        time.sleep(0.6)
        return wakes(pids) == before
    wait_for(asleep)


# ---- replaced before its time ----


def test_worker_that_has_served_enough_is_replaced(make_daemon, bad):
    daemon = make_daemon(settings={"worker.max_jobs": "10", "master.stop_grace": "1min"}).start()
    jobs = daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(100)])
    assert all(done(job)["attempts"] == 1 for job in jobs) and bad.count() == 100
    workers = wait_for(lambda: (w := workers_ready(daemon)) and all(x["restarts"] > 0 for x in w) and w)
    assert [w["worker"] for w in workers] == [1, 2] and sum(w["done"] for w in workers) == 100
    assert "held jobs" not in daemon.stderr


def test_worker_that_has_grown_is_replaced(make_daemon, bad):
    daemon = make_daemon(settings={**WATCHFUL, "worker.max_rss": "1M"}, workers=1).start()
    done(daemon.run_one(bad.url("/any/a")))
    wait_for(lambda: "more than [worker] max_rss; it is replaced" in daemon.stderr)
    assert wait_for(lambda: (w := workers_ready(daemon)) and len(w) == 1 and w[0]["restarts"] >= 1)
    done(daemon.run_one(bad.url("/any/b")))


@pytest.mark.parametrize("grace, requests", [("1min", [None]), ("0s", [None, "bytes="])])
def test_transfer_of_a_replaced_worker(make_daemon, bad, grace, requests):
    """It comes to its end in its own worker where there is time; else another goes on with it."""
    daemon = make_daemon(settings={"worker.max_jobs": "1", "master.stop_grace": grace}, workers=1).start()
    url, path = slow(bad, "a")
    (job,) = daemon.submit([{"url": url}])["ids"]
    receiving(daemon, job)
    (before,) = daemon.worker_pids()
    done(daemon.run_one(bad.url("/any/b")))
    done(daemon.run_one(bad.url("/any/c")))
    wait_for(daemon.none_left)
    assert done(daemon.show(job))["attempts"] == 1
    check(daemon, path)
    assert [r and r[:6] for r in ranges(bad, path)] == requests
    wait_for(lambda: before not in daemon.worker_pids())


def test_successor_that_does_not_start_holds_up_nobody(make_daemon, tmp, bad):
    """The one that was to go serves on."""
    program = with_worker(tmp, f"#!/bin/sh\n[ -e {tmp}/broken ] && exit 1\nexec {WORKER}\n")
    daemon = make_daemon(program=program, workers=1, settings={"worker.max_jobs": "3"}).start()
    (tmp / "broken").touch()
    jobs = daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(10)])
    assert all(done(job)["attempts"] == 1 for job in jobs)
    (tmp / "broken").unlink()
    wait_for(lambda: (w := workers_ready(daemon)) and len(w) == 1 and w[0]["restarts"] >= 1)


def test_program_of_a_worker_that_can_not_be_started_is_named(make_daemon, tmp, bad):
    program = with_worker(tmp, f"#!/bin/sh\nexec {WORKER}\n")
    daemon = make_daemon(program=program, workers=1).start()
    (worker,) = daemon.worker_pids()
    missing = program.parent / "dld-worker"
    missing.rename(tmp / "away")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: f"worker 1 ({missing}) can't be started: No such file" in daemon.stderr)
    (tmp / "away").rename(missing)
    done(daemon.run_one(bad.url("/any/a")))


# ---- what is said of a worker's death ----


def test_death_of_a_worker_is_told_with_its_jobs_and_its_last_words(make_daemon, tmp, bad):
    script = (f"channel.send({hello()!r})\njob()\nos.write(2, b'first\\nlast words')\nos.abort()")
    daemon = make_daemon(program=fake_worker(tmp, script), workers=1).start()
    done(daemon.run_one(bad.url("/any/a")))
    lines = daemon.stderr.splitlines()
    assert "first" in lines and "last words" in lines
    (line,) = [line for line in lines if "signal 6" in line]
    assert re.fullmatch(r"dld: worker 1 \(pid \d+\) was killed by signal 6 \(Aborted\); it held jobs: 1; "
                        r"it said: first \| last words", line)


def test_worker_that_never_stops_talking_is_not_listened_to(make_daemon, tmp, bad):
    script = f"channel.send({hello()!r})\njob()\nfor _ in range(100000): os.set_blocking(2, True); os.write(2, b'x' * 99 + b'\\n')\nraise SystemExit(1)"
    daemon = make_daemon(program=fake_worker(tmp, script), workers=1).start()
    done(daemon.run_one(bad.url("/any/a")))
    assert "worker 1 says too much" in daemon.stderr
    assert len(daemon.stderr) < 1 << 20
    assert files_under(daemon.root) == ["a"]


# Traces a process, and waits for nothing; PTRACE_SEIZE is 0x4206.
TRACER = """
import ctypes, sys, time
assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None) == 0
time.sleep(60)
"""


def status_of(pid, name):
    return re.search(rf"^{name}:\s*(\S+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1)


def test_end_of_a_worker_that_is_traced_is_noticed(make_daemon, bad):
    """While a tracer has it, a dead worker can be seen, but not reaped."""
    daemon = make_daemon(workers=1).start()
    (pid,) = daemon.worker_pids()
    with subprocess.Popen([sys.executable, "-c", TRACER, str(pid)]) as tracer:
        wait_for(lambda: status_of(pid, "TracerPid") == str(tracer.pid))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: status_of(pid, "State") == "Z")
        time.sleep(0.1)
        assert daemon.running
        tracer.kill()
    wait_for(lambda: daemon.worker_pids() not in ([], [pid]), 20, "another worker")
    done(daemon.run_one(bad.url("/any/a")))
    assert daemon.stop() == 0
