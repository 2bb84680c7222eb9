"""Limits on speed are held, and cost nobody anything but time."""

import hashlib
import os
import time

import pytest

from dld import RpcError
from support import KIB, MIB, SLOWER, content, files_under, seeded, wait_for
from test_download import done, failed
from tls import Authority, TlsNginx

LARGE = 48 * MIB


@pytest.fixture
def large(nginx):
    """Bytes that are served as /large."""
    data = os.urandom(LARGE)
    nginx.add("large", data)
    return data


@pytest.fixture
def tls(tmp):
    server = TlsNginx(tmp / "tls", tmp / "tls-files", Authority(tmp / "ca"))
    try:
        yield server.start()
    finally:
        server.stop()


def bytes_of(daemon, ids):
    """Of those jobs, as the workers show it: (not before, not after, the sum of bytes)."""
    before = time.monotonic()
    jobs = [job for job in daemon.jobs() if job["id"] in ids]
    return before, time.monotonic(), sum(job["bytes"] or 0 for job in jobs)


class Meter:
    """How fast jobs are from one moment to another, as bounds: looking takes time, too."""

    def __init__(self, daemon, *groups):
        self.daemon, self.groups = daemon, groups
        self.begin = [bytes_of(daemon, ids) for ids in groups]

    def read(self):
        """For each group (least, most) bytes a second."""
        bounds = []
        for (a0, a1, a), ids in zip(self.begin, self.groups):
            b0, b1, b = bytes_of(self.daemon, ids)
            bounds.append(((b - a) / (b1 - a0), (b - a) / (b0 - a1)))
        return bounds


def assert_held(bounds, rate):
    """Never more than 5 % above the limit, and the server being faster, never more than 5 % below."""
    least, most = bounds
    assert least <= rate * 1.05, f"{least / rate:.3f} of the limit"
    if SLOWER == 1:
        assert most >= rate * 0.95, f"{most / rate:.3f} of the limit"


def submit(daemon, *jobs):
    return daemon.submit([{"url": url, **keys} for url, keys in jobs])["ids"]


def active(daemon, ids):
    return all(daemon.show(i)["state"] == "active" for i in ids)


# ---- held within 5 % over 10 s ----


def test_limit_for_all_over_several_jobs_and_workers(daemon, nginx, large):
    daemon.call("set", {"rate": "2M"})
    ids = submit(daemon, *[(nginx.url("large"), {"output": f"a{i}"}) for i in range(6)])
    time.sleep(1)
    workers = {daemon.show(i)["worker"] for i in ids}
    meter = Meter(daemon, ids, *[[i] for i in ids])
    time.sleep(10)
    bounds = meter.read()
    assert len(workers) == 2
    assert_held(bounds[0], 2 * MIB)
    assert all(most > 2 * MIB / 6 / 4 for _, most in bounds[1:]), "they take turns"


def test_limits_of_hosts_and_jobs(make_daemon, nginx, large):
    daemon = make_daemon()
    daemon.config.write_text('[host "127.*"]\nrate = 3M\n')
    daemon.start()
    other = nginx.url("large").replace("127.0.0.1", "localhost")
    of_host = submit(daemon, *[(nginx.url("large"), {"output": f"a{i}"}) for i in range(3)])
    of_job = submit(daemon, (other, {"rate_limit": "1M"}))
    both = submit(daemon, (other, {"rate_limit": "100K"}))
    time.sleep(1)
    meter = Meter(daemon, of_host, of_job, both)
    time.sleep(10)
    bounds = meter.read()
    assert_held(bounds[0], 3 * MIB)
    assert_held(bounds[1], MIB)
    assert_held(bounds[2], 100 * KIB)


def test_limit_over_tls(make_daemon, tls):
    daemon = make_daemon(settings={"transfer.ca_file": tls.authority.file, "rate.limit": "2M"}).start()
    tls.add("large", os.urandom(LARGE))
    ids = submit(daemon, *[(tls.https("large"), {"output": f"a{i}"}) for i in range(3)])
    time.sleep(1)
    meter = Meter(daemon, ids)
    time.sleep(5)
    assert_held(meter.read()[0], 2 * MIB)


