"""OpenSSH's server as an ordinary process of ours: own keys, own port, SFTP for whoever runs the tests."""

import base64
import getpass
import hashlib
import hmac
import os
import socket
import subprocess
from pathlib import Path

from dld import run
from support import clean_environment, die_with_parent, kill_session, server_port, wait_for

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
PidFile {base}/sshd.pid
{host_keys}
AuthorizedKeysFile {base}/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
LogLevel VERBOSE
MaxStartups 100
"""


def make_key(path, kind="ed25519", *more):
    result = run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path, *more])
    assert result.code == 0, result
    return path


def hashed(name):
    """A name as `ssh-keygen -H` leaves it in a known_hosts file."""
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


class Sftp:
    """An SFTP server with host keys of these kinds. Everybody with client_key may log in as `user`."""

    def __init__(self, base, kinds=("ed25519",)):
        self.base = Path(base)
        self.base.mkdir(parents=True, exist_ok=True)
        self.files = self.base / "files"
        self.files.mkdir()
        self.user = getpass.getuser()
        self.kinds = kinds
        self.port = self.process = None
        self.client_key = make_key(self.base / "client")
        for kind in kinds:
            make_key(self.base / f"host_{kind}", kind)
        (self.base / "authorized_keys").write_text((self.base / "client.pub").read_text())
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd doesn't start without

    def start(self):
        for _ in range(10):  # another may take the port between the look and the use
            self.port = server_port()
            keys = "\n".join(f"HostKey {self.base}/host_{kind}" for kind in self.kinds)
            (self.base / "sshd_config").write_text(CONFIG.format(base=self.base, port=self.port, host_keys=keys))
            self.process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-f", self.base / "sshd_config", "-E", self.base / "sshd.log"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=clean_environment(), start_new_session=True, preexec_fn=die_with_parent)
            wait_for(lambda: self.process.poll() is not None or self._answers(), what="sshd")
            if self.process.poll() is None:
                return self
        raise AssertionError("sshd doesn't start: " + (self.base / "sshd.log").read_text())

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            kill_session(self.process.pid)
            self.process = None

    def url(self, name=""):
        return f"sftp://127.0.0.1:{self.port}{self.files}/{name}"

    def add(self, name, data):
        """Puts a file in place and returns its URL."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.url(name)

    @property
    def name(self):
        """As known_hosts files have it."""
        return f"[127.0.0.1]:{self.port}"

    def host_key(self, kind=None):
        """TYPE KEY"""
        return " ".join((self.base / f"host_{kind or self.kinds[0]}.pub").read_text().split()[:2])

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False
