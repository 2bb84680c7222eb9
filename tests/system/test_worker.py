"""The master distrusts its workers: one that talks nonsense is killed and replaced, and nothing else happens."""

import re
import struct

import pytest

from dld import WORKER, with_worker
from support import ROOT, alive, content, files_under, wait_for
from test_download import done

WIRE_VERSION = int(re.search(r"#define WIRE_VERSION (\d+)", (ROOT / "common" / "wire.h").read_text()).group(1))
HELLO, JOB, CANCEL, FETCHED, RESULT = 1, 3, 4, 6, 7

# Its first life says what it is told to; every later one is a real worker.
FAKE = """#!/usr/bin/python3
import os, socket, struct, time
try:
    os.mkdir({mark!r})
except FileExistsError:
    os.execv({worker!r}, ["dld-worker"])
with open({life!r}, "w") as file:
    file.write(str(os.getpid()))
channel = socket.socket(fileno=3)
def job():
    while True:
        packet = channel.recv(65536)
        while packet:
            kind, size = struct.unpack("=BI", packet[:5])
            if kind == 3:
                return struct.unpack("=q", packet[5:13])[0]
            packet = packet[5 + size:]
{script}
time.sleep(60)
"""


def string(text):
    return b"\xff\xff\xff\xff" if text is None else struct.pack("=I", len(text)) + text.encode() + b"\0"


def record(kind, payload):
    return struct.pack("=BI", kind, len(payload)) + payload


def hello(version=WIRE_VERSION):
    return record(HELLO, struct.pack("=I", version) + string("test"))


def result_tail(output="a", outcome=0, error=0, size=5):
    """A RESULT's payload from behind the job's id."""
    return (struct.pack("=BBBBBBIQqQQ", outcome, error, 0, 0, 0, 0, 200, 5, size, 1, 0) + string(output) + string(None) * 5
            + struct.pack("=Qq", 0, -1) + string(None) * 2)


def fake_worker(tmp, script):
    text = FAKE.format(mark=str(tmp / "mark"), life=str(tmp / "life"), worker=str(WORKER), script=script)
    return with_worker(tmp, text)


def killed(tmp):
    pid = int((tmp / "life").read_text())
    wait_for(lambda: not alive(pid), what="the worker that talks nonsense to be killed")
    return True


NONSENSE = {
    "half a head": b"\x07\x01",
    "unknown type": record(99, b""),
    "type of the master": record(JOB, b""),
    "record longer than the packet": b"\x07\xff\xff\xff\x7f",
    "empty result": record(RESULT, b""),
    "result cut short": record(RESULT, (struct.pack("=q", 1) + result_tail())[:-3]),
    "result with bytes left over": record(RESULT, struct.pack("=q", 1) + result_tail() + b"x"),
    "second hello": hello(),
    "zeros": bytes(60000),
}


@pytest.mark.parametrize("packet", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_gets_a_worker_killed_and_replaced(make_daemon, tmp, bad, packet):
    program = fake_worker(tmp, f"channel.send({hello()!r})\njob()\nchannel.send({packet!r})")
    daemon = make_daemon(program=program, workers=1).start()
    assert done(daemon.run_one(bad.url("/any/a")))["attempts"] <= 2
    assert killed(tmp)
    assert daemon.call("status")["workers"][0]["restarts"] == 1
    assert "worker" in daemon.stderr


@pytest.mark.parametrize("tail", [
    result_tail(output="../../etc/passwd"), result_tail(output="/etc/passwd"), result_tail(output=""),
    result_tail(output="a\nb"), result_tail(output="a" * 300), result_tail(outcome=9),
    result_tail(outcome=1, error=200),
], ids=["up", "absolute", "empty", "control character", "long", "outcome", "error"])
def test_impossible_result_gets_a_worker_killed(make_daemon, tmp, bad, tail):
    script = (f"channel.send({hello()!r})\ntail = {tail!r}\n"
              "channel.send(struct.pack('=BIq', 7, 8 + len(tail), job()) + tail)")
    daemon = make_daemon(program=fake_worker(tmp, script), workers=1).start()
    assert done(daemon.run_one(bad.url("/any/a")))["output"] == "a"
    assert killed(tmp)
    assert daemon.file("a").read_bytes() == content("/any/a", 2000)


def test_result_for_a_job_that_it_does_not_hold_changes_nothing(make_daemon, tmp, bad):
    other = record(RESULT, struct.pack("=q", 2) + result_tail(output="stolen"))
    script = f"channel.send({hello()!r})\njob()\nchannel.send({other!r})\nraise SystemExit(1)"
    daemon = make_daemon(program=fake_worker(tmp, script), workers=1, settings={"worker.transfers": "1"}).start()
    jobs = daemon.run([{"url": bad.url(f"/any/{i}")} for i in range(3)])
    assert [done(j)["output"] for j in jobs] == ["0", "1", "2"]
    assert files_under(daemon.root) == ["0", "1", "2"]


@pytest.mark.parametrize("script", ["channel.send(b'garbage')", f"channel.send({record(FETCHED, bytes(30))!r})"],
                         ids=["garbage", "a message"])
def test_worker_that_begins_without_hello_is_replaced(make_daemon, tmp, bad, script):
    daemon = make_daemon(program=fake_worker(tmp, script), workers=1).start()
    assert done(daemon.run_one(bad.url("/any/a")))
    assert killed(tmp)


def test_worker_of_another_version_is_a_clear_error(make_daemon, tmp):
    script = FAKE.replace("os.mkdir({mark!r})", "pass").format(
        mark="", worker="", life=str(tmp / "life"), script=f"channel.send({hello(WIRE_VERSION + 1)!r})")
    daemon = make_daemon(program=with_worker(tmp, script), workers=1).spawn()
    assert daemon.wait_exit(60) == 1
    assert "version" in daemon.stderr
    assert not daemon.notify.seen("READY=1")
