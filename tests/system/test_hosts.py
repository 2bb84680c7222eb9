"""How hosts are treated: limits, spacing, back-off, and that none is in another's way."""

import os
import subprocess
import time
from urllib.parse import quote

import pytest

from dld import DLCTL, run
from support import SLOWER, clean_environment, closed_port, content, die_with_parent, wait_for
from test_download import done, failed


def host_of(url):
    return url.split("/")[2]


def hosts(daemon):
    return {h["host"]: h for h in daemon.call("hosts")["hosts"]}


def concurrent(requests, seconds):
    """The most requests that were under way at once, each for that long."""
    times = [r.time for r in requests]
    return max(sum(t - seconds < other <= t for other in times) for t in times)


# ---- limits ----


def test_connections_of_a_host(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "3"}).start()
    for job in daemon.run([{"url": bad.url(f"/delay/0.2/100/{i}")} for i in range(20)]):
        done(job)
    assert concurrent(bad.requests(), 0.19) <= 3


def test_delay_between_starts(make_daemon, bad):
    daemon = make_daemon(settings={"host.delay": "200ms"}).start()
    for job in daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(6)]):
        done(job)
    times = sorted(r.time for r in bad.requests())
    assert len(times) == 6
    assert all(b - a > 0.12 for a, b in zip(times, times[1:]))  # they are spaced where they start
    assert times[-1] - times[0] > 0.9


def test_patterns_of_hosts(make_daemon, bad):
    daemon = make_daemon()
    daemon.config.write_text('[host "127.0.0.*"]\nconnections = 2\n')
    daemon.settings.pop("host.connections")
    daemon.start()
    for job in daemon.run([{"url": bad.url(f"/delay/0.2/100/{i}")} for i in range(8)]):
        done(job)
    assert concurrent(bad.requests(), 0.19) <= 2


# ---- trouble ----


def test_retry_after_is_for_the_whole_host(daemon, bad):
    first = "/flaky/429/1/first?retry-after=2"
    daemon.submit([{"url": bad.url(first)}])
    wait_for(lambda: bad.count("/flaky/429/1/first") == 1)
    wait_for(lambda: hosts(daemon).get(host_of(bad.url("/")), {}).get("state") == "backoff")
    daemon.submit([{"url": bad.url(f"/any/{i}")} for i in range(20)])
    told = bad.requests()[0].time
    wait_for(daemon.none_left)
    assert all(j["state"] == "done" for j in daemon.jobs())
    assert min(r.time for r in bad.requests()[1:]) - told >= 1.9
    assert daemon.jobs()[1]["attempts"] == 1


def test_busy_answers_on_connections_in_use_count(make_daemon, bad):
    """After good ones: those that are held until their connections say no more, too."""
    daemon = make_daemon(workers=1, settings={"host.connections": "4"}).start()
    good = [{"url": bad.url(f"/delay/0.02/100/{i}")} for i in range(40)]
    daemon.submit(good + [{"url": bad.url(f"/flaky/503/1/{i}?retry-after=60")} for i in range(300)])
    wait_for(lambda: hosts(daemon)[host_of(bad.url("/"))]["state"] == "backoff")
    wait_for(lambda: daemon.counts()["done"] == 40 and daemon.counts()["active"] == 0)
    assert bad.count() <= 40 + 12


def test_busy_host_opens_with_a_probe(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "500ms", "retry.max": "500ms"}).start()
    daemon.submit([{"url": bad.url("/flaky/503/1/first")}])
    wait_for(lambda: hosts(daemon).get(host_of(bad.url("/")), {}).get("state") == "backoff")
    daemon.submit([{"url": bad.url(f"/delay/0.3/100/{i}")} for i in range(12)])
    wait_for(daemon.none_left)
    assert all(j["state"] == "done" for j in daemon.jobs())
    later = sorted(bad.requests()[1:], key=lambda r: r.time)
    assert later[0].time - bad.requests()[0].time >= 0.1
    assert later[1].time - later[0].time >= 0.25 or later[0].path.startswith("/flaky")


