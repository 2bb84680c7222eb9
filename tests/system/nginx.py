"""nginx as an ordinary process of ours: own directory, own port, requests counted by its log."""

import os
from pathlib import Path

from localserver import LocalServer

ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")

CONFIG = """
{modules}
{user}
daemon off;
pid {base}/nginx.pid;
error_log {base}/error.log warn;
worker_processes {workers};
events {{ worker_connections 1000; }}
http {{
    types {{ text/html html; text/plain txt; image/jpeg jpg; application/json json; }}
    default_type application/octet-stream;
    log_format requests '$connection $status $bytes_sent $request_uri';
    access_log {access_log};
    client_body_temp_path {base}/tmp;
    proxy_temp_path {base}/tmp;
    fastcgi_temp_path {base}/tmp;
    uwsgi_temp_path {base}/tmp;
    scgi_temp_path {base}/tmp;
    sendfile on;
    keepalive_requests 1000000;
    keepalive_timeout 60;
    lingering_close off;
    server {{
        listen 127.0.0.1:{port} reuseport backlog=4096;
        location / {{ root {files}; }}
        # /rate/64k/NAME: that many bytes a second
        location ~ ^/rate/(?<rate>[0-9]+[km]?)(?<rest>/.*)$ {{ limit_rate $rate; alias {files}$rest; }}
        {delay}
    }}
}}
"""

# /delay/0.3/NAME: the answer starts after that many seconds
DELAY = "location ~ ^/delay/(?<seconds>[0-9.]+)(?<rest>/.*)$ { echo_sleep $seconds; echo_exec $rest; }"


class Nginx(LocalServer):
    """Serves the files beneath `files`."""

    PROGRAM = "nginx"

    def __init__(self, base, files, workers=1, access_log=True):
        super().__init__(base, files)
        self.workers = workers
        self.access_log = access_log
        self.has_delay = ECHO_MODULE.exists()

    def requests(self):
        """(connection, status, bytes, uri) of each request that has ended."""
        entries = []
        for line in (self.base / "access.log").read_text().splitlines():
            connection, status, size, uri = line.split(" ", 3)
            entries.append((int(connection), int(status), int(size), uri))
        return entries

    def configure(self):
        (self.base / "tmp").mkdir(exist_ok=True)
        text = CONFIG.format(
            base=self.base, files=self.files, port=self.port, workers=self.workers,
            modules=f"load_module {ECHO_MODULE};" if self.has_delay else "",
            user="user root;" if os.geteuid() == 0 else "",  # else it couldn't read what only root may
            access_log=f"{self.base}/access.log requests" if self.access_log else "off",
            delay=DELAY if self.has_delay else "")
        (self.base / "nginx.conf").write_text(text)
        return ["nginx", "-p", self.base, "-e", self.base / "error.log", "-c", self.base / "nginx.conf"]
