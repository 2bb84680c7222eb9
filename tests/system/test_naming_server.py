"""What the server says of its file: its name, its time, its version, its coding."""

import hashlib
import os
import time
from urllib.parse import quote

import pytest

from behaviours import GOOD_SIZE
from support import content, files_under
from test_answers import others, run_beside
from test_download import done, failed


def named(bad, value, name="a.bin"):
    path = f"/with-header/{name}"
    return path, bad.url(f"{path}?name=Content-Disposition&value={quote(value)}")


# ---- names ----


@pytest.mark.parametrize("value, name", [
    ('attachment; filename="photo of a cat.jpg"', "photo of a cat.jpg"),
    ("attachment; filename*=UTF-8''caf%C3%A9.txt; filename=cafe.txt", "caf\u00e9.txt"),
    ('attachment; filename="../../../etc/passwd"', "passwd"),
    ('attachment; filename="C:\\\\evil\\\\x.exe"', "x.exe"),
    ('attachment; filename="/etc/cron.d/job"', "job"),
    ('attachment; filename=".."', "a.bin"),
    ('attachment; filename=""', "a.bin"),
    ('attachment; filename="open', "a.bin"),
    ("inline", "a.bin"),
    ('attachment; filename=".dld-1.part"', "%2Edld-1.part"),
    ('attachment; filename="{id}"', "{id}"),
    ("attachment; filename*=UTF-8''%00%0a%1b%5B31m", "___[31m"),
    ('attachment; filename="' + "n" * 400 + '.tar.gz"', "n" * 248 + ".tar.gz"),
])
def test_server_names_the_file(daemon, bad, value, name):
    path, url = named(bad, value)
    job = done(daemon.run_one(url, output="some/dir/{name}", content_disposition=True))
    assert (job["output"], job["attempts"]) == (f"some/dir/{name}", 1)
    assert files_under(daemon.root) == [f"some/dir/{name}"]
    assert daemon.file(f"some/dir/{name}").read_bytes() == content(path, GOOD_SIZE)


def test_server_has_no_say_unless_asked(daemon, bad):
    _, url = named(bad, "attachment; filename=other")
    assert done(daemon.run_one(url))["output"] == "a.bin"


@pytest.mark.parametrize("policy, state, names", [
    ("rename", "done", ["x", "x.1"]), ("overwrite", "done", ["x"]), ("skip", "done", ["x"]), ("fail", "failed", ["x"])])
def test_conflicts_are_about_the_servers_name(daemon, bad, policy, state, names):
    _, url = named(bad, "attachment; filename=x")
    daemon.file("x").write_bytes(b"there before")
    job = daemon.run_one(url, content_disposition=True, on_conflict=policy)
    assert job["state"] == state, job
    assert files_under(daemon.root) == names
    assert (daemon.file("x").read_bytes() == b"there before") == (policy != "overwrite")


def test_races_for_the_servers_name(daemon, bad):
    _, url = named(bad, "attachment; filename=x.txt")
    jobs = daemon.run([{"url": url, "content_disposition": True}] * 16)
    assert sorted(j["output"] for j in jobs) == sorted(["x.txt"] + [f"x.{i}.txt" for i in range(1, 16)])


# ---- times ----


@pytest.mark.parametrize("value, taken", [
    ("Tue, 01 Jun 2010 10:00:00 GMT", 1275386400), ("Tuesday, 01-Jun-10 10:00:00 GMT", 1275386400),
    ("Tue Jun  1 10:00:00 2010", 1275386400), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ("Wed, 31 Dec 1969 23:59:00 GMT", None), ("Tue, 01 Jun 2100 10:00:00 GMT", None), ("yesterday", None),
    ("Tue, 01 Jun 99999999999999 10:00:00 GMT", None)])
def test_remote_time(daemon, bad, value, taken):
    job = done(daemon.run_one(bad.url(f"/with-header/a?name=Last-Modified&value={quote(value)}"), remote_time=True))
    mtime = daemon.file(job["output"]).stat().st_mtime
    assert mtime == taken if taken is not None else abs(mtime - time.time()) < 60


