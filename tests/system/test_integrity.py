"""A file with the wrong bytes never gets its name, whoever knows that they are wrong."""

import base64
import hashlib
import os
import signal
from urllib.parse import urlencode

import pytest

from behaviours import GOOD_SIZE
from support import content, files_under, wait_for
from test_download import done, failed

ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512", "sha-1": "sha1", "md5": "md5"}


def digest(name, data):
    return hashlib.new(ALGORITHMS[name], data)


def checksum(name, data):
    return f"{name}:{digest(name, data).hexdigest()}"


def encoded(name, data):
    return base64.b64encode(digest(name, data).digest()).decode()


def promising(bad, path, **fields):
    return bad.url(f"{path}?{urlencode({n.replace('_', '-'): v for n, v in fields.items()})}")


# ---- the job's checksum ----


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@pytest.mark.parametrize("size", [0, 2000, 700000])
def test_right_checksum(daemon, bad, name, size):
    path = f"/ok/{size}/a.bin"
    data = content(path, size)
    job = done(daemon.run_one(bad.url(path), checksum=checksum(name, data)))
    assert job["digest"] == checksum(name, data)
    assert daemon.file("a.bin").read_bytes() == data
    assert daemon.show(job["id"])["digest"] == checksum(name, data)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
@pytest.mark.parametrize("size", [0, 2000, 700000])
def test_wrong_checksum(daemon, bad, name, size):
    path = f"/ok/{size}/a.bin"
    wanted = checksum(name, b"something else")
    job = failed(daemon.run_one(bad.url(path), checksum=wanted, retries=3), "checksum")
    assert job["attempts"] == 1
    assert wanted.partition(":")[2][:12] in job["error"]["message"]
    assert checksum(name, content(path, size)).partition(":")[2][:12] in job["error"]["message"]
    assert files_under(daemon.root) == []


def test_checksum_of_a_body_in_chunks(daemon, bad):
    data = content("/chunked/50000/a", 50000)
    done(daemon.run_one(bad.url("/chunked/50000/a"), checksum=checksum("sha-256", data)))


def test_wrong_checksum_leaves_the_old_file(daemon, bad):
    daemon.file("a").write_bytes(b"old")
    failed(daemon.run_one(bad.url("/any/a"), checksum=checksum("md5", b""), on_conflict="overwrite"), "checksum")
    assert daemon.file("a").read_bytes() == b"old"
    assert files_under(daemon.root) == ["a"]


@pytest.mark.parametrize("mode", ["batch", "always", "never"])
def test_checksum_with_every_fsync(make_daemon, bad, mode):
    daemon = make_daemon(settings={"transfer.fsync": mode}).start()
    data = content("/any/a", GOOD_SIZE)
    good = done(daemon.run_one(bad.url("/any/a"), checksum=checksum("sha-1", data)))
    assert good["digest"] == checksum("sha-1", data)
    failed(daemon.run_one(bad.url("/any/b"), checksum=checksum("sha-1", data)), "checksum")
    assert files_under(daemon.root) == ["a"]


def test_neighbours_of_wrong_files_are_right(daemon, bad):
    wrong = [{"url": bad.url(f"/any/wrong{i}"), "checksum": checksum("sha-256", b"")} for i in range(20)]
    right = [{"url": bad.url(f"/any/right{i}"), "checksum": checksum("sha-256", content(f"/any/right{i}", GOOD_SIZE))}
             for i in range(20)]
    jobs = daemon.run([job for pair in zip(wrong, right) for job in pair])
    assert [job["state"] for job in sorted(jobs, key=lambda job: job["id"])] == ["failed", "done"] * 20
    assert files_under(daemon.root) == sorted(f"right{i}" for i in range(20))


# ---- the server's digests ----


@pytest.mark.parametrize("field, value", [
    ("Repr-Digest", "sha-256=:{}:"), ("Repr-Digest", "unknown=:AAAA:, sha-256=:{}:"),
    ("Digest", "SHA-256={}"), ("Digest", "md5=AAAA,sha-256={}")])
def test_digest_of_server(daemon, bad, field, value):
    path = "/promise/2000/0/a"
    right = value.format(encoded("sha-256", content(path, 2000)))
    wrong = value.format(encoded("sha-256", b"something else"))
    done(daemon.run_one(promising(bad, path, **{field: right})))
    assert daemon.file("a").read_bytes() == content(path, 2000)
    job = failed(daemon.run_one(promising(bad, path, **{field: wrong}), output="b", retries=2), "checksum")
    assert job["attempts"] == 3
    assert files_under(daemon.root) == ["a"]


def test_content_md5(daemon, bad):
    path = "/promise/2000/0/a"
    done(daemon.run_one(promising(bad, path, Content_MD5=encoded("md5", content(path, 2000)))))
    job = daemon.run_one(promising(bad, path, Content_MD5=encoded("md5", b"")), output="b", retries=0)
    assert failed(job, "checksum")["attempts"] == 1
    assert files_under(daemon.root) == ["a"]


def test_damaged_transfer_is_tried_again(daemon, bad):
    path = "/promise/2000/2/a"
    value = f"sha-512=:{encoded('sha-512', content(path, 2000))}:"
    job = done(daemon.run_one(promising(bad, path, Repr_Digest=value)))
    assert job["attempts"] == 3
    assert daemon.file("a").read_bytes() == content(path, 2000)


