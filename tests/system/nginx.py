"""nginx as an ordinary process of ours: own directory, own port, requests counted by its log."""

import os
import socket
import subprocess
from pathlib import Path

from support import clean_environment, die_with_parent, kill_session, server_port, wait_for

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


class Nginx:
    """Serves the files beneath `files`."""

    def __init__(self, base, files, workers=1, access_log=True):
        self.base = Path(base)
        self.files = Path(files)
        self.workers = workers
        self.access_log = access_log
        self.has_delay = ECHO_MODULE.exists()
        self.port = None
        self.process = None
        self.base.mkdir(parents=True, exist_ok=True)
        self.files.mkdir(parents=True, exist_ok=True)

    def start(self):
        for _ in range(10):  # another may take the port between the look and the use
            self.port = server_port()
            self._configure()
            self.process = subprocess.Popen(
                ["nginx", "-p", self.base, "-e", self.base / "error.log", "-c", self.base / "nginx.conf"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=clean_environment(PATH=os.environ["PATH"] + ":/usr/sbin"), start_new_session=True,
                preexec_fn=die_with_parent)
            wait_for(lambda: self.process.poll() is not None or self._answers(), what="nginx")
            if self.process.poll() is None:
                return self
        raise AssertionError("nginx doesn't start: " + (self.base / "error.log").read_text())

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        kill_session(self.process.pid)
        self.process = None

    def url(self, name=""):
        return f"http://127.0.0.1:{self.port}/{name}"

    def add(self, name, data):
        """Puts a file in place and returns its URL."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.url(name)

    def requests(self):
        """(connection, status, bytes, uri) of each request that has ended."""
        entries = []
        for line in (self.base / "access.log").read_text().splitlines():
            connection, status, size, uri = line.split(" ", 3)
            entries.append((int(connection), int(status), int(size), uri))
        return entries

    def _configure(self):
        (self.base / "tmp").mkdir(exist_ok=True)
        text = CONFIG.format(
            base=self.base, files=self.files, port=self.port, workers=self.workers,
            modules=f"load_module {ECHO_MODULE};" if self.has_delay else "",
            user="user root;" if os.geteuid() == 0 else "",  # else it couldn't read what only root may
            access_log=f"{self.base}/access.log requests" if self.access_log else "off",
            delay=DELAY if self.has_delay else "")
        (self.base / "nginx.conf").write_text(text)

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False
