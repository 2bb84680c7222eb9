#!/usr/bin/python3
"""Times dld and its peers on the same work, in turn, on one machine; see README.md beside this file.

WORKLOADS below says what is fetched and by whom: a new row of the table is a new entry there.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
from idle import measure_idle  # noqa: E402
from programs import Aria2, BareCurls, Curl, DldProgram, Program, TwoCurls, Wget2  # noqa: E402
from report import write_report  # noqa: E402
from servers import Failure, nginx_running, quit_on_signals, quit_with, tls_nginx_running  # noqa: E402


class Workload:
    """`count` files of `size` bytes, fetched by each of `programs`. Ratios are to the best of those
    whose `peer` is true. quick_count 0: left out of the quick run. path is put before each name."""

    def __init__(self, title, count, quick_count, size, programs, *, path="", tls=False, rounds=None):
        self.title = title
        self.count = count
        self.quick_count = quick_count
        self.size = size
        self.programs = programs
        self.path = path
        self.tls = tls
        self.rounds = rounds


WORKLOADS = [
    Workload(
        "files of 10 KiB over HTTP/1.1",
        count=20_000,
        quick_count=5_000,
        size=10 * 1024,
        programs=[
            DldProgram("never"),
            DldProgram("batch"),
            Curl(50),
            Curl(16),
            Wget2(16),
            Aria2(16),
            TwoCurls(8),
            BareCurls(16),
        ],
    ),
    Workload(
        "files of 10 KiB over TLS",
        count=10_000,
        quick_count=0,
        size=10 * 1024,
        programs=[DldProgram("never"), Curl(16, http="2"), Curl(16), Wget2(16), Aria2(16)],
        tls=True,
        rounds=3,
    ),
    Workload(
        "files of 1 MiB",
        count=500,
        quick_count=0,
        size=1 << 20,
        programs=[DldProgram("never"), DldProgram("batch"), Curl(16), Wget2(16), Aria2(16)],
        rounds=3,
    ),
    Workload(
        "file of 2 GiB, one connection",
        count=1,
        quick_count=0,
        size=2 << 30,
        programs=[DldProgram("never"), Curl(16), Wget2(1)],
        rounds=3,
    ),
    Workload(
        "file of 1 GiB from a server that gives 20 MiB/s a connection",
        count=1,
        quick_count=0,
        size=1 << 30,
        programs=[DldProgram("never", connections=16), Aria2(1, split=16)],
        path="rate/20m/",
        rounds=3,
    ),
    Workload(
        "files of 10 KiB, each answer 50 ms late, 64 in flight",
        count=1_000,
        quick_count=1_000,
        size=10 * 1024,
        programs=[DldProgram("never"), Curl(64), Wget2(64), Aria2(64)],
        path="delay/0.05/",
    ),
]

ROUNDS, QUICK_ROUNDS = 5, 3
FREE_MARGIN = 1 << 30
PIECE = 16 << 20
BIG = 1 << 20  # files whose space is wanted for the next ones
IDLE_SECONDS, QUICK_IDLE_SECONDS = 60, 5


def make_corpus(folder, count, size):
    """Random data, so that nothing on the way can make less of it."""
    folder.mkdir()
    data = random.Random(1)
    names = [f"f{i:06}.bin" for i in range(count)]
    for name in names:
        with open(folder / name, "wb") as f:
            for begin in range(0, size, PIECE):
                f.write(data.randbytes(min(PIECE, size - begin)))
    return names


def check_space(work, count, size, runs):
    """Nothing is deleted between runs: see README.md."""
    needed = count * max(size, 4096) * (runs + 1) * 5 // 4 + FREE_MARGIN
    if shutil.disk_usage(work).free < needed:
        raise Failure(f"{work} needs {needed / 1e9:.0f} GB free; TMPDIR chooses another place")


def check_output(corpus, folder):
    """Every file is there, byte for byte, and nothing else is."""
    done = subprocess.run(["diff", "-rq", corpus, folder], capture_output=True, text=True)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).splitlines()
        raise Failure(f"{folder}: {len(lines)} differences, first: {lines[0]}")


def run_rounds(workload, corpus, names, base_url, work, rounds, stack):
    """{program: [Sample of each round]}. Each round has another order, so that none always comes behind
    the same one: what that left in the caches, or of the machine's share of its host, is not to decide."""
    for i, program in enumerate(workload.programs):
        program.start(work / f"p{i}", stack)
    samples = {program: [] for program in workload.programs}
    for round_ in range(rounds):
        for program in random.Random(round_).sample(workload.programs, len(workload.programs)):
            program.prepare(base_url + workload.path, names, round_)
            os.sync()
            sample = program.run()
            check_output(corpus, program.output)
            samples[program].append(sample)
            note(f"  round {round_ + 1} of {rounds}: {program.name:24}{sample.seconds:7.2f} s")
    return samples


def run_workload(workload, quick, folders):
    """Its report as (title, number of files, {program: samples}). Appends to folders what is to be removed."""
    count = workload.quick_count if quick else workload.count
    rounds = QUICK_ROUNDS if quick else workload.rounds or ROUNDS
    title = f"{count:,} {workload.title}, median of {rounds}"
    note(title)
    # /var/tmp: a disk, where /tmp may be memory
    work = Path(tempfile.mkdtemp(prefix="dld-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    folders.append(work)
    with ExitStack() as stack:
        check_space(work, count, workload.size, rounds * len(workload.programs))
        names = make_corpus(work / "corpus", count, workload.size)
        running = tls_nginx_running if workload.tls else nginx_running
        nginx = stack.enter_context(running(work / "nginx", work / "corpus"))
        Program.ca_file = nginx.authority.file if workload.tls else None
        samples = run_rounds(workload, work / "corpus", names, nginx.url(""), work, rounds, stack)
    if workload.size >= BIG:
        subprocess.run(["rm", "-rf", folders.pop()], check=False)
    return title, count, samples


START = time.monotonic()


def note(text):
    print(f"{time.monotonic() - START:6.1f} {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description="times dld beside its peers")
    parser.add_argument("--quick", action="store_true", help="a quarter of the files, three rounds")
    args = parser.parse_args()
    quit_on_signals()
    folders = []
    with ExitStack() as stack:
        stack.callback(lambda: subprocess.run(["rm", "-rf", *folders], check=False))
        results = [run_workload(w, args.quick, folders) for w in WORKLOADS if w.quick_count or not args.quick]
        # a million files take their time, in which dld may as well be idle
        remover = subprocess.Popen(["rm", "-rf", *folders])
        stack.callback(remover.wait)
        idle = measure_idle(QUICK_IDLE_SECONDS if args.quick else IDLE_SECONDS)
    path = HERE / "out" / ("quick.md" if args.quick else "bench.md")
    print(write_report(results, idle, path))
    note(f"s in all; it is also in {path}, and {path.with_suffix('.svg').name} beside it")


if __name__ == "__main__":
    try:
        main()
    except (Failure, AssertionError) as e:
        quit_with("bench", e)
    except KeyboardInterrupt:
        sys.exit("\nbench: stopped; everything it had started is gone")
