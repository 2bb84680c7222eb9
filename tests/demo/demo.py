#!/usr/bin/python3
"""Shows dld at work: 15 photographs from a slow local server, then the same job in four shapes."""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
from servers import Failure, dld_running, nginx_running, quit_on_signals, quit_with  # noqa: E402

PHOTO_PACKAGE = "lomiri-wallpapers-16.04"
PHOTOS = 15
LATENCY = 0.3  # seconds before the server answers a request
CORES = len(os.sched_getaffinity(0))  # as many workers has dld when not told otherwise

# [host] connections: dld's default for the download that is shown; all at once for the table
DEFAULT_CONNECTIONS = 8
TABLE_CONNECTIONS = PHOTOS

# workers, transfers in each (None: dld's default), the name in the table
SHAPES = [
    (1, 1, "1 worker  x  1 transfer"),
    (4, 1, "4 workers x  1 transfer"),
    (1, 16, "1 worker  x 16 transfers"),
    (CORES, None, f"default: {CORES} x 16"),
]


def say(text="", bold=False):
    print(f"\033[1m{text}\033[0m" if bold and sys.stdout.isatty() else text, flush=True)


def photo_paths():
    """The photographs of the Debian package."""
    done = subprocess.run(["dpkg-query", "-L", PHOTO_PACKAGE], capture_output=True, text=True, check=False)
    paths = [Path(line) for line in done.stdout.splitlines() if line.endswith(".jpg")]
    if len(paths) < PHOTOS:
        raise Failure(f"no photographs: the package {PHOTO_PACKAGE} is missing; 'make demo' installs it")
    return sorted(paths)[:PHOTOS]


def fill_folder(folder, photos):
    """The folder that is served: Dragonfly.jpg for Dragonfly_by_Bolly.jpg. Returns the files in it."""
    folder.mkdir()
    for photo in photos:
        (folder / (photo.stem.partition("_by_")[0] + photo.suffix)).symlink_to(photo)
    return sorted(folder.iterdir())


def write_job_file(path, urls):
    """One job a photograph; the files go into photos/ beneath the output root."""
    jobs = ",\n".join(f"    {json.dumps({'url': url})}" for url in urls)
    path.write_text(f'{{\n  "defaults": {{"output": "photos/{{name}}"}},\n  "jobs": [\n{jobs}\n  ]\n}}\n')


def check_files(photos, folder):
    """Every photograph is there, byte for byte, and nothing else is."""
    names = sorted(p.name for p in folder.iterdir())
    if names != sorted(p.name for p in photos):
        raise Failure(f"{folder} should hold the {len(photos)} photographs, but holds: {names}")
    for photo in photos:
        if not filecmp.cmp(photo, folder / photo.name, shallow=False):
            raise Failure(f"{folder / photo.name} differs from {photo}")


def show_download(base, photos, job_file):
    """The job as a user would submit it, on the user's terminal."""
    with dld_running(base, workers=CORES, settings={"host.connections": DEFAULT_CONNECTIONS}) as dld:
        say(f"$ dlctl submit {job_file.name} --wait", bold=True)
        done = subprocess.run(dld.dlctl_command("submit", job_file, "--wait"), check=False)
        if done.returncode != 0:
            raise Failure(f"dlctl ended with {done.returncode}; dld said:\n{dld.stderr}")
        check_files(photos, dld.root / "photos")
    say(f"Checked: the {len(photos)} files are byte for byte what the server has.")


def time_shape(base, photos, job_file, workers, transfers):
    """Seconds from submit to its end, with a daemon of its own."""
    settings = {"host.connections": TABLE_CONNECTIONS}
    if transfers is not None:
        settings["worker.transfers"] = transfers
    with dld_running(base, workers=workers, settings=settings) as dld:
        start = time.monotonic()
        done = subprocess.run(
            dld.dlctl_command("submit", job_file, "--wait"), capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - start
        if done.returncode != 0:
            raise Failure(f"dlctl ended with {done.returncode}: {done.stderr}\ndld said:\n{dld.stderr}")
        check_files(photos, dld.root / "photos")
    shutil.rmtree(base)
    return seconds


def show_shapes(base, photos, job_file):
    say("\nThe same job with fewer and more transfers at once", bold=True)
    say(f"(with [host] connections = {TABLE_CONNECTIONS}, so that only workers x transfers limit them):")
    say(f"  {'':26}{'seconds':>8}{'speed-up':>10}")
    slowest = None
    for workers, transfers, label in SHAPES:
        seconds = time_shape(base, photos, job_file, workers, transfers)
        slowest = slowest or seconds
        say(f"  {label:26}{seconds:8.2f}{slowest / seconds:9.1f}x")


def run_demo():
    with tempfile.TemporaryDirectory(prefix="dld-demo-") as folder:
        work = Path(folder)
        photos = fill_folder(work / "files", photo_paths())
        with nginx_running(work / "nginx", work / "files") as nginx:
            job_file = work / "photos.json"
            write_job_file(job_file, [nginx.url(f"delay/{LATENCY}/{p.name}") for p in photos])
            size = sum(p.stat().st_size for p in photos) / 1e6
            say(f"\nA local nginx serves {len(photos)} photographs, {size:.1f} MB, and takes {LATENCY * 1000:.0f} ms")
            say("to answer each request, as a server far away does. The job file:\n")
            say("\n".join(job_file.read_text().splitlines()[:4]) + f"\n    ... {len(photos)} in all\n")
            show_download(work / "live", photos, job_file)
            show_shapes(work / "shape", photos, job_file)
    say("\nAll that the demo had started or written is gone. README.md goes on with the quick start.")


if __name__ == "__main__":
    quit_on_signals()
    try:
        run_demo()
    except (Failure, AssertionError) as e:
        quit_with("demo", e)
    except KeyboardInterrupt:
        sys.exit("\ndemo: stopped; all that it had started is gone")
