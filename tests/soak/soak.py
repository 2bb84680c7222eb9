"""A long run: many jobs from a server that errs in a fifth of its answers, workers killed every 5 seconds, the master
every 60, clients that come and go. At the end what dld says, what the server says and what is on disk must agree.

    make soak                 30 minutes, 1,000,000 jobs
    SOAK_MINUTES=5 make soak  a sixth of it

The results are printed, and plots of memory and descriptors put into tests/soak/out/.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

import plot  # noqa: E402
from dld import ENDED, Daemon, RpcError  # noqa: E402
from server import ERRORS, body_of, is_gone, size_of  # noqa: E402
from support import alive, files_under, is_part, memory_kib, server_port  # noqa: E402

JOBS_A_MINUTE = 1_000_000 / 30
BACKLOG = 30_000  # jobs that have not ended, at most, for a time at which the machine is slow
WORKER_KILL, MASTER_KILL = 5, 60  # seconds between
HOSTS = [f"127.0.0.{i}" for i in range(1, 9)]
SETTINGS = {"retry.count": "20", "retry.base": "50ms", "retry.max": "2s", "master.crash_limit": "20",
            "worker.transfers": "64", "host.connections": "16", "history.keep": "all"}
STOPPING, BUSY = -32004, -32003


class Soak:
    def __init__(self, base, minutes, seed):
        self.base, self.minutes, self.random = Path(base), minutes, random.Random(seed)
        self.total = int(JOBS_A_MINUTE * minutes)
        self.daemon = Daemon(self.base / "d", settings=SETTINGS)
        self.accepted = {}  # batch: (first N, how many)
        self.submitted = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.trouble, self.counts = [], Counter()
        self.samples = []  # (seconds, master KiB, workers KiB, master's descriptors, most of a worker's)
        self.port = server_port()

    # ---- clients ----

    def insist(self, method, params, timeout=300):
        """Asks until it is answered, over connections and restarts."""
        end = time.monotonic() + timeout
        while True:
            try:
                return self.daemon.call(method, params)
            except (OSError, AssertionError, RpcError) as error:
                if isinstance(error, RpcError) and error.code not in (STOPPING, BUSY):
                    raise
                if time.monotonic() > end:
                    raise TimeoutError(f"no answer to {method} in {timeout} s") from error
                self.counts["requests sent again"] += 1
                time.sleep(0.1)

    def job(self, n):
        return {"url": f"http://{self.random.choice(HOSTS)}:{self.port}/{n}", "output": f"{n // 1000}/{n}",
                "on_conflict": "rename", "priority": self.random.choice([0, 0, 0, 5, -5])}

    def take_numbers(self):
        with self.lock:
            first = self.submitted
            count = min(self.random.choice([1, 20, 300, 300, 2000]), self.total - first)
            self.submitted += count
        return first, count

    def submitter(self):
        while not self.over.is_set():
            first, count = self.take_numbers()
            if count == 0:
                return
            jobs = [self.job(n) for n in range(first, first + count)]
            answer = self.insist("submit", {"jobs": jobs, "submit_key": f"soak-{first}"})
            assert answer["count"] == count, answer
            with self.lock:
                assert answer["batch"] not in self.accepted, f"batch {answer['batch']} was given twice"
                self.accepted[answer["batch"]] = (first, count)
            while not self.over.is_set() and self.unended() > BACKLOG:
                time.sleep(0.3)
            self.over.wait(max(0, self.began + first / self.total * self.minutes * 60 - time.monotonic()))

    def unended(self):
        jobs = self.insist("status", {})["jobs"]
        return sum(n for state, n in jobs.items() if state not in ENDED)

    def visitor(self):
        """Looks around, breaks off, sends nonsense."""
        rnd = random.Random(self.random.random())
        while not self.over.wait(rnd.random()):
            try:
                with self.daemon.control(10) as c:
                    kind = rnd.randrange(6)
                    if kind == 0:
                        c.send("wait", {"all": True, "events": True})
                        self.over.wait(rnd.random() * 2)
                    elif kind == 1:
                        c.send("list", {"limit": 1000})
                    elif kind == 2:
                        c.send_raw(b'{"jsonrpc": "2.0", "method": ' + bytes(rnd.choices(range(256), k=50)) + b"\n")
                    elif kind == 3:
                        c.call("hosts", {})
                    elif kind == 4 and self.accepted:
                        self.watch(c, rnd.choice(list(self.accepted)))
                    else:
                        c.call("status", {})
                self.counts["visits"] += 1
            except (OSError, AssertionError, RpcError):
                self.counts["visits cut short"] += 1

    def watch(self, c, batch):
        """No end is told twice to one who waits."""
        c.call("wait", {"batch": batch, "events": True})
        ids = [d["params"]["id"] for d in c.notifications if d["method"] == "job"]
        if len(ids) != len(set(ids)):
            self.trouble.append(f"ends of batch {batch} were told twice")

    # ---- faults ----

    def killer(self):
        next_master = time.monotonic() + MASTER_KILL
        while not self.over.wait(WORKER_KILL):
            if time.monotonic() >= next_master:
                self.daemon.kill()
                self.counts["masters killed"] += 1
                self.daemon.start()
                next_master = time.monotonic() + MASTER_KILL
            elif pids := self.daemon.worker_pids():
                self.kill_worker(self.random.choice(pids))

    def kill_worker(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
            self.counts["workers killed"] += 1
        except ProcessLookupError:
            pass

    # ---- looking ----

    def sample(self):
        pid = self.daemon.pid
        workers = self.daemon.worker_pids()
        if alive(pid) and workers:
            self.samples.append((time.monotonic() - self.began, memory_kib(pid), sum(map(memory_kib, workers)),
                                 descriptors(pid), max(map(descriptors, workers))))

    def sampler(self):
        while not self.over.wait(1):
            self.sample()

    def guarded(self, function):
        def run():
            try:
                function()
            except Exception as error:  # told at the end
                self.trouble.append(f"{function.__name__}: {error!r}")
                self.over.set()
        return threading.Thread(target=run, name=function.__name__)

    # ---- the run ----

    def run(self):
        log = self.base / "server.json"
        server = subprocess.Popen([sys.executable, HERE / "server.py", str(self.port), log, "1"], stdout=subprocess.PIPE)
        try:
            assert server.stdout.readline() == b"ready\n"
            self.daemon.start()
            self.began = time.monotonic()
            self.work()
            jobs = self.daemon.jobs()
            self.sample()
            assert self.daemon.stop() == 0, self.daemon.stderr[-2000:]
        finally:
            self.over.set()
            server.terminate()
            server.wait()
        self.check(jobs, json.loads(log.read_text()))

    def work(self):
        submitters = [self.guarded(self.submitter) for _ in range(4)]
        others = [self.guarded(f) for f in (self.sampler, *[self.visitor] * 6)]
        others.append(self.guarded(lambda: self.finish(submitters)))
        for t in submitters + others:
            t.start()
        self.killer()  # here, because dld ends with the thread that started it
        for t in submitters + others:
            t.join()

    def finish(self, submitters):
        """Says that it is over when all jobs have ended."""
        for t in submitters:
            t.join()
        self.counts["seconds of submitting"] = round(time.monotonic() - self.began)
        end = time.monotonic() + 120 + self.minutes * 60
        while not self.over.is_set() and self.unended() > 0:
            if time.monotonic() > end:
                self.trouble.append(f"{self.unended()} jobs have not ended")
                break
            time.sleep(0.5)
        self.counts["seconds"] = round(time.monotonic() - self.began)
        self.over.set()

    # ---- the sum ----

    def expect(self, what, condition):
        if not condition:
            self.trouble.append(what)

    def check(self, jobs, log):
        whole = {int(n): k for n, k in log["whole"].items()}
        numbers = {}
        for job in jobs:
            n = int(job["url"].rsplit("/", 1)[1])
            self.expect(f"file {n} is in two jobs", n not in numbers)
            numbers[n] = job
        accepted = {n for first, count in self.accepted.values() for n in range(first, first + count)}
        self.expect(f"{len(accepted - set(numbers))} accepted jobs are lost", accepted <= set(numbers))
        self.expect(f"{len(set(numbers) - accepted)} jobs are there that nobody knows of", set(numbers) <= accepted)
        states = Counter(j["state"] for j in jobs)
        self.expect(f"states: {states}", set(states) <= {"done", "failed"})
        done = {n for n, j in numbers.items() if j["state"] == "done"}
        failed = {n: j["error"]["name"] for n, j in numbers.items() if j["state"] == "failed"}
        gone = {n for n in accepted if is_gone(n)}
        self.expect(f"{len(done - set(whole))} jobs are done whose file was never sent to its end", done <= set(whole))
        self.expect(f"{len(done & gone)} jobs are done whose file there never was", not done & gone)
        self.expect(f"{len(gone - set(failed))} files that are gone have jobs that did not fail", gone <= set(failed))
        others = Counter(name for n, name in failed.items() if n not in gone)
        self.expect(f"jobs failed that need not: {dict(others)}", not others)
        self.check_files(numbers, done)
        self.report(jobs, states, whole, log)

    def check_files(self, numbers, done):
        root = self.daemon.root
        files = {f for f in files_under(root) if not is_part(f)}
        parts = [f for f in files_under(root) if is_part(f)]
        outputs = {numbers[n]["output"] for n in done}
        self.expect(f"{len(files - outputs)} files too many, as {sorted(files - outputs)[:3]}", files <= outputs)
        self.expect(f"{len(outputs - files)} files too few", outputs <= files)
        self.expect(f"{len(parts)} part files are left", not parts)
        wrong = [n for n in done if numbers[n]["output"] in files
                 and (root / numbers[n]["output"]).read_bytes() != body_of(n)]
        self.expect(f"{len(wrong)} files have wrong bytes, as {wrong[:3]}", not wrong)
        sizes = [n for n in done if numbers[n]["size"] != size_of(n)]
        self.expect(f"{len(sizes)} jobs have wrong sizes", not sizes)
        self.counts["files compared"] = len(done)

    def report(self, jobs, states, whole, log):
        again = sum(k - 1 for k in whole.values())
        bad = sum(log["bad"].values())
        print(f"{len(jobs)} jobs in {len(self.accepted)} batches, {self.total} wanted: {dict(states)}")
        print(f"the server: {log['requests']} requests, {bad} bad answers ({100 * bad / max(log['requests'], 1):.1f} %; "
              f"{100 * ERRORS:.0f} wanted): {log['kinds']}; {again} files sent once more, after kills and connections that ended badly")
        for what, n in self.counts.items():
            print(f"  {n:>9} {what}")
        names = ("master's memory, MiB", "workers' memory, MiB", "master's descriptors", "a worker's descriptors")
        scale = (1024, 1024, 1, 1)
        series = {name: [s[i + 1] / scale[i] for s in self.samples] for i, name in enumerate(names)}
        for name, values in series.items():
            print(plot.text(name, values))
        out = HERE / "out"
        out.mkdir(exist_ok=True)
        plot.svg(out / "soak.svg", f"dld: {len(jobs)} jobs, {self.counts['seconds']} s", series, self.samples[-1][0])


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    base = Path(tempfile.mkdtemp(prefix="dld-soak-", dir=os.environ.get("SOAK_DIR", "/var/tmp")))
    soak = Soak(base, minutes, seed=1)
    try:
        soak.run()
    except BaseException as error:
        soak.trouble.append(repr(error))
        raise
    finally:
        for line in soak.trouble:
            print("TROUBLE:", line)
        try:
            soak.daemon.close()
        finally:
            sys.stdout.flush()
            if not soak.trouble:
                shutil.rmtree(base)
            else:
                print(f"kept: {base}")
    print("all agrees" if not soak.trouble else "it does not agree")
    return 1 if soak.trouble else 0


if __name__ == "__main__":
    sys.exit(main())