def test_small_files_keep_a_limit_too(daemon, nginx):
    daemon.call("set", {"rate": "2M"})
    urls = [nginx.add(f"small/{i}", content(i, 60 * KIB)) for i in range(100)]
    begin = time.monotonic()
    jobs = daemon.run([{"url": url} for url in urls])
    took = time.monotonic() - begin
    assert all(done(job) for job in jobs)
    assert 100 * 60 * KIB / took <= 2 * MIB * 1.1
    if SLOWER == 1:
        assert 100 * 60 * KIB / took >= 2 * MIB * 0.7


def test_one_after_the_other_is_limited_as_a_host(make_daemon, nginx):
    """What a host has spent is not forgotten when it has no active job for a moment."""
    daemon = make_daemon(workers=1, settings={"host.rate": "1M", "host.connections": "1"}).start()
    begin = time.monotonic()
    for i in range(20):
        done(daemon.run_one(nginx.add(f"small/{i}", content(i, 100 * KIB))))
    assert 20 * 100 * KIB / (time.monotonic() - begin) <= MIB * 1.2


def test_unlimited_neighbours_are_not_slowed(make_daemon, tls):
    daemon = make_daemon(workers=1, settings={"transfer.ca_file": tls.authority.file}).start()
    data = os.urandom(LARGE)
    tls.add("large", data)
    held = submit(daemon, *[(tls.https("large"), {"output": f"held{i}", "rate_limit": "20K"}) for i in range(4)])
    wait_for(lambda: active(daemon, held))
    begin = time.monotonic()
    jobs = daemon.run([{"url": tls.https("large"), "output": f"free{i}"} for i in range(4)])
    took = time.monotonic() - begin
    assert all(done(job) for job in jobs) and active(daemon, held)
    assert took < 10 * SLOWER
    assert daemon.file("free3").read_bytes() == data


def test_unlimited_neighbours_get_their_own_bytes(make_daemon, tls):
    """A limited job has a connection of HTTP/1 to itself, though others of its server share one of HTTP/2."""
    daemon = make_daemon(workers=1, settings={"transfer.ca_file": tls.authority.file, "host.connections": "32"}).start()
    tls.add("large", os.urandom(LARGE))
    held = submit(daemon, *[(tls.https("large"), {"output": f"held{i}", "rate_limit": "200K"}) for i in range(6)])
    wait_for(lambda: active(daemon, held))
    for i in range(400):
        tls.add(f"{i}", content(i, 20 * KIB))
    for n in range(6):
        jobs = daemon.run([{"url": tls.https(f"{i}"), "output": f"{n}/{i}", **({} if i % 5 else {"rate_limit": "100M"})}
                           for i in range(400)])
        for i, job in enumerate(jobs):
            assert done(job)["attempts"] == 1, job
            assert daemon.file(f"{n}/{i}").read_bytes() == content(i, 20 * KIB), job
    assert set(tls.versions()) == {"HTTP/1.1", "HTTP/2.0"} and active(daemon, held)


@pytest.mark.parametrize("limited", [1, 6])
def test_redirects_beside_limited_jobs(make_daemon, tls, limited):
    daemon = make_daemon(workers=1, settings={"transfer.ca_file": tls.authority.file, "host.connections": "32"}).start()
    tls.add("large", os.urandom(LARGE))
    held = submit(daemon, *[(tls.https("large"), {"output": f"held{i}", "rate_limit": "200K"}) for i in range(limited)])
    wait_for(lambda: active(daemon, held))
    for i in range(40):
        tls.add(f"{i}", content(i, 20 * KIB))
    for n in range(3):
        jobs = daemon.run([{"url": tls.https(f"to/{i}"), "output": f"{n}/{i}"} for i in range(40)])
        for i, job in enumerate(jobs):
            assert done(job)["attempts"] == 1, job
            assert daemon.file(f"{n}/{i}").read_bytes() == content(i, 20 * KIB), job
    assert active(daemon, held)