def test_dead_host_is_not_tried_job_by_job(make_daemon, bad):
    """Ten thousand jobs of a host that refuses: they fail soon, and jobs of others don't feel it."""
    daemon = make_daemon(settings={"retry.count": "2"}).start()
    closed = closed_port()
    dead = f"http://127.0.0.1:{closed.port}"
    daemon.submit([{"url": f"{dead}/{i}"} for i in range(10000)])
    good = daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(100)])
    assert all(j["state"] == "done" for j in good)
    wait_for(daemon.none_left, 100)
    assert daemon.counts()["failed"] == 10000
    for job in daemon.jobs(limit=10)[:10]:
        failed(job, "connect")
        assert job["attempts"] == 3


def test_host_that_comes_back(make_daemon, bad, tmp):
    """What waited for it is done, though it refused for a while."""
    daemon = make_daemon(settings={"retry.base": "100ms", "retry.max": "500ms", "retry.count": "20"}).start()
    with closed_port() as closed:
        port = closed.port
    daemon.submit([{"url": f"http://127.0.0.1:{port}/any/{i}"} for i in range(50)])
    wait_for(lambda: hosts(daemon)[f"127.0.0.1:{port}"]["failures"] >= 2)
    assert hosts(daemon)[f"127.0.0.1:{port}"]["error"] == "connect"
    from badserver import BadServer
    server = BadServer(port).start()
    try:
        wait_for(daemon.none_left)
    finally:
        server.stop()
    assert daemon.counts()["done"] == 50


@pytest.mark.parametrize("end", ["/flaky/503/9/busy?retry-after=3600", "/flaky/429/9/busy", "refused", "/reset/a"])
def test_host_is_not_blamed_for_what_it_redirects_to(make_daemon, bad, end):
    """The job waits by itself, as it was asked to; others of that host go on."""
    daemon = make_daemon(settings={"retry.base": "1h", "retry.max": "1h", "host.connections": "1"}).start()
    here = bad.url("/redirect-to").replace("127.0.0.1", "localhost")
    with closed_port() as closed:
        to = f"http://127.0.0.1:{closed.port}/" if end == "refused" else bad.url(end)
        job = daemon.submit([{"url": f"{here}?to={quote(to)}", "output": "bad"}])["ids"][0]
        wait_for(lambda: daemon.show(job)["state"] == "waiting")
    for later in daemon.run([{"url": f"{here}?to={bad.url('/any/')}{i}", "output": f"{i}"} for i in range(5)]):
        done(later)
    assert hosts(daemon)[host_of(here)]["failures"] == 0
    daemon.dlctl("cancel", "--all")


def test_probe_that_runs_long_opens_its_host(make_daemon, bad):
    """The probe is a slow file: that it has begun to come is enough for others to start."""
    daemon = make_daemon(settings={"retry.base": "50ms", "host.connections": "4"}).start()
    daemon.submit([{"url": bad.url("/flaky/503/1/first"), "not_before": "+0s"}])
    wait_for(lambda: hosts(daemon).get(host_of(bad.url("/")), {}).get("failures", 0) == 1)
    daemon.submit([{"url": bad.url(f"/drip/2000/0.05/{i}")} for i in range(6)])
    wait_for(lambda: hosts(daemon)[host_of(bad.url("/"))]["active"] == 4, 20, "four connections")
    assert daemon.counts()["done"] <= 1


def test_probe_that_stalls_after_its_first_bytes_opens_its_host(make_daemon, bad):
    """They came at once, and nothing after them: they are shown, and others start."""
    daemon = make_daemon(settings={"retry.base": "50ms", "host.connections": "4"}).start()
    daemon.submit([{"url": bad.url("/flaky/503/1/first"), "not_before": "+0s"}])
    wait_for(lambda: hosts(daemon).get(host_of(bad.url("/")), {}).get("failures", 0) == 1)
    daemon.submit([{"url": bad.url(f"/silent-body/2000/3000/{i}")} for i in range(6)])
    wait_for(lambda: hosts(daemon)[host_of(bad.url("/"))]["active"] == 4, 20, "four connections")
    shown = lambda: [j["bytes"] for j in daemon.jobs(state="active") if "/silent-body/" in j["url"]]
    wait_for(lambda: shown().count(2000) >= 3, 20, "what has come")
    daemon.call("cancel", {"all": True})
    daemon.dlctl("cancel", "--all")


