"""One bad server after the other, all at once and beside twenty good jobs: how each job ends, and what is on the disk.

The list is that of what people report of other programs; more of each kind is in the tests by subject."""

from urllib.parse import quote

import pytest

from behaviours import GOOD_SIZE
from behaviours_raw import sha256
from beside import done_right, not_done, run_beside
from support import closed_port, content, have
from tls import KINDS, Authority

SIZE, CUT = 300000, 200000
PARTS = f"/parts/{SIZE}/{CUT}/1"


def good(path, attempts, size=GOOD_SIZE, **keys):
    return path, keys, (content(path.partition("?")[0], size), attempts)


def parts(query, attempts, version="1", **keys):
    name = quote(query, safe="")
    path = f"{PARTS}/{name}"
    return f"{path}?{query}", keys, (content(path + version, SIZE), attempts)


# path, keys of the job, error, attempts
BAD = {
    "closes-after-n-of-length": ("/cut-length/700/2000/a", {}, "partial", 2),
    "chunks-cut-short": ("/cut-chunked/700/a", {}, "partial", 2),
    "reset-before-answer": ("/reset/a", {}, "reset", 2),
    "closes-without-a-word": ("/hang-up/a", {}, "reset", 2),
    "redirect-loop": ("/redirect-loop/a", {}, "redirect", 1),
    "redirect-nowhere": ("/redirect-nowhere/a", {}, "redirect", 1),
    "redirect-to-file": ("/redirect-to/a?to=file:///etc/passwd", {}, "redirect", 1),
    "redirect-to-data": ("/redirect-to/a?to=data:,x", {}, "redirect", 1),
    "redirect-to-metadata": ("/redirect-to/a?to=http://169.254.169.254/", {}, "denied-address", 1),
    "redirect-to-metadata-in-ipv6": ("/redirect-to/a?to=http://[::ffff:169.254.169.254]/", {}, "denied-address", 1),
    "redirect-to-metadata-in-decimal": ("/redirect-to/a?to=http://2852039166/", {}, "redirect", 1),
    "hundred-thousand-lines": ("/many-headers/100000/a", {}, "protocol", 1),
    "line-of-a-mebibyte": ("/huge-header/1048576/a", {}, "protocol", 1),
    "one-byte-a-second": ("/drip/2000/1/a", {}, "stalled", 2),
    "header-line-by-line": ("/drip-headers/a", {}, "stalled", 2),
    "silent-after-request": ("/silent-request/a", {}, "stalled", 2),
    "silent-after-headers": ("/silent-headers/a", {}, "stalled", 2),
    "silent-in-body": ("/silent-body/100/2000/a", {}, "stalled", 2),
    "always-429": ("/status/429/a", {}, "http", 2),
    "always-503": ("/status/503/a", {}, "http", 2),
    "not-found": ("/status/404/a", {}, "http", 1),
    "bomb": (f"/bomb/{8 << 20}/length/a", {"compressed": True, "max_size": "1M"}, "too-large", 1),
    "endless": ("/endless/a", {"max_size": "1M"}, "too-large", 1),
    "http09": ("/http09/a", {}, "protocol", 1),
    "garbage-first": ("/garbage/a", {}, "protocol", 1),
    "wrong-repr-digest": ("/promise/2000/9/a?Repr-Digest=" + quote(f"sha-256=:{sha256(b'x')}:"), {}, "checksum", 2),
    "wrong-digest": ("/promise/2000/9/a?Digest=" + quote(f"SHA-256={sha256(b'x')}"), {}, "checksum", 2),
    "wrong-checksum": ("/any/a", {"checksum": "sha-256:" + "0" * 64}, "checksum", 1),
}

# path, keys, (the bytes of the file, attempts)
GOOD = {
    "no-length": good("/until-close/20000/a", 1, 20000),
    "503-twice": good("/flaky/503/2/a", 3, retries=2),
    "429-with-retry-after": good("/flaky/429/1/a?retry-after=1", 2),
    "cut-once": good("/flaky-cut/1/a", 2),
    "range-honoured": parts("etag=%22v%22", 2),
    "range-ignored": parts("etag=%22v%22&fault=ignores", 2),
    "range-wrong-first": parts("etag=%22v%22&fault=first", 3, retries=2),
    "range-wrong-total": parts("etag=%22v%22&fault=total", 3, retries=2),
    "range-in-multipart": parts("etag=%22v%22&fault=multipart", 3, retries=2),
    "range-without-a-word": parts("etag=%22v%22&fault=no-range", 3, retries=2),
    "range-of-another-etag": parts("etag=%22v%22&fault=etag", 3, retries=2),
    "range-416": parts("etag=%22v%22&fault=416", 3, retries=2),
    "etag-weak": parts("etag=W/%22v%22", 2),
    "changed-between": parts("etag=%22v-VERSION%22&changes=1", 2, "2"),
}


@pytest.fixture
def quick(make_daemon):
    return make_daemon(settings={"transfer.low_speed_limit": "100", "transfer.low_speed_time": "3s",
                                 "worker.transfers": "64", "host.connections": "128"}).start()


def test_bad_answers_beside_good_ones(quick, bad):
    jobs = run_beside(quick, bad, {name: {"url": bad.url(path), **keys} for name, (path, keys, *_) in BAD.items()})
    assert not_done(quick, jobs, {name: row[2:] for name, row in BAD.items()}) == []


def test_faults_that_are_overcome_beside_good_answers(quick, bad):
    jobs = run_beside(quick, bad, {name: {"url": bad.url(path), **keys} for name, (path, keys, _) in GOOD.items()})
    assert done_right(quick, jobs, {name: row[2] for name, row in GOOD.items()}) == []


@pytest.mark.skipif(not have("openssl"), reason="needs openssl to make certificates")
def test_bad_certificates_beside_good_answers(make_daemon, bad, tmp):
    authority = Authority(tmp / "ca")
    urls = {kind: bad.listen_tls(authority.base / f"{kind}.pem", authority.base / f"{kind}.key") + "/any/a"
            for kind in KINDS}
    daemon = make_daemon(settings={"transfer.ca_file": authority.file}).start()
    jobs = run_beside(daemon, bad, {kind: {"url": url} for kind, url in urls.items()})
    assert done_right(daemon, {"good": jobs.pop("good")}, {"good": (content("/any/a", GOOD_SIZE), 1)}) == []
    assert not_done(daemon, jobs, {kind: ("tls", 1) for kind in jobs}) == []
    assert bad.count("/any/a") == 1


def test_no_host_beside_good_answers(daemon, bad):
    with closed_port() as port:
        jobs = run_beside(daemon, bad, {"refused": {"url": port.url()}, "nameless": {"url": "http://no-host.invalid/"}})
    assert not_done(daemon, jobs, {"refused": ("connect", 2), "nameless": ("dns", 2)}) == []
