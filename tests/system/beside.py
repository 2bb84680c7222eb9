"""Many jobs at once at a server that misbehaves, with twenty good ones of the same host between them."""

from behaviours import GOOD_SIZE
from support import content, files_under

NEIGHBOURS = 20


def run_beside(daemon, bad, jobs):
    """Jobs by name, without their outputs; each gets a directory of its name. Returns them as they ended, and says
    what became of the neighbours, which must be nothing but good."""
    good = [{"url": bad.url(f"/any/beside/{i}"), "output": f"beside/{i}", "retries": 0} for i in range(NEIGHBOURS)]
    bads = [{"retries": 1, "output": f"{name}/file", **keys} for name, keys in jobs.items()]
    step = len(bads) // NEIGHBOURS + 1
    batch = []
    for i, neighbour in enumerate(good):
        batch += [neighbour, *bads[i * step:(i + 1) * step]]
    ended = {job["output"] if job["output"] else job["url"]: job for job in daemon.run(batch, timeout=100)}
    for i in range(NEIGHBOURS):
        job = ended[f"beside/{i}"]
        assert job["state"] == "done" and job["attempts"] == 1, job
        assert daemon.file(f"beside/{i}").read_bytes() == content(f"/any/beside/{i}", GOOD_SIZE)
    workers = daemon.call("status")["workers"]
    assert all(worker["restarts"] == 0 for worker in workers), workers
    return {name: ended[f"{name}/file"] for name in jobs}


def not_done(daemon, jobs, wanted):
    """Those that ended in another way than with this error after so many attempts, and nothing on the disk."""
    wrong = []
    for name, job in jobs.items():
        error, attempts = wanted[name]
        if (job["state"], (job["error"] or {}).get("name"), job["attempts"]) != ("failed", error, attempts):
            wrong.append((name, error, attempts, daemon.show(job["id"])))
        if not (job["error"] or {}).get("message") or files_under(daemon.root / name):
            wrong.append((name, job["error"], files_under(daemon.root / name)))
    return wrong


def done_right(daemon, jobs, wanted):
    """Those that did not end with these bytes after so many attempts, and nothing else on the disk."""
    wrong = []
    for name, job in jobs.items():
        body, attempts = wanted[name]
        if (job["state"], job["attempts"], job["size"]) != ("done", attempts, len(body)):
            wrong.append((name, job["state"], job["error"], job["attempts"], job["size"]))
        elif files_under(daemon.root / name) != ["file"] or daemon.file(f"{name}/file").read_bytes() != body:
            wrong.append((name, "other bytes", files_under(daemon.root / name)))
    return wrong
