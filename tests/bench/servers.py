"""The system tests' nginx and dld, for programs that a person runs: demo and benchmark.

A failure to start is an AssertionError with what the server said.
"""

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from dld import DLCTL, DLD, Daemon  # noqa: E402
from nginx import Nginx  # noqa: E402
from support import BUILD, clean_environment  # noqa: E402,F401
from tls import Authority, TlsNginx  # noqa: E402


class Failure(Exception):
    """Something that a person should read, without a traceback."""


def quit_on_signals():
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that servers and folders are cleaned up."""

    def interrupt(*_):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def quit_with(program, error):
    """Exits with 1 and says what failed, and what had failed before it."""
    text = ""
    while error is not None:
        text += f"{program}: {error}\n"
        error = error.__context__
    sys.exit(text.rstrip())


class ServedDaemon(Daemon):
    """A daemon to which the caller talks by command line."""

    def dlctl_command(self, *args):
        return [str(a) for a in (DLCTL, "--socket", self.socket, *args)]


@contextmanager
def _running(server):
    try:
        yield server.start()
    finally:
        process = server.process
        if process is not None and process.poll() is None:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Failure(f"{process.args[0]} did not stop when told to, and was killed")


def run_quietly(argv):
    """Runs a command that must end well."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=clean_environment())
    if done.returncode != 0:
        raise Failure(f"{argv[0]} ended with {done.returncode}: {done.stderr[:2000]}")


def nginx_running(base, files):
    """nginx that serves the files beneath `files`."""
    return _running(Nginx(base, files, access_log=False))


def tls_nginx_running(base, files):
    """The same over TLS; its url() is that of HTTP/2, and its authority.file what to trust."""
    base.mkdir(parents=True)
    nginx = TlsNginx(base / "server", files, Authority(base / "authority"))
    nginx.url = nginx.https
    return _running(nginx)


def dld_running(base, workers, settings):
    """dld with all its directories beneath base, and Daemon's settings but for those given."""
    if not DLD.exists():
        raise Failure(f"{DLD} is missing; run make first")
    return _running(ServedDaemon(base, workers=workers, settings=settings))
