"""vsftpd as an ordinary process of ours, for anonymous readers: own directory, own port, over TLS if wanted."""

import os
import socket
import subprocess
from pathlib import Path

from support import clean_environment, die_with_parent, kill_session, server_port, wait_for

CONFIG = """
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
{user}
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root={files}
write_enable=NO
connect_from_port_20=NO
pasv_address=127.0.0.1
secure_chroot_dir={base}/empty
seccomp_sandbox=NO
xferlog_enable=YES
log_ftp_protocol=YES
vsftpd_log_file={base}/vsftpd.log
"""

TLS = """
ssl_enable=YES
implicit_ssl=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
rsa_cert_file={certificate}
rsa_private_key_file={key}
"""


class Vsftpd:
    """Serves the files beneath `files`; over TLS with a certificate and its key."""

    def __init__(self, base, files, certificate=None, key=None):
        self.base, self.files = Path(base), Path(files)
        self.tls = TLS.format(certificate=certificate, key=key) if certificate else ""
        self.port = self.process = None
        for path in (self.base / "empty", self.files):
            path.mkdir(parents=True, exist_ok=True)
        self.base.chmod(0o755)
        self.files.chmod(0o755)

    def start(self):
        for _ in range(10):  # another may take the port between the look and the use
            self.port = server_port()
            user = "" if os.geteuid() == 0 else "run_as_launching_user=YES"
            text = CONFIG.format(base=self.base, files=self.files, port=self.port, user=user) + self.tls
            (self.base / "vsftpd.conf").write_text(text)
            with open(self.base / "output", "w") as output:
                self.process = subprocess.Popen(
                    ["vsftpd", self.base / "vsftpd.conf"], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    env=clean_environment(PATH=os.environ["PATH"] + ":/usr/sbin"), start_new_session=True,
                    preexec_fn=die_with_parent)
            wait_for(lambda: self.process.poll() is not None or self._answers(), what="vsftpd")
            if self.process.poll() is None:
                return self
        raise AssertionError("vsftpd doesn't start: " + (self.base / "output").read_text())

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            kill_session(self.process.pid)
            self.process = None

    def url(self, name=""):
        return f"{'ftps' if self.tls else 'ftp'}://127.0.0.1:{self.port}/{name}"

    def add(self, name, data):
        """Puts a file in place and returns its URL."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.url(name)

    def commands(self, name):
        """The arguments of each command of that name that came."""
        lines = (self.base / "vsftpd.log").read_text().splitlines()
        found = [line.partition('FTP command: ')[2].partition('"')[2].rpartition('"')[0] for line in lines]
        return [line.partition(name)[2].strip() for line in found
                if line.rpartition(", ")[2].strip('"').startswith(name) or f'"{name}' in line]

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                return True
        except OSError:
            return False
