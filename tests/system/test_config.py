"""Where the configuration comes from, and what is said when it is wrong."""

import os
import re

import pytest

from dld import DLD, run
from support import ROOT, clean_environment


def check(tmp, *args, text="", env=None):
    """dld with a configuration file of that text; it must not get further than reading it."""
    (tmp / "dld.conf").write_text(text)
    return run([DLD, "--config", tmp / "dld.conf", "--state-dir", tmp / "state", "--output-root", tmp / "root",
                "--socket", tmp / "sock", *args],
               env=clean_environment(**(env or {})), timeout=10)


WRONG = [
    ("retry", "base", "soon", ["1ms", "1d"]),
    ("retry", "count", "1001", ["0", "1000"]),
    ("retry", "count", "-1", ["0", "1000"]),
    ("master", "workers", "many", ["0", "256"]),
    ("transfer", "fsync", "maybe", ["batch", "always", "never"]),
    ("worker", "transfers", "0", ["1", "1024"]),
    ("control", "max_line", "64K", ["3M", "64M"]),
    ("output", "mode", "rw-r--r--", ["0600", "0777"]),
    ("log", "level", "loud", ["error", "debug"]),
]


@pytest.mark.parametrize("section, key, value, allowed", WRONG)
def test_wrong_value_in_the_file(tmp, section, key, value, allowed):
    result = check(tmp, text=f"# a comment\n[{section}]\n{key} = {value}\n")
    assert result.code == 2
    assert f"{tmp}/dld.conf:3" in result.err and key in result.err and value in result.err
    assert all(a in result.err for a in allowed), result


@pytest.mark.parametrize("section, key, value, allowed", WRONG)
def test_wrong_value_in_the_environment(tmp, section, key, value, allowed):
    name = f"DLD_{section}_{key}".upper()
    result = check(tmp, env={name: value})
    assert result.code == 2
    assert name in result.err and value in result.err and all(a in result.err for a in allowed), result


@pytest.mark.parametrize("section, key, value, allowed", WRONG)
def test_wrong_value_on_the_command_line(tmp, section, key, value, allowed):
    result = check(tmp, "--set", f"{section}.{key}={value}")
    assert result.code == 2
    assert "--set" in result.err and f"{section}.{key}" in result.err and all(a in result.err for a in allowed), result


@pytest.mark.parametrize("text, line, words", [
    ("[retry]\nbsae = 1s\n", 2, ["bsae", "base"]),
    ("\n[retyr]\nbase = 1s\n", 2, ["retyr", "retry"]),
    ("base = 1s\n", 1, ["base"]),
    ("[retry]\nbase = 1s\nwhat is this\n", 3, []),
])
def test_wrong_key_in_the_file(tmp, text, line, words):
    result = check(tmp, text=text)
    assert result.code == 2
    assert f"{tmp}/dld.conf:{line}" in result.err and all(w in result.err for w in words), result


def test_wrong_key_in_a_drop_in(tmp):
    (tmp / "dld.conf.d").mkdir()
    (tmp / "dld.conf.d" / "50-mine.conf").write_text("[retry]\n\ncuont = 1\n")
    result = check(tmp)
    assert result.code == 2 and f"{tmp}/dld.conf.d/50-mine.conf:3" in result.err and "count" in result.err, result


@pytest.mark.parametrize("args", [["--set", "retry.bsae=1s"], ["--set", "retry"], ["--set", "retry.base"], ["--set"],
                                  ["--nonsense"], ["--workers", "many"], ["extra"]])
def test_wrong_command_line(tmp, args):
    result = check(tmp, *args)
    assert result.code == 2 and result.err and not result.out


def test_named_file_must_be_there(tmp):
    result = run([DLD, "--config", tmp / "none.conf", "--state-dir", tmp, "--socket", tmp / "sock"])
    assert result.code == 2 and f"{tmp}/none.conf" in result.err


def test_nothing_is_made_when_the_configuration_is_wrong(tmp):
    check(tmp, text="[retry]\nbase = soon\n")
    assert sorted(os.listdir(tmp)) == ["dld.conf"]


def test_printed_configuration_is_the_installed_one():
    result = run([DLD, "--print-config"])
    assert result.code == 0
    assert result.out == (ROOT / "systemd" / "dld.conf").read_text()


def test_printed_configuration_can_be_read(make_daemon):
    daemon = make_daemon()
    printed = run([DLD, "--print-config"]).out
    daemon.config.write_text(re.sub(r"^#(\w+ = )", r"\1", printed, flags=re.M))  # each default written out
    daemon.start()
    assert daemon.stop() == 0


def attempts(daemon, bad):
    return daemon.run_one(bad.url("/status/500/a"))["attempts"]


def test_command_line_beats_environment_beats_drop_in_beats_file(make_daemon, bad):
    daemon = make_daemon()
    del daemon.settings["retry.count"]

    def with_all():
        daemon.start()
        n = attempts(daemon, bad)
        assert daemon.stop() == 0
        return n
    daemon.config.write_text("[retry]\ncount = 1\n")
    assert with_all() == 2
    drop_in = daemon.base / "dld.conf.d"
    drop_in.mkdir()
    (drop_in / "10-a.conf").write_text("[retry]\ncount = 5\n")
    (drop_in / "20-b.conf").write_text("[retry]\ncount = 2\n")
    assert with_all() == 3
    daemon.env["DLD_RETRY_COUNT"] = "3"
    assert with_all() == 4
    daemon.settings["retry.count"] = "0"
    assert with_all() == 1


def test_directories_are_made(make_daemon, bad):
    daemon = make_daemon()
    daemon.state, daemon.root = daemon.base / "new" / "state", daemon.base / "new" / "root"
    daemon.start()
    assert daemon.run_one(bad.url("/any/a"))["state"] == "done"
    assert (daemon.base / "new" / "root" / "a").exists()
    assert (daemon.base / "new" / "state").stat().st_mode & 0o077 == 0


def test_version_and_help():
    assert run([DLD, "--version"]).out.startswith("dld ")
    result = run([DLD, "--help"])
    assert result.code == 0 and "--print-config" in result.out and "--set" in result.out


def test_number_of_workers(make_daemon):
    daemon = make_daemon(workers=5).start()
    assert len(daemon.worker_pids()) == len(daemon.call("status")["workers"]) == 5


def test_one_worker_a_core_by_default(make_daemon):
    daemon = make_daemon(workers=0).start()
    assert len(daemon.worker_pids()) == len(os.sched_getaffinity(0))
