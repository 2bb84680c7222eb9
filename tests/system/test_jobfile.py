"""Job files: what `dlctl submit` takes, and what is said of a file that is wrong."""

import json
import re

import pytest

from support import files_under


def nothing_taken(daemon):
    assert daemon.jobs() == []
    assert not any(daemon.counts().values())


# ---- what submit takes ----


@pytest.mark.parametrize("shape", [
    lambda a, b: {"url": a},
    lambda a, b: [{"url": a}, {"url": b}],
    lambda a, b: {"jobs": [{"url": a}, {"url": b}]},
    lambda a, b: {"defaults": {"tag": "t"}, "jobs": [{"url": a}, {"url": b}]},
], ids=["object", "array", "jobs", "defaults and jobs"])
@pytest.mark.parametrize("indent", [None, 4])
def test_shapes_of_a_job_file(daemon, bad, tmp, shape, indent):
    file = tmp / "jobs.json"
    wanted = shape(bad.url("/any/a"), bad.url("/any/b"))
    file.write_text(json.dumps(wanted, indent=indent))
    count = 1 if "url" in wanted else 2
    answer = daemon.dlctl("--json", "submit", file).document
    assert answer["count"] == count and len(answer["ids"]) == count
    jobs = daemon.jobs(batch=answer["batch"])
    assert [j["id"] for j in jobs] == answer["ids"]
    assert [j["url"] for j in jobs] == [bad.url("/any/a"), bad.url("/any/b")][:count]
    assert all(j.get("tag") == ("t" if "defaults" in wanted else None) for j in jobs)


def test_job_file_from_standard_input(daemon, bad):
    assert daemon.dlctl("--json", "submit", "-", stdin=json.dumps({"url": bad.url("/any/a")})).document["count"] == 1


def test_bare_urls(daemon, bad):
    result = daemon.dlctl("--json", "submit", bad.url("/any/a"), bad.url("/any/b"), "--wait")
    assert result.summary["done"] == 2
    assert files_under(daemon.root) == ["a", "b"]


def test_blanks_around_are_allowed(daemon, bad):
    text = "\n\t " + json.dumps([{"url": bad.url("/any/a")}]) + " \r\n\n"
    assert daemon.dlctl("--json", "submit", "-", stdin=text).document["count"] == 1


# ---- what submit refuses ----


@pytest.mark.parametrize("text, line, column", [
    ('[{"url": "http://h/"},\n {"url" "http://h/"}]', 2, 9),
    ('{"url": "http://h/",}', 1, 21),
    ('[\n  {"url": "http://h/"}\n  {"url": "http://h/"}\n]', 3, 3),
    ('[{"url": "http://h/", "url": "http://h/"}]', 1, 27),
    ('[{"url": "http://h/"}', 1, 22),
    ('{"jobs": [{"url": "http://h/"}],\n "jobs": []}', 2, 2),
    ('[{"url": "http://h/\x01"}]', 1, 10),
    ('\n\n  nonsense', 3, 3),
    ('[{"url": "http://h/"}] trailing', 1, 24),
])
def test_bad_json_is_refused_with_line_and_column(daemon, tmp, text, line, column):
    file = tmp / "jobs.json"
    file.write_text(text)
    result = daemon.dlctl("submit", file, code=2)
    found = re.search(r"line (\d+),? column (\d+)|:(\d+):(\d+)", result.err)
    assert found, result
    at = [int(g) for g in found.groups() if g]
    assert at[0] == line and column <= at[1] <= column + 11, result  # within or just behind the offending token
    assert str(file) in result.err
    nothing_taken(daemon)


@pytest.mark.parametrize("text", ["", "   ", "17", '"http://h/"', "null", "\xff\xfe"])
def test_what_is_no_job_file_is_refused(daemon, text):
    result = daemon.dlctl("submit", "-", stdin=text.encode("latin-1"), code=2)
    assert result.err.startswith("dlctl: ")
    nothing_taken(daemon)


