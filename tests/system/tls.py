"""A certificate authority of the tests' own, and nginx with its certificates, good ones and others."""

from nginx import Nginx
from dld import run
from support import server_port

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
KINDS = ("good", "expired", "wrong-host", "self-signed")

CA_CONFIG = """
[ca]
default_ca = test
[test]
database = {base}/index
new_certs_dir = {base}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""

SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl http2;
        keepalive_requests {requests};
        ssl_certificate {base}/{kind}.pem;
        ssl_certificate_key {base}/{kind}.key;
        access_log {log} tls;
        location / {{ root {files}; }}
        location ~ ^/to/(?<rest>.*)$ {{ return 302 /$rest; }}
        location ~ ^/rate/(?<rate>[0-9]+[km]?)(?<rest>/.*)$ {{ limit_rate $rate; alias {files}$rest; }}
    }}
"""


def openssl(*args):
    result = run(["openssl", *args])
    assert result.code == 0, result


class Authority:
    """Files beneath `base`: ca.pem, and for each of KINDS a certificate and its key."""

    def __init__(self, base):
        self.base = base
        base.mkdir()
        (base / "ca.conf").write_text(CA_CONFIG.format(base=base))
        (base / "index").touch()
        self.file = base / "ca.pem"
        openssl("req", "-x509", *KEY, "-subj", "/CN=Test CA", "-days", "30", "-keyout", base / "ca.key", "-out", self.file)
        self._sign("good", "IP:127.0.0.1")
        self._sign("expired", "IP:127.0.0.1", "-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
        self._sign("wrong-host", "DNS:elsewhere.example")
        openssl("req", "-x509", *KEY, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30",
                "-keyout", base / "self-signed.key", "-out", base / "self-signed.pem")

    def _sign(self, kind, name, *dates):
        base = self.base
        openssl("req", "-new", *KEY, "-subj", f"/CN={kind}", "-keyout", base / f"{kind}.key", "-out", base / f"{kind}.csr")
        (base / f"{kind}.ext").write_text(f"subjectAltName = {name}\n")
        openssl("ca", "-batch", "-notext", "-config", base / "ca.conf", "-cert", self.file, "-keyfile", base / "ca.key",
                "-in", base / f"{kind}.csr", "-out", base / f"{kind}.pem", "-extfile", base / f"{kind}.ext",
                *(dates or ("-days", "30")))


class TlsNginx(Nginx):
    """Serves the same over TLS with HTTP/2, on one more port for each of KINDS."""

    def __init__(self, base, files, authority, requests=1000000):
        super().__init__(base, files)
        self.authority = authority
        self.requests_each = requests  # over a connection
        self.ports = {}
        self.log = self.base / "tls.log"

    def https(self, name, kind="good"):
        return f"https://127.0.0.1:{self.ports[kind]}/{name}"

    def versions(self):
        """HTTP's version in each request that came over TLS."""
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    def configure(self):
        command = super().configure()
        self.ports = {kind: server_port() for kind in KINDS}
        servers = "".join(SERVER.format(port=self.ports[kind], base=self.authority.base, kind=kind, log=self.log, requests=self.requests_each,
                                        files=self.files) for kind in KINDS)
        path = self.base / "nginx.conf"
        text = path.read_text().rstrip()
        assert text.endswith("}")
        path.write_text(f"{text[:-1]}    log_format tls '$server_protocol $status $request_uri';\n{servers}}}\n")
        return command
