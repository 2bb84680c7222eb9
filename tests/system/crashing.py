"""Killed at a named step: jobs of every kind, a dld built with FAULTS=1, and what must be right afterwards.

common/fault.h has the steps. A Faults is the file that tells the processes where to die; a Story hands in jobs, pauses,
cancels, purges, stops and starts, sees to it that dld is there again whenever it was killed, and checks the end.
"""

import mmap
import re
import signal
import sqlite3
import struct
from collections import Counter

from dld import ENDED, Control
from support import ROOT, content, files_under, is_part, wait_for

PROGRAM = ROOT / ".build-faults" / "dld"
POINTS = re.findall(r"^    X\((\w+)\)", (ROOT / "common" / "fault.h").read_text(), re.M)
NUMBER = struct.Struct("@i")

# Those that are met only when another process has died, and of what.
FIRST = {"worker_lost": ["job_received"], "own_found": ["name_given"]}
# Those that a worker meets when it has published some files already, unsynced.
UNNAMED = {"unnamed_linked", "replacement_linked"}

STATES = {"queued": 0, "waiting": 1, "paused": 2, "done": 4, "failed": 5, "cancelled": 6}
SIZE, PART = 300000, 200000
SLOW_SIZE = 2 << 20  # comes in pieces of 256 KiB, with minutes between them
KEPT = 1 << 16  # bytes that are worth keeping
# The same server by other names: one is held back for its errors, over the other's connections comes nothing else.
TROUBLED, SLOW = "localhost", "slow.localhost"
SETTINGS = {"master.crash_limit": "100", "retry.count": "5", "transfer.sync_interval": "5ms", "host.connections": "64",
            "transfer.min_free_space": "0"}


