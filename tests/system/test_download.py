"""What is asked for arrives: every byte, under the right name, as it was asked for."""

import json
import os
import random
import stat
from urllib.parse import quote

import pytest

from behaviours import GOOD_SIZE
from support import MIB, content, files_under


def done(job):
    assert job["state"] == "done", job
    assert job["error"] is None
    return job


def failed(job, error):
    assert job["state"] == "failed", job
    assert job["error"]["name"] == error, job
    assert job["error"]["message"]
    return job


# ---- files as they are ----


def test_two_thousand_files_byte_for_byte(daemon, nginx):
    sizes = random.Random(1)
    wanted = {f"{i:04}.bin": content(i, sizes.randrange(20000)) for i in range(2000)}
    urls = [nginx.add(name, data) for name, data in wanted.items()]
    result = daemon.dlctl("--json", "submit", "-", "--wait", stdin=json.dumps([{"url": u} for u in urls]))
    assert result.summary["done"] == 2000
    assert result.summary["bytes"] == sum(map(len, wanted.values()))
    assert files_under(daemon.root) == sorted(wanted)
    assert all(daemon.file(name).read_bytes() == data for name, data in wanted.items())
    assert sorted(uri for _, _, _, uri in nginx.requests()) == sorted(f"/{name}" for name in wanted)


def test_empty_file(daemon, nginx):
    job = done(daemon.run_one(nginx.add("empty", b"")))
    assert (job["bytes"], job["size"]) == (0, 0)
    assert daemon.file("empty").read_bytes() == b""


def test_hundred_mebibytes(daemon, nginx):
    data = content("large", MIB) * 100
    job = done(daemon.run_one(nginx.add("large.bin", data)))
    assert job["bytes"] == job["size"] == len(data)
    assert daemon.file("large.bin").read_bytes() == data


@pytest.mark.parametrize("path", ["/chunked/5000/a.bin", "/until-close/5000/a.bin"])
def test_body_of_unannounced_length(daemon, bad, path):
    done(daemon.run_one(bad.url(path)))
    assert daemon.file("a.bin").read_bytes() == content(path, 5000)


def test_job_says_how_it_went(daemon, bad):
    job = done(daemon.run_one(bad.url("/ok/1234/a.bin")))
    assert job["url"] == bad.url("/ok/1234/a.bin")
    assert (job["http_status"], job["attempts"], job["bytes"], job["size"]) == (200, 1, 1234, 1234)
    assert job["content_type"] == "application/x-test"
    assert job["output"] == "a.bin"
    assert job["worker"] in (1, 2)
    assert 0 < job["created"] <= job["started"] <= job["finished"]


def test_connections_are_kept_between_jobs(make_daemon, nginx):
    daemon = make_daemon(workers=1, settings={"worker.transfers": 2}).start()
    urls = [nginx.add(f"{i}.bin", b"x" * 100) for i in range(200)]
    for job in daemon.run([{"url": u} for u in urls[:100]]) + daemon.run([{"url": u} for u in urls[100:]]):
        done(job)
    assert len({connection for connection, _, _, _ in nginx.requests()}) <= 50  # one that lay idle is ended


def test_higher_priority_starts_first(make_daemon, bad):
    daemon = make_daemon(workers=1, settings={"worker.transfers": 1}).start()
    priorities = [0, -5, 100, 3, -100, 50, 7]
    daemon.run([{"url": bad.url(f"/any/{p}"), "priority": p} for p in priorities])
    assert [r.path for r in bad.requests()] == [f"/any/{p}" for p in sorted(priorities, reverse=True)]


# ---- names ----


@pytest.mark.parametrize("written, name", [
    ("with%20space.bin", "with space.bin"),
    ("bare space.bin", "bare space.bin"),
    ("gr%C3%BC%C3%9Fe.bin", "grüße.bin"),
    ("grüße 名前.bin", "grüße 名前.bin"),
    ("plus+and&more=1;2.bin", "plus+and&more=1;2.bin"),
    ("query.bin?a=b/c", "query.bin"),
    ("fragment.bin#part", "fragment.bin"),
    ("deep/./er/../name.bin", "name.bin"),
    ("double%2520escaped.bin", "double%20escaped.bin"),
    ("a%2Fb.bin", "a%2Fb.bin"),
    ("nul%00byte.bin", "nul%00byte.bin"),
    ("line%0Afeed.bin", "line%0Afeed.bin"),
    ("not%FFutf8.bin", "not%FFutf8.bin"),
    ("folder/", "index.html"),
])
def test_name_from_url(daemon, bad, written, name):
    job = done(daemon.run_one(bad.url(f"/any/{written}")))
    assert job["output"] == name
    assert files_under(daemon.root) == [name]
    assert daemon.file(name).stat().st_size == GOOD_SIZE


