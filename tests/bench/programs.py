"""The programs that are compared: how each is told to fetch a list of files, and what a run of it cost."""

import json
import os
import secrets
import select
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from servers import BUILD, Failure, clean_environment, dld_running

RUN_SECONDS = 300  # no run takes longer
SAMPLE_SECONDS = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
BARE = BUILD / "bare_curl"

# dld as measured: about as many slots as the peers that are fastest with many, and jobs at hand for each
DLD_WORKERS = 2
DLD_SETTINGS = {"worker.transfers": 32, "host.connections": 128}


@dataclass
class Sample:
    """One run: wall time, and CPU seconds and MiB of memory of each part of the program."""

    seconds: float
    cpu: dict
    memory: dict


def run_command(argv, stderr):
    """Runs argv to its end: (seconds, CPU seconds with children, peak MiB). The peak is looked at from
    outside: ru_maxrss of a child starts at what its parent had."""
    start = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
                          env=clean_environment()) as process:
        pidfd = os.pidfd_open(process.pid)
        try:
            peak = 0
            while not select.select([pidfd], [], [], SAMPLE_SECONDS)[0]:
                peak = max(peak, status_mib(process.pid, "status", "VmHWM"))
                if time.monotonic() - start > RUN_SECONDS:
                    raise Failure(f"{argv[0]} did not end within {RUN_SECONDS} s")
            seconds = time.monotonic() - start
        except BaseException:
            process.kill()
            raise
        finally:
            os.close(pidfd)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime, peak


def status_mib(pid, file, field):
    """A figure of /proc/PID/FILE in MiB, 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


def cpu_seconds(pids):
    """CPU time that these processes have used so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def new_parent(path):
    """A folder whose subfolders ext4 spreads over the disk, so that runs don't meet each other's inodes."""
    path.mkdir(parents=True)
    subprocess.run(["chattr", "+T", path], stderr=subprocess.DEVNULL, check=False)


class Program:
    """Something that fetches. The runner calls start() once, then prepare() and run() in each round.
    peer: a single tool that people use; ratios are to the best of these, and to each of the others."""

    ca_file = None  # what the runner's server has its certificate from

    def __init__(self, name, peer=True):
        self.name = name
        self.peer = peer
        self.folder = None
        self.outputs = None  # has a folder for each round
        self.output = None  # that of the last round

    def start(self, folder, _stack):
        """folder is for this program alone; what must be stopped in the end goes on the stack."""
        self.folder = folder
        self.outputs = folder / "out"
        new_parent(self.outputs)

    def prepare(self, base_url, names, round_):
        """All that isn't timed: a new self.output, and the list in the program's own format."""
        # a name never used before: by its hash ext4 chooses where on the disk the files go
        self.output = self.outputs / f"round{round_}-{secrets.token_hex(8)}"
        self.write_list(self.folder / "list", base_url, names)

    def write_list(self, path, base_url, names):
        path.write_text("".join(f"{base_url}{name}\n" for name in names))

    def command(self):
        raise NotImplementedError

    def run(self):
        """Runs what was prepared and returns its Sample."""
        with open(self.folder / "errors", "wb") as errors:
            code, seconds, cpu, peak = run_command([str(a) for a in self.command()], errors)
        if code != 0:
            said = (self.folder / "errors").read_text(errors="replace")[:2000]
            raise Failure(f"{self.name} exited with {code}: {said}")
        return Sample(seconds, {"client": cpu}, {"client": peak})


class Curl(Program):
    """The curl tool in parallel mode."""

    def __init__(self, parallel, http="1.1"):
        super().__init__(f"curl -Z --parallel-max {parallel}" + (" --http2" if http == "2" else ""))
        self.parallel = parallel
        self.http = http

    def write_list(self, path, base_url, names):
        self.output.mkdir()
        path.write_text("".join(f'url="{base_url}{n}"\noutput="{self.output / n}"\n' for n in names))

    def command_for(self, list_path):
        flags = "-q -s --no-progress-meter -Z".split()
        flags += ["--http2"] if self.http == "2" else ["--http1.1", "--parallel-immediate"]
        flags += ["--cacert", self.ca_file] if self.ca_file else []
        return ["curl", *flags, "--parallel-max", self.parallel, "-K", list_path]

    def command(self):
        return self.command_for(self.folder / "list")


