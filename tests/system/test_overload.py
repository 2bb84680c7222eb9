"""Too many clients or jobs, no memory, no descriptors, no disk: who is concerned is told, the others are served, and when it is
over all goes on without a restart."""

import json
import os
import resource
import subprocess
import time
from contextlib import ExitStack

import pytest

from dld import DLCTL, Control, RpcError, run
from support import MIB, SANITIZE, wait_for
from test_download import done
from test_retries import small_disk  # noqa: F401, a fixture
from test_service import as_user

MAX_CLIENTS = 1024


def busy_time(pid):
    """Ticks of the CPU that the process has used."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def crowd(daemon, stack, amount):
    """So many clients more, which do nothing; all of them are connected."""
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    if ours[0] < amount + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(amount + 200, ours[1]), ours[1]))
    for _ in range(amount):
        stack.enter_context(Control(daemon.socket))


def refusal(daemon):
    """What a client is told that is not served."""
    with Control(daemon.socket) as c:
        answer = c.receive()
        assert c.is_closed()
    assert answer["id"] is None and answer["error"]["code"] == -32003, answer
    return answer["error"]["message"]


# ---- clients ----


def test_too_many_clients(make_daemon, bad):
    daemon = make_daemon().start()
    most = MAX_CLIENTS if os.geteuid() == 0 else MAX_CLIENTS * 3 // 4
    with ExitStack() as stack, daemon.control() as first:
        crowd(daemon, stack, most - 1)
        assert "too many clients" in refusal(daemon)
        result = daemon.dlctl("status", code=3)
        assert "too many clients" in result.err
        job = first.call("submit", {"jobs": [{"url": bad.url("/any/a")}]})["ids"][0]
        wait_for(lambda: first.call("show", {"id": job})["state"] == "done")
    wait_for(lambda: daemon.dlctl("status", code=None).code == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be two users")
def test_one_user_leaves_places_to_others(make_daemon, tmp):
    """768 of 1024 places."""
    words, uid = as_user()
    daemon = make_daemon(settings={"control.mode": "0666"}).start()
    script = f"""
