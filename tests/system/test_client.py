"""dlctl: what it takes, what it prints, how it ends."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from dld import DLCTL, ENDED, RpcError, run
from support import (BUILD, KIB, ROOT, SANITIZE, SLOWER, clean_environment, closed_port, content, die_with_parent,
                     files_under, wait_for)
from test_download import done
from test_jobfile import nothing_taken

VERBS = ("submit", "list", "show", "wait", "status", "cancel", "retry", "set")
JOB_KEYS = {"id", "batch", "index", "url", "state", "attempts", "http_status", "bytes", "size", "output", "error",
            "worker", "created", "started", "finished", "effective_url", "content_type"}
SUM_KEYS = {"batch", "done", "failed", "cancelled", "bytes", "seconds"}
STATUS_KEYS = {"version", "pid", "uptime", "speed", "workers", "jobs"}
COUNTED = {"queued", "waiting", "paused", "active", "done", "failed", "cancelled"}


def spawn(daemon, *args, **more):
    """A dlctl that runs beside the test, with pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([DLCTL, "--socket", daemon.socket, *args], env=clean_environment(),
                            preexec_fn=die_with_parent, **pipes)


# ---- exit codes ----


@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["--nonsense"], ["--socket"], ["submit"], ["submit", "ftp://h/"],
    ["list", "--nonsense"], ["list", "--state", "nonsense"], ["list", "--batch", "x"],
    ["show"], ["show", "x"], ["show", "1", "--batch"], ["wait"], ["wait", "1", "--all"], ["cancel"], ["cancel", "0"],
    ["retry"],
])
def test_wrong_usage_ends_with_2(daemon, args):
    result = daemon.dlctl(*args, code=2)
    assert result.err and not result.out
    nothing_taken(daemon)


def test_dashes_end_the_options(daemon):
    assert daemon.dlctl("--json", "--", "status").document["pid"] == daemon.pid
    assert "verb '--json'" in daemon.dlctl("--", "--json", code=2).err
    assert "--wait" in daemon.dlctl("--", "submit", "--wait", code=2).err  # a file of that name is not there
    assert "no verb" in daemon.dlctl("--", code=2).err


@pytest.mark.parametrize("header", ["A\x01: x", 'A": x', "A\\: x", "A b: x", "Ä: x", "A\x7f: x"])
def test_wrong_name_of_a_header_is_named(daemon, header):
    result = daemon.dlctl("submit", "http://h/", "--header", header, code=2)
    assert "--header" in result.err and "name" in result.err and "JSON" not in result.err


LATIN = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("args, named", [
    (["submit", "http://h/ok", f"http://h/{LATIN}.jpg"], "URL"),
    (["submit", "http://h/", "--output", LATIN], "--output"),
    (["submit", "http://h/", f"--tag={LATIN}"], "--tag"),
    (["submit", "http://h/", "--header", f"X-Name: {LATIN}"], "--header"),
    (["cancel", "--tag", LATIN], "--tag"),
    (["list", "--tag", LATIN], "--tag"),
    (["--json", "backup", f"/none/{LATIN}"], "JSON"),
])
def test_bytes_that_are_not_utf8_are_refused(daemon, args, named):
    """They can't go through JSON, and others in their place would be another URL, tag or name."""
    result = daemon.dlctl(*args, code=2)
    assert named in result.err and "UTF-8" in result.err and r"caf\xe9" in result.err
    nothing_taken(daemon)


def test_name_of_a_job_file_may_be_of_any_bytes(daemon, bad, tmp):
    path = tmp / f"{LATIN}.json"
    path.write_text(json.dumps({"url": bad.url("/any/a")}))
    assert daemon.dlctl("--json", "submit", path).document["count"] == 1


@pytest.mark.parametrize("verb", [["status"], ["list"], ["show", "1"], ["wait", "--all"], ["cancel", "1"],
                                  ["retry", "1"], ["submit", "http://h/"]])
