"""System calls that fail: the rule that faulty_calls.c goes by, and a Story in which they do."""

import errno
import json
import mmap
import re
import struct
import time

from crashing import Story
from dld import DLCTL, Control, RpcError
from dld import run as run_program
from support import BUILD, clean_environment

LIBRARY = BUILD / "faulty_calls.so"
RULE = struct.Struct("=iii16s24s")
SHORT = -1
FOREVER = 1 << 30

# What each call is let fail with.
MAKES = ["EMFILE", "ENOMEM"]  # a descriptor
LOOKS = ["EIO", "ENOMEM"]
CHANGES = ["EIO", "ENOSPC"]
READS, WRITES = ["EIO", "EINTR", "SHORT"], ["EIO", "ENOSPC", "EINTR", "SHORT"]
CALLS = {
    "open": [*MAKES, "EINTR", "EIO"], "openat": [*MAKES, "EINTR", "ENOSPC"], "openat2": [*MAKES, "EAGAIN", "EIO"], "dupfd": MAKES,
    "read": READS, "write": WRITES, "pread": READS, "pwrite": WRITES, "fsync": ["EIO", "ENOSPC"], "fdatasync": ["EIO", "ENOSPC"], "syncfs": ["EIO", "ENOSPC"],
    "ftruncate": ["EIO", "EINTR"], "fstat": LOOKS, "stat": LOOKS, "fstatat": LOOKS, "statx": LOOKS, "fstatvfs": LOOKS, "lseek": ["EIO"],
    "linkat": CHANGES, "renameat": CHANGES, "renameat2": CHANGES, "unlinkat": ["EIO"], "unlink": ["EIO"], "mkdir": CHANGES,
    "mkdirat": CHANGES, "access": LOOKS, "faccessat": LOOKS, "fsetxattr": CHANGES, "fgetxattr": ["EIO"], "sync_file_range": ["EIO"],
    "flock": ["EINTR", "ENOMEM"], "readlink": ["EIO"], "memfd_create": MAKES, "mmap": ["ENOMEM"],
    "socket": MAKES, "socketpair": MAKES, "connect": ["ENOMEM", "EINTR", "EAGAIN"], "bind": ["ENOMEM"], "listen": ["ENOMEM"],
    "accept4": [*MAKES, "EINTR", "ECONNABORTED", "EAGAIN"], "getsockopt": ["ENOMEM"], "setsockopt": ["ENOMEM"],
    "getsockname": ["ENOBUFS"], "getpeername": ["ENOBUFS"], "shutdown": ["ENOMEM"],
    "send": ["EAGAIN", "EINTR", "ENOBUFS", "ENOMEM", "SHORT"], "recv": ["EAGAIN", "EINTR", "ENOMEM", "SHORT"],
    "epoll_create1": MAKES, "epoll_ctl": ["ENOMEM"], "epoll_wait": ["EINTR"], "eventfd": MAKES, "timerfd_create": MAKES,
    "timerfd_settime": ["ENOMEM"], "signalfd": MAKES, "poll": ["EINTR", "ENOMEM"], "ppoll": ["ENOMEM"],
    "getrandom": ["EAGAIN", "EINTR"], "posix_spawn": ["EAGAIN", "ENOMEM"], "pthread_create": ["EAGAIN"],
}


