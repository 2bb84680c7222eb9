"""A server program of Debian's as an ordinary process of ours: own directory, own port."""

import os
import socket
import subprocess
from pathlib import Path

from support import clean_environment, die_with_parent, kill_session, server_port, wait_for


class LocalServer:
    """Serves the files beneath `files`. A kind of server says its PROGRAM and SCHEME, how it is started and what it
    wrote before it ended by itself."""

    PROGRAM = None
    SCHEME = "http"

    def __init__(self, base, files):
        self.base, self.files = Path(base), Path(files)
        self.port = self.process = None
        self.base.mkdir(parents=True, exist_ok=True)
        self.files.mkdir(parents=True, exist_ok=True)

    def configure(self):
        """Writes the configuration for self.port and returns the command line."""
        raise NotImplementedError

    def start(self):
        for _ in range(10):  # another may take the port between the look and the use
            self.port = server_port()
            command = self.configure()
            with (self.base / "output").open("w") as output:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                    env=clean_environment(PATH=os.environ["PATH"] + ":/usr/sbin"), preexec_fn=die_with_parent)
            wait_for(lambda: self.process.poll() is not None or self._answers(), what=self.PROGRAM)
            if self.process.poll() is None:
                return self
        said = [path.read_text(errors="replace") for path in self.base.glob("*.log")]
        raise AssertionError(f"{self.PROGRAM} doesn't start: {(self.base / 'output').read_text()}{''.join(said)}")

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        kill_session(self.process.pid)
        self.process = None

    def url(self, name=""):
        return f"{self.SCHEME}://127.0.0.1:{self.port}/{name}"

    def add(self, name, data):
        """Puts a file in place and returns its URL."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.url(name)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False
