"""dld as a service of a real systemd: `make install` and the units, on a machine that boot.py boots."""

import contextlib
import json
import textwrap
import time

import pytest

from boot import CannotBoot, Machine
from support import SANITIZE, content, wait_for

pytestmark = pytest.mark.skipif(SANITIZE, reason="sanitizers don't work under the unit's MemoryDenyWriteExecute "
                                                 "and system call filter")

DROP_IN = "/run/systemd/system/dld.service.d"
CONF = "/etc/dld/dld.conf.d"
DOWNLOADS = "/var/lib/dld/downloads"

# What there is to download. The queue of connections is long, for while it is held.
WEB = "http://127.0.0.1:8000"
WEB_PY = """
import functools, http.server
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100
files = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/srv/web")
Server(("127.0.0.1", 8000), files).serve_forever()
"""

# bob's own service manager, which a login would start.
BOBS_RUN = "/run/user/bob"
BOBS_MANAGER = f"""
[Service]
Type=notify
User=bob
Delegate=yes
RuntimeDirectory=user/bob
RuntimeDirectoryMode=0700
Environment=XDG_RUNTIME_DIR={BOBS_RUN}
ExecStart=/lib/systemd/systemd --user --unit=basic.target
"""

# Whoever waits for a restart needs no 3 s for it.
QUICK = "RestartSec=50ms"


@pytest.fixture(scope="module")
def booted(installed, tmp_path_factory):
    """A machine with dld installed and not started, the users ann (in the group dld) and bob, and a web server."""
    machine = Machine(installed, tmp_path_factory.mktemp("boot"))
    try:
        machine.boot()
    except CannotBoot as e:
        pytest.skip(f"booting a systemd {e}")
    try:
        machine.run("systemd-sysusers", "dld.conf")
        machine.run("useradd", "--create-home", "--groups=dld", "ann")
        machine.run("useradd", "--create-home", "bob")
        start_web(machine)
        yield machine
    finally:
        machine.close()


def start_web(machine):
    machine.path("/srv/web").mkdir(parents=True)
    for number in range(20):
        machine.path(f"/srv/web/{number}").write_bytes(content(f"{number}", 2000))
    machine.path("/srv/web.py").write_text(WEB_PY)
    machine.path("/etc/systemd/system/web.service").write_text("[Service]\nExecStart=python3 /srv/web.py\n")
    machine.systemctl("start", "web")
    wait_for(lambda: machine.run("bash", "-c", "</dev/tcp/127.0.0.1/8000", code=None).code == 0, what="web.service")


@pytest.fixture
def machine(booted, request):
    """That machine with dld as after its installation, the socket started."""
    began = int(time.time())
    booted.systemctl("start", "dld.socket")
    yield booted
    if getattr(request.node, "failed", False):
        print(booted.systemctl("status", "dld.socket", "dld.service", code=None).out)
        print(booted.journal("--unit=dld.service", "--unit=dld.socket", f"--since=@{began}"))
    booted.systemctl("kill", "--signal=CONT", "dld.service", "web.service", code=None)
    booted.systemctl("stop", "dld.socket", "dld.service")
    booted.systemctl("reset-failed")
    booted.run("rm", "-rf", "/var/lib/dld", CONF, DROP_IN)
    booted.systemctl("daemon-reload")


def change_unit(machine, *lines):
    """Like `systemctl edit`: lines of [Service]."""
    machine.path(DROP_IN).mkdir(parents=True)
    machine.path(f"{DROP_IN}/test.conf").write_text("\n".join(["[Service]", *lines, ""]))
    machine.systemctl("daemon-reload")


def configure(machine, text):
    machine.path(CONF).mkdir()
    machine.path(f"{CONF}/test.conf").write_text(textwrap.dedent(text))


def start(machine):
    machine.systemctl("start", "dld")
    return main_pid(machine)


def main_pid(machine):
    return int(machine.show("dld", "MainPID"))