# ---- changes ----


def rate_in(daemon, ids, seconds):
    """The (least, most) bytes a second of those jobs in the seconds that follow."""
    meter = Meter(daemon, ids)
    time.sleep(seconds)
    return meter.read()[0]


def test_change_for_all_holds_within_half_a_second(daemon, nginx, large):
    daemon.call("set", {"rate": "64K"})
    ids = submit(daemon, *[(nginx.url("large"), {"output": f"a{i}"}) for i in range(4)])
    time.sleep(1)
    assert rate_in(daemon, ids, 1)[0] < 100 * KIB
    daemon.dlctl("set", "rate=8M")
    time.sleep(0.5)
    assert rate_in(daemon, ids, 1)[1] > 6 * MIB / SLOWER
    daemon.dlctl("set", "rate=64K")
    time.sleep(0.5)
    assert rate_in(daemon, ids, 1)[0] < 100 * KIB
    daemon.dlctl("set", "rate=none")
    begin = time.monotonic()
    daemon.call("wait", {"ids": ids})
    assert time.monotonic() - begin < 5 * SLOWER
    assert all(daemon.file(f"a{i}").read_bytes() == large for i in range(4))


def test_change_for_a_job_holds_within_half_a_second(daemon, nginx, large):
    one, other = submit(daemon, *[(nginx.url("large"), {"output": f"a{i}", "rate_limit": "64K"}) for i in range(2)])
    time.sleep(1)
    assert daemon.dlctl("set", str(one), "rate=4M").out == "Changed 1 job.\n"
    assert daemon.show(one)["rate_limit"] == 4 * MIB
    time.sleep(0.5)
    meter = Meter(daemon, [one], [other])
    time.sleep(1)
    fast, slow = meter.read()
    assert fast[1] > 3 * MIB / SLOWER and slow[0] < 100 * KIB
    assert daemon.call("set", {"ids": [one], "rate": "64K"}) == {"changed": 1, "missing": [], "ended": []}
    time.sleep(0.5)
    assert rate_in(daemon, [one], 1)[0] < 100 * KIB
    daemon.call("set", {"ids": [one], "rate": "none"})
    daemon.call("wait", {"ids": [one]})
    assert daemon.file("a0").read_bytes() == large


def test_job_that_has_ended(daemon, bad):
    job = daemon.run_one(bad.url("/any/a"))
    assert f"job {job['id']} had ended" in daemon.dlctl("set", str(job["id"]), "rate=1M", code=1).err


def test_rate_of_a_queued_job_holds_when_it_starts(make_daemon, nginx, large):
    daemon = make_daemon().start()
    daemon.dlctl("drain")
    (job,) = submit(daemon, (nginx.url("large"), {}))
    daemon.dlctl("set", "--all", "rate=64K")
    daemon.restart()  # which also ends the drain
    wait_for(lambda: daemon.counts()["active"] == 1)
    time.sleep(1)
    assert rate_in(daemon, [job], 1)[0] < 100 * KIB
    daemon.dlctl("cancel", "--all")


def test_integers_may_be_written_as_reals(daemon):
    ids = submit(daemon, ("http://later.invalid/", {"not_before": "+1h"}))
    with daemon.control() as c:
        c.call("set", {"ids": [float(ids[0])], "priority": 7.0})
        c.call("set", {"ids": ids, "rate": 1e6})
        job = c.call("show", {"id": float(ids[0])})
        assert (job["priority"], job["rate_limit"]) == (7, 1000000)
        assert c.call("set", {"rate": 2e6})["rate"]["limit"] == 2000000
        with pytest.raises(RpcError, match=r"ids\[0\]: expected the id"):
            c.call("cancel", {"ids": [1.5]})


