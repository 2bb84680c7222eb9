#!/usr/bin/python3
"""How fast dld as a whole takes, starts with and works off a queue of up to BENCH_JOBS jobs; see README.md
beside this file.

dld and dlctl are the real ones; in the place of dld-worker stands queue_worker.c, which transfers nothing.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
from programs import cpu_seconds, run_command, status_mib  # noqa: E402
from report import align  # noqa: E402
from servers import Failure, ServedDaemon, quit_on_signals, quit_with  # noqa: E402
from support import BUILD  # noqa: E402

HOSTS = 1000
FILE_JOBS = 1_000_000  # of the job file
CHUNK = 10_000  # jobs of a batch over the control socket
CHUNKS = 30
IN_FLIGHT = 4
SMALL = 10_000
ROUNDS = 3  # of dispatching from each queue, in turn
SMALL_RUNS = 5  # in each of them, for they are short
DISPATCH_JOBS = 300_000  # of a run; of all rounds fewer than [history] keep has
BYTES_PER_JOB = 600  # of disk, the log and the job file included
SETTINGS = {"worker.transfers": 256, "host.connections": 1000}
COLUMNS = ["queued", "dlctl submit jobs/s", "CPU us/job", "batches jobs/s", "CPU us/job", "RSS MiB", "peak MiB",
           "READY ms", "first job ms", "cold ms", "dispatch jobs/s", "CPU us/job", "RSS MiB", "bytes/job"]


def note(text):
    print(text, file=sys.stderr, flush=True)


def job_text(n):
    """Hosts are spread as names are: neighbours in the file are not neighbours in any order."""
    host = (n % HOSTS) * 0x9E3779B97F4A7C15 % (1 << 64) >> 16
    return '{"url":"http://h%012x.example.com/pub/files/%09d.bin"}' % (host, n)


class Queue:
    """A daemon, its queue, and what was measured of it."""

    def __init__(self, base, jobs):
        self.base, self.file_jobs = base, min(FILE_JOBS, jobs)
        program = base / "bin"
        program.mkdir(parents=True)
        shutil.copy(BUILD / "dld", program / "dld")
        shutil.copy(BUILD / "bench_queue_worker", program / "dld-worker")
        self.daemon = ServedDaemon(base / "dld", workers=2, settings=SETTINGS, program=program / "dld")
        self.file = base / "jobs.json"
        with self.file.open("w") as f:
            f.write("[" + ",\n".join(job_text(n) for n in range(self.file_jobs)) + "]\n")

    def start(self, answer):
        """Starts dld, whose workers answer every job or hold what they get. Returns the seconds until it
        was ready and until the first job was at a worker (None where nothing is queued)."""
        d = self.daemon
        (d.root / "first").unlink(missing_ok=True)
        (d.root / "answer").unlink(missing_ok=True)
        if answer:
            (d.root / "answer").touch()
        start = time.monotonic()
        d.spawn()
        first = None
        while d.process.poll() is None and (first is None or not d.notify.seen("READY=1")):
            if first is None and (d.root / "first").exists():
                first = time.monotonic() - start
            if first is None and d.notify.seen("READY=1") and time.monotonic() - start > 1 and not self.queued():
                break
            if time.monotonic() - start > 60:
                raise Failure(f"dld was not at work within a minute; it said:\n{d.stderr[-2000:]}")
            time.sleep(0.0005)
        if d.process.poll() is not None:
            raise Failure(f"dld ended with {d.process.returncode}; it said:\n{d.stderr[-2000:]}")
        return d.notify.time_of("READY=1") - start, first

    def stop(self):
        if self.daemon.process and self.daemon.running:
            self.daemon.stop()

    def counts(self):
        return self.daemon.counts()

    def queued(self):
        counts = self.counts()
        return counts["queued"] + counts["active"]

    def submit_file(self):
        """dlctl submit of the job file: jobs a second from its start to its end, CPU of all per job."""
        with open(self.base / "errors", "wb") as errors:
            before = cpu_seconds([self.daemon.pid])
            command = self.daemon.dlctl_command("submit", self.file)
            code, seconds, cpu, _ = run_command(command, errors)
            cpu += cpu_seconds([self.daemon.pid]) - before
        if code != 0:
            raise Failure(f"dlctl submit exited with {code}: {(self.base / 'errors').read_text()[:2000]}")
        return self.file_jobs / seconds, cpu / self.file_jobs * 1e6

    def submit_batches(self):
        """The same for batches over the control socket, some in flight; the CPU is the daemon's alone."""
        jobs = [job_text(n) for n in range(CHUNK)]
        params = '"method":"submit","params":{"jobs":[' + ",".join(jobs) + "]}}\n"
        with self.daemon.control() as control:
            before, start = cpu_seconds([self.daemon.pid]), time.monotonic()
            for number in range(CHUNKS):
                if number >= IN_FLIGHT:
                    control.answer(number - IN_FLIGHT + 1)
                control.send_raw(f'{{"jsonrpc":"2.0","id":{number + 1},{params}'.encode())
            for number in range(CHUNKS - IN_FLIGHT, CHUNKS):
                control.answer(number + 1)
            seconds = time.monotonic() - start
        n = CHUNK * CHUNKS
        return n / seconds, (cpu_seconds([self.daemon.pid]) - before) / n * 1e6

    def settle(self):
        """Waits until batches of several chunks are all queued."""
        last = None
        while last != (now := Path(f"/proc/{self.daemon.pid}/io").read_text()):
            last = now
            time.sleep(1)

    def memory(self):
        return status_mib(self.daemon.pid, "status", "VmRSS"), status_mib(self.daemon.pid, "status", "VmHWM")

    def fill(self, jobs):
        while (missing := jobs - self.queued()) > 0:
            if missing >= self.file_jobs:
                rate, _ = self.submit_file()
                note(f"  {self.queued():,} queued, {rate:,.0f} jobs/s")
            else:
                with self.daemon.control() as control:
                    for at in range(0, missing, CHUNK):
                        jobs_text = ",".join(job_text(n) for n in range(min(CHUNK, missing - at)))
                        control.send_raw(f'{{"jsonrpc":"2.0","id":1,"method":"submit","params":{{"jobs":'
                                         f'[{jobs_text}]}}}}\n'.encode())
                        control.answer(1)
        self.settle()

    def forget_cache(self):
        """Drops the database from the page cache."""
        fd = os.open(self.daemon.state / "queue.db", os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def fill_cache(self):
        with (self.daemon.state / "queue.db").open("rb", buffering=0) as f:
            while f.read(1 << 20):
                pass

    def start_up(self):
        """Milliseconds until READY and until the first job, and the latter with a cold cache."""
        times = []
        for _ in range(3):
            times.append(self.start(answer=False))
            self.stop()
        ready, first = (sorted(t[i] for t in times)[1] * 1000 for i in (0, 1))
        self.forget_cache()
        _, cold = self.start(answer=False)
        self.stop()
        return ready, first, cold * 1000

    def dispatch(self, jobs):
        """Jobs a second that end from the first at a worker on, CPU of the master per job, its peak memory."""
        self.start(answer=True)
        with self.daemon.control() as control:
            before, start, used = self.ended(control), time.monotonic(), cpu_seconds([self.daemon.pid])
            while True:
                counts = control.call("status")["jobs"]
                if counts["done"] - before >= jobs or counts["queued"] + counts["active"] == 0:
                    break
                time.sleep(0.005 if jobs <= SMALL else 0.02)
            seconds = time.monotonic() - start
        used, n = cpu_seconds([self.daemon.pid]) - used, max(counts["done"] - before, 1)
        _, peak = self.memory()
        self.stop()
        return n / seconds, used / n * 1e6, peak

    @staticmethod
    def ended(control):
        return control.call("status")["jobs"]["done"]

    def drop(self):
        """Begins anew, with nothing in the queue."""
        self.stop()
        shutil.rmtree(self.daemon.state)
        self.daemon.state.mkdir()

    def file_bytes(self):
        return (self.daemon.state / "queue.db").stat().st_size


def median(values):
    return sorted(values)[len(values) // 2]


def refill(queue, jobs):
    queue.start(answer=False)
    queue.fill(jobs)
    queue.stop()


def prepare(queue, jobs):
    """Fills the queue. Returns the columns of starting with it, and its bytes per job."""
    note(f"{jobs:,} jobs")
    refill(queue, jobs)
    times, size = queue.start_up(), queue.file_bytes() / jobs
    queue.fill_cache()
    return [f"{t:.0f}" for t in times], f"{size:.0f}"


def dispatch_in_turn(queues):
    """The columns of dispatching for each number of jobs queued."""
    runs = {jobs: [] for jobs in queues}
    for number in range(ROUNDS):
        note(f"dispatching, round {number + 1}")
        for jobs, queue in queues.items():
            for _ in range(SMALL_RUNS if jobs == SMALL else 1):
                if jobs == SMALL:
                    refill(queue, jobs)
                runs[jobs].append(queue.dispatch(min(DISPATCH_JOBS, jobs * 9 // 10)))
    columns = {}
    for jobs, measured in runs.items():
        rate, used = (median([run[i] for run in measured]) for i in range(2))
        columns[jobs] = [f"{rate:,.0f}", f"{used:.1f}", f"{max(run[2] for run in measured):.0f}"]
    return columns


def submit(queue):
    """The columns of submitting to what is there now, and of the memory after it."""
    queue.start(answer=False)
    batch_rate, batch_cpu = queue.submit_batches()
    file_rate, file_cpu = queue.submit_file()
    rss, peak = queue.memory()
    queue.settle()
    queue.stop()
    return [f"{file_rate:,.0f}", f"{file_cpu:.1f}", f"{batch_rate:,.0f}", f"{batch_cpu:.1f}", f"{rss:.0f}",
            f"{peak:.0f}"]


def table_of(rows):
    rows = [COLUMNS] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["| " + " | ".join(align(row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def check_space(directory, jobs):
    needed = (jobs + 4 * FILE_JOBS) * BYTES_PER_JOB
    if shutil.disk_usage(directory).free < needed:
        raise Failure(f"{directory} needs {needed / 1e9:.0f} GB free; BENCH_DIR chooses another place, "
                      "BENCH_JOBS fewer jobs")


def main():
    parser = argparse.ArgumentParser(description="measures dld's queue from end to end")
    parser.add_argument("directory", help="where the queue goes; all of it is removed in the end")
    parser.add_argument("--jobs", type=int, default=10_000_000, help="the largest queue (10000000)")
    args = parser.parse_args()
    quit_on_signals()
    check_space(args.directory, args.jobs)
    start = time.monotonic()
    sizes = sorted({min(n, args.jobs) for n in (SMALL, 1_000_000, args.jobs)})
    with tempfile.TemporaryDirectory(prefix="dld-bench-", dir=args.directory) as work:
        queues = {jobs: Queue(Path(work) / str(jobs), args.jobs) for jobs in sizes}
        try:
            starts = {jobs: prepare(queue, jobs) for jobs, queue in queues.items()}
            dispatched = dispatch_in_turn(queues)
            queues[sizes[0]].drop()
            rows = [[f"{jobs:,}", *submit(queue), *starts[jobs][0], *dispatched[jobs], starts[jobs][1]]
                    for jobs, queue in queues.items()]
        finally:
            for queue in queues.values():
                queue.stop()
    text = table_of(rows)
    path = HERE / "out" / "queue.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    print(text)
    note(f"{time.monotonic() - start:.0f} s in all; the table is also in {path}")


if __name__ == "__main__":
    try:
        main()
    except (Failure, AssertionError, subprocess.TimeoutExpired) as e:
        quit_with("bench-queue", e)
    except KeyboardInterrupt:
        sys.exit("\nbench-queue: stopped; everything it had started is gone")
