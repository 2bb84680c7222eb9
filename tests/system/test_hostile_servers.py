"""What a server may send instead of a file: none of it is called one, and no neighbour notices."""

import pytest

from behaviours_raw import CODED, CUTS, HOSTILE, SECOND, SHORT
from beside import done_right, not_done, run_beside
from support import files_under


def errors(table):
    return {name: row[1:] for name, row in table.items()}


def test_answers_that_hold_no_file(daemon, bad):
    jobs = run_beside(daemon, bad, {name: {"url": bad.url(f"/raw/{name}")} for name in HOSTILE})
    assert not_done(daemon, jobs, errors(HOSTILE)) == []


def test_coded_answers_that_hold_no_file(daemon, bad):
    jobs = run_beside(daemon, bad, {name: {"url": bad.url(f"/raw/{name}"), "compressed": True} for name in CODED})
    assert not_done(daemon, jobs, errors(CODED)) == []


def test_rest_of_a_file_or_all_of_it_anew(daemon, bad):
    """The file on the disk is never put together from what does not belong together."""
    jobs = run_beside(daemon, bad, {name: {"url": bad.url(f"/raw/{name}"), "retries": 3} for name in SECOND})
    assert done_right(daemon, jobs, errors(SECOND)) == []


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("name", CUTS)
def test_answer_that_ends_at_any_byte(make_daemon, bad, name, how):
    """Whatever is missing of it, no file; and whoever gets all of it has it right. The last line feed behind chunks is
    all that may be missing."""
    daemon = make_daemon(settings={"worker.transfers": "64", "host.connections": "64"}).start()
    size = len(CUTS[name])
    jobs = run_beside(daemon, bad, {str(end): {"url": bad.url(f"/cut-at/{name}/{end}/{how}"), "retries": 0,
                                               "compressed": name.startswith("gzip")} for end in range(size + 1)})
    whole = jobs.pop(str(size))
    if jobs[str(size - 1)]["state"] == "done" and name in ("chunks", "trailers", "gzip-in-chunks"):
        assert daemon.file(f"{jobs.pop(str(size - 1))['output']}").read_bytes() == SHORT
    assert [(end, job["state"], files_under(daemon.root / end)) for end, job in jobs.items()
            if job["state"] != "failed" or files_under(daemon.root / end)] == []
    assert {job["error"]["name"] for job in jobs.values()} <= {"reset", "partial", "protocol"}
    if whole["state"] == "done":
        assert daemon.file(f"{size}/file").read_bytes() == SHORT
    assert whole["state"] == "done" or how == "rst" or name == "gzip-until-close", whole
