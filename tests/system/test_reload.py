"""dlctl reload and SIGHUP: what can change while dld runs does, what can't is named, and errors change nothing."""

import shutil
import signal
import time

import pytest

from dld import WORKER, with_worker
from support import MIB, alive, content, wait_for
from test_crash import workers_ready
from test_download import done, failed
from test_supervise import check, ranges, receiving, slow


@pytest.fixture
def reloaded(make_daemon):
    """Makes a daemon with a configuration file alone; calling it with another text reloads that."""
    class Reloaded:
        def __init__(self):
            self.daemon = make_daemon(workers=None)
            self.daemon.settings = {}

        def start(self, text):
            self.daemon.config.write_text(text)
            self.daemon.start()
            return self.daemon

        def __call__(self, text):
            self.daemon.config.write_text(text)
            answer = self.daemon.call("reload")
            return answer["changed"], answer["restart"]
    return Reloaded()


BASE = "[master]\nworkers = 1\nstop_grace = 0s\n"


def test_nothing_has_changed(reloaded):
    daemon = reloaded.start(BASE)
    before = daemon.worker_pids()
    assert daemon.dlctl("reload").out == "Nothing has changed.\n"
    assert daemon.dlctl("--json", "reload").document == {"changed": [], "restart": []}
    assert daemon.worker_pids() == before


def test_errors_change_nothing(reloaded, bad):
    daemon = reloaded.start(BASE + "[transfer]\nmax_redirects = 20\n")
    before = daemon.worker_pids()
    daemon.config.write_text("[transfer]\nmax_redirects = 0\n[retry]\nbase = soon\ncuont = 1\n")
    result = daemon.dlctl("reload", code=2)
    assert f"nothing was changed: {daemon.config}:4: [retry] base" in result.err
    assert f"{daemon.config}:5: [retry] cuont" in result.err
    assert f"dld: {daemon.config}:4: [retry] base" in daemon.stderr
    done(daemon.run_one(bad.url("/redirect/1/a")))
    assert daemon.worker_pids() == before