def test_bare_host_gives_index(daemon, nginx):
    nginx.add("index.html", b"<p>hello")
    job = done(daemon.run_one(nginx.url().rstrip("/")))
    assert job["output"] == "index.html"
    assert daemon.file("index.html").read_bytes() == b"<p>hello"


@pytest.mark.parametrize("written", [
    "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e", "..%5c..%5cx", ".dld-1.part", "%2Fetc%2Fpasswd", "a" * 300, "é" * 200,
    "a" * 300 + ".tar.gz", "." + "b" * 300])
def test_odd_name_stays_a_plain_name_beneath_the_root(daemon, bad, written):
    job = done(daemon.run_one(bad.url("/any/" + quote(written, safe="%"))))
    (name,) = files_under(daemon.root)
    assert name == job["output"]
    assert "/" not in name and len(name.encode()) <= 255 and not name.startswith(".dld-")
    assert daemon.file(name).stat().st_size == GOOD_SIZE
    assert sorted(os.listdir(daemon.base)) == sorted(p.name for p in (
        daemon.state, daemon.root, daemon.socket, daemon.config, daemon.log, daemon.notify.path))


@pytest.mark.parametrize("dots", ["..", "%2e%2e", ".%2E", "../../.."])
def test_dots_at_the_end_climb_nowhere(daemon, nginx, dots):
    nginx.add("index.html", b"top")
    nginx.add("a/index.html", b"a")
    job = done(daemon.run_one(nginx.url("a/b/" + dots)))
    assert files_under(daemon.root) == [job["output"]]
    assert "/" not in job["output"] and ".." not in job["output"]


def test_long_name_keeps_its_extension(daemon, bad):
    name = done(daemon.run_one(bad.url("/any/" + "a" * 300 + ".jpg")))["output"]
    assert name.endswith("a.jpg") and 200 < len(name) <= 255


@pytest.mark.parametrize("output, path", [
    ("plain.bin", "plain.bin"),
    ("made/on/demand/", "made/on/demand/photo.tar.gz"),
    ("{host}/{path}/{name}", "127.0.0.1/any/deep er/photo.tar.gz"),
    ("{stem}-{index}{ext}", "photo-0.tar.gz"),
    ("{{{index}}}", "{0}"),
    ("ünicode/{name}", "ünicode/photo.tar.gz"),
])
def test_output_template(daemon, bad, output, path):
    job = done(daemon.run_one(bad.url("/any/deep%20er/photo.tar.gz"), output=output))
    assert job["output"] == path
    assert files_under(daemon.root) == [path]


def test_output_template_with_id_and_index(daemon, bad):
    jobs = daemon.run([{"url": bad.url(f"/any/{i}"), "output": "{id}-{index}"} for i in range(3)])
    assert [done(j)["output"] for j in jobs] == [f"{j['id']}-{i}" for i, j in enumerate(jobs)]
    assert files_under(daemon.root) == sorted(j["output"] for j in jobs)


def test_template_field_brings_in_no_directory(daemon, bad):
    job = done(daemon.run_one(bad.url("/any/..%2f..%2fup"), output="in/{name}"))
    assert files_under(daemon.root) == [job["output"]]
    assert job["output"].count("/") == 1 and job["output"].startswith("in/")


@pytest.mark.parametrize("settings, mode, dir_mode", [
    ({}, 0o644, 0o755),
    ({"output.mode": "0600", "output.dir_mode": "0700"}, 0o600, 0o700),
    ({"output.mode": "0666", "output.dir_mode": "0777"}, 0o666, 0o777),
])
def test_modes_of_files_and_directories(make_daemon, bad, settings, mode, dir_mode):
    daemon = make_daemon(settings=settings).start()
    done(daemon.run_one(bad.url("/any/a"), output="new/a"))
    file, directory = daemon.file("new/a").stat(), daemon.file("new").stat()
    assert (stat.S_IMODE(file.st_mode), stat.S_IMODE(directory.st_mode)) == (mode, dir_mode)
    assert stat.S_ISREG(file.st_mode) and file.st_nlink == 1


# ---- a name that is taken ----


@pytest.fixture
def taken(daemon):
    """A daemon whose output root holds photo.jpg already."""
    daemon.file("photo.jpg").write_bytes(b"mine")
    return daemon


