"""The control socket in the hands of clients that are many, broken or hostile."""

import json
import select
import socket
import threading
import time

import pytest

from dld import Control, RpcError
from support import KIB, MIB, SANITIZE, SLOWER, memory_kib, wait_for


JOB = {"url": "http://h/"}


def still_served(daemon):
    """A new client gets its answer, and soon."""
    start = time.monotonic()
    assert daemon.call("status")["pid"] == daemon.pid
    assert time.monotonic() - start < 2 * SLOWER
    assert daemon.running


def readable(sock):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def error_of(daemon, line):
    """(code, id) of the error that a line gets, on a connection of its own."""
    with daemon.control() as c:
        c.send_raw(line)
        document = c.receive()
        assert document["jsonrpc"] == "2.0"
        return document["error"]["code"], document["id"]


def test_hundred_clients_at_once(daemon, bad):
    clients = [daemon.control() for _ in range(100)]
    failures = []

    def use(number, client):
        try:
            for i in range(5):
                job = {"url": bad.url(f"/any/{number}-{i}")}
                batch = client.call("submit", {"jobs": [job], "submit_key": f"{number}-{i}"})["batch"]
                assert client.call("wait", {"batch": batch})["done"] == 1
        except Exception as e:
            failures.append(e)
    threads = [threading.Thread(target=use, args=pair, daemon=True) for pair in enumerate(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOWER)
    assert not failures and not any(t.is_alive() for t in threads)
    assert daemon.counts()["done"] == 500
    assert bad.count() == 500


def test_thousand_submissions_in_one_go(daemon):
    """Answers may come in any order; each comes once."""
    with daemon.control() as c:
        numbers = [c.send("submit", {"jobs": {"url": f"http://127.0.0.1:1/{i}", "retries": 0}, "submit_key": str(i)})
                   for i in range(1000)]
        batches = {c.answer(n)["batch"] for n in numbers}
    assert len(batches) == 1000


# ---- what can't be understood ----


@pytest.mark.parametrize("line", [
    b"garbage\n", b"\x00\xff\xfe\x01\n", b"{\n", b"[1, 2\n", b"{}}\n",
    b'{"jsonrpc": "2.0", "id": 1, "method": "status"\n',
    b'{"jsonrpc": "2.0", "id": 1, "method": "sta\xfftus"}\n',
], ids=repr)
def test_line_that_is_not_json_closes_the_connection(daemon, line):
    with daemon.control() as c:
        c.send_raw(line)
        document = c.receive()
        assert (document["error"]["code"], document["id"]) == (-32700, None)
        assert c.is_closed()
    still_served(daemon)


@pytest.mark.parametrize("depth", [3000, 100000])
def test_deep_nesting_is_refused(daemon, depth):
    with daemon.control() as c:
        c.send_raw(b"[" * depth + b"]" * depth + b"\n")
        assert c.receive()["error"]["code"] in (-32700, -32600)
    with daemon.control() as c:
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        c.send_raw(b'{"jsonrpc":"2.0","id":1,"method":"submit","params":' + nested + b"}\n")
        assert c.receive()["error"]["code"] in (-32700, -32600, -32602)
    still_served(daemon)


@pytest.mark.parametrize("request_", [
    5, "status", [], None, {}, {"jsonrpc": "2.0", "id": 1}, {"jsonrpc": "2.0", "id": 1, "method": 5},
    {"jsonrpc": "2.0", "id": {}, "method": "status"},
], ids=repr)
def test_json_that_is_no_request_is_refused(daemon, request_):
    assert error_of(daemon, json.dumps(request_).encode() + b"\n")[0] in (-32600, -32601)
    still_served(daemon)


def test_unknown_method(daemon):
    with daemon.control() as c:
        with pytest.raises(RpcError) as refused:
            c.call("make_coffee")
        assert refused.value.code == -32601
        assert c.call("status")["pid"] == daemon.pid


@pytest.mark.parametrize("method, params", [
    ("submit", {}), ("submit", []), ("submit", {"jobs": 5}), ("submit", {"jobs": [5]}),
    ("submit", {"jobs": [], "nonsense": 1}),
    ("submit", {"jobs": [JOB], "submit_key": "k" * 65}), ("submit", {"jobs": [JOB], "offset": -1}),
    ("submit", {"jobs": [JOB], "offset": 5}), ("submit", {"jobs": [JOB], "last": False}),
    ("submit", {"jobs": [JOB] * 10001}), ("submit", {"jobs": [JOB], "defaults": 5}),
    ("list", {"state": "nonsense"}), ("list", {"limit": 0}), ("list", {"limit": 1001}), ("list", {"after": -1}),
    ("list", {"batch": "x"}),
    ("show", {}), ("show", {"id": "x"}), ("wait", {}), ("wait", {"ids": []}), ("wait", {"ids": ["x"]}),
    ("wait", {"batch": 1, "all": True}), ("cancel", {}), ("cancel", {"ids": list(range(1, 10002))}),
    ("retry", {"ids": 5}),
], ids=lambda value: repr(value)[:40])
def test_bad_params_are_refused_with_a_sentence(daemon, method, params):
    with daemon.control() as c:
        with pytest.raises(RpcError) as refused:
            c.call(method, params)
        assert refused.value.code == -32602 and len(str(refused.value)) > 10
        assert c.call("status")["jobs"]["queued"] == 0
    assert daemon.jobs() == []


@pytest.mark.parametrize("method, params", [("show", {"id": 5}), ("wait", {"batch": 5}), ("wait", {"ids": [5]}),
                                            ("status", {"batch": 5}), ("cancel", {"batch": 5})])
def test_what_is_not_there_is_not_found(daemon, method, params):
    with pytest.raises(RpcError) as refused:
        daemon.call(method, params)
    assert refused.value.code == -32001


def test_cancel_and_retry_tell_what_they_left_out(daemon, bad):
    daemon.run([{"url": bad.url("/any/a")}, {"url": bad.url("/status/404/b")}])
    number = daemon.submit([{"url": bad.silent_url()}])["ids"][0]
    answer = daemon.call("cancel", {"ids": [1, number, 99]})
    assert (answer["cancelled"], answer["missing"], answer["ended"]) == (1, [99], [1])
    answer = daemon.call("retry", {"ids": [1, 2, 99]})
    assert (answer["retried"], answer["missing"], answer["unended"]) == (1, [99], [1])


def test_list_has_pages(daemon):
    daemon.run([{"url": f"http://127.0.0.1:1/{i}", "retries": 0} for i in range(25)])
    with daemon.control() as c:
        first = c.call("list", {"limit": 10})
        second = c.call("list", {"limit": 10, "after": first["next"]})
        third = c.call("list", {"limit": 10, "after": second["next"]})
    assert [len(p["jobs"]) for p in (first, second, third)] == [10, 10, 5]
    assert third["next"] is None or daemon.call("list", {"after": third["next"]})["jobs"] == []


# ---- clients that misbehave ----


def test_half_a_line_holds_up_nobody(daemon):
    with daemon.control() as c:
        c.send_raw(b'{"jsonrpc": "2.0", "id": 1, "meth')
        still_served(daemon)
        c.send_raw(b'od": "status"}\n')
        assert c.receive()["result"]["pid"] == daemon.pid


def test_last_line_may_do_without_its_end(daemon):
    """As `printf | socat` sends it."""
    with daemon.control() as c:
        c.send_raw(b'{"jsonrpc": "2.0", "id": 1, "method": "status"}')
        c.socket.shutdown(socket.SHUT_WR)
        assert c.receive()["result"]["pid"] == daemon.pid


def test_client_that_leaves_in_the_middle_of_a_line(daemon):
    for _ in range(50):
        with daemon.control() as c:
            c.send_raw(b'{"jsonrpc": "2.0", "id": 1, "meth')
    still_served(daemon)


def test_client_that_leaves_before_the_answer(daemon, bad):
    """What it submitted is taken or not, but not by half."""
    number = daemon.submit([{"url": bad.silent_url()}])["ids"][0]
    for i in range(50):
        for method, params in (("submit", {"jobs": [{"url": bad.url(f"/any/{i}")}] * 2, "submit_key": str(i)}),
                               ("wait", {"ids": [number]}), ("list", {}), ("show", {"id": number})):
            with daemon.control() as c:
                c.send(method, params)
                if i % 2:
                    c.call("status")  # so that the request has been read
    still_served(daemon)
    daemon.call("cancel", {"ids": [number]})
    wait_for(daemon.none_left)
    assert 50 <= len(daemon.jobs()) - 1 <= 100 and daemon.counts()["done"] % 2 == 0


def test_client_that_shuts_its_sending_side_gets_its_answer(daemon, bad):
    with daemon.control() as c:
        number = c.send("submit", {"jobs": [{"url": bad.url("/any/a")}]})
        c.socket.shutdown(socket.SHUT_WR)
        assert c.answer(number)["count"] == 1


def test_endless_line_is_cut_off(daemon):
    with daemon.control() as c:
        sent = 0
        try:
            while sent < 64 * MIB:
                c.send_raw(b"x" * MIB)
                sent += MIB
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 64 * MIB, "the daemon took 64 MiB without a newline"
    still_served(daemon)
    assert SANITIZE or memory_kib(daemon.pid, "VmHWM") < 64 * KIB


def test_longest_line_is_configured(make_daemon):
    daemon = make_daemon(settings={"control.max_line": "3M"}).start()
    with daemon.control() as c:
        c.send_raw(b" " * (2 * MIB) + b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n')
        assert c.receive()["result"]["pid"] == daemon.pid
    with daemon.control() as c:
        c.send_raw(b" " * (3 * MIB + 1))
        assert c.receive()["error"]["code"] == -32700
        assert c.is_closed()


def test_longest_job_and_defaults_go_in_the_shortest_line(make_daemon):
    daemon = make_daemon(settings={"control.max_line": "3M"}).start()
    blanks = " " * (MIB - 50)
    text = '{"defaults": {' + blanks + '"tag": "t"}, "jobs": [{' + blanks + '"url": "http://127.0.0.1:1/"}]}'
    assert daemon.dlctl("--json", "submit", "-", stdin=text).document["count"] == 1


def test_client_that_never_reads_holds_up_nobody(daemon):
    """It asks for more and more; the daemon stops to listen or closes, its memory stays bounded."""
    daemon.run([{"url": f"http://127.0.0.1:1/{i}", "retries": 0, "tag": "t" * 200} for i in range(1000)])
    with daemon.control() as c:
        c.socket.setblocking(False)
        line = b'{"jsonrpc": "2.0", "id": 1, "method": "list", "params": {"limit": 1000}}\n' * 100
        end = time.monotonic() + 3
        try:
            while time.monotonic() < end:
                if select.select([], [c.socket], [], 0.1)[1]:
                    c.socket.send(line)
                still_served(daemon)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert SANITIZE or memory_kib(daemon.pid, "VmHWM") < 200 * KIB
    still_served(daemon)
    daemon.call("list", {"limit": 1})  # behind what is still being looked for for that client


def test_watcher_that_never_reads_holds_up_nobody(daemon, bad):
    with daemon.control() as c:
        jobs = [{"url": bad.url(f"/any/{i}"), "tag": "t" * 250} for i in range(2000)]
        c.send("submit", {"jobs": jobs, "watch": True})
        wait_for(lambda: daemon.counts()["done"] == 2000, 60)
    still_served(daemon)


def test_many_requests_in_one_go(daemon):
    with daemon.control() as c:
        c.send_raw(b"".join(b'{"jsonrpc": "2.0", "id": %d, "method": "status"}\n' % i for i in range(3000)))
        assert sorted(c.receive()["id"] for _ in range(3000)) == list(range(3000))


def submit_long(daemon, n):
    """Jobs that take 15 KB each; returns their ids."""
    headers = {f"X-{i}": "x" * 1000 for i in range(15)}
    return daemon.submit([{"url": f"http://127.0.0.1:1/{i}", "not_before": "+1d"} for i in range(n)], defaults={"headers": headers})["ids"]


@pytest.mark.parametrize("shut", [False, True])
def test_long_answers_to_many_requests_in_one_go(daemon, shut):
    submit_long(daemon, 300)
    with daemon.control() as c:
        def ask():
            c.send_raw(b"".join(b'{"jsonrpc": "2.0", "id": %d, "method": "list", "params": {"limit": 3}}\n' % i for i in range(400)))
            if shut:
                c.socket.shutdown(socket.SHUT_WR)
        asking = threading.Thread(target=ask)
        asking.start()
        assert sorted(c.receive()["id"] for _ in range(400)) == list(range(400))
        asking.join()
        assert not shut or c.is_closed()


def test_list_of_long_jobs_has_many_pages(daemon):
    ids = submit_long(daemon, 300)
    with daemon.control() as c:
        asked = [c.send("list", {"limit": 1000}) for _ in range(40)]  # 150 MB, were it not for the pages
        pages = [c.answer(number) for number in asked]
        assert all(page == pages[0] and 0 < len(page["jobs"]) < 300 for page in pages)
    assert [j["id"] for j in daemon.jobs()] == ids
    listed = daemon.dlctl("list", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in listed] == ids


def test_waits_hold_up_nothing_else(daemon, bad):
    job = daemon.submit([{"url": bad.silent_url()}])["ids"][0]
    with daemon.control() as c:
        waits = [c.send("wait", {"ids": [job]}) for _ in range(64)]
        with pytest.raises(RpcError) as e:
            c.call("wait", {"ids": [job]})
        assert e.value.code == -32003
        c.call("cancel", {"ids": [job]})
        assert all(c.answer(number)["cancelled"] == 1 for number in waits)


def test_garbage_closes_also_a_connection_that_waits(daemon, bad):
    job = daemon.submit([{"url": bad.silent_url()}])["ids"][0]
    with daemon.control() as c:
        c.send("wait", {"ids": [job]})
        c.send_raw(b"garbage\n")
        assert c.receive()["error"]["code"] == -32700
        assert c.is_closed()
    daemon.call("cancel", {"ids": [job]})


def test_request_a_byte_at_a_time(daemon):
    with daemon.control() as c:
        for byte in b'{"jsonrpc": "2.0", "id": "\xc3\xbc", "method": "status"}\r\n':
            c.send_raw(bytes([byte]))
        assert c.receive()["id"] == "ü"


def test_hundreds_of_idle_connections_come_and_go(daemon):
    for _ in range(5):
        clients = []
        for _ in range(100):
            clients.append(Control(daemon.socket))
        for client in clients:
            client.close()
    still_served(daemon)


def test_too_many_clients_are_told_and_the_others_served(daemon):
    first = daemon.control()
    clients, refused = [], None
    try:
        for _ in range(3000):
            clients.append(Control(daemon.socket, timeout=10))
            if readable(clients[-1].socket):
                refused = clients[-1]
                break
        assert first.call("status")["pid"] == daemon.pid
        if refused is not None:
            document = refused.receive()
            assert document is None or document["error"]["code"] == -32003
    except OSError as e:  # our own limit of descriptors
        assert e.errno in (11, 24)
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: first.call("status")["pid"] == daemon.pid)
    first.close()


def test_socket_is_for_its_owner(daemon):
    assert daemon.socket.stat().st_mode & 0o007 == 0
