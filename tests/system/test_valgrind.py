"""All three programs under valgrind's memcheck: no error in any of them, and nothing lost when they end."""

import json
import re
import subprocess

import pytest

import dld
from dld import DLCTL, DLD
from support import ROOT, SANITIZE, content, wait_for

pytestmark = pytest.mark.skipif(SANITIZE, reason="sanitizers and valgrind don't go together")

LOSSES = "definite,indirect,possible"
VALGRIND = ["valgrind", "--leak-check=full", f"--show-leak-kinds={LOSSES}", f"--errors-for-leak-kinds={LOSSES}",
            "--trace-children=yes"]


@pytest.fixture
def memcheck(tmp):
    """Turns a command into one under valgrind, whose reports are looked at when the test has ended."""
    shim = tmp / "openat2.so"
    subprocess.run(["gcc", "-O1", "-g", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim,
                    ROOT / "tests" / "system" / "openat2.c", "-ldl"], check=True)

    def under(program):
        script = tmp / f"{program.name}-under-valgrind"
        script.write_text(f"#!/bin/sh\nLD_PRELOAD={shim} exec {' '.join(VALGRIND)} --log-file={tmp}/report.%p "
                          f"{program} \"$@\"\n")
        script.chmod(0o755)
        return script
    yield under
    reports = [p.read_text() for p in sorted(tmp.glob("report.*"))]
    sums = [re.search(r"ERROR SUMMARY: (\d+) errors", text) for text in reports]
    print("\n".join(reports))
    assert reports and all(sums), "a program came to no end of its own"
    assert all(s.group(1) == "0" for s in sums)
    print(f"{len(reports)} processes under valgrind: no error, no leak")


def jobs_of(bad):
    jobs = [{"url": bad.url(path)} for path in ("/any/a", "/any/b", "/chunked/3000/c", "/redirect/2/d", "/flaky/503/1/e")]
    jobs += [{"url": bad.url("/any/same"), "output": "same"} for _ in range(2)]
    jobs += [{"url": bad.url("/any/sum"), "checksum": "sha-256:" + "0" * 64}]
    jobs += [{"url": bad.url("/status/404/gone")}, {"url": bad.url("/cut_length/1000/2000/cut"), "retries": 1}]
    jobs += [{"url": bad.silent_url("/cancelled")}, {"url": bad.silent_url("/waits")}]
    return jobs


def test_no_error_and_no_leak_in_any_program(memcheck, make_daemon, bad, tmp, monkeypatch):
    monkeypatch.setattr(dld, "DLCTL", memcheck(DLCTL))
    daemon = make_daemon(workers=1, program=memcheck(DLD), settings={"retry.count": "1"}).start()
    file = tmp / "jobs.json"
    file.write_text(json.dumps(jobs_of(bad)))
    ids = daemon.dlctl("--json", "submit", file).document["ids"]
    wait_for(lambda: sum(daemon.counts()[s] for s in ("done", "failed")) == len(ids) - 2)
    daemon.dlctl("cancel", ids[-2])
    wait_for(lambda: [j["state"] for j in daemon.jobs()] == ["done"] * 7 + ["failed"] * 3 + ["cancelled", "active"])
    assert daemon.file("a").read_bytes() == content("/any/a", 2000)
    daemon.restart()
    wait_for(lambda: daemon.counts()["active"] == 1)
    daemon.call("cancel", {"ids": [ids[-1]]})
    wait_for(daemon.none_left)
    daemon.dlctl("list")
    assert daemon.stop() == 0
