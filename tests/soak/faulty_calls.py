"""Each system call of dld, dld-worker and dlctl fails with each error that it may: a table of what came of it.

    faulty_calls.py [PROGRAM [CALL]]

The k-th call fails for small k and some larger ones, alone, and then with the nineteen behind it. Prints how many of a
call's failures went unnoticed, were told to a client or with a job, or ended dld with a word; ends with 1 where
anything was lost, there twice, or wrong. DLD_BUILD=... is what is tested.
"""

import itertools
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from badserver import BadServer  # noqa: E402
from dld import Daemon  # noqa: E402
from faulty import CALLS, Rule, Trouble, run, run_client  # noqa: E402

PLACES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TIMES = (1, 20)
FSYNC = itertools.cycle(["batch", "batch", "never"])
NUMBERS = itertools.count(1)


def try_daemon(base, bad, program, call, error, k, times):
    daemon = Daemon(base, settings={"transfer.fsync": next(FSYNC)})
    try:
        return run(Trouble(daemon, bad, f"t{next(NUMBERS)}-"), program, call, error, k, times)
    except Exception:
        print(f"stderr:\n{daemon.stderr[-3000:]}")
        raise
    finally:
        if daemon.running:
            daemon.kill()


class Clients:
    """One daemon for all calls of dlctl."""

    def __init__(self, base, bad):
        self.daemon, self.bad = Daemon(base).start(), bad
        self.rule = Rule(base / "rule")

    def attempt(self, call, error, k, times):
        came = run_client(self.daemon, self.rule, self.bad.url("/any/"), f"c{next(NUMBERS)}", call, error, k, times)
        return None if came is None else [came[1]] * (came[0] != 0)


def kind_of(complaints):
    return ", ".join(sorted({c.partition(":")[0] for c in complaints})) or "unnoticed"


def sweep(base, attempt, program, call):
    """(Counter of what came of it, number of what was wrong)"""
    came, wrong = Counter(), 0
    for error, times in itertools.product(CALLS[call], TIMES):
        for k in PLACES:
            try:
                complaints = attempt(call, error, k, times)
            except Exception:
                wrong += 1
                print(f"{program} {call} {error} {k} {times}:\n{traceback.format_exc()[-3000:]}", flush=True)
                continue
            if complaints is None:
                break
            came[kind_of(complaints)] += 1
    return came, wrong


def main(program=None, call=None):
    base, bad, all_wrong = Path(tempfile.mkdtemp(prefix="dld-calls-")), BadServer().start(), 0
    for name in [program] if program else ["dlctl", "dld", "dld-worker"]:
        if name == "dlctl":
            attempt = Clients(base / "clients", bad).attempt
        else:
            def attempt(*what, name=name):
                place = base / f"{name}-{next(NUMBERS)}"
                came = try_daemon(place, bad, name, *what)
                shutil.rmtree(place)
                bad.log.clear()
                return came
        for which in [call] if call else CALLS:
            came, wrong = sweep(base, attempt, name, which)
            all_wrong += wrong
            if came or wrong:
                print(f"{name:10} {which:16} {sum(came.values()):4} failed calls, {wrong} wrong:  "
                      + "; ".join(f"{n} {what}" for what, n in came.most_common()), flush=True)
    print(f"{all_wrong} wrong")
    sys.stdout.flush()
    return 1 if all_wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
