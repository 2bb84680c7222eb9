"""SIGTERM: nothing is begun any more, what is under way gets its time, and nothing is lost."""

import os
import signal
import time

import pytest

from dld import RpcError
from support import SLOWER, wait_for
from test_download import done
from test_supervise import check, ranges, receiving, slow


def test_transfers_under_way_come_to_their_end(make_daemon, bad):
    daemon = make_daemon(settings={"master.stop_grace": "1min"}).start()
    daemon.submit([{"url": bad.url(f"/delay/0.5/3000/{i}")} for i in range(5)])
    wait_for(lambda: bad.count() == 5)
    assert daemon.stop() == 0
    assert len(list(daemon.root.iterdir())) == 5
    daemon.start()
    assert all(done(job)["attempts"] == 1 for job in daemon.jobs()) and bad.count() == 5


def test_nothing_is_begun(make_daemon, bad):
    """Neither what is queued nor what a worker was given ahead."""
    daemon = make_daemon(settings={"master.stop_grace": "1min", "worker.transfers": "1"}, workers=1).start()
    daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(20)])
    daemon.submit([{"url": bad.url("/delay/0.5/3000/first")}, *({"url": bad.url(f"/any/late{i}")} for i in range(20))])
    wait_for(lambda: bad.count("/delay/0.5/3000/first"))
    assert daemon.stop() == 0
    assert bad.count() == 21
    daemon.start()
    wait_for(daemon.none_left)
    assert all(done(job)["attempts"] == 1 for job in daemon.jobs()) and bad.count() == 41


def test_failure_in_the_grace_is_tried_again_after_the_restart(make_daemon, bad):
    daemon = make_daemon(settings={"master.stop_grace": "1min"}).start()
    daemon.submit([{"url": bad.url("/flaky/503/1/a")}, {"url": bad.url("/delay/0.3/3000/b")}])
    wait_for(lambda: bad.count("/delay/0.3/3000/b"))
    assert daemon.stop() == 0
    daemon.start()
    wait_for(daemon.none_left)
    assert all(map(done, daemon.jobs()))


@pytest.mark.parametrize("grace, signals", [("300ms", 1), ("10min", 2)])
def test_what_does_not_end_in_time_is_kept(make_daemon, bad, grace, signals):
    """The time is over, or a second signal waives it."""
    daemon = make_daemon(settings={"master.stop_grace": grace}).start()
    url, path = slow(bad, "a")
    (job,) = daemon.submit([{"url": url}])["ids"]
    receiving(daemon, job)
    start = time.monotonic()
    for number in [signal.SIGTERM, signal.SIGINT][:signals]:
        daemon.process.send_signal(number)
    assert daemon.wait_exit() == 0
    assert time.monotonic() - start < 10 * SLOWER
    assert daemon.has_no_processes()
    daemon.start()
    wait_for(daemon.none_left)
    check(daemon, path)
    assert done(daemon.show(job))["attempts"] == 1
    first, second = ranges(bad, path)
    assert first is None and second.startswith("bytes=")


def test_third_signal_kills_and_loses_nothing(make_daemon, bad):
    daemon = make_daemon(settings={"master.stop_grace": "10min", "log.level": "info"}).start()
    url, path = slow(bad, "a")
    (job,) = daemon.submit([{"url": url}])["ids"]
    receiving(daemon, job)
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGSTOP)
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon.process.send_signal(number)
    wait_for(lambda: "stopping: Interrupt" in daemon.stderr)
    assert daemon.stop() == 0
    daemon.start()
    wait_for(daemon.none_left)
    done(daemon.show(job))
    check(daemon, path)


def test_clients_are_served_in_the_grace(make_daemon, bad):
    daemon = make_daemon(settings={"master.stop_grace": "1min"}).start()
    with daemon.control() as c:
        batch = c.call("submit", {"jobs": [{"url": bad.url("/delay/0.5/3000/a")}]})["batch"]
        wait_for(lambda: bad.count() == 1)
        waiting = c.send("wait", {"batch": batch})
        daemon.process.terminate()
        wait_for(lambda: daemon.notify.seen("STOPPING=1"))
        with pytest.raises(RpcError, match="stopping"):
            c.call("submit", {"jobs": [{"url": bad.url("/any/b")}]})
        assert c.answer(waiting)["done"] == 1
    assert daemon.wait_exit() == 0


def test_service_manager_is_asked_for_the_time(make_daemon):
    daemon = make_daemon(settings={"master.stop_grace": "1min"}).start()
    assert daemon.stop() == 0
    assert daemon.notify.seen("EXTEND_TIMEOUT_USEC=80000000")


def test_socket_of_another_dld_at_the_same_path_stays(make_daemon, bad):
    """One that was started while this one was stopping, or after the socket had been removed by hand."""
    first = make_daemon("first", settings={"master.stop_grace": "1min"}).start()
    first.submit([{"url": bad.url("/delay/1/3000/a")}])
    wait_for(lambda: bad.count() == 1)
    first.process.terminate()
    wait_for(lambda: first.notify.seen("STOPPING=1"))
    second = make_daemon("second")
    second.socket = first.socket
    wait_for(lambda: first.dlctl("status", code=None).code == 3)
    second.start()
    assert first.wait_exit() == 0
    assert second.call("status")["pid"] == second.pid
    second.socket.unlink()
    first.start()
    assert second.stop() == 0
    assert first.call("status")["pid"] == first.pid
