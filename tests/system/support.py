"""What every test needs: where things are, waiting with an end, looking at processes."""

import ctypes
import os
import re
import random
import shutil
import signal
import socket
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("DLD_BUILD", ".build")

# Built with ASan and UBSan: what they print fails a test, limits of memory don't hold, all takes longer.
SANITIZE = bool(os.environ.get("DLD_SANITIZE"))
SLOWER = 4 if SANITIZE else 1
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "AddressSanitizer:DEADLYSIGNAL")

KIB = 1024
MIB = 1024 * KIB


def wait_for(condition, timeout=60, what="a condition"):
    """Asks until condition() is true and returns what it gave. Fails the test when it takes too long."""
    end = time.monotonic() + timeout * SLOWER
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout * SLOWER} s for {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def content(key, size):
    """Bytes that depend on key (a string) and size alone, so that anyone can tell what a file must hold."""
    return random.Random(f"{key}:{size}").randbytes(size)


def seeded():
    """A source of random instants. DLD_TEST_SEED repeats a run; the seed is shown when the test fails."""
    seed = int(os.environ.get("DLD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DLD_TEST_SEED={seed}")
    return random.Random(seed)


def files_under(root):
    """The files beneath root, by relative path, part files too."""
    root = Path(root)
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir() or p.is_symlink())


def is_part(path):
    return os.path.basename(path).startswith(".dld-")


def part_number(path):
    """Of which job it is the part file; None: it is none."""
    match = re.fullmatch(r"\.dld-[0-9a-f]{8}-(\d+)\.part", os.path.basename(path))
    return int(match[1]) if match else None


def parts_under(root):
    """The numbers of the jobs whose part files are all that there is beneath root, in order."""
    return sorted(part_number(path) for path in files_under(root))


def clean_environment(**more):
    """Ours without what would lead programs under test astray."""
    drop = ("DLD_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "STATE_DIRECTORY", "MAKE", "MFLAGS", "JOURNAL_STREAM")
    env = {k: v for k, v in os.environ.items() if not k.startswith(drop) and not k.lower().endswith("_proxy")}
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(more)
    return env


def have(program):
    return shutil.which(program) is not None


# ---- sockets ----


def closed_port():
    """A bound socket that doesn't listen: connections to its port are refused for as long as it is held."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return _Held(s)


class _Held:
    """Sockets that are kept open until close()."""

    def __init__(self, *sockets):
        self._sockets = list(sockets)
        self.port = sockets[0].getsockname()[1]

    def url(self, path="/file"):
        return f"http://127.0.0.1:{self.port}{path}"

    def keep(self, sock):
        self._sockets.append(sock)

    def close(self):
        for s in self._sockets:
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def unanswered_port():
    """A port whose queue of connections is full, so that further ones get no answer at all."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    held = _Held(listener)
    for _ in range(3):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
        held.keep(s)
    return held


def _ports_to_try():
    """Those of this test runner among runners side by side, none twice before all were there."""
    runners = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    runner = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    mine = list(range(12000 + runner, 32000, runners))
    while True:
        random.SystemRandom().shuffle(mine)
        yield from mine


_ports = _ports_to_try()


def server_port():
    """A port that was free a moment ago, outside the range from which the kernel picks for connections."""
    for port in _ports:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


# ---- processes ----

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For preexec_fn: a test runner that is killed takes its servers with it."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _stat(pid):
    """(state, parent, session) of a process, None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[3])


def _processes():
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = _stat(int(name))
            if stat and stat[0] not in "ZX":
                yield int(name), stat


def alive(pid):
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def children_of(pid):
    return sorted(p for p, (_, parent, _) in _processes() if parent == pid)


def session_of(sid):
    """The processes of a session: all that a program started with start_new_session left behind."""
    return sorted(p for p, (_, _, session) in _processes() if session == sid)


def kill_session(sid):
    for pid in session_of(sid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def memory_kib(pid, field="VmRSS"):
    """VmRSS: memory in use now; VmHWM: the most there ever was. 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