def test_host_without_answers_gets_one_connection(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "4"}).start()
    host = host_of(bad.silent_url())
    daemon.submit([{"url": bad.silent_url(f"/{i}"), "timeout": 0.3, "retries": 0} for i in range(60)])
    wait_for(lambda: hosts(daemon)[host]["limit"] == 1)
    shown = hosts(daemon)[host]
    assert (shown["state"], shown["error"]) == ("open", "timeout")
    assert shown["failures"] >= 2
    daemon.dlctl("cancel", "--all")


@pytest.mark.parametrize("when", ["before", "after"])
def test_patience_outlives_a_restart(daemon, bad, when):
    """A host that asked for some seconds has them, also when dld was stopped and started meanwhile; jobs that
    were queued before that know it, and those that come after it. Then one begins."""
    host = host_of(bad.url("/"))
    more = [{"url": bad.url(f"/delay/0.3/100/{i}")} for i in range(5)]
    daemon.submit([{"url": bad.url("/flaky/429/1/first?retry-after=4")}])
    wait_for(lambda: hosts(daemon)[host]["state"] == "backoff")
    if when == "before":
        daemon.submit(more)
    told = bad.requests()[0].time
    daemon.restart()
    if when == "after":
        daemon.submit(more)
    shown = hosts(daemon)[host]
    assert shown["state"] == "backoff" and 0 < shown["next_start"] - time.time() <= 4
    wait_for(daemon.none_left)
    first, second = sorted(r.time for r in bad.requests()[1:])[:2]
    assert first - told >= 3.9
    assert second - first >= 0.25 or any("first" in r.path for r in bad.requests()[1:3])
    assert all(j["state"] == "done" for j in daemon.jobs())


def test_hosts_of_jobs_that_still_come_in_are_not_shown(daemon):
    daemon.submit([{"url": "http://coming.invalid/"}], submit_key="k", last=False)
    assert daemon.call("hosts") == {"hosts": [], "next": None}
    assert daemon.dlctl("hosts").out == "No host has jobs.\n"
    daemon.dlctl("drain")
    daemon.submit([], submit_key="k", offset=1)
    wait_for(lambda: daemon.call("hosts")["hosts"])
    daemon.dlctl("cancel", "--all")


def test_silent_host_slows_no_other(daemon, bad):
    daemon.submit([{"url": bad.silent_url(f"/{i}"), "timeout": 30} for i in range(1000)])
    start = time.monotonic()
    for job in daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(100)]):
        done(job)
    assert time.monotonic() - start < 20 * SLOWER
    daemon.dlctl("cancel", "--all")


# ---- turns ----


def test_priority_goes_first(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "1"}).start()
    low = [{"url": bad.url(f"/delay/0.02/100/low{i}")} for i in range(40)]
    high = [{"url": bad.url(f"/any/high{i}"), "priority": 50} for i in range(5)]
    daemon.submit(low)
    wait_for(lambda: bad.count() >= 3)
    daemon.submit(high)
    wait_for(daemon.none_left)
    order = [r.path for r in bad.requests()]
    last_high = max(i for i, path in enumerate(order) if "high" in path)
    assert sum("low" in path for path in order[last_high:]) >= 20
    assert [p for p in order if "high" in p] == [f"/any/high{i}" for i in range(5)]


def test_lower_priority_than_what_came_later(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "1"}).start()
    daemon.dlctl("drain")
    daemon.submit([{"url": bad.url("/any/late"), "priority": -1}, {"url": bad.url("/any/middle")},
                   {"url": bad.url("/any/early"), "priority": 1}])
    daemon.dlctl("drain", "--off")
    wait_for(daemon.none_left)
    assert [r.path for r in bad.requests()] == ["/any/early", "/any/middle", "/any/late"]


