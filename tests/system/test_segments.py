"""A large file over several connections: whole, right, faster, and nothing fetched twice."""

import contextlib
import hashlib
import os
import shlex
import signal
import subprocess
import time
from urllib.parse import urlencode

import pytest

from behaviours_segments import body_of, running
from dld import DLD
from support import MIB, SLOWER, content, files_under, have, seeded, wait_for
from test_download import done, failed
from test_retries import small_disk  # noqa: F401 (a fixture)
from tls import Authority, TlsNginx

SIZE = 12 * MIB
SETTINGS = {"transfer.segment_min": "4M"}


@pytest.fixture
def segmented(make_daemon):
    return make_daemon(workers=1, settings=SETTINGS).start()


def large(bad, size=SIZE, name="a", **query):
    path = f"/ranges/{size}/{name}"
    return bad.url(f"{path}?{urlencode(query)}"), path


def ranges(bad):
    return [request.header("Range") for request in bad.requests()]


def bounds(bad):
    """The ranges asked for, as pairs; the first request is no range."""
    pairs = [r.removeprefix("bytes=").split("-") for r in ranges(bad) if r]
    return [(int(a), int(b) + 1 if b else SIZE) for a, b in pairs]


def check(daemon, path, version="1", size=SIZE):
    assert daemon.file("a").read_bytes() == body_of(path + version, size)
    assert files_under(daemon.root) == ["a"]


# ---- speed ----


def test_four_connections_share_the_work(segmented, nginx):
    data = content("large", 16 * MIB)
    nginx.add("a", data)
    os.utime(nginx.files / "a", (1, 1))
    job = done(segmented.run_one(nginx.url("rate/2m/a"), output="a"))
    assert (job["attempts"], job["size"], job["bytes"], job["http_status"]) == (1, len(data), len(data), 200)
    assert segmented.file("a").read_bytes() == data
    requests = wait_for(lambda: len(nginx.requests()) >= 4 and nginx.requests())
    assert [r[1] for r in requests].count(206) >= 3
    # The first is cut off with what lies in the sockets' buffers.
    assert sum(r[2] for r in requests if r[1] == 206) < len(data) * 3 // 4 + 4 * MIB


@pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")
def test_over_tls(make_daemon, tmp):
    """The first may be a stream of HTTP/2; each other is a connection of its own, of HTTP/1.1."""
    server = TlsNginx(tmp / "tls", tmp / "files", Authority(tmp / "ca"))
    data = content("large", 16 * MIB)
    try:
        server.start()
        server.add("a", data)
        os.utime(server.files / "a", (1, 1))
        daemon = make_daemon(workers=1, settings={**SETTINGS, "transfer.ca_file": server.authority.file}).start()
        job = done(daemon.run_one(server.https("rate/2m/a"), output="a"))
        assert (job["attempts"], job["bytes"]) == (1, len(data))
        assert daemon.file("a").read_bytes() == data
        versions = wait_for(lambda: len(server.versions()) >= 4 and server.versions(), what="its log")
        assert versions.count("HTTP/2.0") == 1 and versions.count("HTTP/1.1") >= 3
    finally:
        server.stop()


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_as_many_connections_as_the_job_says(make_daemon, bad, n):
    daemon = make_daemon(workers=1, settings={**SETTINGS, "host.connections": "32"}).start()
    url, path = large(bad, size=18 * MIB, rate=6 * MIB)
    done(daemon.run_one(url, connections=n))
    check(daemon, path, size=18 * MIB)
    assert len({r.connection for r in bad.requests()}) == n or n > 7
    begins = sorted({0, *(a for a, _ in bounds(bad))})
    assert len(begins) >= n
    parts = bounds(bad)[:n - 1]  # of the first requests: they lie side by side
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:]))
    assert not parts or parts[-1][1] == 18 * MIB


@pytest.mark.parametrize("settings, query", [
    ({"transfer.segment_min": "13M"}, {}), ({"transfer.connections": "1"}, {}), ({"host.connections": "1"}, {}),
    ({}, {"accept": "none"})])
def test_one_connection(make_daemon, bad, settings, query):
    daemon = make_daemon(workers=1, settings={**SETTINGS, **settings}).start()
    url, path = large(bad, **query)
    done(daemon.run_one(url))
    assert ranges(bad) == [None]
    check(daemon, path)