@pytest.mark.parametrize("words, said", [
    (["rate=fast"], "bytes a second"), (["rat=1M"], "did you mean rate"), (["1"], "nothing is given"), (["priority=5"], "which jobs"), ([], "nothing"),
    (["x", "rate=1M"], "'x'")])
def test_wrong_words_of_set(daemon, words, said):
    result = daemon.dlctl("set", *words, code=2)
    assert said in result.err


@pytest.mark.parametrize("params", [{}, {"rate": "fast"}, {"rate": -1}, {"rate": 5}, {"rate": 1.5}, {"rate": None},
                                    {"rate": "1M", "ids": [0]}, {"rate": "1M", "jobs": [1]}])
def test_wrong_parameters_of_set(daemon, params):
    with pytest.raises(RpcError) as error:
        daemon.call("set", params)
    assert error.value.code == -32602


def test_set_beats_the_timetable_and_that_the_standard(make_daemon):
    daemon = make_daemon(settings={"rate.limit": "3M"})
    daemon.config.write_text('[rate "always"]\nfrom = 00:00\nto = 24:00\nlimit = 2M\n')
    daemon.start()
    assert daemon.call("status")["rate"] == {"limit": 2 * MIB, "by": "timetable", "window": "always", "until": None}
    assert 'Rate: 2.1 MB/s, by [rate "always"]\n' in daemon.dlctl("status").out
    assert daemon.dlctl("set", "rate=none").out == "All transfers together: no limit.\n"
    assert daemon.call("status")["rate"] == {"limit": None, "by": "set", "window": None, "until": None}
    assert "Rate: no limit, as set by dlctl set\n" in daemon.dlctl("status").out
    daemon.dlctl("set", "rate=default")
    assert daemon.call("status")["rate"]["by"] == "timetable"
    daemon.dlctl("set", "rate=5M")
    daemon.restart()
    assert daemon.call("status")["rate"]["limit"] == 2 * MIB
    daemon.config.write_text("")
    daemon.restart()
    assert daemon.call("status")["rate"] == {"limit": 3 * MIB, "by": "config", "window": None, "until": None}


def test_timetable_changes_by_itself(make_daemon, nginx, large):
    """In the time zone of the test it is soon noon."""
    noon = time.time() + 5 * SLOWER
    ahead = int(12 * 3600 - noon % 86400)  # of UTC
    east, (minutes, seconds) = "-" if ahead > 0 else "", divmod(abs(ahead), 60)
    daemon = make_daemon(env={"TZ": f"XXX{east}{minutes // 60}:{minutes % 60}:{seconds}"})
    daemon.config.write_text('[rate "morning"]\nfrom = 00:00\nto = 12:00\nlimit = 64K\n')
    daemon.start()
    ids = submit(daemon, (nginx.url("large"), {}))
    wait_for(lambda: active(daemon, ids))
    assert abs(daemon.call("status")["rate"]["until"] - noon) < 2
    assert ' until ' in daemon.dlctl("status").out
    daemon.call("wait", {"ids": ids})
    assert -2 < time.time() - noon < 5 * SLOWER
    assert daemon.call("status")["rate"]["by"] == "config"


# ---- nothing else comes of it ----