class Halves(Program):
    """Two processes at once, half the list each."""

    def line(self, url, path):
        raise NotImplementedError

    def write_list(self, path, base_url, names):
        self.output.mkdir()
        for i in range(2):
            lines = (self.line(base_url + n, self.output / n) for n in names[i::2])
            path.with_name(f"list{i}").write_text("".join(lines))

    def command_for(self, list_path):
        raise NotImplementedError

    def command(self):
        first, second = (shlex.join(str(a) for a in self.command_for(self.folder / f"list{i}")) for i in range(2))
        return ["sh", "-c", f"{first} & {second}; code=$?; wait $! && exit $code"]


class TwoCurls(Halves):
    def __init__(self, parallel):
        super().__init__(f"2 x curl -Z --parallel-max {parallel}", peer=False)
        self.curl = Curl(parallel)

    def line(self, url, path):
        return f'url="{url}"\noutput="{path}"\n'

    def command_for(self, list_path):
        return self.curl.command_for(list_path)


class BareCurls(Halves):
    """libcurl with nothing around it: bare_curl.c."""

    def __init__(self, parallel):
        super().__init__(f"2 x bare libcurl {parallel}", peer=False)
        self.parallel = parallel

    def line(self, url, path):
        return f"{url}\t{path}\n"

    def command_for(self, list_path):
        return [BARE, list_path, self.parallel]


class Wget2(Program):
    def __init__(self, threads):
        super().__init__(f"wget2 --max-threads={threads}")
        self.threads = threads

    def command(self):
        flags = (
            "--no-config -q --progress=none --no-hsts --no-netrc --no-robots --no-use-server-timestamps"
            " --no-ocsp --no-ocsp-stapling --tcp-fastopen=off -nd"
        ).split()
        flags += [f"--ca-certificate={self.ca_file}"] if self.ca_file else ["--http2=off"]
        return ["wget2", *flags, f"--max-threads={self.threads}", "-P", self.output, "-i", self.folder / "list"]


class Aria2(Program):
    def __init__(self, parallel, split=1):
        super().__init__(f"aria2c -j{parallel}" + (f" -x{split} -s{split}" if split > 1 else ""))
        self.parallel = parallel
        self.split = split

    def command(self):
        flags = (
            "--no-conf=true -q --console-log-level=error --summary-interval=0 --download-result=hide"
            " --file-allocation=none --disable-ipv6=true --async-dns=false --auto-save-interval=0"
            " --allow-overwrite=true --auto-file-renaming=false --no-netrc=true --max-download-result=0"
            " --disk-cache=0 --remote-time=false"
        ).split() + [f"-x{self.split}", f"-s{self.split}"]
        flags += [f"--ca-certificate={self.ca_file}"] if self.ca_file else []
        return ["aria2c", *flags, f"-j{self.parallel}", "-d", self.output, "-i", self.folder / "list"]


class DldProgram(Program):
    """dld as the service it is: started once, its queue on disk, timed from `dlctl submit` to its exit."""

    def __init__(self, fsync, connections=None):
        super().__init__(f"dld, fsync = {fsync}" + (f", {connections} connections" if connections else ""), peer=False)
        self.settings = dict(DLD_SETTINGS, **{"transfer.fsync": fsync})
        if connections:
            self.settings["transfer.connections"] = connections
        self.dld = None

    def start(self, folder, stack):
        self.folder = folder
        self.outputs = folder / "dld" / "root"
        new_parent(self.outputs)
        settings = dict(self.settings, **({"transfer.ca_file": self.ca_file} if self.ca_file else {}))
        self.dld = stack.enter_context(dld_running(folder / "dld", DLD_WORKERS, settings))

    def write_list(self, path, base_url, names):
        jobs = [{"url": f"{base_url}{name}"} for name in names]
        path.write_text(json.dumps({"defaults": {"output": f"{self.output.name}/"}, "jobs": jobs}))

    def command(self):
        return self.dld.dlctl_command("submit", self.folder / "list", "--wait")

    def run(self):
        master, workers = [self.dld.pid], self.dld.worker_pids()
        before = cpu_seconds(master), cpu_seconds(workers)
        sample = super().run()
        if self.dld.worker_pids() != workers:
            raise Failure(f"a worker of dld died; dld said:\n{self.dld.stderr[-2000:]}")
        sample.cpu["master"] = cpu_seconds(master) - before[0]
        sample.cpu["workers"] = cpu_seconds(workers) - before[1]
        sample.memory["master"] = sum(status_mib(p, "smaps_rollup", "Rss") for p in master)
        sample.memory["workers"] = sum(status_mib(p, "smaps_rollup", "Rss") for p in workers)
        return sample