def test_connections_count_for_the_host(make_daemon, bad):
    """Of six connections the first file takes four, so that at most six are ever at work."""
    daemon = make_daemon(workers=1, settings={**SETTINGS, "host.connections": "6"}).start()
    jobs = [{"url": large(bad, name=f"f{i}", rate=8 * MIB, size=12 * MIB)[0]} for i in range(4)]
    daemon.submit(jobs)
    seen = 0
    while not daemon.none_left():
        seen = max(seen, sum(n for path, n in running.items() if path.startswith(f"/ranges/{12 * MIB}/")))
        time.sleep(0.01)
    assert seen <= 6
    for i in range(4):
        path = f"/ranges/{12 * MIB}/f{i}"
        assert daemon.file(f"f{i}").read_bytes() == body_of(path + "1", 12 * MIB)


# ---- servers that don't play along ----


@pytest.mark.parametrize("fault", ["ignores", "416", "503", "404", "first", "total", "etag", "short", "unnamed"])
def test_server_that_gives_no_ranges_after_all(segmented, bad, fault):
    url, path = large(bad, fault=fault, rate=16 * MIB)
    job = done(segmented.run_one(url))
    assert (job["attempts"], job["http_status"]) == (1, 200)
    check(segmented, path)


def test_only_the_first_connection_is_answered(segmented, bad):
    """It brings the whole, also where what comes at once ends right where another one's part begins."""
    for i in range(3):
        url, path = large(bad, name=f"f{i}", fault="silent", rate=16 * MIB)
        job = done(segmented.run_one(url, output="a", on_conflict="overwrite"))
        assert (job["attempts"], job["http_status"]) == (1, 200)
        assert bad.count(path) == 4
        check(segmented, path)


@pytest.mark.parametrize("fault", ["first", "total", "etag", "short", "ignores"])
def test_one_answer_that_lies(segmented, bad, fault):
    """Only its connection is given up; the others bring its part."""
    url, path = large(bad, fault=fault, rate=16 * MIB, **{"from": 3, "to": 3})
    assert done(segmented.run_one(url))["attempts"] == 1
    assert len(ranges(bad)) >= 4
    check(segmented, path)


def test_one_answer_with_other_bytes(segmented, bad):
    """Under the right name: only a checksum tells, and then it is fetched over one connection."""
    url, path = large(bad, fault="wrong", rate=16 * MIB, **{"from": 3, "to": 3})
    digest = hashlib.md5(body_of(path + "1", SIZE)).hexdigest()
    assert done(segmented.run_one(url, checksum=f"md5:{digest}"))["attempts"] == 2
    assert ranges(bad)[-1] is None
    check(segmented, path)


def test_server_that_allows_two_connections(segmented, bad):
    url, path = large(bad, most=2, rate=8 * MIB)
    assert done(segmented.run_one(url))["attempts"] == 1
    check(segmented, path)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("fault", ["reset", "stall"])
def test_rest_of_one_that_ends_or_stalls_is_taken_over(segmented, bad, fault, number):
    url, path = large(bad, fault=fault, rate=16 * MIB, **{"from": number, "to": number})
    job = done(segmented.run_one(url))
    assert job["attempts"] == 1
    check(segmented, path)


def test_all_that_are_reset_again_and_again(segmented, bad):
    url, path = large(bad, fault="reset", **{"from": 1, "to": 8})
    done(segmented.run_one(url, retries=10))
    check(segmented, path)


def test_version_that_changes_in_mid_file(segmented, bad):
    """The first answer is cut off where the second begins; the third is of another version."""
    url, path = large(bad, rate=8 * MIB, changes=4, fault="reset", **{"from": 2, "to": 2})
    job = done(segmented.run_one(url))
    assert segmented.file("a").read_bytes() in (body_of(path + "1", SIZE), body_of(path + "2", SIZE))
    assert job["size"] == SIZE


def test_version_that_changes_at_once(segmented, bad):
    url, path = large(bad, rate=16 * MIB, changes=2)
    done(segmented.run_one(url))
    check(segmented, path)


# ---- checks of the whole ----


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_right_checksum(segmented, bad, kind):
    url, path = large(bad, rate=16 * MIB)
    digest = getattr(hashlib, kind)(body_of(path + "1", SIZE)).hexdigest()
    name = {"sha256": "sha-256"}.get(kind, kind)
    job = done(segmented.run_one(url, checksum=f"{name}:{digest}"))
    assert (job["attempts"], job["digest"]) == (1, f"{name}:{digest}")
    assert len(ranges(bad)) >= 4
    check(segmented, path)