@contextlib.contextmanager
def held_jobs(machine, n=20):
    """Jobs that are under way and queued, none of which can end before the with statement does."""
    machine.systemctl("kill", "--signal=STOP", "web")
    machine.run("dlctl", "submit", *[f"{WEB}/{number}" for number in range(n)])
    wait_for(lambda: counts(machine)["active"] > 0)
    yield
    machine.systemctl("kill", "--signal=CONT", "web")


def counts(machine):
    return machine.run("dlctl", "--json", "status").document["jobs"]


def facts(machine, path):
    """Owner, group and mode of a file."""
    return machine.run("stat", "--format=%U:%G %a", path).out.strip()


def all_downloaded(machine, n=20):
    machine.run("dlctl", "wait", "--all")
    assert counts(machine)["done"] == n
    for number in range(n):
        assert machine.path(f"{DOWNLOADS}/{number}").read_bytes() == content(f"{number}", 2000)
    return len(list(machine.path(DOWNLOADS).iterdir())) == n


# ---- starting ----


def test_it_becomes_ready(machine):
    machine.systemctl("start", "dld")  # Type=notify: returns after READY=1
    assert machine.show("dld", "ActiveState") == "active"
    assert machine.run("dlctl", "--json", "status").document["workers"]


def test_it_runs_as_its_user(machine):
    start(machine)
    pids = machine.processes("dld")
    assert len(pids) > 1
    assert {facts(machine, f"/proc/{pid}").split()[0] for pid in pids} == {"dld:dld"}


def test_the_client_starts_it(machine):
    assert machine.show("dld", "ActiveState") == "inactive"
    machine.run("dlctl", "status")
    wait_for(lambda: machine.show("dld", "ActiveState") == "active", what="the service to be active")


def test_it_can_be_enabled(machine):
    machine.systemctl("enable", "dld.service")
    assert machine.systemctl("is-enabled", "dld.service", "dld.socket").out.split() == ["enabled", "enabled"]
    machine.systemctl("disable", "dld.service", "dld.socket")


def test_its_status_is_shown(machine):
    start(machine)
    assert "workers" in machine.show("dld", "StatusText")
    machine.run("dlctl", "submit", "--wait", f"{WEB}/1")
    wait_for(lambda: "1 done" in machine.show("dld", "StatusText"))


def test_wrong_configuration_is_not_tried_again(machine):
    configure(machine, """\
        [master]
        workers = many
        """)
    machine.systemctl("start", "dld", code=1)
    assert machine.show("dld", "ExecMainStatus") == "2"
    assert machine.show("dld", "SubState") == "failed"  # and not auto-restart
    assert f"{CONF}/test.conf:2" in machine.journal("--unit=dld")


def test_wrong_configuration_put_right(machine):
    configure(machine, "[nonsense]\n")
    machine.systemctl("start", "dld", code=1)
    machine.path(f"{CONF}/test.conf").unlink()
    start(machine)
    machine.run("dlctl", "status")


# ---- who may use it ----


def test_socket_is_the_groups(machine):
    assert facts(machine, "/run/dld/control.sock") == "root:dld 660"


def test_member_of_the_group_gets_in(machine):
    machine.run("dlctl", "status", user="ann")


def test_stranger_is_refused(machine):
    result = machine.run("dlctl", "status", user="bob", code=3)
    assert "/run/dld/control.sock" in result.err and "ermission" in result.err


def test_stranger_does_not_start_it(machine):
    machine.run("dlctl", "status", user="bob", code=3)
    assert machine.show("dld", "ActiveState") == "inactive"


# ---- files ----


def test_download(machine):
    result = machine.run("dlctl", "--json", "submit", "--wait", f"{WEB}/1", user="ann")
    assert result.summary["done"] == 1
    assert machine.path(f"{DOWNLOADS}/1").read_bytes() == content("1", 2000)
    assert facts(machine, f"{DOWNLOADS}/1") == "dld:dld 644"


