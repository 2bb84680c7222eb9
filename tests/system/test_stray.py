"""One answer too many on a kept connection, at any time: no file ever holds the answer to another request."""

import hashlib
import time

import pytest

from behaviours import GOOD_SIZE
from behaviours_stray import STRAYS
from support import content, files_under, have, wait_for
from tls import Authority

KINDS = [*STRAYS, "twice"]
GOOD, SLOW, BAD = 150, 8, 33


def mixed_jobs(bad, delay, turn, base=None):
    """Good jobs, some of them slow, with every kind of stray answer in between."""
    paths = [f"/any/good/{i}" for i in range(GOOD)] + [f"/delay/0.2/{GOOD_SIZE}/{i}" for i in range(SLOW)]
    for i in range(BAD):
        paths.insert((i + 1) * len(paths) // BAD, f"/late/{delay}/{KINDS[i % len(KINDS)]}/{turn}/{i}")
    return paths, [{"url": (base or bad.url("")) + p, "output": f"f/{i}"} for i, p in enumerate(paths)]


def check(daemon, paths, jobs, owed=()):
    """Each done job has its own bytes, whatever came before it."""
    for i, (path, job) in enumerate(zip(paths, jobs)):
        assert job["state"] == "done", (path, job["error"], job["http_status"], job["bytes"])
        # That an answer was owed and never sent no client can know (daemon/worker/line.h).
        assert path in owed or daemon.file(f"f/{i}").read_bytes() == content(path, GOOD_SIZE), (path, job)
        assert job["attempts"] == 1, job
    assert len(files_under(daemon.root)) == len(paths)


@pytest.mark.parametrize("turn", ["before", "beside"])
@pytest.mark.parametrize("delay", [0, 0.1, 1, 5, 20, 50, 200])
@pytest.mark.parametrize("connections", [1, 8])
def test_no_file_is_another_requests_answer(make_daemon, bad, delay, turn, connections):
    daemon = make_daemon(workers=1, settings={"host.connections": connections}).start()
    paths, jobs = mixed_jobs(bad, delay, turn)
    check(daemon, paths, daemon.run(jobs))


def held_files(daemon, bad, size, *then):
    """Files one after the other over one connection, and what comes behind them; returns paths and ids."""
    paths = [f"/parts/{size}/0/0/{i}" for i in range(3)]
    return paths, daemon.submit([{"url": bad.url(p)} for p in (*paths, *then)])["ids"]


def test_large_files_do_not_wait_for_the_answers_behind_them(make_daemon, bad):
    daemon = make_daemon(workers=1, settings={"host.connections": 1}).start()
    paths, ids = held_files(daemon, bad, 5000000, "/silent-body/1000/2000/slow")
    wait_for(lambda: daemon.counts()["done"] == 3)
    assert daemon.show(ids[3])["state"] == "active" and [bad.count(p) for p in paths] == [1, 1, 1]
    daemon.call("cancel", {"all": True})


def test_bytes_of_files_that_have_come_are_shown(make_daemon, bad):
    """Also while it isn't known yet whether they are right."""
    daemon = make_daemon(workers=1, settings={"host.connections": 1}).start()
    _, ids = held_files(daemon, bad, 100000, "/silent-body/1000/2000/slow")
    wait_for(lambda: daemon.show(ids[3])["bytes"] == 1000)
    assert [daemon.show(job)["bytes"] for job in ids[:3]] == [100000] * 3
    batch = daemon.call("status", {"batch": daemon.show(ids[0])["batch"]})["batch"]
    assert batch["bytes"] + batch["active_bytes"] == 301000
    daemon.call("cancel", {"all": True})


def test_pause_of_a_file_that_has_come(make_daemon, bad):
    """It is done when what follows on its connection has told that it is right, and not fetched again."""
    daemon = make_daemon(workers=1, settings={"host.connections": 1}).start()
    paths, ids = held_files(daemon, bad, 100000, "/delay/1/100/slow")
    wait_for(lambda: bad.count("/delay/1/100/slow") == 1)
    daemon.call("pause", {"ids": ids[1:3]})
    wait_for(lambda: daemon.counts()["done"] == 4)
    assert [bad.count(p) for p in paths] == [1, 1, 1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")
@pytest.mark.parametrize("delay", [0, 1, 20])
@pytest.mark.parametrize("turn", ["before", "beside"])
def test_no_file_is_another_requests_answer_over_tls(make_daemon, bad, authority, delay, turn):
    base = bad.listen_tls(authority.base / "good.pem", authority.base / "good.key")
    daemon = make_daemon(workers=1, settings={"transfer.ca_file": authority.file}).start()
    paths, jobs = mixed_jobs(bad, delay, turn, base)
    check(daemon, paths, daemon.run(jobs), bad.owed)


def test_good_server_keeps_its_connections_over_tls(make_daemon, bad, authority):
    """The end of a TLS connection has bytes of its own, which are no answer."""
    base = bad.listen_tls(authority.base / "good.pem", authority.base / "good.key")
    daemon = make_daemon(workers=1, settings={"transfer.ca_file": authority.file, "host.connections": 2}).start()
    paths = [f"/any/{i}" for i in range(200)]
    check(daemon, paths, daemon.run([{"url": base + p, "output": f"f/{i}"} for i, p in enumerate(paths)]))
    assert bad.count() == len(paths)
    assert len({r.connection for r in bad.requests()}) <= 20


# ---- what the real world has ----


def one_at_a_time(make_daemon):
    return make_daemon(workers=1, settings={"worker.transfers": 1}).start()


@pytest.mark.parametrize("delay", [0, 5, 50])
def test_request_timeout_of_an_idle_connection_is_no_answer(make_daemon, bad, delay):
    """Servers say 408 before they close what lay idle. Even a job without retries doesn't see it."""
    daemon = one_at_a_time(make_daemon)
    paths = [p for i in range(20) for p in (f"/late/{delay}/timeout/before/{i}", f"/any/{i}")]
    check(daemon, paths, daemon.run([{"url": bad.url(p), "output": f"f/{i}", "retries": 0} for i, p in enumerate(paths)]))


def test_error_is_not_blamed_on_the_next_job(make_daemon, bad):
    daemon = one_at_a_time(make_daemon)
    paths = [p for i in range(20) for p in (f"/late/2/missing/before/{i}", f"/any/{i}")]
    check(daemon, paths, daemon.run([{"url": bad.url(p), "output": f"f/{i}", "retries": 0} for i, p in enumerate(paths)]))


def test_stray_redirect_leads_nobody_away(make_daemon, bad):
    daemon = one_at_a_time(make_daemon)
    paths = [p for i in range(20) for p in (f"/late/2/elsewhere/before/{i}", f"/any/{i}")]
    jobs = daemon.run([{"url": bad.url(p), "output": f"f/{i}"} for i, p in enumerate(paths)])
    check(daemon, paths, jobs)
    assert all(j["effective_url"] in (None, j["url"]) for j in jobs)


def test_host_that_strayed_gets_a_connection_for_each_request(make_daemon, bad):
    daemon = one_at_a_time(make_daemon)
    daemon.run_one(bad.url("/late/30/other/before/x"))
    daemon.run_one(bad.url("/any/y"))
    time.sleep(0.5)
    seen = bad.count()
    daemon.run([{"url": bad.url(f"/any/{i}"), "output": f"f/{i}"} for i in range(20)])
    later = [r.connection for r in bad.requests()[seen:]]
    assert len(later) == len(set(later)) == 20


def test_checksum_tells_at_once(make_daemon, bad):
    """A file with the checksum that the job asks for need not wait for its connection's end, and has only one request."""
    daemon = one_at_a_time(make_daemon)
    paths = [f"/any/{i}" for i in range(30)]
    sums = [hashlib.sha256(content(p, GOOD_SIZE)).hexdigest() for p in paths]
    jobs = daemon.run([{"url": bad.url(p), "output": f"f/{i}", "checksum": f"sha-256:{s}"}
                       for i, (p, s) in enumerate(zip(paths, sums))])
    check(daemon, paths, jobs)
    assert bad.count() == 30 and len({r.connection for r in bad.requests()}) == 1


def test_errors_of_used_connections_are_counted_once(make_daemon, bad):
    """A failure is believed as late as a file is, and needs no second request."""
    daemon = one_at_a_time(make_daemon)
    jobs = daemon.run([{"url": bad.url(f"/status/404/{i}")} for i in range(30)])
    assert all(j["error"]["name"] == "http" and j["attempts"] == 1 for j in jobs)
    assert bad.count() == 30


def test_jobs_that_wait_for_their_connection_can_be_cancelled_and_survive_a_stop(make_daemon, bad):
    """The first connection is busy with a long answer, so that what came before on it waits."""
    daemon = one_at_a_time(make_daemon)
    paths = ["/any/0", "/any/1", "/any/2", "/drip/2000/0.005/3"]
    jobs = daemon.submit([{"url": bad.url(p), "output": f"f/{i}"} for i, p in enumerate(paths)])["ids"]
    wait_for(lambda: bad.count(paths[3]) == 1)
    time.sleep(0.1)
    daemon.dlctl("cancel", jobs[1])
    daemon.stop()
    daemon.start()
    wait_for(daemon.none_left)
    assert [daemon.show(j)["state"] for j in jobs] == ["done", "cancelled", "done", "done"]
    assert daemon.file("f/2").read_bytes() == content("/any/2", GOOD_SIZE)
    assert not daemon.file("f/1").exists()
