"""What a server may send instead of a file: none of it is called one, and no neighbour notices."""

from behaviours_raw import CODED, HOSTILE, SECOND
from beside import done_right, not_done, run_beside


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