def test_no_daemon_ends_with_3(tmp, verb):
    result = run([DLCTL, "--socket", tmp / "none", *verb])
    assert result.code == 3 and str(tmp / "none") in result.err, result


def test_socket_that_nobody_listens_on_ends_with_3(make_daemon):
    daemon = make_daemon().start()
    daemon.kill()
    assert daemon.socket.exists()
    daemon.dlctl("status", code=3)


def test_socket_is_named_by_the_environment(daemon):
    assert run([DLCTL, "status"], env=clean_environment(DLD_SOCKET=str(daemon.socket))).code == 0


def test_daemon_that_goes_away_ends_a_wait_with_3(daemon, bad):
    waiting = spawn(daemon, "submit", bad.url("/silent-request/a"), "--wait")
    wait_for(lambda: bad.count() == 1)
    daemon.kill()
    out, err = waiting.communicate(timeout=60 * SLOWER)
    assert waiting.returncode == 3 and err


def test_failed_job_ends_with_1(daemon, bad):
    daemon.dlctl("submit", bad.url("/status/404/a"), bad.url("/any/b"), "--wait", code=1)
    daemon.dlctl("wait", "1", code=1)
    daemon.dlctl("wait", "2", code=0)
    daemon.dlctl("wait", "--batch", "1", code=1)


def test_cancelled_job_ends_with_1(daemon, bad):
    waiting = spawn(daemon, "submit", bad.url("/silent-request/a"), "--wait")
    wait_for(lambda: bad.count() == 1)
    daemon.dlctl("cancel", "1")
    waiting.communicate(timeout=30 * SLOWER)
    assert waiting.returncode == 1


@pytest.mark.parametrize("verb", [["show", "77"], ["wait", "77"], ["wait", "--batch", "77"], ["cancel", "77"],
                                  ["retry", "77"]])
def test_what_is_not_there_is_said(daemon, verb):
    result = daemon.dlctl(*verb, code=None)
    assert result.code in (1, 2) and "77" in result.err, result


# ---- what is printed ----


def test_json_of_submit_and_wait(daemon, bad):
    result = daemon.dlctl("--json", "submit", bad.url("/ok/300/a"), bad.url("/ok/500/b"), "--wait")
    jobs = [d for d in result.documents if "url" in d]
    assert sorted(j["id"] for j in jobs) == [1, 2]
    assert all(JOB_KEYS <= set(j) and j["state"] == "done" for j in jobs)
    assert set(result.summary) == SUM_KEYS
    assert (result.summary["done"], result.summary["bytes"]) == (2, 800)


def test_json_of_submit(daemon, bad):
    assert daemon.dlctl("--json", "submit", bad.url("/any/a")).document == {"batch": 1, "count": 1, "ids": [1]}


def test_json_of_show_list_and_status(daemon, bad):
    daemon.run([{"url": bad.url("/any/a")}, {"url": bad.url("/status/404/b")}])
    shown = daemon.dlctl("--json", "show", "2").document
    assert JOB_KEYS | {"history"} <= set(shown)
    assert set(shown["error"]) == {"name", "message"}
    listed = daemon.dlctl("--json", "list").documents
    assert [j["id"] for j in listed] == [1, 2] and all(JOB_KEYS <= set(j) for j in listed)
    status = daemon.dlctl("--json", "status").document
    assert STATUS_KEYS <= set(status)
    assert set(status["jobs"]) == COUNTED and (status["jobs"]["done"], status["jobs"]["failed"]) == (1, 1)
    assert [w["worker"] for w in status["workers"]] == [1, 2]
    assert sorted(w["pid"] for w in status["workers"]) == daemon.worker_pids()
    assert status["pid"] == daemon.pid


