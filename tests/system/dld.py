"""The programs under test: a daemon with directories of its own, dlctl calls, and the control socket bare."""

import itertools
import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

from support import (BUILD, SANITIZER_WORDS, SLOWER, alive, children_of, clean_environment, die_with_parent,
                     kill_session, part_number, session_of, wait_for)

DLD = BUILD / "dld"
WORKER = BUILD / "dld-worker"
DLCTL = BUILD / "dlctl"

# Impatient, so that tests with failures, and those that stop a daemon, end soon. A test may set others.
SETTINGS = {"retry.base": "20ms", "retry.max": "200ms", "retry.count": "3", "host.connections": "16",
            "master.stop_grace": "0s"}

STATES = ("queued", "waiting", "paused", "active", "done", "failed", "cancelled")
ENDED = ("done", "failed", "cancelled")


def sanitizer_complaint(text):
    """The first line in which a sanitizer complains, or None."""
    return next((line for line in text.splitlines() if any(word in line for word in SANITIZER_WORDS)), None)


def with_worker(base, text):
    """A copy of dld beside a dld-worker of the test's own: a script with that text. Returns the copy's path."""
    place = Path(base) / "bin"
    place.mkdir()
    shutil.copy(DLD, place / "dld")
    worker = place / "dld-worker"
    worker.write_text(text)
    worker.chmod(0o755)
    return place / "dld"


class Notify:
    """What systemd listens with: the socket that NOTIFY_SOCKET names. A thread reads it, as systemd always does."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.unlink(missing_ok=True)
        self.lines = []  # as they came, with the time: (monotonic seconds, "READY=1")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def seen(self, line):
        """Whether a line came that is this one or begins with it."""
        return self.count(line) > 0

    def time_of(self, line):
        return next(when for when, text in self.lines if text.startswith(line))

    def count(self, line):
        return sum(text.startswith(line) for _, text in list(self.lines))

    def stop_reading(self):
        """Reads no more, so that the socket's queue fills up."""
        self._reading.clear()

    def is_full(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            try:
                probe.sendto(b"X=1", str(self.path))
                return False
            except BlockingIOError:
                return True

    def close(self):
        self._reading.set()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def _read(self):
        while message := self._socket.recv(65536).decode():
            self.lines += [(time.monotonic(), line) for line in message.splitlines()]
            self._reading.wait()


class Result:
    """How a program ended: code, out, err."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    @property
    def documents(self):
        """The lines of --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self):
        documents = self.documents
        assert len(documents) == 1, f"one document expected: {self}"
        return documents[0]

    @property
    def summary(self):
        """The sum that `wait` and `submit --wait` end with under --json."""
        last = self.documents[-1]
        assert "done" in last and "seconds" in last, f"a sum expected at the end: {self}"
        return last

    def __repr__(self):
        return f"{self.args} ended with {self.code}\nstdout: {self.out[-4000:]}\nstderr: {self.err[-4000:]}"


