"""Job files that somebody made to do harm, or a program that knows JSON otherwise: what is wrong is told with its
place in words for people, and nothing is taken; what JSON allows is understood."""

import json
import time

import pytest

from support import memory_kib

URL = '"url": "http://127.0.0.1:1/x"'


def refused(daemon, tmp, data):
    """What dlctl says of a file with these bytes, which must be short and printable."""
    file = tmp / "jobs.json"
    file.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    start = time.monotonic()
    said = daemon.dlctl("submit", file, code=2).err
    assert time.monotonic() - start < 20
    assert said.startswith("dlctl: ") and len(said) < 600 and said.count("\n") == 1, said
    assert all(c.isprintable() for c in said.rstrip("\n")), said
    assert daemon.jobs() == []
    return said


@pytest.mark.parametrize("text, place, words", [
    (f"[{{{URL}}},]", "1:34", "expected a job after ','"),
    (f"{{{URL},}}", "1:32", ""),
    (f"// a comment\n{{{URL}}}", "1:1", "expected a job"),
    (f"{{{URL} /* a comment */}}", "1:32", ""),
    ("{'url': 'http://127.0.0.1:1/'}", "1:2", ""),
    (f"{{{URL}}}{{{URL}}}", "1:32", "several jobs belong in an array"),
    (f"{{{URL}}}\n{{{URL}}}", "2:1", "several jobs belong in an array"),
    (f"[{{{URL}}}}}", "1:33", "expected ',' or ']' after a job"),
    (f'{{{URL}, "retries": NaN}}', "1:4", ""),
    (f'{{{URL}, "retries": +3}}', "1:4", ""),
    (f'{{{URL}, "retries": 03}}', "1:4", ""),
    (f'{{{URL}, "priority": {"9" * 400}}}', "1:4", "too big integer"),
    (f'{{{URL}, "timeout": 1e999}}', "1:4", "overflow"),
    (f'{{{URL}, "tag": "\\ud800"}}', "1:4", "invalid Unicode"),
    (f'{{{URL}, "tag": "\\udc00x"}}', "1:4", "invalid Unicode"),
    (f'{{{URL}, "tag": "\ud800"}}', "1:4", "unable to decode byte 0xed"),
    (f'{{{URL}, "tag": "a\\u0000b"}}', "1:4", "the character \\u0000 is not allowed in a job"),
    (f'{{{URL}, "t\\u0000": 1}}', "1:4", "the character \\u0000 is not allowed in a job"),
    (f'{{{URL}, "tag": "a\nb"}}', "1:4", "unexpected newline"),
    (f'{{{URL}, "tag": "\\u001b[31m"}}', "1", "tag: control characters are not allowed"),
    (f'{{{URL}, "headers": {{"A": "1", "A": "2"}}}}', "1:", "duplicate object key"),
    (f'{{{URL}, "headers": {{"a": "1", "A": "2"}}}}', "1", 'headers["a"]: the header is given twice'),
    (f'{{"defaults": {{{URL}}}, "jobs": [{{}}]}}', "1", "defaults.url: each job has its own"),
    (f'{{"jobs": [{{{URL}}}], "more": 1}}', "1:", '"more": unknown key'),
    (f'{{"jobs": {{{URL}}}}}', "1:", "expected an array of jobs"),
    ('{"jobs": [1]}', "1", "jobs[0]: expected an object, found 1"),
])
def test_what_is_almost_json(daemon, tmp, text, place, words):
    said = refused(daemon, tmp, text)
    assert f"jobs.json:{place}" in said and words in said, said


