"""dld as a service: what it tells systemd, sockets it is given, units, installation."""

import os
import re
import signal
import stat
import subprocess
import time

import pytest

from dld import DLCTL, DLD, WORKER, dlctl, run, with_worker
from support import ROOT, SLOWER, clean_environment, die_with_parent, have, kill_session, wait_for

SYSTEMD = ROOT / "systemd"


# A worker that waits for a file before it becomes a real one.
GATED = f"""#!/bin/sh
echo >>{{tmp}}/started
until [ -e {{gate}} ]; do sleep 0.02; done
exec {WORKER}
"""


# ---- what it tells ----


def test_ready_comes_after_the_hello_of_every_worker(make_daemon, tmp):
    gate = tmp / "gate"
    program = with_worker(tmp, GATED.format(tmp=tmp, gate=gate))
    daemon = make_daemon(program=program, workers=3).spawn()
    wait_for(lambda: (tmp / "started").exists() and (tmp / "started").read_text().count("\n") == 3)
    assert not daemon.notify.seen("READY=1")
    gate.touch()
    wait_for(lambda: daemon.notify.seen("READY=1"))
    assert daemon.call("status")["pid"] == daemon.pid


def test_no_client_is_served_before_it_is_ready(make_daemon, tmp):
    gate = tmp / "gate"
    program = with_worker(tmp, GATED.format(tmp=tmp, gate=gate))
    daemon = make_daemon(program=program, workers=1).spawn()
    wait_for(lambda: (tmp / "started").exists())
    assert not daemon.socket.exists() or dlctl("status", socket=daemon.socket, code=None).code in (0, 3)
    gate.touch()
    wait_for(lambda: daemon.notify.seen("READY=1"))


def test_worker_that_never_starts_is_an_error(make_daemon, tmp):
    daemon = make_daemon(program=with_worker(tmp, "#!/bin/sh\nexit 1\n")).spawn()
    assert daemon.wait_exit(60) == 1
    assert "worker" in daemon.stderr
    assert not daemon.notify.seen("READY=1")


def test_missing_worker_is_an_error(make_daemon, tmp):
    program = with_worker(tmp, "")
    (program.parent / "dld-worker").unlink()
    daemon = make_daemon(program=program).spawn()
    assert daemon.wait_exit() == 1
    assert "dld-worker" in daemon.stderr


def test_status_and_stopping_are_told(make_daemon, bad):
    daemon = make_daemon().start()
    wait_for(lambda: daemon.notify.seen("STATUS="))
    assert not daemon.notify.seen("STOPPING=1")
    assert daemon.stop() == 0
    wait_for(lambda: daemon.notify.seen("STOPPING=1"))
    assert daemon.notify.time_of("READY=1") <= daemon.notify.time_of("STOPPING=1")


def test_status_goes_with_the_work(make_daemon, bad):
    daemon = make_daemon().start()
    before = daemon.notify.count("STATUS=")
    daemon.submit([{"url": bad.silent_url()}])
    wait_for(lambda: daemon.notify.count("STATUS=") > before)


def test_watchdog_is_fed(make_daemon):
    daemon = make_daemon(env={"WATCHDOG_USEC": "200000"}).start()
    first = time.monotonic()
    wait_for(lambda: daemon.notify.count("WATCHDOG=1") >= 10)
    assert 0.3 < time.monotonic() - first < 3 * SLOWER


def test_service_manager_that_does_not_read_holds_up_nobody(make_daemon):
    daemon = make_daemon(env={"WATCHDOG_USEC": "100000"}).start()
    daemon.notify.stop_reading()
    wait_for(daemon.notify.is_full)
    with daemon.control(timeout=5) as c:
        for _ in range(3):
            assert c.call("status")["pid"] == daemon.pid
            time.sleep(0.1)  # a time or two for the watchdog


