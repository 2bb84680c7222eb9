"""Mirrors that ask for patience, and bytes of several of them in one file."""

import hashlib
from urllib.parse import urlencode

import pytest

from support import content, files_under, wait_for
from test_download import done
from test_mirrors import fetch, others  # noqa: F401 (a fixture)
from test_resume import CUT, SIZE, ranges


def times(server):
    return [r.time for r in server.requests()]


def test_mirror_that_asked_is_not_asked_before_its_time(daemon, bad, others):
    """The other one is, round after round."""
    urls = [bad.url("/flaky/503/1/a?retry-after=2"), others[0].url("/flaky/503/4/a")]
    job = done(fetch(daemon, urls, retries=9))
    assert bad.count() == 1 and others[0].count() == 5 and job["attempts"] == 6
    assert times(others[0])[0] - times(bad)[0] < 1


def test_mirror_that_asked_is_asked_at_its_time(daemon, bad, others):
    urls = [bad.url("/flaky/429/1/a?retry-after=2"), others[0].url("/status/404/a")]
    job = done(fetch(daemon, urls))
    first, second = times(bad)
    assert second - first >= 1.9 and job["attempts"] == 3


def test_mirror_that_asked_has_its_turn_before_the_job_fails(daemon, bad, others):
    urls = [bad.url("/flaky/503/1/a?retry-after=2"), others[0].url("/status/503/a")]
    job = done(fetch(daemon, urls, retries=1))
    assert bad.count() == 2 and job["url"] == urls[0]
    assert others[0].count() == 2


def test_patience_survives_a_restart(make_daemon, bad, others):
    daemon = make_daemon().start()
    urls = [bad.url("/flaky/503/1/a?retry-after=3"), others[0].url("/silent-request/a")]
    number = daemon.submit([{"urls": urls, "retries": 9}])["ids"][0]
    wait_for(lambda: others[0].count() == 1)
    daemon.kill()
    wait_for(daemon.has_no_processes)
    daemon.settings["transfer.low_speed_time"] = "1s"
    daemon.start()
    wait_for(lambda: daemon.show(number)["state"] == "done")
    first, second = times(bad)
    assert second - first >= 2.9


# ---- bytes of several servers ----


def two(bad, others, query_a, query_b, path="/parts/300000/200000/1/a", other_path="/parts/300000/200000/0/a"):
    return [bad.url(f"{path}?{query_a}"), others[0].url(f"{other_path}?{query_b}")]


def test_equal_etags_of_two_mirrors_say_nothing(daemon, bad, others):
    """The same strong ETag, other bytes: nothing of the first gets into the file."""
    urls = two(bad, others, "etag=%22same%22", "etag=%22same%22")
    done(fetch(daemon, urls))
    assert ranges(others[0]) == [None]
    assert daemon.file("a").read_bytes() == content("/parts/300000/200000/0/a1", SIZE)
    assert files_under(daemon.root) == ["a"]


def test_checksum_lets_the_next_mirror_go_on(daemon, bad, others):
    """Whatever they call their versions."""
    path = "/parts/300000/200000/1/a"
    urls = two(bad, others, "etag=%22one%22", "etag=%22two%22", other_path=path)
    digest = hashlib.sha256(content(path + "1", SIZE)).hexdigest()
    job = done(fetch(daemon, urls, checksum=f"sha-256:{digest}", retries=3))
    assert ranges(others[0])[0] == f"bytes={CUT}-"
    assert others[0].requests()[0].header("If-Range") is None
    assert daemon.file("a").read_bytes() == content(path + "1", SIZE)
    assert job["digest"] == f"sha-256:{digest}"


def test_checksum_tells_that_bytes_of_two_mirrors_do_not_fit(daemon, bad, others):
    urls = two(bad, others, "etag=%22same%22", "etag=%22same%22")
    digest = hashlib.sha256(content("/parts/300000/200000/0/a1", SIZE)).hexdigest()
    done(fetch(daemon, urls, checksum=f"sha-256:{digest}", retries=5))
    assert ranges(others[0])[0] == f"bytes={CUT}-" and None in ranges(others[0])
    assert daemon.file("a").read_bytes() == content("/parts/300000/200000/0/a1", SIZE)


@pytest.mark.parametrize("vouched", [False, True])
def test_redirects_to_two_servers(daemon, bad, others, vouched):
    """One URL that leads to another server the second time, with the same strong ETag."""
    first, second = others
    path = "/parts/300000/200000/1/a"
    other_path = path if vouched else "/parts/300000/200000/0/a"
    targets = {"1": first.url(path + "?etag=%22same%22"), "2": second.url(other_path + "?etag=%22same%22")}
    if vouched:  # the second says what the whole must be
        targets["2"] += "&vouch=1"
    job = done(daemon.run_one(bad.url("/turns/a?" + urlencode(targets)), output="a"))
    assert ranges(first) == [None]
    assert ranges(second) == [f"bytes={CUT}-"] + [None] * (not vouched)
    assert job["attempts"] == (2 if vouched else 3)
    assert daemon.file("a").read_bytes() == content(other_path + "1", SIZE)


def test_redirects_to_one_server(daemon, bad, others):
    target = others[0].url("/parts/300000/200000/1/a?etag=%22same%22")
    job = done(daemon.run_one(bad.url("/turns/a?" + urlencode({"1": target, "2": target})), output="a"))
    assert ranges(others[0]) == [None, f"bytes={CUT}-"] and job["attempts"] == 2
    assert daemon.file("a").read_bytes() == content("/parts/300000/200000/1/a1", SIZE)
