"""The system tests' nginx and dld, for programs that a person runs: demo and benchmark.

A failure to start is an AssertionError with what the server said.
"""

import signal
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from dld import DLCTL, DLD, Daemon  # noqa: E402
from nginx import Nginx  # noqa: E402
from support import clean_environment  # noqa: E402,F401


class Failure(Exception):
    """Something that a person should read, without a traceback."""


def quit_on_signals():
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that servers and folders are cleaned up."""

    def interrupt(*_):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


class ServedDaemon(Daemon):
    """A daemon to which the caller talks by command line."""

    def dlctl_command(self, *args):
        return [str(a) for a in (DLCTL, "--socket", self.socket, *args)]


@contextmanager
def _running(server):
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def nginx_running(base, files):
    """nginx that serves the files beneath `files`."""
    return _running(Nginx(base, files, access_log=False))


def dld_running(base, workers, settings):
    """dld with all its directories beneath base, and Daemon's settings but for those given."""
    if not DLD.exists():
        raise Failure(f"{DLD} is missing; run make first")
    return _running(ServedDaemon(base, workers=workers, settings=settings))
