"""Fixtures. Each test gets directories, ports and servers of its own, and leaves no process behind."""

import faulthandler
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import pytest

from badserver import BadServer
from dld import Daemon, run
from nginx import Nginx
from support import ROOT, SANITIZE, SLOWER

TEST_TIMEOUT = 120


def pytest_report_header():
    from dld import DLD
    return f"program under test: {DLD}"


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item):
    """Keeps how the test went where fixtures find it."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.failed = True


@pytest.fixture(autouse=True)
def deadline():
    """No test hangs: after TEST_TIMEOUT it fails where it stands; or, where the runner has put it into a thread that gets
    no signals, ends the run."""
    if threading.current_thread() is not threading.main_thread():
        faulthandler.dump_traceback_later(TEST_TIMEOUT * SLOWER, exit=True)
        yield
        faulthandler.cancel_dump_traceback_later()
        return

    def expire(*_):
        raise TimeoutError(f"the test took longer than {TEST_TIMEOUT * SLOWER} s")
    signal.signal(signal.SIGALRM, expire)
    signal.alarm(TEST_TIMEOUT * SLOWER)
    yield
    signal.alarm(0)


@pytest.fixture
def tmp(request):
    """An empty directory with a path short enough for sockets; kept when the test fails."""
    path = Path(tempfile.mkdtemp(prefix="dld-test-"))
    path.chmod(0o755)
    yield path
    if getattr(request.node, "failed", False):
        print(f"kept: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """make install into a directory."""
    place = tmp_path_factory.mktemp("install")
    variables = [f"DESTDIR={place}", "prefix=/usr", "sysconfdir=/etc"] + ["SANITIZE=1"] * SANITIZE
    result = run(["make", "-C", ROOT, "install", *variables], timeout=300)
    assert result.code == 0, result
    return place


@pytest.fixture
def make_daemon(tmp):
    """Makes daemons, not yet started, each with its own directory: make_daemon("a", workers=1, settings={...})."""
    daemons = []

    def make(name="dld", **options):
        daemons.append(Daemon(tmp / name, **options))
        return daemons[-1]
    yield make
    failures = []
    for daemon in daemons:
        try:
            daemon.close()
        except Exception as e:  # the others must be closed all the same
            failures.append(e)
    if failures:
        raise failures[0]


@pytest.fixture
def daemon(make_daemon):
    """A daemon with two workers, ready."""
    return make_daemon().start()


@pytest.fixture
def nginx(tmp):
    """An nginx that serves tmp/files."""
    server = Nginx(tmp / "nginx", tmp / "files")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def bad():
    """The server that misbehaves on demand."""
    server = BadServer().start()
    yield server
    server.stop()


@pytest.fixture
def other():
    """One more server: the same host on another port."""
    server = BadServer().start()
    yield server
    server.stop()
