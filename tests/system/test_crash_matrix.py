"""The master or a worker is killed at every named step: no job is lost or there twice, no file is incomplete or left over.

crashing.py has what happens; tests/soak/crash_matrix.py does so many times, with more jobs.
"""

import pytest

from crashing import FIRST, POINTS, PROGRAM, UNNAMED, Story
from support import SANITIZE

# Two deaths in each run, for it to be over soon: of a step of the master and of one of a worker.
HALF = (len(POINTS) + 1) // 2
RUNS = [[(point, 1) for point in (POINTS[i], *POINTS[i + HALF:i + HALF + 1])] for i in range(HALF)]
# Other occasions for some of them.
MORE = [("batch", [("commit_due", 4), ("write_done", 20)]), ("batch", [("commit_done", 9), ("result_due", 12)]),
        ("always", [("packet_due", 9), ("name_given", 5)]), ("always", [("end_put", 8), ("directories_due", 3)]),
        ("never", [("packet_sent", 20), ("write_done", 5)]), ("never", [("end_committed", 6), ("name_given", 5)])]

pytestmark = pytest.mark.skipif(SANITIZE, reason="the programs that can be killed are built without sanitizers")


def check(make_daemon, bad, fsync, deaths):
    assert PROGRAM.exists(), "`make faults` builds it"
    points = {point: k for point, k in deaths} | {first: 1 for point, _ in deaths for first in FIRST.get(point, [])}
    workers = 1 if UNNAMED & points.keys() else 2
    story = Story(make_daemon(settings={"transfer.fsync": fsync}, workers=workers), bad)
    for point, k in points.items():
        story.faults.arm(point, k)
    story.run()
    assert not [p for p in points if story.faults.number(p) > 0], "this step was never met"
    story.check_requests(len(points) + 1)  # and the stop


@pytest.mark.parametrize("deaths", RUNS, ids=lambda deaths: "+".join(point for point, _ in deaths))
def test_killed_once(make_daemon, bad, deaths):
    check(make_daemon, bad, "never" if UNNAMED & {point for point, _ in deaths} else "batch", deaths)


@pytest.mark.parametrize("fsync, deaths", MORE)
def test_killed_later(make_daemon, bad, fsync, deaths):
    check(make_daemon, bad, fsync, deaths)