PHOTO = "/any/photo.jpg"


def test_taken_name_by_default_gets_a_number(taken, bad):
    assert done(taken.run_one(bad.url(PHOTO)))["output"] == "photo.1.jpg"
    assert done(taken.run_one(bad.url(PHOTO)))["output"] == "photo.2.jpg"
    assert files_under(taken.root) == ["photo.1.jpg", "photo.2.jpg", "photo.jpg"]
    assert taken.file("photo.jpg").read_bytes() == b"mine"
    assert taken.file("photo.2.jpg").read_bytes() == content(PHOTO, GOOD_SIZE)


def test_taken_name_fails_when_asked_to(taken, bad):
    job = failed(taken.run_one(bad.url(PHOTO), on_conflict="fail"), "exists")
    assert job["attempts"] <= 1
    assert files_under(taken.root) == ["photo.jpg"]
    assert taken.file("photo.jpg").read_bytes() == b"mine"


def test_taken_name_is_overwritten_when_asked_to(taken, bad):
    assert done(taken.run_one(bad.url(PHOTO), on_conflict="overwrite"))["output"] == "photo.jpg"
    assert files_under(taken.root) == ["photo.jpg"]
    assert taken.file("photo.jpg").read_bytes() == content(PHOTO, GOOD_SIZE)


def test_taken_name_is_skipped_when_asked_to(taken, bad):
    job = done(taken.run_one(bad.url(PHOTO), on_conflict="skip"))
    assert job["skipped"] is True
    assert bad.count() == 0
    assert taken.file("photo.jpg").read_bytes() == b"mine"


def test_failed_overwrite_leaves_the_old_file(taken, bad):
    failed(taken.run_one(bad.url("/cut-length/10/100/photo.jpg"), on_conflict="overwrite", retries=0), "partial")
    assert taken.file("photo.jpg").read_bytes() == b"mine"
    assert files_under(taken.root) == ["photo.jpg"]


def test_name_taken_by_a_directory_is_never_replaced(daemon, bad):
    daemon.file("photo.jpg").mkdir()
    for mode in ("fail", "overwrite"):
        assert daemon.run_one(bad.url(PHOTO), on_conflict=mode)["state"] == "failed"
    assert done(daemon.run_one(bad.url(PHOTO)))["output"] == "photo.1.jpg"
    assert daemon.file("photo.jpg").is_dir()


def race(daemon, bad, on_conflict):
    """16 jobs with 16 different bodies, all for the name `same.bin`."""
    return daemon.run([{"url": bad.url(f"/delay/0.05/3000/{i}"), "output": "same.bin", "on_conflict": on_conflict}
                       for i in range(16)])


def body_of(job):
    return content("/" + job["url"].split("/", 3)[3], 3000)


def test_race_for_a_name_with_rename(daemon, bad):
    jobs = race(daemon, bad, "rename")
    assert sorted(done(j)["output"] for j in jobs) == sorted(["same.bin"] + [f"same.{i}.bin" for i in range(1, 16)])
    assert all(daemon.file(j["output"]).read_bytes() == body_of(j) for j in jobs)
    assert len(files_under(daemon.root)) == 16


def test_race_for_a_name_with_fail(daemon, bad):
    jobs = race(daemon, bad, "fail")
    (winner,) = [j for j in jobs if j["state"] == "done"]
    for loser in jobs:
        assert loser is winner or failed(loser, "exists")
    assert daemon.file("same.bin").read_bytes() == body_of(winner)
    assert files_under(daemon.root) == ["same.bin"]


def test_race_for_a_name_with_overwrite(daemon, bad):
    jobs = race(daemon, bad, "overwrite")
    assert all(done(j)["output"] == "same.bin" for j in jobs)
    assert daemon.file("same.bin").read_bytes() in [body_of(j) for j in jobs]
    assert files_under(daemon.root) == ["same.bin"]


def test_race_for_a_name_with_skip(daemon, bad):
    jobs = race(daemon, bad, "skip")
    (winner,) = [j for j in jobs if not done(j).get("skipped")]
    assert daemon.file("same.bin").read_bytes() == body_of(winner)
    assert files_under(daemon.root) == ["same.bin"]


# ---- nothing outside the root ----


