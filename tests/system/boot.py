"""A machine of the test's own: a systemd that boot.sh boots, in namespaces, on a copy of this machine's root."""

import select
import subprocess
from pathlib import Path

from dld import run
from support import SLOWER, alive, clean_environment, wait_for

BOOT = Path(__file__).with_name("boot.sh")
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


class CannotBoot(Exception):
    """This machine lacks something that it takes; the text says what."""


class Machine:
    """Boots with what `installed` (a DESTDIR) holds; `base` is an empty directory for its use."""

    def __init__(self, installed, base):
        self._installed = installed
        self._root = Path(base) / "root"
        self._console = Path(base) / "console"
        self._process = None
        self.pid = None  # of its PID 1, as seen from outside

    def boot(self):
        self._root.mkdir()
        with self._console.open("wb") as console:
            self._process = subprocess.Popen([BOOT, self._installed, self._root], stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=console, text=True,
                                             start_new_session=True)
        readable, _, _ = select.select([self._process.stdout], [], [], 20 * SLOWER)
        said = self._process.stdout.readline().strip() if readable else ""
        if said.startswith("needs "):
            self.close()
            raise CannotBoot(said)
        try:
            assert said, "boot.sh failed"
            self.pid = int(said)
            wait_for(self._is_up, 20, "the machine to boot")
        except AssertionError as e:
            self.close()
            raise AssertionError(f"{e}\n{self._console.read_text()}") from e
        return self

    def close(self):
        """Nothing of it is left."""
        if self._process:
            self._process.stdin.close()
            assert self._process.wait(20) == 0, self._console.read_text()
            self._process = None

    # ---- inside ----

    def path(self, path):
        """A file of the machine as it is reached from outside. For paths without links that lead to the root."""
        return Path(f"/proc/{self.pid}/root{path}")

    def run(self, *args, user=None, code=0, **more):
        """Runs a program as root or as `user`. `code` is what it must end with, None for whatever."""
        words = ["nsenter", f"--target={self.pid}", *NAMESPACES, "--"]
        if user:
            words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        result = run([*words, *args], env=clean_environment(LANG="C.UTF-8"), **more)
        assert code is None or result.code == code, f"exit code {code} expected: {result}"
        return result

    def systemctl(self, *args, **more):
        return self.run("systemctl", *args, **more)

    def show(self, unit, name):
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).out.strip()

    def processes(self, unit):
        """The ids, as seen inside, of the processes of a unit."""
        group = self.show(unit, "ControlGroup")
        listing = self.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs", code=None).out if group else ""
        return [int(word) for word in listing.split()]

    def journal(self, *args):
        """What the journal holds now, as journalctl prints it."""
        self.run("journalctl", "--sync", code=None)
        return self.run("journalctl", "--no-pager", "--quiet", "--output=short-monotonic", *args, code=None).out

    # ---- its own ----

    def _is_up(self):
        assert alive(self.pid), "its systemd ended"
        return self.systemctl("is-active", "--quiet", "boot.target", code=None).code == 0