@pytest.mark.parametrize("data, words", [
    (b'{"url": "http://127.0.0.1:1/", "tag": "\xff\xfe"}', "unable to decode byte 0xff"),
    (b'{"url": "http://127.0.0.1:1/", "tag": "\xc0\xaf"}', "unable to decode byte 0xc0"),
    (b'{"url": "http://127.0.0.1:1/", "tag": "a\0b"}', "control character 0x0"),
    (b'{"url": "http://127.0.0.1:1/"}\0\0', "found the byte 0x00"),
    (("{" + URL + "}").encode("utf-16"), "found the byte 0xff"),
    (("{" + URL + "}").encode("utf-16-le"), ""),
    (b"\x1f\x8b\x08\0\0\0\0\0", "found the byte 0x1f"),
    (b"<html></html>", "found '<'"),
])
def test_what_is_no_text(daemon, tmp, data, words):
    assert words in refused(daemon, tmp, data)


@pytest.mark.parametrize("data, words", [
    (b"[" * 100000, "nested too deeply"),
    (b'{"a":' * 100000, "nested too deeply"),
    (b"{" + URL.encode() + b', "headers": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001, "nested too deeply"),
    (b'{"url": "http://127.0.0.1:1/' + b"x" * 100000000 + b'"}', "larger than 1 MiB"),
    (b'{"' + b"k" * 10000000 + b'": 1}', "larger than 1 MiB"),
    (b"{" + b" " * 10000000 + URL.encode() + b"}", "larger than 1 MiB"),
], ids=["arrays", "objects", "headers", "long-url", "long-key", "blanks"])
def test_what_has_no_measure(daemon, tmp, data, words):
    before = memory_kib(daemon.pid, "VmHWM")
    assert words in refused(daemon, tmp, data)
    assert memory_kib(daemon.pid, "VmHWM") - before < 8192


@pytest.mark.parametrize("key, value, words", [
    ("url", "http://1.2.3", "four decimal numbers"),
    ("url", "http://0x7f.1/", "four decimal numbers"),
    ("url", "http://2130706433/", "four decimal numbers"),
    ("url", "http://x/\u202e", "a control character is not allowed"),
    ("url", "http://\u00e4.example/", "xn-- form"),
    ("url", "http://[fe80::1%25lo]/", "zone"),
    ("output", "a/.dld-1.part", "reserved for part files"),
    ("output", "{path}/../x", 'no part of the path may be "." or ".."'),
    ("output", "a\u202eb", "control characters"),
    ("headers", {"Range": "bytes=0-1"}, "dld sets this header itself"),
    ("headers", {"Accept-Encoding": "br"}, "dld sets this header itself"),
    ("retries", 2.5, "found 2.5"),
    ("retries", True, "found true"),
    ("retries", None, "found null"),
    ("max_size", "9999999T", "expected a number of bytes above 0"),
    ("timeout", "99999999999999999999s", "expected seconds"),
    ("not_before", "2026-02-30T00:00:00Z", "expected a time"),
    ("checksum", "sha-256:" + "g" * 64, "expected \"sha-256:<64 hex digits>\""),
    ("urls", [["http://h/"]], "urls[0]: expected a string, found an array"),
])
def test_values_with_a_catch(daemon, tmp, key, value, words):
    """Beside a good job, which must not be taken either."""
    job = {key: value} if key in ("url", "urls") else {"url": "http://h/", key: value}
    said = refused(daemon, tmp, json.dumps([{"url": "http://h/"}, job]))
    assert f"jobs[1].{key}" in said and words in said, said


def test_what_json_allows_is_understood(daemon):
    text = '\ufeff [ {"url" : "http:\\/\\/127.0.0.1:1\\/x", "retries": 0.0, "priority": 1e1, "retry_on": [404.0],' \
           ' "max_size": 2e9, "tag": "\\ud83d\\ude00\\uffff"} ] \r\n'
    daemon.dlctl("submit", "-", "--wait", stdin=text, code=1)
    (job,) = daemon.jobs()
    assert job["url"] == "http://127.0.0.1:1/x" and job["tag"] == "\U0001f600\uffff"
    assert (job["retries"], job["priority"], job["retry_on"], job["max_size"]) == (0, 10, [404], 2000000000)
    assert job["error"]["name"] == "connect" and job["attempts"] == 1
