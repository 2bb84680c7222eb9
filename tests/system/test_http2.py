"""HTTP/2 from a server that misbehaves: a file is whole or isn't there, and streams beside it lose nothing."""

import pytest

pytest.importorskip("h2", reason="needs python3-h2")

from h2server import SIZE, Http2Server
from support import SLOWER, content, files_under, have
from test_download import done, failed
from test_retries import times
from tls import Authority, TlsNginx

pytestmark = pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")

NEIGHBOURS = 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def server(authority):
    with Http2Server(authority.base / "good.pem", authority.base / "good.key") as server:
        yield server


@pytest.fixture
def trusting(make_daemon, authority):
    return make_daemon("trusting", workers=1, settings={"transfer.ca_file": authority.file}).start()


def run_beside(daemon, server, path, **keys):
    """The job at that path, with good ones around it."""
    good = [{"url": server.url(f"/good/{i}"), "output": f"good/{i}"} for i in range(NEIGHBOURS)]
    half = NEIGHBOURS // 2
    jobs = daemon.run([*good[:half], {"url": server.url(path), "output": "the.file", **keys}, *good[half:]])
    job = jobs.pop(half)
    for i, neighbour in enumerate(jobs):
        done(neighbour)
        assert daemon.file(f"good/{i}").read_bytes() == content(f"/good/{i}", SIZE)
    return job


@pytest.mark.parametrize("name", ["good", "unmeasured", "trailed", "interim", "goaway-then-end"])
def test_file_is_whole(trusting, server, name):
    job = done(run_beside(trusting, server, f"/{name}/a"))
    assert job["attempts"] == 1, trusting.show(job["id"])["history"]
    assert trusting.file("the.file").read_bytes() == content(f"/{name}/a", SIZE)


@pytest.mark.parametrize("name, errors", [
    ("short", ("partial", "reset", "protocol")), ("longer", ("partial", "reset", "protocol")),
    ("empty", ("partial", "reset", "protocol")), ("lengths", ("reset", "protocol")), ("coded", ("reset", "protocol")),
    ("reset-midway", ("partial", "reset")), ("reset-unmeasured", ("partial", "reset")),
    ("reset-without-error", ("partial", "reset")), ("reset-in-header", ("reset",)), ("cut", ("partial", "reset")),
    ("goaway-before", ("reset", "connect")), ("goaway-midway", ("partial", "reset")), ("part", ("protocol",)),
])
def test_no_file(trusting, server, name, errors):
    job = run_beside(trusting, server, f"/{name}/a", retries=0)
    assert job["state"] == "failed" and job["error"]["name"] in errors, job["error"]
    assert [f for f in files_under(trusting.root) if not f.startswith("good/")] == []


def test_streams_share_a_connection_that_is_kept(trusting, server):
    """Answers that have numbers need not wait for the end of their connection."""
    for _ in range(2):
        for job in trusting.run([{"url": server.url(f"/good/{i}"), "output": f"{i}", "on_conflict": "overwrite"}
                                 for i in range(100)]):
            done(job)
    assert server.connections <= 2, server.connections


def test_connection_that_its_server_ends_costs_hardly_an_attempt(make_daemon, tmp, authority):
    """nginx ends each after some requests; those that were under way nobody has worked on."""
    server = TlsNginx(tmp / "tls", tmp / "files", authority, requests=30)
    try:
        server.start()
        daemon = make_daemon(workers=1, settings={"transfer.ca_file": authority.file}).start()
        for i in range(20):
            server.add(f"{i}", content(i, 3000))
        jobs = daemon.run([{"url": server.https(f"{n % 20}"), "output": f"{n}"} for n in range(2000)])
        # An answer that had begun may still be lost, where the server closes before it has read all requests.
        assert sum(job["attempts"] for job in jobs) <= 2000 + 20
        for n, job in enumerate(jobs):
            done(job)
            assert daemon.file(f"{n}").read_bytes() == content(n % 20, 3000), job
    finally:
        server.stop()


@pytest.mark.parametrize("keys", [{}, {"timeout": 4}])
def test_silent_host_is_waited_for_no_longer_by_many(make_daemon, bad, keys):
    """Those who wait to share a connection make their own when there is none to be had."""
    daemon = make_daemon(workers=1, settings={"host.connections": "8", "transfer.connect_timeout": "3s",
                                              "transfer.low_speed_time": "1h"}).start()
    url = bad.silent_url().replace("http:", "https:")
    jobs = daemon.run([{"url": f"{url}/{i}", "output": f"{i}", "retries": 0, **keys} for i in range(8)])
    assert {job["error"]["name"] for job in jobs} <= {"connect", "timeout"}, jobs
    assert max(times(job) for job in jobs) < 8 * SLOWER  # twice connect_timeout, and not eight times
