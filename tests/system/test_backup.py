"""dlctl backup: a copy of the queue at one moment, while it goes on; and a start with such a copy."""

import base64
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from dld import DLCTL, RpcError, run
from queue_file import discrepancies, rows
from support import files_under, is_part, wait_for
from test_download import done

LONG = "x" * 1500  # so that a queue of some thousand jobs comes in many pieces


def many(bad, n, **keys):
    return [{"url": bad.url(f"/any/{i}?{LONG}"), "not_before": "+1d", **keys} for i in range(n)]


def open_files(pid):
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(os.readlink(link))
    return names


def test_backup_is_the_queue_at_one_moment(daemon, bad, tmp):
    """Jobs come and go while it is written."""
    target = tmp / "copy.db"
    for _ in range(2):
        daemon.submit(many(bad, 2000))
    going_on = threading.Event()

    def change():
        with daemon.control() as c:
            while not going_on.is_set():
                batch = c.call("submit", {"jobs": many(bad, 50)})["batch"]
                c.call("cancel", {"batch": batch})
    other = threading.Thread(target=change)
    other.start()
    try:
        result = daemon.dlctl("backup", target, "--json").document
    finally:
        going_on.set()
        other.join()
    assert result == {"file": str(target), "bytes": target.stat().st_size}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert discrepancies(target) == []
    ((n,),) = rows(target, "SELECT count(*) FROM jobs")
    assert n >= 4000 and n % 50 == 0
    assert [p.name for p in tmp.iterdir() if p.name.startswith("copy")] == ["copy.db"]


def test_nothing_is_left_of_one_that_was_interrupted(daemon, tmp):
    folder = tmp / "backups"
    folder.mkdir()
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        dlctl = subprocess.Popen([DLCTL, "--socket", daemon.socket, "backup", folder / "copy.db"])
        wait_for(lambda: any(str(folder) in name for name in open_files(dlctl.pid)))
        dlctl.terminate()
        assert dlctl.wait(10) == -signal.SIGTERM
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    assert list(folder.iterdir()) == []


def test_restored_queue_goes_on(daemon, bad, tmp):
    """What had been done after the backup is recognised, and no id is given again."""
    old = daemon.submit([{"url": bad.url(f"/any/old-{i}"), "not_before": "+1d"} for i in range(3)])
    (done,) = daemon.run([{"url": bad.url("/any/done")}])
    paused = daemon.submit([{"url": bad.url("/any/later"), "not_before": "+1d"}])["ids"][0]
    daemon.dlctl("backup", tmp / "copy.db")
    late = daemon.run([{"url": bad.url(f"/any/late-{i}")} for i in range(3)])
    daemon.call("cancel", {"ids": old["ids"]})
    daemon.kill()  # so that there is a log, which doesn't go with the copy
    wait_for(daemon.has_no_processes)
    assert (daemon.state / "queue.db-wal").stat().st_size > 0
    shutil.copyfile(tmp / "copy.db", daemon.state / "queue.db")
    daemon.start()
    assert {j["id"]: j["state"] for j in daemon.jobs()} == {**{n: "waiting" for n in old["ids"]}, done["id"]: "done",
                                                             paused: "waiting"}
    assert daemon.show(done["id"])["output"] == done["output"]
    new = daemon.run_one(bad.url("/any/new"))
    assert new["id"] > max(j["id"] for j in late) + 1000
    assert new["state"] == "done" and len([f for f in files_under(daemon.root) if not is_part(f)]) == 5
    daemon.restart()
    assert daemon.run_one(bad.url("/any/newer"))["id"] < new["id"] + 1000, "a restored queue is restored once"
    assert daemon.stop() == 0
    assert discrepancies(daemon.state / "queue.db") == []


def test_job_done_after_the_backup_makes_no_second_file(daemon, bad, tmp):
    daemon.call("drain", {})
    number = daemon.submit([{"url": bad.url("/any/once")}])["ids"][0]
    daemon.dlctl("backup", tmp / "copy.db")
    daemon.call("drain", {"on": False})
    wait_for(daemon.none_left)
    assert daemon.stop() == 0
    shutil.copyfile(tmp / "copy.db", daemon.state / "queue.db")
    daemon.start()
    wait_for(lambda: daemon.show(number)["state"] == "done")
    assert files_under(daemon.root) == ["once"] and bad.count("/any/once") == 1


def test_pieces(daemon, bad):
    """The method, by hand; one at a time, and what is given up is over."""
    daemon.submit(many(bad, 1000))
    with daemon.control() as c:
        first = c.call("backup")
        assert base64.b64decode(first["data"]).startswith(b"SQLite format 3\0") and first["next"] < first["size"]
        with pytest.raises(RpcError, match="another backup is being written"):
            c.call("backup")
        for params, what in [({"backup": first["backup"] + 1, "offset": first["next"]}, "no such backup"),
                             ({"offset": 5}, "params.backup"), ({"backup": "x"}, "params.backup"),
                             ({"backup": first["backup"], "offset": first["size"] + 1}, "not so long")]:
            with pytest.raises(RpcError, match=what):
                c.call("backup", params)
        offset, size = first["next"], len(base64.b64decode(first["data"]))
        while offset is not None:
            piece = c.call("backup", {"backup": first["backup"], "offset": offset})
            offset, size = piece["next"], size + len(base64.b64decode(piece["data"]))
        assert size == first["size"]
        with pytest.raises(RpcError, match="no such backup"):
            c.call("backup", {"backup": first["backup"], "offset": 0})


def test_file_that_cannot_be_written(daemon, tmp):
    result = daemon.dlctl("backup", tmp / "missing" / "copy.db", code=1)
    assert "copy.db cannot be written: No such file or directory" in result.err
    assert "backup needs the name of one file" in daemon.dlctl("backup", code=2).err


def test_only_a_file_is_replaced(daemon, bad, tmp):
    """And not the queue itself, whose jobs would be lost."""
    done(daemon.run_one(bad.url("/any/a")))
    (tmp / "file").write_text("an older one")
    (tmp / "link").symlink_to(tmp / "file")
    (tmp / "folder").mkdir()
    os.mkfifo(tmp / "fifo")
    for name, why in [("link", "no regular file"), ("fifo", "no regular file"), ("folder", "no regular file"),
                      ("-", "standard output"), (daemon.state / "queue.db", "a queue that is in use")]:
        result = daemon.dlctl("backup", name if name == "-" else tmp / name, code=2)
        assert "cannot be the backup" in result.err and why in result.err
    assert (tmp / "link").is_symlink() and (tmp / "fifo").is_fifo() and (tmp / "file").read_text() == "an older one"
    daemon.dlctl("backup", tmp / "file")
    daemon.restart()
    assert len(daemon.jobs()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be someone else")
def test_not_for_everyone(daemon, tmp):
    daemon.socket.chmod(0o666)
    place = tmp / "theirs"
    place.mkdir()
    os.chown(place, 65534, 65534)
    result = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", DLCTL, "--socket", daemon.socket,
                  "backup", place / "copy.db"])
    assert result.code == 1 and "only root and the user that dld runs as" in result.err
    assert list(place.iterdir()) == []
