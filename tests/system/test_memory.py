"""The master's memory doesn't grow with the queue."""

import pytest

from dld import STATES
from support import KIB, SANITIZE, memory_kib, wait_for

pytestmark = pytest.mark.skipif(SANITIZE, reason="sanitizers keep freed memory")

STEP = 5000


def fill(daemon, urls, key):
    """Submits many jobs in chunks and returns the batch."""
    with daemon.control(60) as c:
        for start in range(0, len(urls), STEP):
            part = urls[start:start + STEP]
            batch = c.call("submit", {"jobs": [{"url": u} for u in part], "submit_key": key, "offset": start,
                                      "last": start + STEP >= len(urls)})["batch"]
    return batch


def queued(daemon):
    counts = daemon.counts()
    return sum(counts[s] for s in STATES if s not in ("done", "failed", "cancelled"))


@pytest.mark.parametrize("kind", ["one host", "many hosts"])
def test_memory_is_bounded_with_a_hundred_thousand_jobs(make_daemon, bad, kind):
    def url(i):
        if kind == "one host":
            return bad.silent_url(f"/a/long/path/to/a/file/number-{i}.jpg")
        return f"http://127.{i // 250 % 250}.{i % 250 + 1}.1:{bad.silent_port}/a/long/path/to/a/file/number-{i}.jpg"
    daemon = make_daemon(settings={"retry.base": "1h", "retry.max": "1h"}).start()
    fill(daemon, [url(i) for i in range(1000)], "few")
    wait_for(lambda: daemon.counts()["active"] > 0)
    small = memory_kib(daemon.pid, "VmHWM")
    fill(daemon, [url(i) for i in range(100000)], "many")
    wait_for(lambda: queued(daemon) == 101000)
    large = memory_kib(daemon.pid, "VmHWM")
    assert large < 64 * KIB, (small, large)


def test_memory_is_bounded_while_many_jobs_end(make_daemon, bad):
    daemon = make_daemon().start()
    daemon.run([{"url": bad.url(f"/any/{i}"), "output": "a", "on_conflict": "overwrite"} for i in range(1000)])
    small = memory_kib(daemon.pid)
    daemon.run([{"url": bad.url(f"/any/{i}"), "output": "a", "on_conflict": "overwrite"} for i in range(8000)])
    assert memory_kib(daemon.pid) - small < 16 * KIB
