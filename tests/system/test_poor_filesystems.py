"""Sixteen jobs for one name where rename can't refuse to replace (NFS), nor hard links be made (some of FUSE), and on vfat.

The lack is made by strace, which lets the system calls fail; vfat is mounted where the kernel has it.
"""

import os
import shlex
import signal
import subprocess

import pytest

from dld import DLD
from support import files_under, have
from test_download import body_of, done, failed, race

NO_REPLACE = ["-e", "inject=renameat2:error=EINVAL"]
NO_LINKS = ["-e", "inject=linkat:error=EPERM"]


def check_race(daemon, jobs, on_conflict):
    """Every job ended as it should, every file has the bytes of one job."""
    whole = {j["id"]: body_of(j) for j in jobs}
    if on_conflict == "rename":
        names = ["same.bin"] + [f"same.{i}.bin" for i in range(1, 16)]
        assert sorted(done(j)["output"] for j in jobs) == sorted(names)
        assert all(daemon.file(j["output"]).read_bytes() == whole[j["id"]] for j in jobs)
        assert files_under(daemon.root) == sorted(names)
        return
    assert files_under(daemon.root) == ["same.bin"]
    found = daemon.file("same.bin").read_bytes()
    if on_conflict == "overwrite":
        assert all(done(j)["output"] == "same.bin" for j in jobs) and found in whole.values()
        return
    loser = (lambda j: j["state"] == "failed") if on_conflict == "fail" else (lambda j: j.get("skipped"))
    (winner,) = [j for j in jobs if not loser(j)]
    assert done(winner)["output"] == "same.bin" and found == whole[winner["id"]]
    for j in jobs:
        if j is winner:
            continue
        if on_conflict == "fail":
            failed(j, "exists")
        else:
            assert done(j)["output"] == "same.bin"


@pytest.fixture
def poor(tmp, make_daemon):
    """Makes a daemon whose system calls fail as told."""
    started = []

    def start(*inject):
        program = tmp / "traced"
        calls = "renameat2,linkat"
        words = ["strace", "-f", "--seccomp-bpf", "-o", tmp / "trace", "-e", f"trace={calls}", *inject, DLD]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
        program.chmod(0o755)
        started.append(make_daemon("poor", program=program).start())
        return started[0]
    yield start
    for daemon in started:  # under strace it misses the ends of its workers
        os.kill(daemon.call("status")["pid"], signal.SIGKILL)
        daemon.wait_exit()
        assert "INJECTED" in (tmp / "trace").read_text()


@pytest.mark.parametrize("on_conflict", ["fail", "rename", "skip"])
def test_race_without_a_rename_that_refuses(poor, bad, on_conflict):
    daemon = poor(*NO_REPLACE)
    check_race(daemon, race(daemon, bad, on_conflict), on_conflict)


@pytest.mark.parametrize("on_conflict", ["fail", "rename", "skip"])
def test_clear_refusal_without_links_too(poor, bad, on_conflict):
    """And what needs neither is done."""
    daemon = poor(*NO_REPLACE, *NO_LINKS)
    for job in race(daemon, bad, on_conflict):
        assert "can neither rename without replacing nor make hard links" in failed(job, "output")["error"]["message"]
        assert job["attempts"] == 1
    assert files_under(daemon.root) == []
    check_race(daemon, race(daemon, bad, "overwrite"), "overwrite")


# ---- vfat ----


@pytest.fixture
def vfat(tmp):
    """A directory on a small vfat."""
    if "\tvfat\n" not in open("/proc/filesystems").read():
        subprocess.run(["modprobe", "-q", "vfat"], capture_output=True) if have("modprobe") else None
    if "\tvfat\n" not in open("/proc/filesystems").read():
        pytest.skip("this kernel has no vfat: names on vfat are NOT tested here")
    if os.geteuid() != 0 or not have("mkfs.vfat"):
        pytest.skip("needs root and mkfs.vfat (package dosfstools): names on vfat are NOT tested here")
    image, place = tmp / "vfat.img", tmp / "vfat"
    place.mkdir()
    with image.open("wb") as f:
        f.truncate(16 << 20)
    subprocess.run(["mkfs.vfat", image], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no loop mount here ({mounted.stderr.strip()}): names on vfat are NOT tested here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("on_conflict", ["fail", "rename", "skip", "overwrite"])
def test_race_on_vfat(make_daemon, bad, vfat, on_conflict):
    daemon = make_daemon(args=["--output-root", str(vfat)], settings={"transfer.min_free_space": "0"})
    daemon.root = vfat
    daemon.start()
    check_race(daemon, race(daemon, bad, on_conflict), on_conflict)


@pytest.mark.parametrize("on_conflict", ["fail", "rename", "skip", "overwrite"])
def test_race(daemon, bad, on_conflict):
    check_race(daemon, race(daemon, bad, on_conflict), on_conflict)