import socket, sys
held = []
for _ in range({MAX_CLIENTS * 3 // 4}):
    held.append(socket.socket(socket.AF_UNIX)); held[-1].connect({str(daemon.socket)!r})
last = socket.socket(socket.AF_UNIX); last.connect({str(daemon.socket)!r})
print(last.recv(1000).decode(), flush=True)
sys.stdin.read()
"""
    user = subprocess.Popen([*words, "/usr/bin/python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        answer = json.loads(user.stdout.readline())
        assert answer["error"]["code"] == -32003 and "this user has too many clients" in answer["error"]["message"]
        assert daemon.call("status")["pid"] == daemon.pid
    finally:
        user.communicate()


# ---- descriptors ----


def test_no_descriptors(make_daemon, bad):
    daemon = make_daemon().start()
    old = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    with ExitStack() as stack, daemon.control() as first:
        first.call("status")
        used = max(int(fd) for fd in os.listdir(f"/proc/{daemon.pid}/fd")) + 1
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 20, old[1]))
        crowd(daemon, stack, 30)
        wait_for(lambda: "clients can't be accepted" in daemon.stderr)
        assert all("no file descriptors" in refusal(daemon) for _ in range(20))
        before = busy_time(daemon.pid)
        job = first.call("submit", {"jobs": [{"url": bad.url("/delay/0.5/2000/b")}]})["ids"][0]
        wait_for(lambda: first.call("show", {"id": job})["state"] == "done")
        assert busy_time(daemon.pid) - before < 30
    wait_for(lambda: daemon.dlctl("status", code=None).code == 0)
    assert daemon.stderr.count("clients can't be accepted") == 1


def test_no_descriptors_at_all(make_daemon):
    """Not even one to say so with: those who come wait, and nothing spins."""
    daemon = make_daemon().start()
    old = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4, old[1]))
    with daemon.control() as waiting:
        wait_for(lambda: "clients can't be accepted" in daemon.stderr)
        before, end = busy_time(daemon.pid), time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > end)
        assert busy_time(daemon.pid) - before < 15
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, old)
        assert waiting.call("status")["pid"] == daemon.pid


def test_worker_that_dies_meanwhile_is_replaced_when_there_are_descriptors_again(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    old = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    used = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    with daemon.control() as first:
        first.call("status")  # so that it is connected
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4, old[1]))
        os.kill(daemon.worker_pids()[0], 9)
        wait_for(lambda: "can't be started" in daemon.stderr)
        job = first.call("submit", {"jobs": [{"url": bad.url("/any/a")}]})["ids"][0]
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, old)
        wait_for(lambda: first.call("show", {"id": job})["state"] == "done")
    assert len(os.listdir(f"/proc/{daemon.pid}/fd")) <= used + 1


# ---- jobs ----


def test_quota(make_daemon, bad):
    words, uid = as_user()
    daemon = make_daemon(settings={"control.mode": "0666", "quota.jobs": "4"}).start()
    submit = lambda n: run([*words, DLCTL, "--socket", daemon.socket, "submit",
                            *(bad.url(f"/silent-request/{i}") for i in range(n))])
    assert submit(3).code == 0
    result = submit(2)
    assert result.code == 1 and f"user {uid} would have more than 4 jobs that have not ended ([quota] jobs)" in result.err
    assert submit(1).code == 0
    assert len(daemon.jobs()) == 4
    if os.geteuid() == 0:
        daemon.submit([{"url": bad.url("/any/a")}, {"url": bad.url("/any/b")}])
    daemon.dlctl("cancel", "1", "2")
    wait_for(lambda: daemon.counts()["cancelled"] == 2)
    assert submit(3).code == 1 and submit(2).code == 0


def submit_as_user(daemon, jobs):
    words, _ = as_user()
    return run([*words, DLCTL, "--socket", daemon.socket, "submit", "-"], stdin=json.dumps(jobs))


@pytest.mark.parametrize("fault", ["too many", "bad job"])
def test_submission_that_is_refused_halfway_leaves_nothing_behind(make_daemon, bad, fault):
    daemon = make_daemon(settings={"control.mode": "0666", "quota.jobs": "3000"}).start()
    jobs = [{"url": bad.url(f"/any/{i}"), "not_before": "+1h"} for i in range(5000 if fault == "too many" else 3000)]
    if fault == "bad job":
        jobs[2500] = {"url": "nonsense"}
    result = submit_as_user(daemon, jobs)
    assert result.code != 0 and ("[quota] jobs" if fault == "too many" else "nonsense") in result.err
    wait_for(lambda: submit_as_user(daemon, jobs[:2400]).code == 0)
    wait_for(lambda: daemon.counts()["waiting"] == 2400)


def test_chunk_behind_a_refused_one_is_refused_and_its_key_is_free(daemon, bad):
    job = {"url": bad.url("/any/a")}
    with daemon.control() as c:
        chunk = {"submit_key": "k", "jobs": [job], "last": False}
        c.call("submit", chunk)
        with pytest.raises(RpcError, match=r"jobs\[1\].url"):
            c.call("submit", {**chunk, "jobs": [{"url": "nonsense"}], "offset": 1})
        with pytest.raises(RpcError, match="submit again from the first job"):
            c.call("submit", {**chunk, "offset": 1, "last": True})
        assert c.call("submit", {**chunk, "last": True})["count"] == 1
    wait_for(daemon.none_left)
    assert daemon.counts()["done"] == 1


# ---- memory ----


@pytest.mark.skipif(SANITIZE, reason="sanitizers need address space")
def test_no_memory(make_daemon, bad):
    daemon = make_daemon().start()
    big = b'{"jsonrpc": "2.0", "id": 1, "method": "status", "params": {"x": "' + b"x" * (3 * MIB) + b'"}}\n'
    with daemon.control() as first, daemon.control() as other:
        size = int(open(f"/proc/{daemon.pid}/statm").read().split()[0]) * resource.getpagesize()
        old = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (size + 2 * MIB, old[1]))
        try:
            other.send_raw(big)
        except OSError:
            pass
        answer = other.receive()
        assert answer["error"]["code"] == -32003 and "out of memory" in answer["error"]["message"]
        job = first.call("submit", {"jobs": [{"url": bad.url("/any/a")}]})["ids"][0]
        wait_for(lambda: first.call("show", {"id": job})["state"] == "done")
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, old)
    with daemon.control() as c:
        c.send_raw(big)
        assert "x" in c.receive()["error"]["message"]


# ---- the disk of the queue ----


def fill(disk):
    """Until nothing more goes in."""
    with (disk / "ballast").open("wb", buffering=0) as f:
        try:
            while f.write(bytes(4096)):
                pass
        except OSError:
            pass


def test_full_disk_of_the_queue(make_daemon, bad, small_disk):  # noqa: F811
    daemon = make_daemon()
    daemon.state = small_disk / "state"
    daemon.start()
    url = bad.url("/delay/0.5/2000/a")
    (job,) = daemon.submit([{"url": url}])["ids"]
    wait_for(lambda: bad.count() == 1)
    fill(small_disk)
    jobs = [{"url": bad.url(f"/any/{'x' * 500}{i}")} for i in range(1000)]
    with pytest.raises(RpcError, match="No space left.*make room in the state directory") as e:
        for _ in range(20):
            daemon.submit(jobs)
    assert e.value.code == -32002
    result = daemon.dlctl("submit", *(bad.url(f"/any/{'y' * 900}{i}") for i in range(100)), code=None)
    assert result.code == 0 or (result.code == 1 and "make room" in result.err), "small ones may just fit"
    assert daemon.call("status")["pid"] == daemon.pid and daemon.show(job)["id"] == job
    wait_for(lambda: daemon.file("a").exists())
    (small_disk / "ballast").unlink()
    wait_for(lambda: daemon.show(job)["state"] == "done")
    assert daemon.run_one(bad.url("/any/c"))["state"] == "done"
    assert bad.count("/delay/0.5/2000/a") == 1
    daemon.stop()


def test_read_only_state_directory(make_daemon, bad, small_disk):  # noqa: F811
    daemon = make_daemon()
    daemon.state = small_disk / "state"
    daemon.start()
    done(daemon.run_one(bad.url("/any/a")))
    assert daemon.stop() == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    daemon.spawn()
    assert daemon.wait_exit() == 1
    assert str(daemon.state) in daemon.stderr and "ead-only" in daemon.stderr
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    daemon.start()
    assert done(daemon.show(1))
    daemon.stop()