def test_signal_reloads(reloaded):
    daemon = reloaded.start(BASE)
    daemon.config.write_text(BASE + "[retry]\ncount = 7\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the configuration was read again; changed: retry.count" in daemon.stderr)
    daemon.config.write_text("[retry\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: f"{daemon.config}:1: " in daemon.stderr)
    assert daemon.call("status")["pid"] == daemon.pid


def test_service_manager_is_told(reloaded):
    daemon = reloaded.start(BASE)
    daemon.dlctl("reload")
    wait_for(lambda: daemon.notify.count("READY=1") >= 2)
    assert daemon.notify.seen("RELOADING=1") and daemon.notify.seen("MONOTONIC_USEC=")


def test_hosts_limits(reloaded, bad):
    daemon = reloaded.start(BASE + "[host]\nconnections = 1\n")
    daemon.submit([{"url": bad.url(f"/silent-request/{i}")} for i in range(6)])
    wait_for(lambda: bad.count() == 1)
    assert reloaded(BASE + '[host]\nconnections = 2\n') == (["host.connections"], [])
    wait_for(lambda: bad.count() == 2)
    assert reloaded(BASE + '[host]\nconnections = 2\n[host "127.*"]\nconnections = 4\n') == (['[host "127.*"]'], [])
    wait_for(lambda: bad.count() == 4)


def test_retry_policy(reloaded, bad):
    daemon = reloaded.start(BASE + "[retry]\nbase = 1ms\ncount = 2\n")
    assert failed(daemon.run_one(bad.url("/status/500/a")), "http")["attempts"] == 3
    reloaded(BASE + "[retry]\nbase = 1ms\ncount = 0\n")
    assert failed(daemon.run_one(bad.url("/status/500/b")), "http")["attempts"] == 1


def test_limits_on_speed(reloaded):
    daemon = reloaded.start(BASE)
    rate = lambda: {k: daemon.call("status")["rate"][k] for k in ("limit", "by", "window")}
    assert reloaded(BASE + "[rate]\nlimit = 2M\n")[0] == ["rate.limit"]
    assert rate() == {"limit": 2 << 20, "by": "config", "window": None}
    always = '[rate "always"]\nfrom = 00:00\nto = 00:00\nlimit = 3M\n'
    assert reloaded(BASE + always)[0] == ["rate.limit", '[rate "always"]']
    assert rate() == {"limit": 3 << 20, "by": "timetable", "window": "always"}
    assert reloaded(BASE)[0] == ['[rate "always"]']
    assert rate() == {"limit": None, "by": "config", "window": None}


def test_limit_of_a_host_holds_for_its_transfers(reloaded, bad):
    """One that had a limit loses it: else the file would take minutes."""
    daemon = reloaded.start(BASE + '[host "127.*"]\nrate = 8K\n')
    (job,) = daemon.submit([{"url": bad.url("/ok/1000000/a")}])["ids"]
    receiving(daemon, job)
    reloaded(BASE)
    wait_for(daemon.none_left)
    assert done(daemon.show(job))["attempts"] == 1


def test_settings_of_transfers_reach_them_by_other_workers(reloaded, bad):
    """What is under way goes on where it was."""
    daemon = reloaded.start(BASE)
    url, path = slow(bad, "a")
    (job,) = daemon.submit([{"url": url}])["ids"]
    receiving(daemon, job)
    before = daemon.worker_pids()
    assert reloaded(BASE + "[transfer]\nmax_redirects = 0\n[worker]\ntransfers = 3\n")[0] == [
        "worker.transfers", "transfer.max_redirects"]
    wait_for(lambda: not any(map(alive, before)))
    failed(daemon.run_one(bad.url("/redirect/1/b")), "redirect")
    wait_for(daemon.none_left)
    assert done(daemon.show(job))["attempts"] == 1
    check(daemon, path)
    assert len(ranges(bad, path)) == 2


@pytest.fixture
def gated(make_daemon, tmp):
    """A daemon with one worker, whose successors start when the gate is open; and the gate."""
    gate = tmp / "gate"
    gate.touch()
    script = f"#!/bin/sh\nuntil [ -e {gate} ]; do sleep 0.05; done\nexec {WORKER}\n"
    settings = {"master.stop_grace": "1min", "worker.transfers": "1"}
    return make_daemon(program=with_worker(tmp, script), workers=1, settings=settings).start(), gate


def denied(daemon, numbers):
    wait_for(daemon.none_left)
    for number in numbers:
        failed(daemon.show(number), "denied-address")


def test_nothing_begins_with_what_was_told_before(gated, bad):
    daemon, gate = gated
    done(daemon.run_one(bad.url("/any/before")))
    gate.unlink()
    daemon.config.write_text("[network]\ndeny = 127.0.0.0/8\n")
    assert daemon.call("reload")["changed"] == ["network.deny"]
    numbers = daemon.submit([{"url": bad.url(f"/any/{i}")} for i in range(6)])["ids"]
    time.sleep(0.2)
    gate.touch()
    denied(daemon, numbers)
    assert bad.count() == 1


def test_what_a_worker_was_given_ahead_begins_in_another(gated, bad):
    daemon, gate = gated
    daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(20)])
    first, *ahead = daemon.submit([{"url": bad.url("/delay/0.5/3000/first")},
                                   *({"url": bad.url(f"/any/late{i}")} for i in range(20))])["ids"]
    wait_for(lambda: bad.count("/delay/0.5/3000/first"))
    gate.unlink()
    daemon.config.write_text("[network]\ndeny = 127.0.0.0/8\n")
    daemon.call("reload")
    wait_for(lambda: daemon.show(first)["state"] == "done")
    time.sleep(0.2)
    gate.touch()
    denied(daemon, ahead)
    assert bad.count() == 21 and done(daemon.show(first))["attempts"] == 1


def test_number_of_workers(reloaded, bad):
    daemon = reloaded.start(BASE)
    assert reloaded(BASE.replace("= 1", "= 3"))[0] == ["master.workers"]
    workers = wait_for(lambda: (w := workers_ready(daemon)) and len(w) == 3 and w)
    assert [w["worker"] for w in workers] == [1, 2, 3]
    jobs = daemon.submit([{"url": bad.url(f"/delay/0.3/2000/{i}")} for i in range(9)])["ids"]
    wait_for(lambda: bad.count() >= 8)
    assert reloaded(BASE)[0] == ["master.workers"]
    wait_for(lambda: len(daemon.worker_pids()) == 1)
    wait_for(daemon.none_left)
    assert all(done(daemon.show(job))["attempts"] == 1 for job in jobs)
    assert [w["worker"] for w in workers_ready(daemon)] == [1]