class Faults:
    """The file of fault.h."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(NUMBER.size * len(POINTS)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def arm(self, point, k=1):
        """The k-th process that comes by from now on is killed."""
        NUMBER.pack_into(self._map, NUMBER.size * POINTS.index(point), k)

    def number(self, point):
        return NUMBER.unpack_from(self._map, NUMBER.size * POINTS.index(point))[0]

    def met(self):
        """The points that a process came by."""
        return {p for p in POINTS if self.number(p) < 0}

    def close(self):
        self._map.close()


class Story:
    """What happens to one dld, whose program dies now and then."""

    patience = 60  # seconds

    def __init__(self, daemon, bad, name="", copies=1):
        self.daemon, self.bad, self.name, self.copies = daemon, bad, name, copies
        daemon.settings |= SETTINGS
        self.arm()
        self.deaths = 0  # of the master
        self.look = lambda: None  # is called again and again
        self.bodies = {}  # {output: what it may hold}
        self.asked = {}  # {path: requests that it takes}
        self.troubled = set()  # paths on a host whose connections break: what came over one is asked for again
        self.wanted = Counter()  # {(path, state): jobs}
        self.batches = {}  # {submit_key: what it was answered}
        self.old = {f"old{n}": f"what was there before, {n}".encode() for n in range(4)}
        for name, body in self.old.items():
            (daemon.root / name).write_bytes(body)

    def arm(self):
        self.daemon.program = PROGRAM
        self.faults = Faults(self.daemon.base / "faults")
        self.daemon.env["FAULT_POINTS"] = str(self.faults.path)

    # ---- jobs ----

    def job(self, path, body, requests=1, output=None, state="done", query="", host="127.0.0.1", **keys):
        """One that will end in that state, with that body."""
        self.wanted[path, state] += 1
        if state == "done":
            self.asked[path] = requests
            if host == TROUBLED:
                self.troubled.add(path)
            self.bodies.setdefault(output or path.rpartition("/")[2], set()).add(body)
        url = self.bad.url(path + query).replace("127.0.0.1", host)
        return {"url": url, **({"output": output} if output else {}), **keys}

    def plain(self, what, **keys):
        path = f"/any/{self.name}{what}"
        return self.job(path, content(path, 2000), **keys)

    def parts(self, what, cut, cuts, rate="", requests=1, size=SIZE, **keys):
        path = f"/parts/{size}/{cut}/{cuts}/{self.name}{what}"
        return self.job(path, content(path + "1", size), requests, query=f"?etag=%22v%22{rate}", **keys)

    def first_jobs(self, i):
        flaky, gone = f"/flaky/503/1/{self.name}f{i}", f"/status/404/{self.name}g{i}"
        jobs = [self.plain(f"{i}-{n}") for n in range(3)]
        jobs += [self.plain(f"{i}-deep{n}", output=f"new/{i}/{n}/deep") for n in range(2)]
        jobs += [self.job(flaky, content(flaky, 2000), requests=2, host=TROUBLED), self.job(gone, b"", state="failed")]
        jobs += [self.plain(f"later{i}", not_before="+1s")]
        jobs += [self.parts(f"cut{i}", PART, 1, requests=2, host=TROUBLED)]
        return jobs

    def name_jobs(self):
        """Those that are about names: some that replace files, and some that want the same."""
        jobs = [self.plain(f"over{n}", output=name, on_conflict="overwrite") for n, name in enumerate(self.old)]
        same = [self.plain(f"same{n}", output="same.bin") for n in range(3)]
        bodies = self.bodies.pop("same.bin")
        for name in ("same.bin", "same.1.bin", "same.2.bin"):
            self.bodies[name] = bodies
        return jobs + same

    # ---- dld, alive or not ----

    def check_names(self):
        """At any instant: what has a final name is whole."""
        for name in files_under(self.daemon.root):
            if is_part(name):
                continue
            found = (self.daemon.root / name).read_bytes()
            assert found in self.bodies.get(name, ()) or found == self.old.get(name), f"{name} is wrong"

    def is_up(self):
        return self.daemon.running and self.daemon.notify.seen("READY=1")

    def ended(self, code):
        """dld is no more, without being told so."""
        assert code == -signal.SIGKILL, self.daemon.stderr
        self.deaths += 1

    def up(self):
        """Sees to it that dld runs and is ready."""
        while not self.is_up():
            if not self.daemon.running:
                if self.daemon.process:
                    self.ended(self.daemon.wait_exit())
                    self.check_names()
                self.daemon.spawn()
            wait_for(lambda: self.is_up() or not self.daemon.running, 20, "READY=1 or an end")

    def call(self, method, params=None):
        """Calls until there is an answer."""
        while True:
            self.look()
            self.up()
            try:
                with Control(self.daemon.socket) as c:
                    return c.call(method, params)
            except (OSError, AssertionError):
                wait_for(lambda: not self.daemon.running, 20, "an end of dld, which hung up")

    def wait(self, condition, what):
        """Waits until condition(jobs) holds for those in the store, whatever happens to dld meanwhile."""
        return wait_for(lambda: condition(self.all_jobs()), self.patience, what)

    def all_jobs(self):
        jobs, after = [], 0
        while after is not None:
            page = self.call("list", {"after": after})
            jobs, after = jobs + page["jobs"], page["next"]
        return jobs

    def part_size(self, number):
        try:
            return self.daemon.part(number).stat().st_size
        except FileNotFoundError:  # not yet, or not any more
            return 0

    def stop(self):
        """SIGTERM; it may be killed before it has ended well."""
        self.up()
        self.daemon.process.terminate()
        code = self.daemon.wait_exit()
        if code != 0:
            self.ended(code)
        self.check_names()
        wait_for(self.daemon.has_no_processes, what="workers to go away")
        self.daemon.process = None

    # ---- the story ----

    def submit(self, key, jobs, chunk=None):
        """Under a key, so that it can be said again; in chunks of so many jobs."""
        step = chunk or len(jobs)
        for at in range(0, len(jobs), step):
            params = {"jobs": jobs[at:at + step], "submit_key": self.name + key, "offset": at, "last": at + step >= len(jobs)}
            answer = self.call("submit", params)
        assert answer["count"] == len(jobs)
        self.batches[key] = answer
        again = self.call("submit", params)
        assert (again["batch"], again["count"]) == (answer["batch"], answer["count"])
        return answer["ids"] if len(jobs) <= 1000 else None

    def hand_in(self):
        self.submit("first", [job for i in range(self.copies) for job in self.first_jobs(i)] + self.name_jobs())
        self.submit("chunks", [self.plain(f"chunk{i}") for i in range(4 * self.copies)], chunk=3)

    def keep_and_cancel(self):
        """One is paused with half its file received, others are cancelled in the midst; then all of them are purged."""
        slow = "&rate=1000"
        (paused,) = self.submit("pause", [self.parts("pause", SLOW_SIZE, 0, slow, size=SLOW_SIZE, state="purged", host=SLOW)])
        cut = f"/silent-body/{PART}/{SIZE}/{self.name}"
        cancelled = self.submit("cancel", [self.job(f"{cut}c{i}", b"", state="purged", host=SLOW) for i in range(2)])
        (stopped,) = self.submit("stop", [self.parts("stop", SIZE, 0, slow + "&rates=1", requests=2, host=SLOW)])

        going = [paused, *cancelled]
        begun = lambda job: job["state"] == "done" or self.part_size(job["id"]) >= KEPT
        self.wait(lambda jobs: all(begun(j) for j in jobs if j["id"] in (*going, stopped)), "the slow ones' first bytes")
        self.change("pause", [paused], "paused")
        self.change("cancel", cancelled, "cancelled")
        self.cancel_and_purge(paused)
        self.call("purge", {"all": True, "state": "cancelled"})
        self.wait(lambda jobs: not any(j["id"] in going for j in jobs), "the purge")

    def change(self, method, ids, state):
        """Asks for it and waits until it is so. A master that dies before the worker has let go of a job forgets it."""
        asked = None

        def has_come(jobs):
            nonlocal asked
            if asked != self.deaths:
                self.call(method, {"ids": ids})
                asked = self.deaths
            return all(j["state"] == state for j in jobs if j["id"] in ids)
        self.wait(has_come, f"{state} jobs")

    def cancel_and_purge(self, number):
        """Both at once: the part file is still there when the row is to go."""
        self.up()
        try:
            with Control(self.daemon.socket) as c:
                ids = {"ids": [number]}
                calls = [c.send("cancel", ids), c.send("purge", {"all": True, "state": "cancelled"})]
                for call in calls:
                    c.answer(call)
        except (OSError, AssertionError):
            wait_for(lambda: not self.daemon.running, 20, "an end of dld, which hung up")
            self.call("cancel", {"ids": [number]})

    def run(self):
        self.hand_in()
        self.keep_and_cancel()
        self.stop()
        self.wait(lambda jobs: all(j["state"] in ENDED for j in jobs), "the end of all jobs")
        self.check_end()
        return self

    # ---- the end ----

    def check_end(self):
        jobs, counts = self.all_jobs(), self.call("status")["jobs"]
        found = Counter(("/" + j["url"].partition("?")[0].split("/", 3)[3], j["state"]) for j in jobs)
        assert found == {k: n for k, n in self.wanted.items() if k[1] != "purged"}, "jobs lost, or there twice"
        by_state = Counter(j["state"] for j in jobs)
        assert counts == {state: by_state.get(state, 0) for state in counts}
        self.check_files(jobs)
        for key in ("pause", "cancel"):
            answer = self.batches[key]
            again = self.call("status", {"batch": answer["batch"]})["batch"]
            assert again["count"] == again["cancelled"] == answer["count"], again
        self.stop()
        self.check_store(by_state)

    def check_files(self, jobs):
        wait_for(lambda: files_under(self.daemon.root) == sorted(self.bodies), 20, f"the files {sorted(self.bodies)} alone, not "
                 f"{files_under(self.daemon.root)}")
        self.check_names()
        outputs = [j["output"] for j in jobs if j["state"] == "done"]
        assert sorted(outputs) == sorted(self.bodies), "each file is one job's"
        assert not any(self.daemon.file(name).read_bytes() == body for name, body in self.old.items())
        same = [self.daemon.file(f"same{n}.bin").read_bytes() for n in ("", ".1", ".2")]
        assert len(set(same)) == 3

    def check_store(self, by_state):
        """The numbers that are kept as rows are those of the rows."""
        store = sqlite3.connect(self.daemon.state / "queue.db")
        try:
            assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            counters = dict(store.execute("SELECT state, n FROM counters WHERE n > 0"))
            assert counters == {STATES[s]: n for s, n in by_state.items()}
            rows = dict(store.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
            assert rows == counters
            assert store.execute("SELECT count(*) FROM lanes").fetchone() == (0,)
            assert store.execute("SELECT count(*) FROM jobs WHERE kept_offset < 0 AND state > 4").fetchone() == (0,)
            for number, count, done, failed, cancelled, purged in store.execute(
                    "SELECT id, count, done, failed, cancelled, purged FROM batches"):
                assert count == done + failed + cancelled
                here = dict(store.execute("SELECT state, count(*) FROM jobs WHERE batch = ? GROUP BY state", [number]))
                assert sum(here.values()) == count - purged
                assert (here.get(4, 0), here.get(5, 0)) == (done, failed)
            keys = store.execute("SELECT count(*), count(DISTINCT submit_key) FROM batches").fetchone()
            assert keys == (len(self.batches), len(self.batches))
        finally:
            store.close()

    def check_requests(self, kills):
        """What a server was asked for again is no more than what died with so many processes."""
        for path, wanted in self.asked.items():
            most = wanted + kills * (1 + (path in self.troubled))
            assert wanted <= self.bad.count(path) <= most, f"{path}: {self.bad.count(path)} requests"
