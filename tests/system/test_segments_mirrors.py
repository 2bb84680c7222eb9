"""One large file from several mirrors at once: their bytes are put together only where a checksum tells if they fit."""

import hashlib

import pytest

from badserver import BadServer
from nginx import Nginx
from support import MIB, closed_port, content, wait_for
from test_download import done
from test_segments import SETTINGS, SIZE, check, large, ranges, segmented  # noqa: F401 (a fixture)

RATE = 12 * MIB
DIGEST = hashlib.sha256(content(f"/ranges/{SIZE}/a1", SIZE)).hexdigest()


@pytest.fixture
def other():
    server = BadServer().start()
    yield server
    server.stop()


def fetch(daemon, urls, **keys):
    (job,) = daemon.run([{"urls": urls, "checksum": f"sha-256:{DIGEST}", **keys}])
    return done(job)


def test_parts_of_both(make_daemon, bad, other):
    """Each gives two connections, and neither is asked for more."""
    daemon = make_daemon(workers=1, settings={**SETTINGS, "host.connections": "2"}).start()
    first, path = large(bad, rate=RATE)
    job = fetch(daemon, [first, large(other, rate=RATE)[0]])
    assert (job["attempts"], job["url"], job["digest"]) == (1, first, f"sha-256:{DIGEST}")
    check(daemon, path)
    for server in bad, other:
        assert len({r.connection for r in server.requests()}) == 2
    assert None not in ranges(other)
    assert [r.header("If-Range") for r in other.requests()] == [None] * other.count()


def test_connections_at_a_mirror_count_for_its_jobs(make_daemon, bad, other):
    """They wait until the large file has come."""
    daemon = make_daemon(workers=1, settings={**SETTINGS, "host.connections": "2"}).start()
    daemon.submit([{"urls": [large(bad, rate=RATE // 4)[0], large(other, rate=RATE // 4)[0]],
                    "checksum": f"sha-256:{DIGEST}", "output": "a"}])
    wait_for(lambda: len({r.connection for r in other.requests()}) == 2, what="two parts of the mirror")
    daemon.submit([{"url": other.url(f"/ok/1000/{i}"), "output": f"small/{i}"} for i in range(5)])
    assert daemon.counts()["active"] == 1 or daemon.jobs()[0]["state"] == "done"
    wait_for(daemon.none_left)
    paths = [r.path.split("/")[1] for r in other.requests()]
    assert paths == sorted(paths, reverse=True) and len({r.path for r in other.requests() if "/ok/" in r.path}) == 5
    assert done(daemon.jobs()[0])["attempts"] == 1


@pytest.mark.parametrize("keys", [{"checksum": None}, {"headers": {"Cookie": "a=b"}}])
def test_only_the_first_is_asked(segmented, bad, other, keys):  # noqa: F811
    """Without a checksum; and with what the others must not see."""
    job = {"urls": [large(bad, rate=RATE)[0], large(other, rate=RATE)[0]], "checksum": f"sha-256:{DIGEST}", **keys}
    done(segmented.run([{k: v for k, v in job.items() if v is not None}])[0])
    assert other.count() == 0 and len(ranges(bad)) >= 4
    check(segmented, f"/ranges/{SIZE}/a")


@pytest.mark.parametrize("fault", ["404", "503", "ignores", "first", "total", "short", "reset", "stall"])
def test_mirror_that_fails(segmented, bad, other, fault):  # noqa: F811
    """The first goes on without it."""
    urls = [large(bad, rate=RATE)[0], large(other, fault=fault, rate=RATE, **{"from": 1})[0]]
    assert fetch(segmented, urls)["attempts"] == 1
    assert other.count() > 0
    check(segmented, f"/ranges/{SIZE}/a")


def test_mirror_that_can_not_be_reached(segmented, bad):  # noqa: F811
    with closed_port() as port:
        assert fetch(segmented, [large(bad, rate=RATE)[0], port.url("/a")])["attempts"] == 1
    check(segmented, f"/ranges/{SIZE}/a")


def test_first_that_fails(segmented, bad, other):  # noqa: F811
    """The mirror's connections bring on what they can; then it is the mirror's turn."""
    urls = [large(bad, fault="503", rate=RATE)[0], large(other, rate=RATE)[0]]
    fetch(segmented, urls)
    check(segmented, f"/ranges/{SIZE}/a")


def test_mirror_with_other_bytes(segmented, bad, other):  # noqa: F811
    """Of the same length: the checksum tells, and the next attempts are at one server each."""
    job = fetch(segmented, [large(bad, rate=RATE)[0], large(other, rate=RATE, changes=1)[0]])
    assert job["attempts"] in (2, 3)
    assert ranges(bad)[-1] is None
    check(segmented, f"/ranges/{SIZE}/a")


@pytest.fixture
def mirror(tmp):
    server = Nginx(tmp / "mirror", tmp / "mirrored")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_files_of_the_connection_that_the_first_part_came_over(make_daemon, nginx, mirror, verb):
    """They are held until it has ended, which it does when the large file is given up."""
    data = content("large", 24 * MIB)
    for server in nginx, mirror:
        server.add("large", data)
    small = [{"url": nginx.add(f"s{i}", content(i, 5000)), "output": f"s{i}"} for i in range(30)]
    large = {"urls": [nginx.url("rate/6m/large"), mirror.url("rate/400k/large")], "output": "large",
             "checksum": f"sha-256:{hashlib.sha256(data).hexdigest()}"}
    daemon = make_daemon(workers=1, settings={"transfer.segment_min": "1M", "host.connections": "1"}).start()
    *ids, last = daemon.submit([*small, large])["ids"]
    wait_for(lambda: any("large" in r[3] for r in nginx.requests()), 20, "the first part of the large file")
    assert daemon.show(last)["state"] == "active"
    daemon.call(verb, {"ids": [last]})
    wait_for(lambda: all(daemon.show(i)["state"] == "done" for i in ids), 20, "the small files to be done")
    assert all(daemon.file(f"s{i}").read_bytes() == content(i, 5000) for i in range(30))
