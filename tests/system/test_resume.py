"""What was received of a file is not fetched again, and never put together with bytes of another version."""

import hashlib
import os
import signal
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode

import pytest

from behaviours_files import OLD
from support import MIB, content, files_under, is_part, wait_for
from test_download import done, failed

SIZE, CUT = 300000, 200000
ETAG = '"v-VERSION"'


def parts(bad, size=SIZE, cut=CUT, cuts=1, name="a", **query):
    """URL and path of a file in parts."""
    path = f"/parts/{size}/{cut}/{cuts}/{name}"
    return bad.url(f"{path}?{urlencode(query)}"), path


def ranges(bad):
    return [request.header("Range") for request in bad.requests()]


def check(daemon, path, version="1", size=SIZE, name="a"):
    assert daemon.file(name).read_bytes() == content(path + version, size)
    assert files_under(daemon.root) == [name]


# ---- going on ----


def test_goes_on_where_it_broke_off(daemon, bad):
    url, path = parts(bad, etag=ETAG)
    job = done(daemon.run_one(url))
    assert (job["attempts"], job["size"], job["http_status"]) == (2, SIZE, 206)
    assert ranges(bad) == [None, f"bytes={CUT}-"]
    assert bad.requests()[1].header("If-Range") == '"v-1"'
    check(daemon, path)


@pytest.mark.parametrize("keys", [{}, {"if_modified": True}])
def test_goes_on_again_and_again(daemon, bad, keys):
    url, path = parts(bad, cut=70000, cuts=4, etag=ETAG)
    job = done(daemon.run_one(url, retries=5, **keys))
    assert ranges(bad) == [None, *(f"bytes={70000 * i}-" for i in range(1, 5))]
    assert job["attempts"] == 5
    check(daemon, path)


@pytest.mark.parametrize("restart", [False, True])
def test_what_the_first_answer_said_holds_for_the_rest(make_daemon, bad, restart):
    """The answers with the rest need not say it again: its digest, name and time."""
    daemon = make_daemon().start()
    how = {"cuts": 0, "rate": 50000, "rates": 1} if restart else {}
    good, path = parts(bad, etag=ETAG, vouch="first", name="a", header="real.bin", **how)
    wrong, _ = parts(bad, etag=ETAG, vouch="wrong", name="b", **how)
    daemon.submit([{"url": good, "content_disposition": True, "remote_time": True, "output": "x/a"},
                   {"url": wrong, "output": "x/wrong", "retries": 1}])
    if restart:
        wait_for(lambda: all((job["bytes"] or 0) > CUT for job in daemon.jobs()))
        daemon.restart()
    wait_for(daemon.none_left)
    first, second = daemon.jobs()
    assert done(first)["output"] == "x/real.bin"
    file = daemon.file("x/real.bin")
    assert file.read_bytes() == content(path + "1", SIZE)
    assert file.stat().st_mtime == parsedate_to_datetime(OLD).timestamp()
    assert "user.dld.said" not in os.listxattr(file)
    failed(second, "checksum")
    assert [r for r in ranges(bad) if r]


@pytest.mark.parametrize("mode", ["batch", "always", "never"])
def test_goes_on_with_every_fsync(make_daemon, bad, mode):
    daemon = make_daemon(settings={"transfer.fsync": mode}).start()
    url, path = parts(bad, etag=ETAG)
    done(daemon.run_one(url, checksum="md5:" + hashlib.md5(content(path + "1", SIZE)).hexdigest()))
    assert ranges(bad)[1] == f"bytes={CUT}-"
    check(daemon, path)


def test_last_modified_will_do_where_it_is_old(daemon, bad):
    url, path = parts(bad, modified=OLD)
    done(daemon.run_one(url))
    assert bad.requests()[1].header("If-Range") == OLD
    assert ranges(bad) == [None, f"bytes={CUT}-"]
    check(daemon, path)


@pytest.mark.parametrize("query", [
    {}, {"etag": 'W/"v"'}, {"etag": "unquoted"}, {"modified": OLD, "date": "Mon, 02 Jan 2023 10:00:59 GMT"},
    {"modified": OLD, "date": "no date"}])