def test_list_filters(daemon, bad):
    daemon.run([{"url": bad.url("/any/a")}, {"url": bad.url("/status/404/b")}])
    daemon.run([{"url": bad.url("/any/c")}])

    def ids(*args):
        return [j["id"] for j in daemon.dlctl("--json", "list", *args).documents]
    assert ids() == [1, 2, 3]
    assert ids("--state", "failed") == [2]
    assert ids("--batch", "1") == [1, 2]
    assert ids("--batch", "1", "--state", "done") == [1]
    assert ids("--state", "queued") == []


def test_list_goes_on_over_pages(daemon):
    with closed_port() as port:
        daemon.submit([{"url": port.url(f"/{i}"), "retries": 0} for i in range(2500)])
        assert [j["index"] for j in daemon.dlctl("--json", "list").documents] == list(range(2500))


def test_wait_prints_a_line_as_each_job_ends_and_the_sum(daemon, bad):
    result = daemon.dlctl("submit", bad.url("/ok/300/a.bin"), bad.url("/status/404/b.bin"), "--wait", code=1)
    lines = result.out.splitlines()
    (a,) = [line for line in lines if bad.url("/ok/300/a.bin") in line]
    (b,) = [line for line in lines if bad.url("/status/404/b.bin") in line]
    assert re.search(r"\b200\b", a) and "300 B" in a and re.search(r"\d s\b", a), a
    assert a.count("a.bin") == 2, a  # in the URL and as the path
    assert re.search(r"\b404\b", b) and "http" in b, b
    assert re.fullmatch(r"Downloaded 1 of 2 URLs, 300 B in .*\d.*", lines[-1]), lines[-1]


def test_people_see_urls_and_states(daemon, bad):
    daemon.run([{"url": bad.url("/any/a")}, {"url": bad.url("/status/404/b")}])
    listed = daemon.dlctl("list").out
    assert bad.url("/any/a") in listed and "failed" in listed and "done" in listed
    shown = daemon.dlctl("show", "2").out
    assert bad.url("/status/404/b") in shown and "404" in shown
    assert str(daemon.pid) in daemon.dlctl("status").out


def test_terminal_is_safe_from_what_servers_say(daemon, bad):
    urls = [bad.url("/hostile-text/200/%E2%80%AEgnp.exe"), bad.url("/hostile-text/404/b")]
    for args in (["submit", *urls, "--wait"], ["list"], ["show", "1"], ["show", "2"], ["--json", "list"]):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", daemon.dlctl(*args, code=None).out)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb(tmp, verb):
    result = run([DLCTL, verb, "--help"])
    assert result.code == 0 and not result.err
    assert f"dlctl {verb}" in result.out or f"{verb} " in result.out.splitlines()[0]
    assert "--json" in result.out
    assert max(map(len, result.out.splitlines())) <= 100


def test_help_names_all_verbs():
    result = run([DLCTL, "--help"])
    assert result.code == 0 and all(verb in result.out for verb in VERBS)