def test_length_of_lines_and_of_history(reloaded, bad):
    daemon = reloaded.start(BASE)
    done(daemon.run_one(bad.url("/any/a")))
    with daemon.control() as c:
        assert reloaded(BASE + "[control]\nmax_line = 3M\n[history]\nkeep = 1\n") == (
            ["history.keep", "control.max_line"], [])
        assert len(c.call("submit", {"jobs": [{"url": bad.url("/any/b"), "tag": "x"}]})["ids"]) == 1
    with daemon.control() as c:
        c.send_raw(b" " * (3 * MIB + 1))
        assert "max_line" in c.receive()["error"]["message"]
    wait_for(lambda: daemon.none_left() and len(daemon.jobs()) == 1)


def test_what_takes_a_restart_is_named(reloaded, tmp):
    daemon = reloaded.start(BASE)
    other = BASE + "[control]\nmode = 0666\n[retry]\ncount = 1\n"
    assert reloaded(other) == (["retry.count"], ["control.mode"])
    assert daemon.dlctl("reload").out == "Changed, but it takes a restart: control.mode\n"
    assert "it takes a restart: control.mode" in daemon.stderr
    daemon.restart()
    assert daemon.socket.stat().st_mode & 0o777 == 0o666
    assert reloaded(other) == ([], [])


def test_command_line_still_beats_the_file(reloaded):
    reloaded.daemon.settings = {"retry.count": "4"}
    reloaded.start(BASE)
    assert reloaded(BASE + "[retry]\ncount = 1\n") == ([], [])


def test_often_and_at_once(reloaded, bad):
    """With jobs under way all the time; the last configuration is what holds."""
    base = "[master]\nstop_grace = 1min\nworkers = "
    daemon = reloaded.start(base + "1\n")
    batch = daemon.submit([{"url": bad.url(f"/any/{i}")} for i in range(300)])["batch"]
    for i in range(8):
        daemon.config.write_text(base + f"{1 + i % 3}\n" + f"[transfer]\nmax_redirects = {i}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.call("reload")
        time.sleep(0.02)
    daemon.call("wait", {"batch": batch})
    assert all(done(job)["attempts"] == 1 for job in daemon.jobs()) and bad.count() == 300
    wait_for(lambda: (w := workers_ready(daemon)) and [x["worker"] for x in w] == [1, 2])
    failed(daemon.run_one(bad.url("/redirect/8/x")), "redirect")
    done(daemon.run_one(bad.url("/redirect/7/y")))


def test_output_root_that_was_removed_is_opened_again(make_daemon, bad):
    """Until then jobs wait, and lose no attempt."""
    daemon = make_daemon(settings={"retry.max": "300ms", "retry.base": "100ms"}).start()
    done(daemon.run_one(bad.url("/any/before")))
    shutil.rmtree(daemon.root)
    daemon.root.mkdir()
    (number,) = daemon.submit([{"url": bad.url("/ok/5000/a"), "retries": 0}])["ids"]
    wait_for(lambda: daemon.show(number)["state"] == "waiting")
    error = daemon.show(number)["error"]
    assert error["name"] == "no-space" and "the output root was removed" in error["message"]
    assert daemon.call("reload")["changed"] == ["output.root (what it leads to)"]
    wait_for(lambda: daemon.show(number)["state"] == "done", 60)
    assert daemon.file("a").read_bytes() == content("/ok/5000/a", 5000)
    assert daemon.call("reload")["changed"] == []


def test_output_root_that_can_not_be_opened_is_an_error(make_daemon, bad):
    """Nothing is changed, and once it can be, reload opens it."""
    daemon = make_daemon().start()
    shutil.rmtree(daemon.root)
    daemon.root.write_text("in the way")
    daemon.config.write_text('[host "x"]\n')
    result = daemon.dlctl("reload", code=2)
    assert f"nothing was changed: the output root {daemon.root} can't be used: " in result.err
    daemon.root.unlink()
    assert daemon.call("reload")["changed"] == ['[host "x"]', "output.root (what it leads to)"]
    done(daemon.run_one(bad.url("/any/a")))
    assert daemon.file("a").exists()