@pytest.mark.parametrize("field, value", [
    ("Repr-Digest", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:"), ("Digest", "sha-256=short"), ("Repr-Digest", "sha-256=:"),
    ("Content-MD5", "?"), ("Digest", ",,,=,")])
def test_digest_that_says_nothing_is_passed_over(daemon, bad, field, value):
    done(daemon.run_one(promising(bad, "/promise/2000/0/a", **{field: value})))


def test_digest_of_what_was_coded_is_not_of_the_file(daemon, bad):
    fields = {"Content-Encoding": "x-unknown", "Content-MD5": encoded("md5", b"")}
    done(daemon.run_one(promising(bad, "/promise/2000/0/a", **fields)))


def test_the_job_knows_better_than_the_server(daemon, bad):
    path = "/promise/2000/0/a"
    url = promising(bad, path, Content_MD5=encoded("md5", b""))
    done(daemon.run_one(url, checksum=checksum("sha-256", content(path, 2000))))


# ---- size ----


@pytest.mark.parametrize("path, off", [(path, off) for path in ("/ok/2000/a", "/chunked/2000/a", "/until-close/2000/a")
                                       for off in (-1, 0, 1)] + [("/ok/0/a", 0), ("/ok/0/a", 1)])
def test_size(daemon, bad, path, off):
    size = int(path.split("/")[2]) + off
    job = daemon.run_one(bad.url(path), size=size, retries=2)
    if off == 0:
        assert done(job)["size"] == size
        assert files_under(daemon.root) == ["a"]
        return
    assert failed(job, "size")["attempts"] == 1
    assert str(size) in job["error"]["message"]
    assert files_under(daemon.root) == []


def test_wrong_size_is_told_before_the_body_came(daemon, bad):
    job = failed(daemon.run_one(bad.url("/silent-body/0/5000/a"), size=4000, retries=0), "size")
    assert job["bytes"] == 0
    failed(daemon.run_one(bad.url("/endless/b"), size=100000), "size")
    assert files_under(daemon.root) == []


# ---- a digest of every file ----


def test_digest_of_every_file(make_daemon, nginx):
    daemon = make_daemon(settings={"transfer.digest": "sha-256"}).start()
    files = {name: content(name, size) for name, size in [("a", 0), ("b", 5), ("c", 300000)]}
    for name, data in files.items():
        job = done(daemon.run_one(nginx.add(name, data)))
        assert daemon.show(job["id"])["digest"] == checksum("sha-256", data)


def test_digest_of_every_file_beside_a_checksum(make_daemon, bad):
    daemon = make_daemon(settings={"transfer.digest": "sha-512"}).start()
    data = content("/any/a", GOOD_SIZE)
    job = done(daemon.run_one(bad.url("/any/a"), checksum=checksum("md5", data)))
    assert job["digest"] == checksum("sha-512", data)
    failed(daemon.run_one(bad.url("/any/b"), checksum=checksum("md5", data)), "checksum")


def test_no_digest_unless_asked(daemon, bad):
    assert "digest" not in done(daemon.run_one(bad.url("/any/a")))


# ---- after a crash ----


def test_own_file_is_read_again_after_a_crash(make_daemon, bad):
    """Published and not recorded: it is the job's own only if it still has the digest."""
    daemon = make_daemon(settings={"master.stop_grace": "10s"}, workers=1).start()
    path = lambda i: f"/delay/0.3/3000/{i}"
    daemon.submit([{"url": bad.url(path(i)), "on_conflict": "rename",
                    "checksum": checksum("sha-256", content(path(i), 3000))} for i in range(8)])
    wait_for(lambda: bad.count() >= 8)
    os.kill(daemon.pid, signal.SIGSTOP)
    wait_for(lambda: files_under(daemon.root) == [str(i) for i in range(8)], what="all to be published")
    daemon.kill()
    with daemon.file("7").open("r+b") as file:  # in place: whose it is stays written on it
        file.write(b"spoilt")
    daemon.start()
    wait_for(daemon.none_left, 60)
    jobs = [done(job) for job in daemon.jobs()]
    assert [job["output"] for job in jobs] == [*map(str, range(7)), "7.1"]
    assert all(job["digest"] == checksum("sha-256", content(path(i), 3000)) for i, job in enumerate(jobs))
    assert bad.count() == 9


# ---- in one another's way ----


def test_two_daemons_write_below_one_directory(make_daemon, bad):
    """Their jobs have the same numbers."""
    one = make_daemon("one").start()
    two = make_daemon("two", settings={"output.root": one.root}).start()
    paths = [f"/parts/600000/0/0/{name}" for name in ("one", "two")]
    ids = [d.submit([{"url": bad.url(p + "?rate=400000"), "output": p[-3:]}])["ids"][0]
           for d, p in zip((one, two), paths)]
    assert ids[0] == ids[1]
    for daemon, path in zip((one, two), paths):
        wait_for(lambda: daemon.show(ids[0])["state"] == "done")
        assert one.file(path[-3:]).read_bytes() == content(path + "1", 600000)
    assert len(files_under(one.root)) == 2