def test_watchdog_is_left_alone_unless_asked_for(daemon):
    daemon.call("status")
    assert daemon.stop() == 0
    assert not daemon.notify.seen("WATCHDOG=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_well(daemon, number):
    daemon.process.send_signal(number)
    assert daemon.wait_exit() == 0
    assert not daemon.socket.exists()
    assert daemon.has_no_processes()


def test_reader_of_its_log_may_go_away(make_daemon, bad):
    """SIGPIPE and a closed stderr are no reasons to die."""
    daemon = make_daemon(settings={"log.level": "debug"})
    log = daemon.log
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        daemon.start()
        os.close(reader)
        assert daemon.run_one(bad.url("/any/a"))["state"] == "done"
        assert daemon.stop() == 0
    finally:
        log.unlink()


# ---- sockets it is given ----


@pytest.mark.skipif(not have("systemd-socket-activate"), reason="needs systemd-socket-activate")
def test_socket_activation(make_daemon, tmp, bad):
    daemon = make_daemon()  # for its command alone
    listening = tmp / "given"
    command = daemon.command()
    command[command.index("--socket") + 1] = str(tmp / "unused")
    env = clean_environment()
    with open(tmp / "activate", "wb") as log:
        process = subprocess.Popen(["systemd-socket-activate", f"--listen={listening}", *command],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=env,
                                   start_new_session=True, preexec_fn=die_with_parent)
    try:
        wait_for(listening.exists)
        result = dlctl("--json", "submit", bad.url("/any/a"), "--wait", socket=listening)
        assert result.summary["done"] == 1
        assert not (tmp / "unused").exists()
        process.terminate()
        assert process.wait(20 * SLOWER) == 0
        assert listening.exists(), "the socket is systemd's to remove"
    finally:
        kill_session(process.pid)
        process.wait()
        print((tmp / "activate").read_text())


def test_descriptor_that_is_no_listening_socket_is_refused(make_daemon, tmp):
    daemon = make_daemon()
    script = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3</dev/null'
    result = run(["sh", "-c", script, "sh", *daemon.command()], timeout=20)
    assert result.code == 1 and "socket" in result.err, result


# ---- as an ordinary user ----


def as_user():
    """Words before a command that make it run as an ordinary user, and that user's id."""
    if os.geteuid() != 0:
        return [], os.geteuid()
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], 65534


def test_ordinary_user_needs_no_options(tmp, bad):
    words, uid = as_user()
    home, runtime = tmp / "home", tmp / "run"
    for directory in (home, runtime):
        directory.mkdir(mode=0o700)
        os.chown(directory, uid, -1)
    env = clean_environment(HOME=str(home), XDG_RUNTIME_DIR=str(runtime))
    env = {k: v for k, v in env.items() if k not in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")}
    if run([*words, DLD, "--version"], env=env).code != 0:
        pytest.skip("the programs are where an ordinary user can't run them")
    with open(tmp / "stderr", "wb") as log:
        process = subprocess.Popen([*words, DLD], cwd="/", env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True)
    try:
        wait_for(lambda: (runtime / "dld" / "control.sock").exists() or process.poll() is not None)
        result = run([*words, DLCTL, "submit", bad.url("/any/a"), "--wait"], env=env)
        assert result.code == 0, result
        assert (home / "Downloads" / "dld" / "a").stat().st_uid == uid
        assert stat.S_IMODE((runtime / "dld" / "control.sock").stat().st_mode) == 0o600
        process.terminate()
        assert process.wait(20 * SLOWER) == 0
    finally:
        kill_session(process.pid)
        process.wait()
        print((tmp / "stderr").read_text())


# ---- units and installation ----


def test_install_puts_things_in_place(installed):
    for name in ("usr/bin/dld", "usr/bin/dlctl", "usr/libexec/dld/dld-worker"):
        file = installed / name
        assert file.is_file() and stat.S_IMODE(file.stat().st_mode) == 0o755, name
    files = [str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()]
    for name in ("dld.service", "dld.socket", "dld.conf"):
        assert any(f.endswith("/" + name) for f in files), (name, files)
    assert any("sysusers" in f for f in files)


def test_installed_dld_finds_its_worker(installed, make_daemon, bad):
    daemon = make_daemon(program=installed / "usr/bin/dld").start()
    assert daemon.run_one(bad.url("/any/a"))["state"] == "done"


@pytest.mark.skipif(not have("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize("kind", ["system", "user"])
def test_units_verify(installed, tmp, kind):
    for unit in ("dld.service", "dld.socket"):
        text = (installed / "usr/lib/systemd" / kind / unit).read_text()
        # the program is not at its place on this machine
        (tmp / unit).write_text(re.sub(r"^(Exec\w+=[-@:+!]*)/", rf"\1{installed}/", text, flags=re.M))
    result = run(["systemd-analyze", f"--{kind}", "verify", "--man=no", tmp / "dld.service", tmp / "dld.socket"],
                 env=clean_environment(SYSTEMD_LOG_LEVEL="warning", XDG_RUNTIME_DIR=str(tmp)))
    ours = [line for line in result.err.splitlines() if "dld" in line]
    assert result.code == 0 and ours == [], result


@pytest.mark.parametrize("line", [
    "Type=notify", "User=dld", "StateDirectory=dld", "NoNewPrivileges=", "ProtectSystem=strict", "PrivateTmp=",
    "ExecReload=", "RestrictAddressFamilies=", "SystemCallFilter=", "CapabilityBoundingSet=", "WatchdogSec=", "Restart="])
def test_service_unit_says(line):
    assert re.search(rf"^{re.escape(line)}", (SYSTEMD / "dld.service").read_text(), re.M)


def test_socket_unit_listens_where_clients_look():
    assert re.search(r"^ListenStream=/run/dld/control\.sock$", (SYSTEMD / "dld.socket").read_text(), re.M)