def test_state_is_its_users(machine):
    start(machine)
    assert facts(machine, "/var/lib/dld") == "dld:dld 750"


def test_downloads_are_read_by_the_group_alone(machine):
    machine.run("dlctl", "submit", "--wait", f"{WEB}/1")
    machine.run("test", "-r", f"{DOWNLOADS}/1", user="ann")
    machine.run("test", "-r", f"{DOWNLOADS}/1", user="bob", code=1)


def test_another_root_by_the_manuals_recipe(machine):
    machine.run("install", "--directory", "--owner=dld", "/srv/mirror")
    configure(machine, """\
        [output]
        root = /srv/mirror
        """)
    change_unit(machine, "ReadWritePaths=/srv/mirror")
    machine.run("dlctl", "submit", "--wait", f"{WEB}/1")
    assert facts(machine, "/srv/mirror/1") == "dld:dld 644"


# ---- credentials ----


def run_as(machine, credential):
    """A job that names the credential."""
    job = {"url": f"{WEB}/1", "auth": {"type": "basic", "credential": credential}}
    machine.run("dlctl", "submit", "--wait", "-", stdin=json.dumps(job), code=None)
    job = machine.run("dlctl", "--json", "list").document
    return job["state"], (job["error"] or {}).get("name")


def test_credential_that_systemd_loads(machine):
    machine.path("/root/password").write_text("ann:password")
    machine.path("/root/password").chmod(0o600)
    change_unit(machine, "LoadCredential=mirror:/root/password")
    assert run_as(machine, "mirror") == ("done", None)


def test_credential_by_the_manuals_recipe(machine):
    machine.path("/root/mirror.txt").write_text("ann:password")
    machine.run("install", "-d", "-m", "0750", "-o", "root", "-g", "dld", "/etc/dld/credentials")
    machine.run("install", "-m", "0640", "-o", "root", "-g", "dld", "/root/mirror.txt", "/etc/dld/credentials/mirror")
    assert run_as(machine, "mirror") == ("done", None)


def test_credential_that_is_not_there(machine):
    assert run_as(machine, "other") == ("failed", "credential")


# ---- stopping ----


def test_stop_is_clean(machine):
    start(machine)
    with held_jobs(machine):
        machine.systemctl("stop", "dld")
        assert machine.show("dld", "ActiveState") == "inactive"
        assert machine.show("dld", "Result") == "success"
        assert machine.show("dld", "ExecMainStatus") == "0"
        assert machine.processes("dld") == []


def test_socket_stays_when_it_stops(machine):
    start(machine)
    machine.systemctl("stop", "dld")
    assert machine.show("dld.socket", "SubState") == "listening"
    assert machine.path("/run/dld/control.sock").is_socket()


def test_jobs_are_there_after_a_stop(machine):
    with held_jobs(machine):
        machine.systemctl("stop", "dld")
    assert all_downloaded(machine)  # by a dld that the client starts


def test_clients_wait_while_it_restarts(machine):
    before = start(machine)
    machine.systemctl("restart", "--no-block", "dld")
    for _ in range(10):
        machine.run("dlctl", "status")
    wait_for(lambda: main_pid(machine) not in (0, before))


# ---- dying ----


def test_killed_it_is_started_again(machine):
    change_unit(machine, QUICK)
    start(machine)
    with held_jobs(machine):
        machine.systemctl("kill", "--signal=KILL", "--kill-who=main", "dld")
        wait_for(lambda: machine.show("dld", "NRestarts") == "1" and machine.show("dld", "ActiveState") == "active")
    assert all_downloaded(machine)


def test_workers_die_with_it(machine):
    change_unit(machine, "Restart=no", "KillMode=none")  # by themselves, not by systemd's hand
    start(machine)
    with held_jobs(machine):
        machine.systemctl("kill", "--signal=KILL", "--kill-who=main", "dld")
        wait_for(lambda: machine.processes("dld") == [])


