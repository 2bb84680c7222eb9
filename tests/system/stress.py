"""All verbs at random against a daemon that is restarted and killed meanwhile; then a recount.

By hand, from this directory: `python3 stress.py [SECONDS [SEED]]`. What happens depends on the moments too, so
that a seed repeats what is asked for and not all of what comes of it.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from badserver import BadServer
from behaviours import GOOD_SIZE
from dld import ENDED, Daemon, RpcError
from support import closed_port, content, files_under, is_part, wait_for

SETTINGS = {"retry.base": "20ms", "retry.max": "300ms", "retry.count": "2", "host.connections": "4",
            "worker.transfers": "8", "control.max_line": "8M"}
TAGS = ("a", "b", "c")
NOT_FOUND, STOPPING = -32001, -32004

FORGOTTEN = "forgotten"  # the tag of jobs that are purged

# Paths, and how many of a hundred jobs have them. {} is a name of its own.
PATHS = {"/any/{}": 40, "/delay/0.05/2000/{}": 20, "/flaky/503/1/{}": 5, "/flaky/429/1/{}?retry-after=1": 1,
         "/status/404/{}": 10, "/flaky-cut/1/{}": 6, "/drip/2000/0.01/{}": 3, "/silent-body/1000/5000/{}": 3,
         "/cut-length/500/2000/{}": 4, "/reset/{}": 4, "/silent-request/{}": 2, "/flaky/404/1/{}": 2}


class Stress:
    def __init__(self, daemon, servers, dead, seed, say=print):
        self.daemon, self.servers, self.say = daemon, servers, say
        self.random = random.Random(seed)
        self.hosts = [f"127.0.0.1:{p}" for p in [s.port for s in servers] + [dead, servers[0].silent_port]]
        self.hosts.append("nowhere.invalid:80")
        self.batches = {}  # by id: how many jobs it has
        self.names = 0
        self.stopping = threading.Event()
        self.trouble = []

    def insist(self, method, params):
        """Asks until the daemon answers, or all is to end."""
        while True:
            if self.stopping.is_set():
                raise OSError("no answer before the end")
            try:
                return self.daemon.call(method, params)
            except (OSError, AssertionError, RpcError) as error:
                if isinstance(error, RpcError) and error.code != STOPPING:
                    raise
                time.sleep(0.05)

    # ---- what is asked for ----

    def job(self, rnd):
        self.names += 1
        host = self.hosts[rnd.choice([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4])]
        path = rnd.choices(list(PATHS), PATHS.values())[0].format(f"f{self.names}")
        job = {"url": f"http://{host}{path}", "on_conflict": "overwrite", "tag": rnd.choice([*TAGS, FORGOTTEN]),
               "output": f"d{self.names % 7}/f{self.names}", "priority": rnd.choice([0, 0, 0, -100, 50, 100])}
        if rnd.random() < 0.1:
            job["not_before"] = rnd.choice(["+1s", "+1h"])
        if rnd.random() < 0.05:
            job["deadline"] = "+2s" if job.get("not_before") != "+1h" else "+2h"
        return job

    def submit(self, rnd, call):
        jobs = [self.job(rnd) for _ in range(rnd.choice([1, 5, 40, 300]))]
        answer = call("submit", {"jobs": jobs, "submit_key": str(rnd.getrandbits(64))})
        self.batches[answer["batch"]] = len(jobs)

    def submit_in_chunks(self, rnd, call):
        """Some thousands of jobs, which come to be queued in steps, with pauses in which others act on them."""
        key, sent = str(rnd.getrandbits(64)), 0
        for last in (False, False, True):
            jobs = [{**self.job(rnd), "not_before": "+1h"} for _ in range(rnd.choice([500, 3000, 6000]))]
            answer = self.insist("submit", {"jobs": jobs, "submit_key": key, "offset": sent, "last": last})
            sent += len(jobs)
            time.sleep(rnd.random() * 0.1)
        self.batches[answer["batch"]] = sent

    def choice(self, rnd, with_host=True):
        which = rnd.choice(["ids", "ids", "batch", "batch", "tag"] + ["host"] * with_host + ["all"] * (rnd.random() < .1))
        if which == "ids":
            first = rnd.randrange(1, self.names + 2)
            return {"ids": list(range(first, first + rnd.choice([1, 10, 200])))}
        if which == "batch":
            return {"batch": rnd.choice(list(self.batches) or [1])}
        return {which: {"tag": rnd.choice(TAGS), "host": rnd.choice(self.hosts), "all": True}[which]}

    def change(self, rnd, call):
        verb = rnd.choice(["pause", "pause", "resume", "resume", "resume", "cancel", "retry", "retry", "set", "set"])
        params = self.choice(rnd, verb != "retry")
        if verb == "set":
            params.update(rnd.choice([{"priority": rnd.randrange(-100, 101)}, {"rate": rnd.choice(["none", "5K", "1M"])}]))
        if verb == "cancel" and "all" in params:
            return
        for _ in range(rnd.choice([1, 1, 2])):
            call(verb, params)

    def purge(self, rnd, call):
        call("purge", {"tag": FORGOTTEN, **rnd.choice([{}, {"state": "failed"}, {"state": "done"}])})

    def look(self, rnd, call):
        call("status", rnd.choice([{}, {"batch": rnd.choice(list(self.batches) or [1])}]))
        for host in call("hosts")["hosts"]:
            assert all(host[key] >= 0 for key in ("queued", "active", "waiting", "paused")), host
        call("list", {"state": rnd.choice(["queued", "active", "paused", "waiting", "failed"])})

    def drain(self, rnd, call):
        call("drain", {"on": True})
        time.sleep(rnd.random() * 0.2)
        call("drain", {"on": False})

    def act_on(self, seed):
        """A client: one thing after the other, over connections that break when the daemon goes."""
        rnd = random.Random(seed)
        acts = [self.submit] * 6 + [self.change] * 12 + [self.purge, self.look, self.look, self.drain, self.submit_in_chunks]
        while not self.stopping.is_set():
            act = rnd.choice(acts)
            try:
                act(rnd, self.daemon.call)
            except RpcError as error:
                if error.code not in (NOT_FOUND, STOPPING):
                    self.trouble.append(f"{act.__name__}: {error}")
            except (OSError, AssertionError) as error:
                cut = "closed the connection", "half a line before the end"
                if not isinstance(error, OSError) and not any(words in str(error) for words in cut):
                    self.trouble.append(f"{act.__name__}: {error!r}")
                time.sleep(0.05)
            time.sleep(rnd.random() * 0.05)

    # ---- what happens to it ----

    def disturb(self):
        what = self.random.choice(["worker", "worker", "worker", "kill", "restart"])
        if what == "kill":
            self.daemon.kill()
            self.daemon.start()
        elif what == "restart":
            self.daemon.restart()
        elif pids := self.daemon.worker_pids():
            os.kill(self.random.choice(pids), signal.SIGKILL)

    def run(self, seconds, clients=3):
        threads = [threading.Thread(target=self.act_on, args=(self.random.random(),)) for _ in range(clients)]
        for t in threads:
            t.start()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                time.sleep(0.3 + self.random.random() * 1.2)
                self.disturb()
        finally:
            self.stopping.set()
            for t in threads:
                t.join()
        self.recount()

    # ---- the recount ----

    def settle(self):
        """Lets what can end do so for a while, and cancels the rest."""
        d = self.daemon
        d.call("drain", {"on": False})
        d.call("set", {"rate": "default"})
        d.call("set", {"all": True, "rate": "none"})
        d.call("resume", {"all": True})
        time.sleep(2)
        d.call("cancel", {"all": True})
        wait_for(d.none_left, 30, f"all to have ended: {d.counts()} {d.call('hosts')['hosts'][:5]}")

    def check_counts(self, jobs):
        d = self.daemon
        counted = {state: 0 for state in d.counts()}
        for j in jobs:
            counted[j["state"]] += 1
        assert d.counts() == counted
        assert d.call("hosts")["hosts"] == [], d.call("hosts")["hosts"]
        for state in counted:
            assert len(d.jobs(state=state)) == counted[state], state

    def check_batches(self, jobs):
        by_batch = {}
        for j in jobs:
            by_batch.setdefault(j["batch"], []).append(j)
        for batch, count in self.batches.items():
            sums = self.daemon.call("status", {"batch": batch})["batch"]
            assert sums["count"] == count and sums["complete"], sums
            assert sums["done"] + sums["failed"] + sums["cancelled"] == count, sums
            for state in ENDED:
                there = sum(j["state"] == state for j in by_batch.get(batch, []))
                assert there <= sums[state], (sums, state, there)
            gone = count - len(by_batch.get(batch, []))
            kept = [j for j in by_batch.get(batch, []) if j["tag"] != FORGOTTEN]
            assert sums["bytes"] >= sum(j["size"] for j in kept if j["state"] == "done")
            assert gone >= 0

    def check_files(self, jobs):
        root = self.daemon.root
        for j in jobs:
            if j["state"] == "done" and "skipped" not in j:
                path = j["url"].split("?")[0].split("/", 3)[3]
                assert (root / j["output"]).read_bytes() == content("/" + path, GOOD_SIZE), j
        may_go_on = [j["id"] for j in jobs if j["state"] == "failed"]
        wait_for(lambda: len([f for f in files_under(root) if is_part(f)]) <= len(may_go_on), 20,
                 "part files to be those of failed jobs")

    def no_parts_left(self):
        def parts():
            return sorted(str(f) for f in files_under(self.daemon.root) if is_part(f))
        try:
            wait_for(lambda: not parts(), 20, "no part files to be left")
        except AssertionError as error:
            raise AssertionError(f"{error}: {parts()}; status: {self.daemon.call('status')}") from error

    def recount(self):
        self.settle()
        jobs = self.daemon.jobs()
        self.check_counts(jobs)
        self.check_batches(jobs)
        self.check_files(jobs)
        told = {s: sum(j["state"] == s for j in jobs) for s in ENDED}
        self.say(f"{len(self.batches)} batches of {sum(self.batches.values())} jobs: {told}")
        n = self.daemon.call("purge", {"all": True})["purged"]
        assert n == len(jobs)
        wait_for(lambda: not any(self.daemon.counts().values()), 20, "every job to be forgotten")
        self.no_parts_left()
        assert not self.trouble, self.trouble


def stress(base, seconds, seed):
    servers = [BadServer().start(), BadServer().start()]
    daemon = Daemon(base, settings=SETTINGS)
    try:
        with closed_port() as dead:
            daemon.start()
            Stress(daemon, servers, dead.port, seed).run(seconds)
    finally:
        daemon.close()
        for server in servers:
            server.stop()


if __name__ == "__main__":
    duration = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    number = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {number}", flush=True)
    place = tempfile.mkdtemp(prefix="stress-")
    stress(place, duration, number)
    shutil.rmtree(place)
    print("all accounted for")