def test_time_is_that_of_the_download_unless_asked(daemon, bad):
    url = bad.url("/with-header/a?name=Last-Modified&value=" + quote("Tue, 01 Jun 2010 10:00:00 GMT"))
    assert abs(daemon.file(done(daemon.run_one(url))["output"]).stat().st_mtime - time.time()) < 60


# ---- versions ----


@pytest.mark.parametrize("query", ["", "?without=date", "?without=etag"])
def test_if_modified(daemon, bad, query):
    path = "/versions/3/a"
    keys = {"if_modified": True, "remote_time": True, "on_conflict": "fail"}
    first = done(daemon.run_one(bad.url(path + query), **keys))
    assert not first.get("not_modified")
    before = daemon.file("a").stat()
    second = done(daemon.run_one(bad.url(path + query), **keys))
    after = daemon.file("a").stat()
    assert (second["not_modified"], second["http_status"], second["output"], second["bytes"], second["size"]) == \
        (True, 304, "a", 0, GOOD_SIZE)
    assert (before.st_ino, before.st_mtime_ns, before.st_ctime_ns) == (after.st_ino, after.st_mtime_ns, after.st_ctime_ns)
    third = done(daemon.run_one(bad.url(path + query), **keys))
    assert (third["output"], third["http_status"], third.get("not_modified", False)) == ("a", 200, False)
    assert daemon.file("a").read_bytes() == content(path + "two", GOOD_SIZE)
    assert files_under(daemon.root) == ["a"]
    assert all(j["attempts"] == 1 for j in (first, second, third))


def test_if_modified_without_a_file_asks_without_conditions(daemon, bad):
    done(daemon.run_one(bad.url("/versions/2/a"), if_modified=True))
    (request,) = bad.requests()
    assert request.header("If-None-Match") is None and request.header("If-Modified-Since") is None
    assert os.getxattr(daemon.file("a"), "user.dld.etag") == b'"one"'


@pytest.mark.parametrize("remote_time", [True, False])
def test_if_modified_of_nginx(daemon, nginx, remote_time):
    """Whatever time the file has here."""
    url = nginx.add("a", content("one", 5000))
    os.utime(nginx.files / "a", (1000000000, 1000000000))
    keys = {"if_modified": True, "remote_time": remote_time}
    assert "not_modified" not in done(daemon.run_one(url, **keys))
    assert done(daemon.run_one(url, **keys))["not_modified"]
    nginx.add("a", content("two", 6000))
    assert "not_modified" not in done(daemon.run_one(url, **keys))
    assert daemon.file("a").read_bytes() == content("two", 6000)


@pytest.mark.parametrize("key", ["checksum", "size"])
def test_file_that_is_not_what_the_job_asks_for_is_not_called_current(daemon, nginx, key):
    """However current it was for the server."""
    data = content("a", 50000)
    url = nginx.add("a", data)
    keys = {"if_modified": True, key: len(data) if key == "size" else f"sha-256:{hashlib.sha256(data).hexdigest()}"}
    done(daemon.run_one(url, **keys))
    again = done(daemon.run_one(url, **keys))
    assert again["not_modified"] and again.get("digest") == done(daemon.jobs()[0]).get("digest")
    with daemon.file("a").open("r+b") as file:
        file.write(b"other")
        file.truncate(40000 if key == "size" else 50000)
    whole = done(daemon.run_one(url, **keys))
    assert "not_modified" not in whole and whole["attempts"] == 1
    assert daemon.file("a").read_bytes() == data


@pytest.mark.parametrize("change", ["cut", "edited", "another URL"])
@pytest.mark.parametrize("remote_time", [True, False])
def test_file_that_was_changed_here_is_not_called_current(daemon, nginx, change, remote_time):
    """nginx makes its entity tags of size and time, so that files of two URLs may have the same."""
    keys = {"if_modified": True, "output": "here", "remote_time": remote_time}
    urls = [nginx.add(name, f"{name}, as ever".encode()) for name in "ab"]
    for name in "ab":
        os.utime(nginx.files / name, (1000000000, 1000000000))
    done(daemon.run_one(urls[0], **keys))
    assert done(daemon.run_one(urls[0], **keys))["not_modified"]
    if change != "another URL":
        daemon.file("here").write_bytes(b"a, " if change == "cut" else b"b, as never")
    url = urls[change == "another URL"]
    again = done(daemon.run_one(url, **keys))
    assert "not_modified" not in again and again["attempts"] == 1
    assert daemon.file("here").read_bytes() == (b"b" if change == "another URL" else b"a") + b", as ever"