def test_killed_worker_is_replaced(machine):
    start(machine)
    before = machine.processes("dld")
    victim = before[-1]
    assert victim != main_pid(machine)
    machine.run("kill", "-KILL", str(victim))
    wait_for(lambda: victim not in machine.processes("dld") and len(machine.processes("dld")) == len(before))
    assert machine.show("dld", "NRestarts") == "0"


def test_watchdog_ends_one_that_hangs(machine):
    change_unit(machine, QUICK, "WatchdogSec=500ms", "LimitCORE=1")  # no core file
    before = start(machine)
    machine.systemctl("kill", "--signal=STOP", "--kill-who=main", "dld")
    wait_for(lambda: machine.show("dld", "NRestarts") == "1" and machine.show("dld", "ActiveState") == "active")
    assert "Failed with result 'watchdog'" in machine.journal("--unit=dld", "_PID=1")
    assert main_pid(machine) != before


def test_watchdog_leaves_one_alone_that_works(machine):
    change_unit(machine, QUICK, "WatchdogSec=200ms", "LimitCORE=1")
    before = start(machine)
    machine.run("sleep", "1")
    assert main_pid(machine) == before


# ---- the sandbox ----


def in_sandbox(machine, *args, **more):
    """Runs a program as root where dld is: it sees the files that dld sees."""
    return machine.run("nsenter", f"--target={start(machine)}", "--mount", "--", *args, **more)


@pytest.mark.parametrize("place", ["/", "/etc", "/etc/dld", "/usr", "/srv", "/var/lib"])
def test_sandbox_is_read_only(machine, place):
    assert "Read-only" in in_sandbox(machine, "touch", f"{place}/x", code=1).err


def test_sandbox_lets_it_write_its_state(machine):
    in_sandbox(machine, "touch", "/var/lib/dld/x")
    assert machine.path("/var/lib/dld/x").exists()


@pytest.mark.parametrize("home", ["/home", "/root"])
def test_sandbox_hides_homes(machine, home):
    machine.path(home).mkdir(exist_ok=True)
    machine.path(f"{home}/secret").touch()
    assert in_sandbox(machine, "ls", "-A", home).out == ""


def test_sandbox_has_its_own_tmp(machine):
    machine.path("/tmp/secret").touch()
    assert in_sandbox(machine, "ls", "-A", "/tmp").out == ""


def test_sandbox_hides_processes_of_others(machine):
    as_dld = ["setpriv", "--reuid=dld", "--regid=dld", "--clear-groups"]
    seen = {int(name) for name in in_sandbox(machine, *as_dld, "ls", "/proc").out.split() if name.isdigit()}
    assert 1 not in seen and main_pid(machine) in seen


def test_no_process_of_it_has_privileges(machine):
    start(machine)
    for pid in machine.processes("dld"):
        lines = machine.path(f"/proc/{pid}/status").read_text().splitlines()
        status = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"  # filtered


# ---- the service of one user ----


@pytest.fixture
def bobs_systemctl(machine):
    machine.path("/run/systemd/system/bob.service").write_text(BOBS_MANAGER)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "bob")
    yield lambda *args: machine.run("env", f"XDG_RUNTIME_DIR={BOBS_RUN}", "systemctl", "--user", *args, user="bob")
    machine.systemctl("stop", "bob")


def test_users_own_service(machine, bobs_systemctl):
    bobs_systemctl("enable", "--now", "dld.socket")
    machine.run("dlctl", "--socket", f"{BOBS_RUN}/dld/control.sock", "submit", "--wait", f"{WEB}/1", user="bob")
    assert facts(machine, "/home/bob/Downloads/dld/1") == "bob:bob 644"
    bobs_systemctl("stop", "dld")
    assert bobs_systemctl("show", "--value", "--property=Result", "dld").out.strip() == "success"