def test_symbolic_link_in_the_path_is_refused(daemon, bad, tmp):
    outside = tmp / "outside"
    outside.mkdir()
    daemon.file("link").symlink_to(outside)
    for mode in ("fail", "overwrite", "rename", "skip"):
        failed(daemon.run_one(bad.url("/any/a"), output="link/a", on_conflict=mode), "output")
    failed(daemon.run_one(bad.url("/any/a"), output="link/new/a"), "output")
    assert os.listdir(outside) == []


@pytest.mark.parametrize("mode", ["fail", "overwrite", "rename"])
def test_symbolic_link_as_the_name_is_never_followed(daemon, bad, tmp, mode):
    outside = tmp / "outside"
    outside.write_bytes(b"mine")
    daemon.file("a").symlink_to(outside)
    daemon.run_one(bad.url("/any/a"), on_conflict=mode)
    assert outside.read_bytes() == b"mine"


# ---- as it was asked for ----


def test_headers_user_agent_and_referer_arrive(daemon, bad):
    done(daemon.run_one(bad.url("/any/a"), headers={"X-One": "1", "Accept": "image/*", "X-Empty": ""},
                        user_agent="tester/1.0 (ü)", referer="http://example.org/from"))
    (request,) = bad.requests()
    assert request.method == "GET"
    assert request.header("X-One") == "1"
    assert request.header("Accept") == "image/*"
    assert request.header("X-Empty") == ""
    assert request.header("User-Agent").encode("latin-1").decode() == "tester/1.0 (ü)"
    assert request.header("Referer") == "http://example.org/from"
    assert request.header("Host") == f"127.0.0.1:{bad.port}"


def test_own_user_agent_names_dld(daemon, bad):
    done(daemon.run_one(bad.url("/any/a")))
    assert bad.requests()[0].header("User-Agent").startswith("dld/")
    assert bad.requests()[0].header("Referer") is None


def test_defaults_are_beaten_header_by_header(daemon, bad):
    defaults = {"headers": {"X-One": "default", "X-Two": "default"}, "user_agent": "default"}
    daemon.run([{"url": bad.url("/any/a"), "headers": {"X-Two": "own"}},
                {"url": bad.url("/any/b"), "user_agent": "own"}], defaults=defaults)
    (a,), (b,) = bad.requests("/any/a"), bad.requests("/any/b")
    assert [a.header(n) for n in ("X-One", "X-Two", "User-Agent")] == ["default", "own", "default"]
    assert [b.header(n) for n in ("X-One", "X-Two", "User-Agent")] == ["default", "default", "own"]


def test_key_of_a_job_beats_a_default_header(daemon, bad):
    defaults = {"headers": {"User-Agent": "default", "Referer": "http://default/"}, "user_agent": "unused"}
    daemon.run([{"url": bad.url("/any/a"), "user_agent": "own", "referer": "http://own/"}, {"url": bad.url("/any/b")},
                {"url": bad.url("/any/c"), "user_agent": "unused", "headers": {"User-Agent": "own"}}],
               defaults=defaults)
    assert [[r.header(n) for n in ("User-Agent", "Referer")] for p in "abc" for r in bad.requests(f"/any/{p}")] == [
        ["own", "http://own/"], ["default", "http://default/"], ["own", "http://default/"]]


@pytest.mark.parametrize("path", ["/ok/2000/a", "/chunked/2000/a", "/until-close/2000/a"])
def test_max_size(daemon, bad, path):
    job = failed(daemon.run_one(bad.url(path), max_size=1999), "too-large")
    assert job["attempts"] == 1
    assert files_under(daemon.root) == []
    assert done(daemon.run_one(bad.url(path), max_size="2000"))["bytes"] == 2000


def test_redirect_is_followed(daemon, bad):
    job = done(daemon.run_one(bad.url("/redirect/5/end.bin")))
    assert job["effective_url"] == bad.url("/any/end.bin")
    assert job["url"] == bad.url("/redirect/5/end.bin")
    assert job["http_status"] == 200
    (name,) = files_under(daemon.root)
    assert name == job["output"]
    assert daemon.file(name).read_bytes() == content("/any/end.bin", GOOD_SIZE)
    assert bad.count() == 6


def test_what_was_asked_for_is_shown(daemon, bad):
    asked = {"priority": -3, "tag": "holiday ☀", "retries": 7, "on_conflict": "skip", "headers": {"X-One": "1"},
             "user_agent": "me", "referer": "http://example.org/"}
    job = done(daemon.run_one(bad.url("/any/a"), timeout="90 s", max_size="1M", **asked))
    assert {k: job[k] for k in asked} == asked
    assert {k: v for k, v in daemon.show(job["id"]).items() if k in asked} == asked
