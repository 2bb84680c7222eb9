"""RFC 9110 and RFC 9112 letter by letter: what has no one meaning is no file, what has one is taken."""

import pytest

from behaviours import GOOD_SIZE
from behaviours_framing import RAW
from support import content
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


def test_http_2_without_tls_is_not_believed(make_daemon, bad):
    """A false version in one status line leads no other request over a connection that is in use."""
    daemon = make_daemon(settings={"host.connections": "16"}).start()
    for n in range(5):
        paths = [f"/delay/0.005/{GOOD_SIZE}/{n}-{i}" if i % 10 else f"/framed/version-2.0/{n}-{i}" for i in range(200)]
        jobs = [{"url": bad.url(p), "output": f"{n}-{i}", "retries": 0} for i, p in enumerate(paths)]
        for i, (path, job) in enumerate(zip(paths, daemon.run(jobs))):
            if i % 10 == 0:
                failed(job, "protocol")
            else:
                assert done(job)["attempts"] == 1, job
                assert daemon.file(f"{n}-{i}").read_bytes() == content(path, GOOD_SIZE), job
