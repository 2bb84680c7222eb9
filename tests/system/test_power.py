"""The power goes: the order of write, sync, name, commit and answer is read from a trace of the system calls, and dld
is started on what the disk could hold at many instants.

DLD_POWER_ALL=1 tries every instant with every outcome instead of some.
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest

from disk import DATA, NAMES, STRACE, Disk, mark_of, trace_of
from dld import DLD, ENDED, Daemon
from queue_file import discrepancies
from support import content, files_under, is_part, part_number, seeded, wait_for

DONE, FAILED = 4, 5
IMAGES = 20  # in an ordinary run, of each mode
BIG = "/parts/12000000/11500000/1/big"
OLD = b"what was there before"


def body_of(url):
    path = urlsplit(url).path
    return content(path + "1", 12000000) if path == BIG else content(path, 2000)


def jobs_of(bad):
    jobs = [{"url": bad.url(BIG + "?etag=%22v1%22&rate=15000000&rates=1")}]
    jobs += [{"url": bad.url(f"/any/plain-{i}")} for i in range(6)]
    jobs += [{"url": bad.url(f"/any/deep-{i}"), "output": f"new/{i % 2}/deep/{{name}}"} for i in range(6)]
    jobs += [{"url": bad.url(f"/any/same-{i}"), "output": "same.bin"} for i in range(4)]
    jobs += [{"url": bad.url("/any/over"), "output": "old", "on_conflict": "overwrite"}]
    sha = hashlib.sha256(content("/any/sum", 2000)).hexdigest()
    jobs += [{"url": bad.url("/any/sum"), "checksum": f"sha-256:{sha}"}, {"url": bad.url("/status/404/gone")}]
    return jobs


class Run:
    """What dld did under strace: the calls, the disk and the store at any instant, and what clients were told."""

    def __init__(self, base, calls, jobs, before=None):
        self.base, self.calls, self.jobs = Path(base), calls, {j["id"]: j for j in jobs}
        state, root = self.base / "state", self.base / "root"
        self.root = root
        self.store = str(state / "queue.db")
        self.disk = Disk(calls, [state, root], before or {root / "old": OLD}, self._body_of_part)
        self.log = self.disk.inodes[self.store + "-wal"]

    def _body_of_part(self, path):
        number = part_number(path)
        return body_of(self.jobs[number]["url"])

    def told(self):
        """(call, document) of all that went to clients, but for what is so long that strace shows a part of it."""
        for call in self.calls:
            if call.name == "sendto" and '"...' not in call.args and (sent := call.strings()) and sent[0].startswith(b'{"jsonrpc"'):
                for line in sent[0].splitlines():
                    yield call, json.loads(line)

    def rows(self, instant, data, names, scratch):
        """{id: (state, kept_offset, kept_file)} of the store as it would be found."""
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        for path, inode in self.disk.entries(instant, names).items():
            if path.startswith(self.store):
                (scratch / Path(path).name).write_bytes(inode.content(instant, data))
        return rows_in(scratch / "queue.db")


def rows_in(path):
    if not path.exists():
        return {}
    store = sqlite3.connect(path)
    try:
        return {row[0]: row[1:] for row in store.execute("SELECT id, state, kept_offset, kept_file FROM jobs")}
    except sqlite3.OperationalError as e:
        assert "no such table" in str(e)
        return {}
    finally:
        store.close()


def traced_program(tmp):
    """dld under strace, which writes to tmp/trace."""
    assert subprocess.run(["strace", "-o", tmp / "can", "true"]).returncode == 0, \
        "strace can't trace here: install it, and allow ptrace (in a container: --cap-add SYS_PTRACE)"
    program = tmp / "traced"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([*STRACE, "-o", str(tmp / "trace"), str(DLD)])} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def traced(tmp, make_daemon, bad):
    """Runs the jobs under strace, with transfer.fsync as asked for; or with so many files at once in one worker that
    they are synced together."""
    def run(mode):
        together = mode == "together"
        settings = {"transfer.fsync": "batch", "transfer.sync_interval": "300ms"} if together else {"transfer.fsync": mode}
        daemon = make_daemon("run", settings=settings, workers=1 if together else 2, program=traced_program(tmp))
        (daemon.root / "old").write_bytes(OLD)
        daemon.start()
        with daemon.control() as c:
            first = c.call("submit", {"jobs": jobs_of(bad)})
            c.call("submit", {"jobs": [{"url": bad.url(f"/any/late-{i}")} for i in range(45 if together else 5)]})
            c.call("wait", {"batch": first["batch"], "events": True})
            c.call("wait", {"all": True})
        jobs = daemon.jobs()
        os.kill(daemon.call("status")["pid"], signal.SIGKILL)  # nothing that comes later is of interest
        daemon.wait_exit()  # of strace, when all have ended
        return Run(daemon.base, trace_of(tmp / "trace"), jobs)
    return run


# ---- the order of things ----


def first_end(syncs, call):
    """When the first sync was over that began after the call."""
    return min((s.end for s in syncs if s.start >= call.end), default=None)


def durable_since(run, job):
    """When the file of a job was on the disk, with its name; what came before it in what order."""
    path = run.root / job["output"]
    named, inode = [(c, i) for c, d, n, i in run.disk.names if d == str(path.parent) and n == path.name and i][-1]
    synced = [s for s in inode.syncs if s.start >= inode.written_to() and s.end <= named.start]
    assert inode.written_to() > 0 and synced, f"{path} got its name before its data was synced"
    ends = [first_end(run.disk.directories[str(path.parent)].syncs, named)]
    for made, directory in run.disk.made:
        if path.is_relative_to(directory):
            ends.append(first_end(run.disk.directories[str(PurePosixPath(directory).parent)].syncs, made))
    assert all(ends), f"the name of {path} was never synced"
    return max(ends)


def commits(run, scratch):
    """(first write, sync, rows before, rows as they would be found then at most) of each commit."""
    before = {}
    writes = [c for c, kind, _, _ in run.log.changes if kind == "write"]
    for i, sync in enumerate(run.log.syncs):
        since = run.log.syncs[i - 1].start if i else -1
        mine = [w.start for w in writes if since < w.start < sync.start]
        rows = run.rows(sync.start, "all", "all", scratch)
        if mine:
            yield min(mine), sync, before, rows
        before = rows


@pytest.mark.parametrize("mode", ["batch", "together", "always"])
def test_order(traced, tmp, mode):
    run = traced(mode)
    done = {n for n, j in run.jobs.items() if j["state"] == "done"}
    assert len(done) == len(run.jobs) - 1 == (64 if mode == "together" else 24)
    assert any(c.name == "syncfs" for c in run.calls) == (mode == "together")
    recorded, kept = {}, 0
    for began, sync, before, rows in commits(run, tmp / "store"):
        for number, (state, offset, file) in rows.items():
            if state == DONE and before.get(number, (0,))[0] != DONE:
                assert durable_since(run, run.jobs[number]) < began, f"job {number} was recorded too early"
                recorded[number] = sync
            if offset and offset > 0 and before.get(number, (0, 0))[1] != offset:
                kept += 1
                (part,) = {i for _, _, _, i in run.disk.names if i and i.mark == file}
                assert len(part.content(began, "none")) >= offset, "more was said to be durable than was synced"
    assert set(recorded) == done
    assert kept >= 2, "a transfer that runs is saved, and one that broke off is kept"
    check_answers(run, recorded, tmp / "store")


def check_answers(run, recorded, scratch):
    acknowledged, ended = set(), set()
    for call, document in run.told():
        if "batch" in document.get("result", {}) and "ids" in document["result"]:
            ids = document["result"]["ids"]
            assert set(ids) <= set(run.rows(call.start, "none", "none", scratch)), "acknowledged before it was synced"
            acknowledged.update(ids)
        if document.get("method") == "job" and document["params"]["state"] == "done":
            number = document["params"]["id"]
            assert recorded[number].end < call.start, f"the end of job {number} was told before it was recorded"
            ended.add(number)
    assert acknowledged == set(run.jobs)
    assert len(ended) >= 5  # those that the wait began before


# ---- what is left ----


def instants(run):
    """When something of the disk, or of what clients know, changes; with all that may be left."""
    told = {call for call, _ in run.told()}
    mine = [c for c in run.calls if c in told or any(t in c.args for t in run.disk.tops)]
    return [(at, data, names) for at in sorted({c.start + 1 for c in mine} | {c.end + 1 for c in mine if c.end < 1 << 60})
            for data in DATA for names in NAMES]


def cuts_of(run):
    """A sample of the instants; or, when asked to, all at which something else is left, the last of each kind."""
    if not os.environ.get("DLD_POWER_ALL"):
        return seeded().sample(instants(run), IMAGES)
    signal.alarm(0)  # it takes as long as it takes
    return list({run.disk.signature(*cut): cut for cut in instants(run)}.values())


def translate_marks(store, written):
    """Files have other inodes than on the disk that they stand for."""
    marks = {inode.mark: mark_of(path) for path, inode in written.items() if inode.mark}
    rows = {n: row[2] for n, row in rows_in(store).items() if row[2] in marks}
    if rows:
        with sqlite3.connect(store) as db:
            db.executemany("UPDATE jobs SET kept_file = ? WHERE id = ?", [(marks[m], n) for n, m in rows.items()])
        db.close()


def copy_of_rows(state, scratch):
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(state, scratch)
    rows = rows_in(scratch / "queue.db")
    assert not rows or discrepancies(scratch / "queue.db") == [], "numbers that are not those of the rows"
    return rows


def check_names(root, bodies):
    """Every file that has its name is whole."""
    for name in files_under(root):
        if not is_part(name):
            found = (root / name).read_bytes()
            assert found in bodies, f"{name} has wrong bytes ({len(found)})"


def check_image(run, base, instant, data, names):
    daemon = Daemon(base, settings={"retry.base": "20ms"}, workers=1)
    written = run.disk.write(instant, data, names, lambda p: base / Path(p).relative_to(run.base))
    bodies = {OLD, *(body_of(j["url"]) for j in run.jobs.values())}
    check_names(daemon.root, bodies)
    rows = copy_of_rows(daemon.state, base / "copy")
    if any(offset for _, offset, _ in rows.values()):
        translate_marks(daemon.state / "queue.db", written)
    acknowledged = {n for call, d in run.told() if call.end < instant for n in d.get("result", {}).get("ids", ())}
    told = {d["params"]["id"] for call, d in run.told() if call.end < instant and d.get("method") == "job"}
    assert acknowledged <= set(rows), "a job that was acknowledged is lost"
    assert all(rows[n][0] in (DONE, FAILED) for n in told), "an end that was told is lost"
    for number in (n for n, row in rows.items() if row[0] == DONE):
        job = run.jobs[number]
        assert (daemon.root / job["output"]).read_bytes() == body_of(job["url"]), f"job {number} is not whole"
    try:
        daemon.start()
        wait_for(lambda: all(j["state"] in ENDED for j in daemon.jobs()), what="the end of all jobs")
        wait_for(daemon.none_left, what="numbers that say so")
        jobs = daemon.jobs()
        assert {j["id"] for j in jobs} == set(rows)
        for job in jobs:
            assert job["state"] == run.jobs[job["id"]]["state"], job
            assert job["state"] == "failed" or daemon.file(job["output"]).read_bytes() == body_of(job["url"]), job
        outputs = {j["output"] for j in jobs if j["state"] == "done"}
        assert set(files_under(daemon.root)) - {"old"} == outputs - {"old"}, "a file too many or too few"
    finally:
        daemon.close()
    assert discrepancies(daemon.state / "queue.db") == [], "numbers that are not those of the rows, at the end"
    shutil.rmtree(base)


@pytest.mark.parametrize("mode", ["batch", "together", "always"])
def test_power_cut(traced, tmp, mode):
    run = traced(mode)
    cuts = cuts_of(run)
    print(f"{len(cuts)} cuts")
    for i, (instant, data, names) in enumerate(cuts):
        print(f"cut before line {instant} of the trace; unsynced data: {data}, unsynced names: {names}")
        check_image(run, tmp / f"image{i}", instant, data, names)


# ---- done again ----


def test_file_found_published_is_made_durable(tmp, make_daemon, bad):
    """Workers were killed before the names that they gave were on the disk, perhaps: nobody knows."""
    jobs = [{"url": bad.url(f"/delay/0.3/2000/{i}"), "output": f"new/{i % 2}/{i}"} for i in range(10)]
    daemon = make_daemon("run", settings={"host.connections": "16"}).start()
    daemon.submit(jobs)
    wait_for(lambda: bad.count() == 10)
    os.kill(daemon.pid, signal.SIGSTOP)
    wait_for(lambda: sum(not is_part(f) for f in files_under(daemon.root)) == 10)
    daemon.kill()
    wait_for(daemon.has_no_processes)
    before = {p: p.read_bytes() for top in (daemon.state, daemon.root) for p in top.rglob("*") if p.is_file()}
    daemon.program = traced_program(tmp)
    daemon.start()
    wait_for(daemon.none_left)
    assert bad.count() == 10
    jobs = daemon.jobs()
    os.kill(daemon.call("status")["pid"], signal.SIGKILL)
    daemon.wait_exit()
    run = Run(daemon.base, trace_of(tmp / "trace"), jobs, before)
    found = 0
    for began, _, rows_before, rows in commits(run, tmp / "store"):
        for number in (n for n, row in rows.items() if row[0] == DONE and rows_before.get(n, (0,))[0] != DONE):
            path = run.root / run.jobs[number]["output"]
            for inode in (run.disk.inodes[str(path)], *(run.disk.directories[str(d)] for d in path.parents
                                                        if d.is_relative_to(run.root))):
                assert any(s.end < began for s in inode.syncs), f"{path} was recorded and not synced"
            found += 1
    assert found == 10