def test_starts_over_where_the_version_has_no_name(daemon, bad, query):
    url, path = parts(bad, **query)
    assert done(daemon.run_one(url))["attempts"] == 2
    assert ranges(bad) == [None, None]
    check(daemon, path)


def test_little_is_not_kept(daemon, bad):
    url, path = parts(bad, cut=60000, etag=ETAG)
    done(daemon.run_one(url))
    assert ranges(bad) == [None, None]
    check(daemon, path)


@pytest.mark.parametrize("fault", ["503"])
def test_error_status_in_between_leaves_the_part(daemon, bad, fault):
    url, path = parts(bad, etag=ETAG, fault=fault)
    assert done(daemon.run_one(url))["attempts"] == 3
    assert ranges(bad) == [None, f"bytes={CUT}-", f"bytes={CUT}-"]
    check(daemon, path)


def test_part_of_a_job_that_fails_for_good_is_removed(daemon, bad):
    url, _ = parts(bad, etag=ETAG, fault="404")
    failed(daemon.run_one(url), "http")
    assert ranges(bad) == [None, f"bytes={CUT}-"]
    assert files_under(daemon.root) == []


def test_retry_by_hand_goes_on(daemon, bad):
    url, path = parts(bad, etag=ETAG, fault="503")
    job = failed(daemon.run_one(url, retries=0), "http")
    daemon.dlctl("retry", str(job["id"]))
    wait_for(daemon.none_left)
    done(daemon.show(job["id"]))
    assert ranges(bad) == [None, f"bytes={CUT}-", f"bytes={CUT}-"]
    check(daemon, path)


# ---- another version, or no parts at all ----


def test_changed_file_is_fetched_from_its_start(daemon, bad):
    url, path = parts(bad, etag=ETAG, changes=1)
    job = done(daemon.run_one(url))
    assert (job["attempts"], job["http_status"]) == (2, 200)
    assert ranges(bad) == [None, f"bytes={CUT}-"]
    check(daemon, path, "2")


def test_server_without_parts(daemon, bad):
    url, path = parts(bad, etag=ETAG, fault="ignores")
    assert done(daemon.run_one(url))["attempts"] == 2
    check(daemon, path)


@pytest.mark.parametrize("fault", ["first", "total", "multipart", "etag", "no-range", "416"])
def test_wrong_part_is_not_used(daemon, bad, fault):
    url, path = parts(bad, etag=ETAG, fault=fault)
    job = done(daemon.run_one(url))
    assert ranges(bad) == [None, f"bytes={CUT}-", None]
    assert job["attempts"] == 3
    check(daemon, path)


def test_bytes_changed_behind_an_unchanged_name_fail_the_checksum(daemon, bad):
    """The server lies; a file in two parts with a wrong digest is fetched once more as a whole."""
    url, path = parts(bad, etag='"same"', changes=1)
    wanted = hashlib.sha256(content(path + "2", SIZE)).hexdigest()
    job = done(daemon.run_one(url, checksum=f"sha-256:{wanted}"))
    assert ranges(bad) == [None, f"bytes={CUT}-", None]
    assert job["digest"] == f"sha-256:{wanted}"
    check(daemon, path, "2")


def test_416_where_all_is_there(daemon, bad):
    """All bytes came, but not the end of the chunks."""
    url, path = parts(bad, cut=SIZE, etag=ETAG, fault="chunked")
    digest = hashlib.sha256(content(path + "1", SIZE)).hexdigest()
    job = done(daemon.run_one(url, checksum=f"sha-256:{digest}"))
    assert ranges(bad) == [None, f"bytes={SIZE}-"]
    assert (job["attempts"], job["size"], job["digest"]) == (2, SIZE, f"sha-256:{digest}")
    check(daemon, path)


def test_part_replaced_by_others_is_not_used(make_daemon, bad):
    daemon = make_daemon(settings={"retry.base": "1s", "retry.max": "1s"}).start()
    url, path = parts(bad, etag=ETAG)
    daemon.submit([{"url": url}])
    part = wait_for(lambda: daemon.counts()["waiting"] == 1 and [*daemon.root.glob(".dld-*")])[0]
    part.unlink()
    part.symlink_to("/etc/hostname")
    wait_for(daemon.none_left)
    assert ranges(bad) == [None, None]
    check(daemon, path)


