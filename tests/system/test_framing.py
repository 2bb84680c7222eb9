"""RFC 9110 and RFC 9112 letter by letter: what has no one meaning is no file, what has one is taken."""

import pytest

from behaviours_framing import RAW
from test_answers import others, run_beside
from test_download import done, failed


@pytest.mark.parametrize("name", RAW)
def test_answer(daemon, bad, name):
    expected = RAW[name][1]
    job = run_beside(daemon, bad, bad.url(f"/framed/{name}/a"), retries=0)
    if isinstance(expected, bytes):
        done(job)
        assert daemon.file("the.file").read_bytes() == expected
        return
    failed(job, expected)
    assert job["attempts"] == 1
    assert others(daemon) == []