def run(args, stdin=None, timeout=60, env=None, cwd=None):
    """Runs a program to its end. stdin may be text, bytes or None for /dev/null."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    args = [str(a) for a in args]
    feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    p = subprocess.run(args, capture_output=True, timeout=timeout * SLOWER, env=env or clean_environment(), cwd=cwd,
                       preexec_fn=die_with_parent, **feed)
    result = Result(args, p.returncode, p.stdout.decode(), p.stderr.decode())
    assert not sanitizer_complaint(result.err), result
    return result


def dlctl(*args, socket, code=0, **more):
    """A dlctl call; code is what it must end with, None for whatever."""
    result = run([DLCTL, "--socket", socket, *args], **more)
    assert code is None or result.code == code, f"exit code {code} expected: {result}"
    return result


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error.get("message"))
        self.code = error.get("code")
        self.data = error.get("data")


class Control:
    """A connection to the control socket. Nothing is sent that the test didn't ask for."""

    def __init__(self, path, timeout=30):
        self.notifications = []
        self._answers = {}
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout * SLOWER)
        self.socket.connect(str(path))

    def send(self, method, params=None):
        """Returns the id under which the answer will come."""
        number = next(self._numbers)
        request = {"jsonrpc": "2.0", "id": number, "method": method}
        if params is not None:
            request["params"] = params
        self.send_raw(json.dumps(request).encode() + b"\n")
        return number

    def send_raw(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next document, None when the other side has closed."""
        while b"\n" not in self._buffer:
            data = self.socket.recv(1 << 20)
            if not data:
                assert not self._buffer, f"half a line before the end: {self._buffer[:200]}"
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line)

    def answer(self, number):
        """The answer to the request of that id, with notifications put aside."""
        while number not in self._answers:
            document = self.receive()
            assert document is not None, "the daemon closed the connection"
            assert document["jsonrpc"] == "2.0"
            if "id" in document:
                assert ("result" in document) != ("error" in document), document
                self._answers[document["id"]] = document
            else:
                self.notifications.append(document)
        document = self._answers.pop(number)
        if "error" in document:
            raise RpcError(document["error"])
        return document["result"]

    def call(self, method, params=None):
        return self.answer(self.send(method, params))

    def notification(self):
        """The next one: (method, params)."""
        while not self.notifications:
            document = self.receive()
            assert document is not None, "the daemon closed the connection"
            assert "method" in document and "id" not in document, document
            self.notifications.append(document)
        document = self.notifications.pop(0)
        return document["method"], document["params"]

    def is_closed(self):
        """Waits until the other side closes; what comes before is dropped."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Daemon:
    """dld with its own state, output root, socket and configuration beneath `base`; also over restarts."""

    def __init__(self, base, *, workers=2, settings=None, args=(), env=None, program=DLD):
        self.base = Path(base)
        self.state, self.root = self.base / "state", self.base / "root"
        self.socket, self.config, self.log = self.base / "sock", self.base / "dld.conf", self.base / "stderr"
        self.program, self.workers_wanted, self.args, self.env = program, workers, list(args), env or {}
        self.settings = {**SETTINGS, **(settings or {})}
        self.process = None
        self.notify = None
        self._sessions = []
        self._may_end = False  # the test ends it, so that its end is no surprise
        for directory in (self.base, self.state, self.root):
            directory.mkdir(parents=True, exist_ok=True)
        self.config.touch()

    # ---- running ----

    def command(self):
        options = ["--config", self.config, "--state-dir", self.state, "--output-root", self.root,
                   "--socket", self.socket]
        if self.workers_wanted is not None:
            options += ["--workers", self.workers_wanted]
        for key, value in self.settings.items():
            options += ["--set", f"{key}={value}"]
        return [str(a) for a in [self.program, *options, *self.args]]

    def spawn(self):
        """Starts it and doesn't wait."""
        if self.notify:
            self.notify.close()
        self.notify = Notify(self.base / "notify")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd=self.base,
                env=clean_environment(NOTIFY_SOCKET=str(self.notify.path), **self.env), start_new_session=True,
                preexec_fn=die_with_parent)
        self._sessions.append(self.process.pid)
        self._may_end = False
        return self

    def start(self):
        """Starts it and waits until it is ready."""
        self.spawn()
        wait_for(lambda: self.notify.seen("READY=1") or self.process.poll() is not None, 20, "READY=1")
        assert self.process.poll() is None, f"dld ended with {self.process.returncode}:\n{self.stderr}"
        return self

    def wait_exit(self, timeout=20):
        """Waits for its end; returns the exit code."""
        self._may_end = True
        return self.process.wait(timeout * SLOWER)

    def stop(self):
        """SIGTERM. Returns the exit code."""
        self.process.terminate()
        return self.wait_exit()

    def kill(self):
        """SIGKILL, to the master alone."""
        self._may_end = True
        self.process.kill()
        self.process.wait()

    def restart(self):
        assert self.stop() == 0, self.stderr
        return self.start()

    def close(self):
        """For the end of a test: ends all, shows what dld said, and checks that it ended well."""
        code = 0
        surprise = self.process and not self.running and not self._may_end
        try:
            if self.running:
                code = self.stop()
        finally:
            left = [p for sid in self._sessions for p in session_of(sid)]
            for sid in self._sessions:
                kill_session(sid)
            if self.process and self.process.poll() is None:
                self.process.wait()
            if self.notify:
                self.notify.close()
            print(f"---- stderr of {self.base}/dld:\n{self.stderr[-20000:]}")
        assert not sanitizer_complaint(self.stderr), sanitizer_complaint(self.stderr)
        assert not surprise, f"dld ended by itself with {self.process.returncode}"
        assert code == 0, f"SIGTERM must end dld with 0, not {code}"
        assert not left, f"processes left behind by dld: {left}"

    # ---- looking ----

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def stderr(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def worker_pids(self):
        return children_of(self.pid)

    def has_no_processes(self):
        return not any(alive(p) for sid in self._sessions for p in session_of(sid))

    def file(self, name):
        return self.root / name

    def part(self, number):
        """The job's part file."""
        return next((p for p in self.root.rglob(".dld-*") if part_number(p) == number), self.root / ".dld-none")

    # ---- talking ----

    def control(self, timeout=30):
        return Control(self.socket, timeout)

    def call(self, method, params=None):
        with self.control() as c:
            return c.call(method, params)

    def dlctl(self, *args, **more):
        return dlctl(*args, socket=self.socket, **more)

    def submit(self, jobs, **more):
        """Hands jobs over and returns {"batch", "count", "ids"}."""
        return self.call("submit", {"jobs": jobs, **more})

    def run(self, jobs, timeout=60, **more):
        """Hands jobs over, waits until all have ended and returns them in their order."""
        with self.control(timeout) as c:
            batch = c.call("submit", {"jobs": jobs, **more})["batch"]
            c.call("wait", {"batch": batch})
        return self.jobs(batch=batch)

    def run_one(self, url, **keys):
        (job,) = self.run([{"url": url, **keys}])
        return job

    def jobs(self, **filters):
        """All jobs that the filters of `list` let through, in order of id."""
        jobs, after = [], 0
        with self.control() as c:
            while after is not None:
                page = c.call("list", {**filters, "after": after})
                jobs += page["jobs"]
                after = page["next"]
        return jobs

    def show(self, number):
        return self.call("show", {"id": number})

    def counts(self):
        return self.call("status")["jobs"]

    def none_left(self):
        """Whether every job has ended."""
        return not any(n for state, n in self.counts().items() if state not in ENDED)