class Rule:
    """The file that names the call that fails."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(RULE.pack(0, 0, 0, b"", b""))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.environment = {"LD_PRELOAD": str(LIBRARY), "FAULTY_CALLS": str(path)}

    def set(self, program, call, error="EIO", k=FOREVER, times=1):
        """The k-th call and so many in all fail in that program, which is only asked for its name when it starts."""
        number = SHORT if error == "SHORT" else getattr(errno, error)
        RULE.pack_into(self._map, 0, k, times, number, program.encode(), call.encode())

    def left(self):
        """k less the calls there were."""
        return struct.unpack_from("=i", self._map)[0]

    def end(self):
        """From now on all goes well."""
        struct.pack_into("=i", self._map, 4, 0)


class Trouble(Story):
    """What happens to one dld whose calls fail. Whoever is told of an error asks again."""

    patience = 200  # workers that end again and again are started anew less and less often

    def arm(self):
        self.rule = Rule(self.daemon.base / "rule")
        self.daemon.env |= self.rule.environment
        self.complaints = []  # what was said of it: "start: ...", "stop: ...", "submit: ...", "job: NAME: ..."

    def complain(self, what):
        self.complaints.append(what)
        assert len(self.complaints) < 60, f"no end of it: {self.complaints[-5:]}"
        if len(self.complaints) > 20:
            self.rule.end()

    def ended(self, code):
        assert code == 1, f"dld ended with {code}: {self.daemon.stderr}"
        lines = self.daemon.stderr.strip().splitlines()
        assert lines and len(lines[-1]) > 20, "dld ended without a word"
        self.deaths += 1
        self.complain(f"end: {lines[-1]}")

    def call(self, method, params=None):
        while True:
            self.up()
            try:
                with Control(self.daemon.socket) as c:
                    return c.call(method, params)
            except RpcError as e:
                assert len(str(e)) > 10
                self.complain(f"{method}: {e}")
                time.sleep(0.01)
            except (OSError, AssertionError) as e:  # a client that is hung up on may come again
                self.complain(f"{method}: {type(e).__name__} {e}")
                time.sleep(0.05)

    def all_jobs(self):
        """Jobs that failed and need not have are queued again."""
        while True:
            jobs = super().all_jobs()
            wrong = [j for j in jobs if j["state"] == "failed" and "/status/404/" not in j["url"]]
            if not wrong:
                return jobs
            for job in wrong:
                assert len(job["error"]["message"]) > 10, job
                self.complain(f"job: {job['error']['name']}: {job['error']['message']}")
            self.call("retry", {"ids": [j["id"] for j in wrong]})

    def change(self, method, ids, state):
        """Asks again and again: the job may have failed meanwhile, and begun anew."""
        asked = 0

        def has_come(jobs):
            nonlocal asked
            if all(j["state"] == state for j in jobs if j["id"] in ids):
                return True
            if time.monotonic() > asked + 0.5:
                self.call(method, {"ids": ids})
                asked = time.monotonic()
            return False
        self.wait(has_come, f"{state} jobs")

    def cancel_and_purge(self, number):
        self.call("cancel", {"ids": [number]})

    def check_files(self, jobs):
        """Part files that could not be removed are named in the log."""
        for name in re.findall(r"the part file (\S+) can't be removed", self.daemon.stderr):
            self.complain(f"log: {name} can't be removed")
            self.daemon.file(name).unlink(missing_ok=True)
        super().check_files(jobs)

    def check_requests(self, kills):
        raise NotImplementedError


def run(story, program, call, error, k, times=1):
    """Returns what was said of the error; None if there was no k-th call."""
    story.rule.set(program, call, error, k, times)
    story.run()
    return story.complaints if story.rule.left() <= 0 else None


def run_client(daemon, rule, url, tag, call, error, k, times=1):
    """dlctl submits jobs and waits, and lists them. Returns (its exit code, what it said); None: no k-th call."""
    n, file = 30, daemon.base / f"{tag}.json"
    file.write_text(json.dumps([{"url": f"{url}{tag}-{i}", "tag": tag} for i in range(n)]))
    rule.set("dlctl", call, error, k, times)
    result = run_program([DLCTL, "--socket", daemon.socket, "--json", "submit", file, "--wait"],
                         env=clean_environment(**rule.environment))
    left = rule.left()
    rule.end()
    assert result.code in (0, 1, 2, 3), result
    there = daemon.jobs(tag=tag)
    assert len(there) == (n if result.code == 0 else len(there) and n), f"{len(there)} jobs of {n}: {result}"
    if result.code == 0:
        assert result.summary["done"] == n, result
        assert sum("url" in document for document in result.documents) == n, result
        assert not result.err or result.err.startswith("dlctl: the connection to the daemon was lost; trying"), result
    else:
        assert result.err.startswith("dlctl: ") and len(result.err) > 20, result
    return (result.code, result.err.strip()) if left <= 0 else None