def test_304_without_a_file_is_no_answer(daemon, bad):
    job = failed(run_beside(daemon, bad, bad.url("/always-304/a"), if_modified=True), "protocol")
    assert job["attempts"] == 1
    assert others(daemon) == []


def test_etag_that_somebody_put_there_is_not_sent(daemon, bad):
    daemon.file("a").write_bytes(b"mine")
    os.setxattr(daemon.file("a"), "user.dld.etag", b'"a"\r\nX-Injected: 1')
    done(daemon.run_one(bad.url("/versions/9/a"), if_modified=True))
    (request,) = bad.requests()
    assert request.header("If-None-Match") is None and request.header("X-Injected") is None


# ---- codings ----


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_coding_is_undone_when_asked_for(daemon, bad, coding):
    path = f"/coded/{coding}/50000/a"
    done(run_beside(daemon, bad, bad.url(path + "?forced=1"), compressed=True))
    assert daemon.file("the.file").read_bytes() == content(path, 50000)
    assert bad.requests(path)[0].header("Accept-Encoding") == "gzip"


def test_uncoded_answer_to_a_job_that_takes_a_coding(daemon, bad):
    path = "/any/a"
    done(daemon.run_one(bad.url(path), compressed=True))
    assert daemon.file("a").read_bytes() == content(path, GOOD_SIZE)


def test_identity_is_asked_for_otherwise(daemon, bad):
    path = "/coded/gzip/50000/a"
    done(run_beside(daemon, bad, bad.url(path)))
    assert daemon.file("the.file").read_bytes() == content(path, 50000)
    assert bad.requests(path)[0].header("Accept-Encoding") == "identity"


def test_coding_that_comes_anyway_is_left_alone(daemon, bad):
    import gzip
    path = "/coded/gzip/50000/a.tar.gz"
    done(daemon.run_one(bad.url(path + "?forced=1")))
    assert gzip.decompress(daemon.file("a.tar.gz").read_bytes()) == content(path, 50000)


def test_unknown_coding(daemon, bad):
    job = failed(run_beside(daemon, bad, bad.url("/coded/unknown/500/a?forced=1"), compressed=True), "protocol")
    assert job["attempts"] == 1
    assert others(daemon) == []


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_coded_body_that_breaks_off(daemon, bad, framing):
    job = failed(run_beside(daemon, bad, bad.url(f"/coded-cut/{framing}/a"), compressed=True, retries=1), "partial")
    assert job["attempts"] == 2
    assert others(daemon) == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("keys", [{"max_size": "1M"}, {"max_decoded_size": "1M"},
                                  {"max_size": "100M", "max_decoded_size": "1M"}])
def test_bomb_ends_at_the_limit(daemon, bad, framing, keys):
    job = failed(run_beside(daemon, bad, bad.url(f"/bomb/50000000/{framing}/a"), compressed=True, **keys), "too-large")
    assert job["attempts"] == 1
    assert job["bytes"] < 2 << 20
    assert others(daemon) == []


def test_max_size_is_for_the_coded_bytes_where_the_decoded_have_their_own(daemon, bad):
    url = bad.url("/bomb/5000000/chunked/a")
    done(daemon.run_one(url, compressed=True, max_size="100K", max_decoded_size="10M"))
    failed(daemon.run_one(url, compressed=True, max_size="1K", max_decoded_size="10M"), "too-large")


def test_handle_does_not_remember_the_job_before(make_daemon, bad):
    daemon = make_daemon(workers=1, settings={"worker.transfers": "1"}).start()
    done(daemon.run_one(bad.url("/coded/gzip/500/a"), compressed=True, if_modified=True))
    done(daemon.run_one(bad.url("/coded/gzip/500/b")))
    assert bad.requests("/coded/gzip/500/b")[0].header("Accept-Encoding") == "identity"
