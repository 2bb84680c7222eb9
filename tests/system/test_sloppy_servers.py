"""Servers with bad manners that serve good files, as browsers and curl take them: every byte arrives, at once."""

import pytest

from behaviours_raw import BODY, CODED_SLOPPY, SLOPPY
from beside import done_right, run_beside
from support import wait_for


def wanted(names):
    return {name: (BODY, 1) for name in names}


def test_good_files_of_sloppy_servers_arrive(daemon, bad):
    jobs = run_beside(daemon, bad, {name: {"url": bad.url(f"/raw/{name}")} for name in SLOPPY})
    assert done_right(daemon, jobs, wanted(SLOPPY)) == []


def test_coded_files_of_sloppy_servers_arrive(daemon, bad):
    jobs = run_beside(daemon, bad, {name: {"url": bad.url(f"/raw/coded-{name}"), "compressed": True}
                                    for name in CODED_SLOPPY})
    assert done_right(daemon, jobs, wanted(CODED_SLOPPY)) == []


@pytest.mark.parametrize("value", ["-5", "soon", "0.5", "+1", "", "Mon, 01 Jan 2001 00:00:00 GMT"])
def test_retry_after_that_says_nothing_is_no_wait(daemon, bad, value):
    job = daemon.run_one(bad.url("/flaky/503/1/a?retry-after=" + value.replace(" ", "%20").replace("+", "%2B")))
    assert (job["state"], job["attempts"]) == ("done", 2), job
    assert job["finished"] - job["created"] < 10


@pytest.mark.parametrize("value", ["9" * 25, "31536000000", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_retry_after_a_lifetime_is_waited_for_a_day(daemon, bad, value):
    number = daemon.submit([{"url": bad.url("/flaky/503/1/a?retry-after=" + value.replace(" ", "%20"))}])["ids"][0]
    job = wait_for(lambda: (j := daemon.show(number))["state"] == "waiting" and j)
    assert abs(job["due"] - job["created"] - 86400) < 60, job
    assert job["error"]["name"] == "http" and job["attempts"] == 1