@pytest.mark.parametrize("secure", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_no_file_suffers_from_pauses(make_daemon, nginx, tls, secure):
    """Limits come and go while transfers run; by HTTP/2 they share connections."""
    source = seeded()
    daemon = make_daemon(settings={"transfer.ca_file": tls.authority.file}).start()
    server = tls if secure else nginx
    jobs = []
    for i in range(6):
        data = os.urandom(8 * MIB + i)
        server.add(f"f{i}", data)
        url = tls.https(f"f{i}") if secure else nginx.url(f"f{i}")
        jobs.append((url, {"checksum": "sha-256:" + hashlib.sha256(data).hexdigest(), "output": f"f{i}"}))
    daemon.call("set", {"rate": "none" if secure else "200K"})
    ids = submit(daemon, *jobs)
    daemon.call("set", {"rate": "200K"})
    for _ in range(30):
        time.sleep(0.1)
        rate = source.choice(["64K", "1M", "3M", "10M"])
        daemon.call("set", {"rate": rate} if source.random() < 0.5 else {"ids": [source.choice(ids)], "rate": rate})
    daemon.call("set", {"rate": "none"})
    daemon.call("set", {"ids": ids, "rate": "none"})
    daemon.call("wait", {"ids": ids})
    for i in ids:
        assert done(daemon.show(i))["attempts"] == 1


def test_compressed_body(daemon, bad):
    size = 3 * MIB
    begin = time.monotonic()
    job = done(daemon.run_one(bad.url(f"/coded/gzip/{size}"), compressed=True, rate_limit="1M"))
    assert time.monotonic() - begin > 1.5
    assert daemon.file(job["output"]).read_bytes() == content(f"/coded/gzip/{size}", size)


def test_body_of_unannounced_length(daemon, bad):
    for framing in ("chunked", "until-close"):
        job = done(daemon.run_one(bad.url(f"/{framing}/300000/a"), rate_limit="200K"))
        assert daemon.file(job["output"]).read_bytes() == content(f"/{framing}/300000/a", 300000)


def test_limited_transfer_is_not_stalled(make_daemon, nginx):
    daemon = make_daemon(settings={"transfer.low_speed_limit": "100K", "transfer.low_speed_time": "1s"}).start()
    data = content("slow", 40 * KIB)
    job = done(daemon.run_one(nginx.add("slow", data), rate_limit="8K"))
    assert job["attempts"] == 1 and job["finished"] - job["started"] > 4
    assert daemon.file("slow").read_bytes() == data


def test_silent_server_is_stalled_under_a_limit_too(make_daemon, bad):
    daemon = make_daemon(settings={"transfer.low_speed_time": "1s"}).start()
    job = daemon.run_one(bad.url("/silent-body/30000/100000/a"), rate_limit="20K", retries=0)
    assert failed(job, "stalled")["bytes"] == 30000


def test_timeout_does_not_count_what_a_limit_takes(daemon, nginx, bad):
    data = content("slow", 200 * KIB)
    job = done(daemon.run_one(nginx.add("slow", data), rate_limit="50K", timeout=1))
    assert job["attempts"] == 1 and job["finished"] - job["started"] > 3
    failed(daemon.run_one(bad.url("/silent-body/30000/100000/a"), rate_limit="20K", timeout=1, retries=0), "timeout")


def test_deadline_is_not_moved_by_a_limit(daemon, nginx):
    begin = time.monotonic()
    job = daemon.run_one(nginx.add("slow", content("slow", MIB)), rate_limit="50K", timeout=1, deadline="+2s")
    assert job["state"] == "failed" and job["error"]["name"] in ("deadline", "timeout"), job
    assert time.monotonic() - begin < 6 * SLOWER


def test_jobs_that_are_held_back_are_cancelled_at_once(daemon, nginx, large):
    ids = submit(daemon, *[(nginx.url("large"), {"output": f"a{i}", "rate_limit": "1K"}) for i in range(4)])
    wait_for(lambda: active(daemon, ids))
    time.sleep(0.5)
    begin = time.monotonic()
    daemon.call("cancel", {"ids": ids})
    daemon.call("wait", {"ids": ids})
    assert time.monotonic() - begin < 2 * SLOWER
    assert files_under(daemon.root) == []


def test_jobs_that_are_held_back_go_on_after_a_restart(daemon, nginx):
    data = content("slow", 600 * KIB)
    (number,) = submit(daemon, (nginx.add("slow", data), {"rate_limit": "200K"}))
    time.sleep(1.5)
    begin = time.monotonic()
    daemon.restart()
    assert time.monotonic() - begin < 8 * SLOWER
    daemon.call("wait", {"ids": [number]})
    assert daemon.file("slow").read_bytes() == data
