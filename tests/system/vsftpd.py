"""vsftpd as an ordinary process of ours, for anonymous readers: own directory, own port, over TLS if wanted."""

import os

from localserver import LocalServer

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


class Vsftpd(LocalServer):
    """Serves the files beneath `files`; over TLS with a certificate and its key."""

    PROGRAM = "vsftpd"

    def __init__(self, base, files, certificate=None, key=None):
        super().__init__(base, files)
        self.tls = TLS.format(certificate=certificate, key=key) if certificate else ""
        self.SCHEME = "ftps" if certificate else "ftp"
        (self.base / "empty").mkdir(exist_ok=True)
        self.base.chmod(0o755)
        self.files.chmod(0o755)

    def configure(self):
        user = "" if os.geteuid() == 0 else "run_as_launching_user=YES"
        text = CONFIG.format(base=self.base, files=self.files, port=self.port, user=user) + self.tls
        (self.base / "vsftpd.conf").write_text(text)
        return ["vsftpd", self.base / "vsftpd.conf"]

    def commands(self, name):
        """The arguments of each command of that name that came."""
        lines = (self.base / "vsftpd.log").read_text().splitlines()
        found = [line.partition('FTP command: ')[2].partition('"')[2].rpartition('"')[0] for line in lines]
        return [line.partition(name)[2].strip() for line in found
                if line.rpartition(", ")[2].strip('"').startswith(name) or f'"{name}' in line]
