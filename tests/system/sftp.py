"""OpenSSH's server as an ordinary process of ours: own keys, own port, SFTP for whoever runs the tests."""

import base64
import getpass
import hashlib
import hmac
import os
from pathlib import Path

from dld import run
from localserver import LocalServer

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


class Sftp(LocalServer):
    """An SFTP server with host keys of these kinds. Everybody with client_key may log in as `user`."""

    PROGRAM = "sshd"

    def __init__(self, base, kinds=("ed25519",)):
        super().__init__(base, Path(base) / "files")
        self.user = getpass.getuser()
        self.kinds = kinds
        self.client_key = make_key(self.base / "client")
        for kind in kinds:
            make_key(self.base / f"host_{kind}", kind)
        (self.base / "authorized_keys").write_text((self.base / "client.pub").read_text())
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd doesn't start without

    def configure(self):
        keys = "\n".join(f"HostKey {self.base}/host_{kind}" for kind in self.kinds)
        (self.base / "sshd_config").write_text(CONFIG.format(base=self.base, port=self.port, host_keys=keys))
        return ["/usr/sbin/sshd", "-D", "-f", self.base / "sshd_config", "-E", self.base / "sshd.log"]

    def url(self, name=""):
        return f"sftp://127.0.0.1:{self.port}{self.files}/{name}"

    @property
    def name(self):
        """As known_hosts files have it."""
        return f"[127.0.0.1]:{self.port}"

    def host_key(self, kind=None):
        """TYPE KEY"""
        return " ".join((self.base / f"host_{kind or self.kinds[0]}.pub").read_text().split()[:2])