def test_set_priority_moves_a_queued_job(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "1"}).start()
    daemon.dlctl("drain")
    ids = daemon.submit([{"url": bad.url(f"/any/{i}")} for i in range(5)])["ids"]
    daemon.dlctl("set", str(ids[4]), "priority=10")
    assert daemon.show(ids[4])["priority"] == 10
    daemon.dlctl("drain", "--off")
    wait_for(daemon.none_left)
    assert [r.path for r in bad.requests()] == ["/any/4", "/any/0", "/any/1", "/any/2", "/any/3"]


def submit_as(daemon, uid, jobs):
    """As another user, who may write to the socket."""
    import json
    subprocess.run([DLCTL, "--socket", daemon.socket, "submit", "-"], input=json.dumps(jobs).encode(), check=True,
                   env=clean_environment(), stdout=subprocess.DEVNULL, timeout=60 * SLOWER,
                   user=uid, group=uid, extra_groups=[])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_users_million_does_not_starve_another(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "1", "control.mode": "0666"}).start()
    for path in (daemon.base.parent, daemon.base):
        path.chmod(0o755)
    submit_as(daemon, 1234, [{"url": bad.url(f"/delay/0.02/100/many{i}")} for i in range(200)])
    wait_for(lambda: bad.count() >= 3)
    submit_as(daemon, 2345, [{"url": bad.url(f"/any/few{i}")} for i in range(5)])
    wait_for(lambda: sum("few" in r.path for r in bad.requests()) == 5)
    order = [r.path for r in bad.requests()]
    first, last = order.index("/any/few0"), order.index("/any/few4")
    assert last - first <= 12  # every second turn is his
    assert {h["uid"] for h in daemon.call("hosts")["hosts"]} <= {1234, 2345}
    daemon.dlctl("cancel", "--all")


def test_set_priority_moves_a_host_to_the_front(daemon, bad):
    """One job of a host, submitted last, behind thousands of others with a job each."""
    daemon.dlctl("drain")
    with closed_port() as closed:
        daemon.submit([{"url": f"http://h{i}.localhost:{closed.port}/", "retries": 0} for i in range(9000)])
        (job,) = daemon.submit([{"url": bad.url("/any/last")}])["ids"]
        daemon.dlctl("set", str(job), "priority=100")
        daemon.dlctl("drain", "--off")
        wait_for(lambda: daemon.show(job)["state"] == "done")
        assert daemon.counts()["failed"] < 4500
        daemon.dlctl("cancel", "--all")


# ---- dlctl hosts ----


def test_hosts_are_shown(make_daemon, bad):
    daemon = make_daemon(settings={"host.connections": "4"}).start()
    assert daemon.dlctl("hosts").out == "No host has jobs.\n"
    daemon.submit([{"url": bad.silent_url(f"/{i}")} for i in range(10)])
    wait_for(lambda: daemon.counts()["active"] == 4)
    shown = hosts(daemon)[host_of(bad.silent_url())]
    assert (shown["queued"], shown["active"], shown["limit"], shown["state"]) == (6, 4, 4, "open")
    daemon.dlctl("pause", "--all")
    wait_for(lambda: hosts(daemon)[host_of(bad.silent_url())]["paused"] == 10)
    text = daemon.dlctl("hosts").out.splitlines()
    assert len(text) == 2 and host_of(bad.silent_url()) in text[1]
    (document,) = daemon.dlctl("--json", "hosts").documents
    assert document["paused"] == 10
    daemon.dlctl("cancel", "--all")
    wait_for(lambda: daemon.call("hosts")["hosts"] == [])


def test_many_hosts_come_in_pages(daemon, bad):
    daemon.dlctl("drain")
    daemon.submit([{"url": f"http://h{i}.invalid/"} for i in range(2500)])
    result = run([DLCTL, "--socket", daemon.socket, "--json", "hosts"])
    assert len(result.documents) == 2500
    assert len({d["host"] for d in result.documents}) == 2500
    daemon.dlctl("cancel", "--all")
