"""Apache httpd as an ordinary process of ours: own directory, own port, requests read from its log."""

import base64
import hashlib
import os

from localserver import LocalServer

MODULES = ("mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "auth_digest", "alias",
           "mime", "filter", "deflate", "env", "ratelimit")
USER, PASSWORD, REALM = "ann", "pass word:\u00e4", "realm"

CONFIG = """
ServerRoot {base}
ServerName 127.0.0.1
DefaultRuntimeDir {base}
Mutex file:{base}
PidFile {base}/apache.pid
ErrorLog {base}/error.log
Listen 127.0.0.1:{port}
{modules}
{user}
TypesConfig /dev/null
AddType text/html html
AddType text/plain txt
LogFormat "%k %>s %B %{{Range}}i %{{Authorization}}i %U" requests
CustomLog {base}/access.log requests
DocumentRoot {files}
KeepAlive On
MaxKeepAliveRequests 0
AddOutputFilterByType DEFLATE text/plain
<Directory {files}>
    Require all granted
</Directory>
# *.slow: 20 MiB a second
<Files "*.slow">
    SetOutputFilter RATE_LIMIT
    SetEnv rate-limit 20480
</Files>
Alias /basic/ {files}/
<Location /basic/>
    AuthType Basic
    AuthName {realm}
    AuthUserFile {base}/passwords
    Require valid-user
</Location>
Alias /digest/ {files}/
<Location /digest/>
    AuthType Digest
    AuthName {realm}
    AuthDigestDomain /digest/
    AuthUserFile {base}/digests
    Require valid-user
</Location>
"""


class Request:
    def __init__(self, line):
        nth, status, size, self.range, rest = line.split(" ", 4)
        self.authorization, self.path = rest.rsplit(" ", 1)
        self.nth, self.status, self.size = int(nth), int(status), int(size)  # nth on its connection, from 0


class Apache(LocalServer):
    """Serves the files beneath `files`; /basic/ and /digest/ lead to the same, for USER with PASSWORD only."""

    PROGRAM = "apache2"

    def __init__(self, base, files):
        super().__init__(base, files)
        digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
        (self.base / "passwords").write_text(f"{USER}:{{SHA}}{digest}\n")
        digest = hashlib.md5(f"{USER}:{REALM}:{PASSWORD}".encode()).hexdigest()
        (self.base / "digests").write_text(f"{USER}:{REALM}:{digest}\n")

    def requests(self):
        """Those that have ended."""
        return [Request(line) for line in (self.base / "access.log").read_text().splitlines()]

    def configure(self):
        modules = "\n".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so" for m in MODULES)
        user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""  # it doesn't serve as root
        (self.base / "apache.conf").write_text(CONFIG.format(
            base=self.base, files=self.files, port=self.port, modules=modules, user=user, realm=REALM))
        return ["apache2", "-DFOREGROUND", "-f", self.base / "apache.conf"]
