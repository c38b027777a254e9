"""The parameter server on TCP, through the bindings: a run over loopback, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from network.runs import TIMEOUT, TOKEN, Run, table

from dsgd import _core
from dsgd.errors import ConfigError


@pytest.fixture
def run() -> Iterator[Run]:
    run = Run()
    yield run
    run.stop()


def event(server: _core.TcpServer, *kinds: str) -> list[_core.ServerEvent]:
    """The first event of each kind."""
    found: dict[str, _core.ServerEvent] = {}
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and not set(kinds) <= set(found):
        for each in server.wait(deadline - time.monotonic()):
            found.setdefault(each.kind, each)
    return [found[kind] for kind in kinds]


@pytest.mark.parametrize("n_shards", [1, 3])
def test_two_workers_push_pull_and_leave(run: Run, n_shards: int) -> None:
    tables = [table(size=7)]
    start = np.arange(7.0)
    for shard in range(n_shards):
        server = run.server(tables, start=False, n_workers=2, shard=shard, n_shards=n_shards)
        begin, end = server.range("weights")
        server.assign("weights", start[begin:end])
        server.start()
    clients = [run.client(rank, tables) for rank in range(2)]
    for client in clients:
        np.testing.assert_array_equal(run.pull(client).values, start)
        client.push(time.monotonic(), "weights", np.ones(7))
        client.clock(time.monotonic(), b"state")
    for client in clients:
        assert run.answer(client, "clock").clock == 1
        answer = run.pull(client)
        np.testing.assert_array_equal(answer.values, start + 2)
        assert answer.slowest == 1
        assert client.bytes_sent > 0
        assert client.bytes_received > 0
    for client in clients:
        request = client.leave(time.monotonic())
        run.answer(client, "left", request)
    for server in run.servers:
        event(server, "finished")
        assert server.finished
        assert sorted(rank for rank, _, _ in server.traffic) == [0, 1]
        assert all(received > 0 and sent > 0 for _, received, sent in server.traffic)


def test_a_worker_tells_its_peers_the_address_that_it_advertises(run: Run) -> None:
    tables = [table()]
    run.server(tables, n_workers=2)
    there, gone = (
        run.client(rank, tables, listen="0.0.0.0:0", advertise=host)
        for rank, host in enumerate(["127.0.0.1", "127.0.0.2"])
    )
    assert there.address.startswith("127.0.0.1:")
    assert gone.address.startswith("127.0.0.2:")
    members: dict[int, str] = {}
    deadline = time.monotonic() + TIMEOUT
    while len(members) < 2 and time.monotonic() < deadline:
        answers = there.wait(deadline - time.monotonic())
        members |= {
            m.worker: m.address for each in answers if each.kind == "members" for m in each.members if m.address
        }
    assert members == {0: there.address, 1: gone.address}


def test_letters_go_from_worker_to_worker(run: Run) -> None:
    tables = [table()]
    run.server(tables, n_workers=2)
    one, other = (run.client(rank, tables, listen="127.0.0.1:0") for rank in range(2))
    one.send(1, np.arange(3.0), name="hello")
    letter = run.answer(other, "letter")
    assert (letter.worker, letter.name) == (0, "hello")
    np.testing.assert_array_equal(letter.values, np.arange(3.0))
    other.send(0, np.ones(1, np.float32), np.array([4], np.uint64))
    letter = run.answer(one, "letter")
    np.testing.assert_array_equal(letter.keys, [4])


def test_snapshots_and_checkpoints_are_events(run: Run) -> None:
    tables = [table(size=2)]
    server = run.server(tables, snapshot_clocks=[2], checkpoint_every=3)
    client = run.client(0, tables)
    for _ in range(3):
        client.push(time.monotonic(), "weights", np.ones(2))
        client.clock(time.monotonic())
    snapshot, checkpoint = event(server, "clock", "checkpoint")
    assert snapshot.clock == 2
    np.testing.assert_array_equal(snapshot.values, [2, 2])
    saved = checkpoint.checkpoint
    assert saved is not None
    again = run.server(tables, checkpoint=saved, incarnation=2)
    np.testing.assert_array_equal(again.snapshot("weights"), [3, 3])


def test_a_wrong_token_is_told_as_such(run: Run) -> None:
    tables = [table()]
    run.server(tables)
    stranger = run.client(0, tables, join=False, token=b"x" * 32)
    assert run.answer(stranger, "failed").name == "authentication"
    run.client(0, tables)  # who knows it is served


def test_shards_in_another_order_are_refused(run: Run) -> None:
    tables = [table()]
    for shard in range(2):
        run.server(tables, shard=shard, n_shards=2)
    shards = [(server.host, server.port) for server in reversed(run.servers)]
    client = run.client(0, tables, join=False, shards=shards)
    failed = run.answer(client, "failed")
    assert failed.name == "config"
    assert "in their order" in failed.message


def test_nobody_listening_is_a_missed_deadline(run: Run) -> None:
    tables = [table()]
    server = run.server(tables, start=False)
    port = server.port
    server.stop()
    client = run.client(0, tables, join=False, shards=[("127.0.0.1", port)], deadline=2.0)
    failed = run.answer(client, "failed")
    assert failed.name == "deadline"
    assert "refused" in failed.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tls": _core.TlsConfig("certificates")}, "cannot use certificate ''"),
        ({"wire_dtype": "float8"}, "unknown wire_dtype 'float8'"),
        ({"token": b"short"}, "token of 5 bytes"),
        ({"host": "nowhere"}, "'nowhere' is no numeric address"),
        ({"host": "", "port": 80}, "port 80 without a host"),
        ({"checkpoint_every": 0}, "checkpoint_every must be positive"),
        ({"snapshot_clocks": [1], "snapshot_table": "w"}, "no table 'w'"),
    ],
)
def test_impossible_servers_are_refused(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"n_workers": 1, "token": TOKEN} | options
    with pytest.raises(ConfigError, match=message):
        _core.TcpServer([table()], **given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": []}, "at least one shard"),
        ({"listen": "somewhere:1"}, "no numeric address"),
        ({"listen": "127.0.0.1:http"}, "no address"),
        ({"deadline": 0.0}, "deadline must be positive"),
    ],
)
def test_impossible_clients_are_refused(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"shards": [("127.0.0.1", 1)], "token": TOKEN} | options
    with pytest.raises(ConfigError, match=message):
        _core.TcpClient(0, [table()], **given)


def test_a_port_that_is_taken_is_an_os_error(run: Run) -> None:
    server = run.server([table()])
    with pytest.raises(OSError, match=r"cannot listen at 127\.0\.0\.1"):
        run.server([table()], port=server.port)


def test_who_only_looks_for_answers_does_not_keep_them_from_coming(run: Run) -> None:
    tables = [table()]
    polls = 0
    for _ in range(100):  # on a busy machine the first look may come after the answer
        run.stop()
        run.servers.clear()
        run.server(tables)
        client = run.client(0, tables, join=False)
        end = time.monotonic() + 30
        while not [answer for answer in client.wait(0) if answer.kind == "joined"]:
            assert time.monotonic() < end
            polls += 1
        if polls > 0:
            return
    pytest.fail("every answer was there before it was looked for")