@pytest.mark.parametrize("keys, place", [
    ({"url": "ftp://h/"}, "url"),
    ({"url": "http://"}, "url"),
    ({"url": "http://user:word@h/"}, "url"),
    ({"url": "http://h/a\\b"}, "url"),
    ({"url": "http://h:99999/"}, "url"),
    ({"url": 5}, "url"),
    ({"url": None}, "url"),
    ({"output": "../up"}, "output"),
    ({"output": "/etc/passwd"}, "output"),
    ({"output": "a/../b"}, "output"),
    ({"output": ""}, "output"),
    ({"output": "{nope}"}, "output"),
    ({"output": "a\u0000b"}, None),
    ({"output": "a\nb"}, "output"),
    ({"on_conflict": "maybe"}, "on_conflict"),
    ({"headers": ["X: y"]}, "headers"),
    ({"headers": {"X": 5}}, "headers"),
    ({"headers": {"X Y": "z"}}, "headers"),
    ({"headers": {"X": "a\r\nY: b"}}, "headers"),
    ({"headers": {"Content-Length": "5"}}, "headers"),
    ({"headers": {"transfer-encoding": "chunked"}}, "headers"),
    ({"headers": {f"X-{i}": "y" for i in range(101)}}, "headers"),
    ({"headers": {"X": "y" * 17000}}, "headers"),
    ({"user_agent": "a\nb"}, "user_agent"),
    ({"referer": 1}, "referer"),
    ({"priority": 101}, "priority"),
    ({"priority": 1.5}, "priority"),
    ({"retries": -1}, "retries"),
    ({"retries": 1001}, "retries"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": "soon"}, "timeout"),
    ({"timeout": "31d"}, "timeout"),
    ({"tag": ""}, "tag"),
    ({"tag": "t" * 256}, "tag"),
    ({"max_size": 0}, "max_size"),
    ({"max_size": "20 apples"}, "max_size"),
    ({"max_size": -5}, "max_size"),
    ({"max_decoded_size": 0}, "max_decoded_size"),
    ({"size": -1}, "size"),
    ({"checksum": "sha-256:abc"}, "checksum"),
    ({"retry_on": [200]}, "retry_on[0]"),
    ({"deadline": "tomorrow"}, "deadline"),
    ({"not_before": 0}, "not_before"),
    ({"compressed": "yes"}, "compressed"),
    ({"auth": "basic"}, "auth"),
    ({"auth": {"type": "other", "credential": "a"}}, "auth.type"),
    ({"auth": {"type": "basic", "credential": "a/b"}}, "auth.credential"),
    ({"client_certificate": ".a"}, "client_certificate"),
    ({"proxy": "http://h"}, "proxy"),
    ({"proxy_auth": "a"}, "proxy_auth"),
])
def test_bad_field_is_named_with_its_place(daemon, keys, place):
    jobs = [{"url": "http://h/"}, {"url": "http://h/", **keys}]
    result = daemon.dlctl("submit", "-", stdin=json.dumps(jobs), code=2)
    assert place is None or f"jobs[1].{place}" in result.err, result
    nothing_taken(daemon)


def test_place_in_a_lone_object_is_just_the_key(daemon):
    result = daemon.dlctl("submit", "-", stdin='{"url": "http://h/", "priority": "high"}', code=2)
    assert re.search(r"(^|[ :])priority: ", result.err) and "jobs[" not in result.err, result


@pytest.mark.parametrize("job, text", [
    ({"urls": []}, "jobs[0].urls: "),
    ({"urls": ["http://h/", "ftp://h/"]}, "jobs[0].urls[1]: "),
    ({"url": "http://h/", "urls": ["http://h/"]}, 'jobs[0]: "url" and "urls" are both given'),
])
def test_bad_urls_are_named_with_their_place(daemon, job, text):
    assert text in daemon.dlctl("submit", "-", stdin=json.dumps([job]), code=2).err
    nothing_taken(daemon)


def test_missing_url_is_named(daemon):
    result = daemon.dlctl("submit", "-", stdin='[{"output": "a"}]', code=2)
    assert "jobs[0]" in result.err and "url" in result.err, result


def test_bad_default_is_named(daemon):
    text = '{"defaults": {"retries": "many"}, "jobs": [{"url": "http://h/"}]}'
    assert "defaults.retries" in daemon.dlctl("submit", "-", stdin=text, code=2).err
    nothing_taken(daemon)


@pytest.mark.parametrize("wrong, right", [("priorty", "priority"), ("on-conflict", "on_conflict"), ("URL", "url"),
                                          ("useragent", "user_agent")])
def test_unknown_key_names_the_nearest(daemon, wrong, right):
    result = daemon.dlctl("submit", "-", stdin=json.dumps([{"url": "http://h/", wrong: "x"}]), code=2)
    assert f"jobs[0].{wrong}: unknown key" in result.err and f'did you mean "{right}"?' in result.err, result
    nothing_taken(daemon)


def test_unknown_key_like_no_other_lists_the_known(daemon):
    result = daemon.dlctl("submit", "-", stdin='[{"url": "http://h/", "zzzzzzzzzz": 1}]', code=2)
    assert all(key in result.err for key in ("on_conflict", "priority", "max_size")), result


def test_defaults_after_jobs_are_refused(daemon):
    result = daemon.dlctl("submit", "-", stdin='{"jobs": [{"url": "http://h/"}], "defaults": {}}', code=2)
    assert "defaults" in result.err
    nothing_taken(daemon)


def test_file_that_is_not_there(daemon, tmp):
    result = daemon.dlctl("submit", tmp / "none.json", code=2)
    assert "none.json" in result.err and "No such file" in result.err


def test_one_bad_job_far_behind_rejects_all(daemon):
    jobs = [{"url": f"http://h/{i}"} for i in range(25000)]
    jobs[24999]["priority"] = "high"
    assert "jobs[24999].priority" in daemon.dlctl("submit", "-", stdin=json.dumps(jobs), code=2).err
    nothing_taken(daemon)
