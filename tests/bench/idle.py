"""What dld does while there is nothing to do."""

import os
import sys
import tempfile
import time
from pathlib import Path

from programs import DLD_WORKERS, cpu_seconds
from servers import dld_running, nginx_running, run_quietly

JOBS = 10_000
SETTLE_SECONDS = 12  # within which connections and timers of what has just ended go


def wake_ups(pids):
    """How often a thread of these processes went to sleep so far."""
    total = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            for line in status.read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    total += int(line.split()[1])
    return total


def measure_idle(seconds):
    """dld with 10,000 finished jobs and two workers, for so long: a sentence."""
    print(f"idle for {seconds} s", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="dld-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as base:
        base = Path(base)
        with dld_running(base / "dld", DLD_WORKERS, {"transfer.fsync": "never"}) as dld:
            with nginx_running(base / "nginx", base / "files") as nginx:
                (base / "files" / "f").write_bytes(b"x")
                jobs = ",".join(f'{{"url": "{nginx.url("f")}", "output": "f{i}"}}' for i in range(JOBS))
                (base / "list").write_text(f"[{jobs}]")
                run_quietly(dld.dlctl_command("submit", base / "list", "--wait"))
            time.sleep(SETTLE_SECONDS)  # the server has gone: when it closes connections is its own affair
            pids = [dld.pid, *dld.worker_pids()]
            before = cpu_seconds(pids), wake_ups(pids)
            time.sleep(seconds)
            cpu, woken = cpu_seconds(pids) - before[0], wake_ups(pids) - before[1]
    return f"Idle for {seconds} s with {JOBS:,} finished jobs: {woken} wake-ups and {cpu:.2f} s of CPU in all."
