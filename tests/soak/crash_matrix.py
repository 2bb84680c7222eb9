"""Kills the master or a worker at each step of common/fault.h, again and again: `make crash-soak`.

For each point ROUNDS times some 200 jobs, with three deaths each at random occasions of that step. Prints a line for
each point, and ends with 1 when anything was not as it must be.

    crash_matrix.py [ROUNDS] [POINT]...
"""

import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from badserver import BadServer  # noqa: E402
from crashing import FIRST, POINTS, UNNAMED, Story  # noqa: E402
from dld import Daemon  # noqa: E402

ROUNDS, COPIES, DEATHS = 20, 16, 3


class Deaths:
    """Arms a point again when a process has died of it."""

    def __init__(self, story, points, often):
        self.story, self.points, self.often, self.left = story, points, often, DEATHS
        self.died = 0
        self.arm()

    def arm(self):
        for point in self.points:
            self.story.faults.arm(point, random.randint(1, max(1, self.often.get(point, 1) // (DEATHS + 1))))
        self.left -= 1

    def look(self):
        fired = all(self.story.faults.number(point) <= 0 for point in self.points)
        if fired and self.left >= 0:
            self.died += 1
            if self.left > 0:
                self.arm()
            else:
                self.left = -1


def met_without_deaths(base, bad):
    """How often each point is met when nothing dies."""
    often = {}
    for fsync in ("never", "batch"):
        story = Story(Daemon(base / fsync, settings={"transfer.fsync": fsync}), bad, f"clean-{fsync}", COPIES).run()
        often |= {p: -story.faults.number(p) for p in POINTS if story.faults.number(p) < 0}
    return often, len(story.all_jobs())


def run(base, bad, name, point, often):
    fsync = "never" if point in UNNAMED else random.choice(("batch", "batch", "always"))
    daemon = Daemon(base, settings={"transfer.fsync": fsync}, workers=1 if point in UNNAMED else 2)
    story = Story(daemon, bad, name, COPIES)
    deaths = Deaths(story, [point] + FIRST.get(point, []), often)
    story.look = deaths.look
    try:
        story.run()
        deaths.look()
        story.check_requests(DEATHS * (1 + (point in FIRST)) + 1)  # and the stop
        shutil.rmtree(base)
        return deaths.died, None
    except Exception:
        return deaths.died, f"{traceback.format_exc()}\n{daemon.stderr[-4000:]}\nkept: {base}"
    finally:
        if daemon.running:
            daemon.kill()


def main(rounds=ROUNDS, *points):
    base, bad, wrong = Path(tempfile.mkdtemp(prefix="dld-soak-")), BadServer().start(), 0
    often, n = met_without_deaths(base, bad)
    print(f"{rounds} rounds of {n} jobs for each point", flush=True)
    for point in points or POINTS:
        began, died = time.monotonic(), 0
        for i in range(int(rounds)):
            deaths, error = run(base / f"{point}-{i}", bad, f"{point}-{i}-", point, often)
            died += deaths
            wrong += error is not None
            if error:
                print(error)
        bad.log.clear()
        print(f"{point:24}{died:5} deaths {time.monotonic() - began:7.1f} s", flush=True)
    print(f"{wrong} of {int(rounds) * len(points or POINTS)} rounds were wrong")
    bad.stop()
    if not wrong:
        shutil.rmtree(base)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
