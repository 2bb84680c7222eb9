"""One file, several servers: the next one when one errs, and in which order."""

import hashlib

import pytest

from badserver import BadServer
from support import closed_port, content, files_under, wait_for
from test_download import done, failed
from test_errors import gaps

SIZE = 2000
GOOD = f"/mirror-good/{SIZE}/a"
BODY = content("a", SIZE)


@pytest.fixture
def others():
    """Two servers more."""
    servers = [BadServer().start(), BadServer().start()]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def patient(make_daemon):
    """A daemon whose back-off would be noticed."""
    return make_daemon(settings={"retry.base": "1h", "retry.max": "1h"}).start()


def fetch(daemon, urls, **keys):
    (job,) = daemon.run([{"urls": urls, **keys}])
    return job


def test_preferred_mirror_serves(daemon, bad, others):
    job = done(fetch(daemon, [bad.url(GOOD), others[0].url(GOOD)]))
    assert (job["attempts"], bad.count(), others[0].count()) == (1, 1, 0)
    assert job["url"] == bad.url(GOOD)


@pytest.mark.parametrize("path", ["/status/404/a", "/status/503/a", "/reset/a", "/hang-up/a", "/http09/a", "/garbage/a",
                                  "/redirect-loop/a", "/cut-length/700/2000/a", "/huge-header/2000000/a"])
def test_next_mirror_at_once(patient, bad, others, path):
    job = done(fetch(patient, [bad.url(path), others[0].url(GOOD)], retries=0))
    assert job["attempts"] == 2
    assert job["url"] == others[0].url(GOOD)
    assert patient.file("a").read_bytes() == BODY
    assert files_under(patient.root) == ["a"]


def test_next_mirror_when_one_can_not_be_reached(patient, bad):
    with closed_port() as port:
        job = done(fetch(patient, [port.url("/a"), "http://nosuchhost.invalid/a", bad.url(GOOD)], retries=0))
    assert job["attempts"] == 3
    assert [h["error"]["name"] for h in patient.show(job["id"])["history"] if h["error"]] == ["connect", "dns"]


def test_name_is_that_of_the_preferred_url(patient, bad, others):
    done(fetch(patient, [bad.url("/status/404/wanted"), others[0].url(GOOD)], output="{host}/{name}"))
    assert files_under(patient.root) == ["127.0.0.1/wanted"]


def test_all_fail_for_good(patient, bad, others):
    urls = [bad.url("/status/404/a"), others[0].url("/garbage/a"), others[1].url("/status/410/a")]
    job = failed(fetch(patient, urls, retries=5), "http")
    assert (job["attempts"], job["http_status"]) == (3, 410)
    assert files_under(patient.root) == []


def test_retries_are_rounds(daemon, bad, others):
    job = failed(fetch(daemon, [bad.url("/status/503/a"), others[0].url("/status/503/a")], retries=2), "http")
    assert job["attempts"] == 6
    assert (bad.count(), others[0].count()) == (3, 3)


def test_back_off_between_rounds_alone(make_daemon, bad, others):
    daemon = make_daemon(settings={"retry.base": "2s", "retry.max": "10s"}).start()
    fetch(daemon, [bad.url("/status/503/a"), others[0].url("/status/503/a")], retries=1)
    log = sorted(bad.requests() + others[0].requests(), key=lambda r: r.time)
    first, between, second = gaps(log)
    assert between >= 1 and first < 0.9 and second < 0.9


def test_mirror_that_failed_for_good_is_left_out(daemon, bad, others):
    path = f"/flaky/503/2/a"
    job = done(fetch(daemon, [bad.url("/status/404/a"), others[0].url(path)], retries=2))
    assert (job["attempts"], bad.count(), others[0].count()) == (4, 1, 3)


def test_mirror_that_erred_is_tried_last(daemon, bad, others):
    urls = [bad.url("/flaky/503/1/a"), others[0].url("/status/503/a"), others[1].url("/status/503/a")]
    job = done(fetch(daemon, urls))
    assert job["attempts"] == 4
    assert job["url"] == urls[0]


def test_place_in_the_round_survives_a_restart(make_daemon, bad, others):
    daemon = make_daemon().start()
    urls = [bad.url("/status/404/a"), others[0].url("/silent-request/a"), others[1].url(GOOD)]
    number = daemon.submit([{"urls": urls}])["ids"][0]
    wait_for(lambda: others[0].count() == 1)
    daemon.kill()
    wait_for(daemon.has_no_processes)
    daemon.start()
    wait_for(lambda: others[0].count() == 2)
    assert bad.count() == 1
    assert daemon.show(number)["url"] == urls[1]


def test_stalled_mirror_is_replaced(make_daemon, bad, others):
    daemon = make_daemon(settings={"transfer.low_speed_time": "1s", "retry.base": "1h", "retry.max": "1h"}).start()
    job = done(fetch(daemon, [bad.url("/silent-body/100/2000/a"), others[0].url(GOOD)], retries=0))
    assert job["attempts"] == 2


def test_cut_body_with_a_checksum_goes_on_elsewhere(patient, bad, others):
    digest = "sha-256:" + hashlib.sha256(BODY).hexdigest()
    urls = [bad.url(f"/mirror-cut/700/{SIZE}/a"), others[0].url(f"/mirror-cut/900/{SIZE}/a"), others[1].url(GOOD)]
    job = done(fetch(patient, urls, checksum=digest))
    assert job["attempts"] == 3
    assert patient.file("a").read_bytes() == BODY


def test_own_fault_is_not_taken_to_another_mirror(daemon, bad, others):
    job = failed(fetch(daemon, [bad.url(GOOD), others[0].url(GOOD)], max_size=100), "too-large")
    assert (job["attempts"], others[0].count()) == (1, 0)


def test_deadline_holds_over_all_mirrors(daemon, bad, others):
    urls = [bad.url("/silent-request/a"), others[0].url("/silent-request/a")]
    job = failed(fetch(daemon, urls, timeout="600ms", deadline="+1s"), "deadline")
    assert job["attempts"] == 2


def test_neighbours_are_not_disturbed(daemon, bad, others):
    jobs = [{"urls": [bad.url(f"/status/503/{i}"), others[0].url(f"/mirror-good/{SIZE}/{i}")]} for i in range(100)]
    jobs += [{"url": others[1].url(f"/mirror-good/{SIZE}/n{i}")} for i in range(20)]
    ended = daemon.run(jobs)
    assert all(j["state"] == "done" for j in ended)
    assert {j["attempts"] for j in ended[:100]} == {2} and {j["attempts"] for j in ended[100:]} == {1}
    assert daemon.file("7").read_bytes() == content("7", SIZE)