@pytest.mark.parametrize("words, offered", [
    (["submit", ""], ["my jobs.json", "sub dir"]), (["submit", "m"], ["my jobs.json"]),
    (["backup", "o"], ["other file"]), (["--socket", "s"], ["sub dir"]),
    (["purge", "--state", ""], ["cancelled", "done", "failed"]),
    (["list", "--tag", "purge", "--state", ""], sorted(COUNTED)), (["--socket", "x", "pu"], ["purge"]),
])
def test_completion_in_bash(tmp, words, offered):
    for name in ("my jobs.json", "other file"):
        (tmp / name).touch()
    (tmp / "sub dir").mkdir()
    script = ('compopt() { :; }; . "$1"; shift; COMP_WORDS=(dlctl "$@"); COMP_CWORD=$#; _dlctl; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    result = run(["bash", "-c", script, "bash", ROOT / "client/dlctl.bash", *words], cwd=tmp)
    assert (sorted(set(result.out.splitlines())), result.err) == (offered, "")


# ---- the verbs ----


def test_wait_for_ids_a_batch_and_all(daemon, bad):
    for args in (["1", "2", "3"], ["--batch", "2"], ["--all"]):  # --all: those that have not ended when it is asked
        daemon.submit([{"url": bad.url(f"/delay/1/100/{i}")} for i in range(3)])
        result = daemon.dlctl("--json", "wait", *args)
        assert (result.summary["done"], result.summary["bytes"]) == (3, 300)
        assert all(j["state"] in ENDED for j in daemon.jobs())


@pytest.mark.parametrize("words", [["1", "2"], ["--batch", "1"], ["--all"]])
def test_sum_has_the_bytes_of_jobs_that_were_done(daemon, bad, words):
    daemon.submit([{"url": bad.url("/delay/1/100/a")},
                   {"url": bad.url("/silent-body/1000/2000/b"), "timeout": 1, "retries": 0}])
    result = daemon.dlctl("--json", "wait", *words, code=1)
    assert daemon.show(2)["bytes"] > 0
    assert (result.summary["done"], result.summary["failed"], result.summary["bytes"]) == (1, 1, 100)


def test_status_of_a_batch_counts_what_is_under_way(daemon, bad):
    daemon.submit([{"url": bad.url("/silent-body/100000/200000/a")}, {"url": bad.url("/ok/1234/b")}])
    batch = wait_for(lambda: (s := daemon.call("status", {"batch": 1})["batch"])["active_bytes"] and s["done"] and s)
    assert (batch["done"], batch["active"], batch["bytes"]) == (1, 1, 1234)
    assert 0 < batch["active_bytes"] <= 100000
    wait_for(lambda: ", 101.2 KB in" in daemon.dlctl("status", "--batch", "1").out)


@pytest.mark.parametrize("what", ["ids", "batch", "all"])
def test_jobs_that_end_together_are_all_in_the_sum(daemon, bad, what):
    for _ in range(3):
        answer = daemon.submit([{"url": bad.url(f"/delay/0.3/100/{i}")} for i in range(20)])
        params = {"all": True} if what == "all" else {what: answer[what]}
        with daemon.control() as c:
            assert c.call("wait", {**params, "events": True})["done"] == 20
            assert len([n for n in c.notifications if n["method"] == "job"]) == 20


def test_wait_for_what_has_ended(daemon, bad):
    daemon.run([{"url": bad.url("/ok/100/a")}, {"url": bad.url("/status/404/b")}])
    for args in (["1", "2"], ["--batch", "1"]):
        result = daemon.dlctl("--json", "wait", *args, code=1)
        assert sorted(d["id"] for d in result.documents if "url" in d) == [1, 2]
        assert (result.summary["done"], result.summary["failed"], result.summary["bytes"]) == (1, 1, 100)
    assert daemon.dlctl("--json", "wait", "--all").document["done"] == 0


def test_cancel_one_job_of_many(daemon, bad):
    daemon.submit([{"url": bad.url("/silent-request/a")}, {"url": bad.url("/any/b")}])
    wait_for(lambda: daemon.counts()["done"] == 1)
    daemon.dlctl("cancel", "1")
    wait_for(daemon.none_left)
    assert [j["state"] for j in daemon.jobs()] == ["cancelled", "done"]
    assert files_under(daemon.root) == ["b"]


def test_cancel_all(daemon, bad):
    daemon.submit([{"url": bad.silent_url(f"/{i}")} for i in range(100)])
    daemon.dlctl("cancel", "--all")
    wait_for(lambda: daemon.counts()["cancelled"] == 100)
    assert files_under(daemon.root) == []


def test_retry_of_failed_jobs(daemon, bad):
    path = "/flaky/404/1/a"
    daemon.run([{"url": bad.url(path)}, {"url": bad.url("/any/b")}])
    daemon.dlctl("retry", "1")
    daemon.dlctl("wait", "--all", code=0)
    assert done(daemon.show(1))["attempts"] == 1
    assert daemon.file("a").read_bytes() == content(path, 2000)
    assert bad.count("/any/b") == 1


def test_retry_all_takes_the_failed_only(daemon, bad):
    daemon.submit([{"url": bad.silent_url()}, {"url": bad.url("/flaky/404/1/a")}, {"url": bad.url("/any/b")}])
    daemon.dlctl("cancel", "1")
    wait_for(daemon.none_left)
    daemon.dlctl("retry", "--all")
    wait_for(daemon.none_left)
    assert [j["state"] for j in daemon.jobs()] == ["cancelled", "done", "done"]


# ---- large submissions ----


def test_hundred_thousand_jobs_in_bounded_memory(daemon, bad):
    """The client has read all but the last byte when its memory is looked at."""
    def peak(count, suffix):
        client = spawn(daemon, "--json", "submit", "-")
        client.stdin.write(b"[")
        for start in range(0, count, 1000):
            text = ",".join(json.dumps({"url": bad.silent_url(f"/{suffix}/{i}")}) for i in range(start, start + 1000))
            client.stdin.write((text + ("," if start + 1000 < count else "")).encode())
        client.stdin.flush()
        field = re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{client.pid}/status").read())
        out, err = client.communicate(b"]", timeout=100 * SLOWER)
        assert client.returncode == 0, err
        answer = json.loads(out.splitlines()[-1])
        assert answer["count"] == count and "ids" not in answer
        return int(field.group(1)), answer["batch"]
    small, first = peak(2000, "few")
    large, second = peak(100000, "many")
    assert sum(daemon.counts().values()) == 102000
    for batch in (first, second):
        daemon.dlctl("cancel", "--batch", str(batch))
    wait_for(daemon.none_left)
    assert daemon.counts()["cancelled"] == 102000
    assert SANITIZE or large - small < 32 * KIB, (small, large)


def test_submission_goes_on_after_a_restart_of_the_daemon(daemon, bad):
    client = spawn(daemon, "--json", "submit", "-")
    lines = [json.dumps({"url": bad.silent_url(f"/{i}")}).encode() for i in range(40000)]
    client.stdin.write(b"[" + b",".join(lines[:30000]) + b",")
    client.stdin.flush()
    daemon.kill()
    daemon.start()
    out, err = client.communicate(b",".join(lines[30000:]) + b"]", timeout=60 * SLOWER)
    assert client.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["count"] == 40000
    assert sum(daemon.counts().values()) == 40000
    daemon.call("cancel", {"all": True})


def chunk(start, count, last, key="key", **more):
    return {"jobs": [{"url": f"http://127.0.0.1:1/{i}", "retries": 0} for i in range(start, start + count)],
            "submit_key": key, "offset": start, "last": last, **more}


def test_same_submit_key_makes_no_second_copy(daemon):
    first = daemon.call("submit", chunk(0, 5, True))
    assert daemon.call("submit", chunk(0, 5, True)) == first
    assert len(daemon.jobs()) == 5
    assert daemon.call("submit", chunk(0, 5, True, key="another"))["batch"] != first["batch"]
    daemon.restart()
    assert daemon.call("submit", chunk(0, 5, True)) == first
    assert len(daemon.jobs()) == 10


def test_chunk_sent_again_makes_no_second_copy(daemon):
    for start, last in ((0, False), (0, False), (10, False), (0, False), (10, False), (20, True), (20, True)):
        answer = daemon.call("submit", chunk(start, 10, last))
    assert answer["count"] == 30 and len(answer["ids"]) == 30
    assert [j["url"] for j in daemon.jobs()] == [f"http://127.0.0.1:1/{i}" for i in range(30)]


def test_last_chunk_may_be_empty(daemon):
    daemon.call("submit", chunk(0, 10, False))
    assert daemon.call("submit", chunk(10, 0, True))["count"] == 10
    assert len(daemon.jobs()) == 10


def test_chunk_that_leaves_a_gap_is_refused(daemon):
    daemon.call("submit", chunk(0, 10, False))
    with pytest.raises(RpcError) as refused:
        daemon.call("submit", chunk(20, 10, True))
    assert refused.value.code == -32602
    nothing_taken(daemon)


def test_bad_job_in_a_later_chunk_is_named_by_its_place_in_the_whole(daemon):
    daemon.call("submit", chunk(0, 10, False))
    later = chunk(10, 10, True)
    later["jobs"][3]["priority"] = "high"
    with pytest.raises(RpcError) as refused:
        daemon.call("submit", later)
    assert refused.value.code == -32602 and refused.value.data == {"index": 13}
    assert str(refused.value).startswith("jobs[13].priority: ")
    nothing_taken(daemon)


def test_broken_submission_leaves_nothing_visible(daemon, bad):
    with daemon.control() as c:
        jobs = [{"url": bad.url(f"/any/{i}")} for i in range(100)]
        c.call("submit", {"jobs": jobs, "submit_key": "k", "offset": 0, "last": False})
    nothing_taken(daemon)
    daemon.restart()
    nothing_taken(daemon)
    assert daemon.dlctl("--json", "wait", "--all").summary["done"] == 0
    assert bad.count() == 0


def test_client_killed_in_the_middle_leaves_nothing_visible(daemon):
    client = spawn(daemon, "submit", "-")
    lines = [json.dumps({"url": f"http://127.0.0.1:1/{i}"}).encode() for i in range(30000)]
    client.stdin.write(b"[" + b",".join(lines) + b",")
    client.stdin.flush()
    client.send_signal(signal.SIGKILL)
    client.communicate()
    nothing_taken(daemon)


def test_watch_tells_each_end_and_the_sum(daemon, bad):
    with daemon.control() as c:
        c.call("submit", {"jobs": [{"url": bad.url(f"/any/{i}")} for i in range(20)], "watch": True})
        ended = []
        while (note := c.notification())[0] == "job":
            ended.append(note[1])
    assert sorted(j["index"] for j in ended) == list(range(20)) and all(j["state"] == "done" for j in ended)
    assert note[0] == "end" and note[1]["done"] == 20 and set(note[1]) == SUM_KEYS


def test_wait_takes_no_longer_than_the_jobs(daemon, bad):
    start = time.monotonic()
    daemon.dlctl("submit", bad.url("/any/a"), "--wait")
    assert time.monotonic() - start < 2 * SLOWER


# ---- standard descriptors that are closed ----


@pytest.mark.parametrize("words, redirect, said", [
    ("status", ">&-", "cannot write the results"), ("submit -", "<&-", "standard input"), ("status", "2>&-", None)])
def test_closed_standard_descriptor(daemon, words, redirect, said):
    """No other file is taken for it."""
    shell = f"exec {DLCTL} --socket {daemon.socket} {words} {redirect}"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=clean_environment(), timeout=60)
    if said:
        assert result.returncode in (1, 2) and said in result.stderr, result
        assert "Bad file descriptor" in result.stderr
    else:
        assert result.returncode == 0 and "Jobs:" in result.stdout, result


def test_daemon_without_standard_descriptors(make_daemon, bad):
    daemon = make_daemon()
    script = daemon.base / "dld.sh"
    script.write_text(f'#!/bin/sh\nexec {BUILD}/dld "$@" <&- >&- 2>&-\n')
    script.chmod(0o755)
    daemon.program = script
    daemon.start()
    failed = daemon.run_one(bad.url("/status/404/a"))
    assert failed["state"] == "failed"
    assert (daemon.state / "lock").read_text() == f"{daemon.pid}\n"
    assert {os.readlink(f"/proc/{daemon.pid}/fd/{fd}") for fd in range(3)} == {"/dev/null"}


def test_results_that_can_not_be_written(daemon):
    result = run(["bash", "-c", f"{BUILD}/dld --print-config > /dev/full"])
    assert result.code == 1 and "standard output cannot be written" in result.err