# ---- ends of workers and daemons ----


def throttled(bad):
    """50 MiB in about three seconds."""
    return parts(bad, size=50 * MIB, cuts=0, etag=ETAG, rate=17 * MIB)


def start_and_wait(daemon, bad, url, path):
    daemon.submit([{"url": url}])
    part = wait_for(lambda: [daemon.file(f) for f in files_under(daemon.root) if is_part(f)], what="a part file")[0]
    wait_for(lambda: part.stat().st_size > 25 * MIB, what="half of the file")


def check_went_on(daemon, bad, path, least=8 * MIB):
    wait_for(daemon.none_left, 60)
    (job,) = daemon.jobs()
    assert done(job)["size"] == 50 * MIB
    asked = [int(r.removeprefix("bytes=").rstrip("-")) for r in ranges(bad)[1:]]
    assert len(asked) == 1 and asked[0] >= least
    check(daemon, path, size=50 * MIB)


def test_killed_worker(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    url, path = throttled(bad)
    start_and_wait(daemon, bad, url, path)
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    check_went_on(daemon, bad, path)


def test_killed_daemon(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    url, path = throttled(bad)
    start_and_wait(daemon, bad, url, path)
    daemon.kill()
    wait_for(daemon.has_no_processes)
    daemon.start()
    check_went_on(daemon, bad, path)


def test_stopped_daemon(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    url, path = throttled(bad)
    start_and_wait(daemon, bad, url, path)
    daemon.stop()
    daemon.start()
    check_went_on(daemon, bad, path, least=25 * MIB)


def test_cancelled_transfer_leaves_nothing(make_daemon, bad):
    daemon = make_daemon(workers=1).start()
    url, path = throttled(bad)
    start_and_wait(daemon, bad, url, path)
    daemon.call("cancel", {"all": True})
    wait_for(daemon.none_left)
    wait_for(lambda: files_under(daemon.root) == [])


# ---- nginx ----


@pytest.mark.parametrize("changed", [False, True])
def test_nginx_and_a_killed_worker(make_daemon, nginx, changed):
    daemon = make_daemon(workers=1).start()
    data, other = content("large", MIB) * 50, content("other", MIB) * 50
    nginx.add("a", data)
    os.utime(nginx.files / "a", (1, 1))
    daemon.submit([{"url": nginx.url("rate/12m/a"), "output": "a"}])
    part = wait_for(lambda: [*daemon.root.glob(".dld-*")], what="a part file")[0]
    wait_for(lambda: part.stat().st_size > 25 * MIB, what="half of the file")
    if changed:
        (nginx.files / "a").unlink()  # what is being sent stays what it was
        data = other
        nginx.add("a", data)
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    wait_for(daemon.none_left, 60)
    assert done(daemon.jobs()[0])["size"] == len(data)
    assert daemon.file("a").read_bytes() == data
    _, status, sent, _ = wait_for(lambda: len(nginx.requests()) == 2 and nginx.requests())[-1]
    assert status == (200 if changed else 206)
    assert (sent < len(data) - 8 * MIB) != changed


# ---- many at once ----


def test_neighbours_are_undisturbed(daemon, bad):
    jobs, wanted = [], {}
    for i in range(20):
        url, path = parts(bad, name=f"part{i}", etag=ETAG)
        jobs += [{"url": url}, {"url": bad.url(f"/ok/5000/good{i}")}]
        wanted[f"part{i}"] = content(path + "1", SIZE)
        wanted[f"good{i}"] = content(f"/ok/5000/good{i}", 5000)
    assert all(job["state"] == "done" for job in daemon.run(jobs))
    assert files_under(daemon.root) == sorted(wanted)
    assert all(daemon.file(name).read_bytes() == data for name, data in wanted.items())
    assert len([r for r in ranges(bad) if r]) == 20
    assert {job["attempts"] for job in daemon.jobs() if "good" in job["url"]} == {1}