def test_wrong_checksum(segmented, bad):
    """Once more over one connection, and then it is believed."""
    url, _ = large(bad, rate=16 * MIB)
    job = failed(segmented.run_one(url, checksum="sha-256:" + "0" * 64), "checksum")
    assert job["attempts"] == 2
    assert ranges(bad)[-1] is None and ranges(bad).count(None) == 2
    assert files_under(segmented.root) == []


@pytest.mark.parametrize("keys, error", [({"size": SIZE - 1}, "size"), ({"max_size": SIZE - 1}, "too-large")])
def test_sizes(segmented, bad, keys, error):
    url, _ = large(bad)
    failed(segmented.run_one(url, **keys), error)
    assert files_under(segmented.root) == []


def test_timeout_is_for_all(segmented, bad):
    """Each attempt has its time, and gains something."""
    url, path = large(bad, rate=MIB // SLOWER)
    job = done(segmented.run_one(url, timeout=2 * SLOWER, retries=1))
    history = [a for a in segmented.show(job["id"])["history"] if a["error"]]
    assert len(history) == job["attempts"] - 1 > 0
    assert all(a["error"]["name"] == "timeout" for a in history)
    assert all(a["finished"] - a["started"] < 15 * SLOWER for a in history)
    check(segmented, path)


def test_rate_limit_is_for_the_sum(segmented, bad):
    url, path = large(bad, size=12 * MIB)
    begun = time.monotonic()
    done(segmented.run_one(url, rate_limit="6M"))
    assert time.monotonic() - begun > 1.4
    check(segmented, path, size=12 * MIB)


# ---- going on ----


def start_and_wait(daemon, url, **keys):
    daemon.submit([{"url": url, "connections": 4, **keys}])
    wait_for(lambda: daemon.jobs()[0]["bytes"] and daemon.jobs()[0]["bytes"] > 22 * MIB, what="most of the file")


def slow(bad):
    """32 MiB in about three seconds over four connections."""
    return large(bad, size=32 * MIB, rate=3 * MIB)


def check_went_on(daemon, bad, path, before, least=8 * MIB):
    wait_for(daemon.none_left)
    job = done(daemon.jobs()[0])
    assert job["size"] == 32 * MIB
    again = [r.removeprefix("bytes=").split("-") for r in ranges(bad)[before:]]
    begins = [int(a) for a, _ in again]
    assert begins and min(begins) > 0 and len(begins) >= 2  # all are parts, and there are holes behind the first
    assert job["bytes"] <= 32 * MIB - least
    check(daemon, path, size=32 * MIB)


@pytest.mark.parametrize("who", ["worker", "daemon", "stop", "pause"])
def test_goes_on_from_the_map(make_daemon, bad, who):
    daemon = make_daemon(workers=1, settings=SETTINGS).start()
    url, path = slow(bad)
    start_and_wait(daemon, url, checksum="md5:" + hashlib.md5(body_of(path + "1", 32 * MIB)).hexdigest())
    before = len(ranges(bad))
    if who == "worker":
        os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    elif who == "pause":
        daemon.call("pause", {"all": True})
        wait_for(lambda: daemon.counts()["paused"] == 1)
        before = len(ranges(bad))
        daemon.call("resume", {"all": True})
    else:
        daemon.kill() if who == "daemon" else daemon.stop()
        wait_for(daemon.has_no_processes)
        daemon.start()
    check_went_on(daemon, bad, path, before)


def test_goes_on_over_one_connection(make_daemon, bad):
    """What is kept behind the first bytes is not fetched again, though no other connection is to be had."""
    daemon = make_daemon(workers=1, settings=SETTINGS).start()
    url, path = slow(bad)
    start_and_wait(daemon, url)
    daemon.stop()
    before = len(ranges(bad))
    daemon.settings["host.connections"] = "1"
    daemon.start()
    check_went_on(daemon, bad, path, before)


def test_goes_on_with_chunks(make_daemon, bad):
    """Those of the first piece are not read to their end, where the next piece begins."""
    daemon = make_daemon(workers=1, settings=SETTINGS).start()
    url, path = large(bad, size=32 * MIB, rate=3 * MIB, fault="chunked", **{"from": 5})
    start_and_wait(daemon, url)
    before = len(ranges(bad))
    daemon.stop()
    daemon.start()
    wait_for(daemon.none_left)
    done(daemon.jobs()[0])
    assert all(ranges(bad)[before:])
    check(daemon, path, size=32 * MIB)


def test_mirror_goes_on_from_the_map(make_daemon, bad):
    """The first mirror breaks off; where a checksum vouches for the whole, the second brings what lacks."""
    daemon = make_daemon(workers=1, settings=SETTINGS).start()
    first, path = large(bad, fault="503", rate=8 * MIB, **{"from": 5})
    second = first.replace("127.0.0.1", "localhost").replace("&from=5", "&from=99")
    digest = hashlib.md5(body_of(path + "1", SIZE)).hexdigest()
    (job,) = daemon.run([{"urls": [first, second], "checksum": f"md5:{digest}"}])
    done(job)
    check(daemon, path)


def test_cancelled_job_leaves_nothing(segmented, bad):
    url, _ = slow(bad)
    start_and_wait(segmented, url)
    segmented.call("cancel", {"all": True})
    wait_for(segmented.none_left)
    wait_for(lambda: files_under(segmented.root) == [])


def test_full_disk(make_daemon, bad):
    daemon = make_daemon(workers=1, settings={**SETTINGS, "transfer.min_free_space": "1T"}).start()
    url, _ = large(bad)
    daemon.submit([{"url": url}])
    wait_for(lambda: daemon.counts()["waiting"] == 1)
    assert daemon.jobs()[0]["error"]["name"] == "no-space"
    assert files_under(daemon.root) == []


# ---- no room, and no mercy ----


def test_disk_that_fills_up_in_mid_file(make_daemon, bad, tmp, small_disk):  # noqa: F811
    """Where room can't be reserved. What has come stays, and is gone on with when there is room again."""
    subprocess.run(["mount", "-o", "remount,size=16M", small_disk], check=True)
    program = tmp / "traced"
    words = ["strace", "-f", "--seccomp-bpf", "-o", tmp / "trace", "-e", "trace=fallocate", "-e",
             "inject=fallocate:error=EOPNOTSUPP", DLD]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    program.chmod(0o755)
    daemon = make_daemon(workers=1, args=["--output-root", str(small_disk)], program=program,
                         settings={**SETTINGS, "transfer.min_free_space": "0", "retry.max": "300ms"}).start()
    url, path = large(bad, rate=2 * MIB)
    number = daemon.submit([{"url": url}])["ids"][0]
    wait_for(lambda: (daemon.show(number)["bytes"] or 0) > 6 * MIB, what="half of the file")
    before = len(ranges(bad))
    with open(small_disk / "ballast", "wb") as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(MIB))
    wait_for(lambda: (j := daemon.show(number))["error"] and j["error"]["name"] == "no-space")
    assert "a" not in files_under(small_disk)
    (small_disk / "ballast").unlink()
    wait_for(daemon.none_left)
    done(daemon.show(number))
    assert (small_disk / "a").read_bytes() == body_of(path + "1", SIZE)
    begins = [int(r.removeprefix("bytes=").split("-")[0]) for r in ranges(bad)[before:]]
    assert begins and min(begins) > 0
    os.kill(daemon.call("status")["pid"], signal.SIGKILL)  # under strace it misses the ends of its workers
    daemon.wait_exit()


def test_killed_again_and_again(make_daemon, bad):
    """Worker and master in turn, at any instant: what carries the name in the end is right."""
    instants = seeded()
    daemon = make_daemon(workers=1, settings={**SETTINGS, "master.crash_limit": "100"}).start()
    url, path = large(bad, rate=2 * MIB)
    daemon.submit([{"url": url, "connections": 4}])
    for i in range(6):
        time.sleep(instants.uniform(0, 0.5))
        assert not daemon.file("a").exists() or daemon.none_left()
        if i % 2:
            os.kill(wait_for(daemon.worker_pids)[0], signal.SIGKILL)
        else:
            daemon.kill()
            wait_for(daemon.has_no_processes)
            daemon.start()
    wait_for(daemon.none_left)
    done(daemon.jobs()[0])
    check(daemon, path)
