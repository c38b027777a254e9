"""The bindings of the parameter server: arrays, bytes, errors, and one small run over a perfect link."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from perfect_links import Cluster

from dsgd import _core
from dsgd.errors import ClusterError, ConfigError, DataError, DeadlineError, ProtocolError, WorkerLostError


def table(name: str = "w", size: int = 5, **options: Any) -> _core.TableSpec:
    return _core.TableSpec(name, size, **options)


def keys(*numbers: int) -> Any:
    return np.array(numbers, dtype=np.uint64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_shards", [1, 3])
def test_what_is_pushed_whole_or_by_keys_is_pulled_whole_or_by_keys(dtype: str, n_shards: int) -> None:
    cluster = Cluster([table(dtype=dtype)], 1, n_shards).connect_all()
    (joined,) = cluster.taken(0, "joined")
    assert (joined.clock, joined.state) == (0, b"")
    client = cluster.clients[0]
    client.push(0.0, "w", np.arange(5, dtype=dtype))
    client.push(0.0, "w", np.array([10, 20], dtype=dtype), keys(1, 4))
    answer = cluster.pull(0)
    assert answer.values is not None
    assert answer.values.dtype == dtype
    np.testing.assert_array_equal(answer.values, [0, 11, 2, 3, 24])
    np.testing.assert_array_equal(cluster.pull(0, keys=keys(1, 3, 4)).values, [11, 3, 24])
    assert client.unacknowledged == 0


def test_rows_have_the_width_of_the_table() -> None:
    cluster = Cluster([table(size=3, width=2)], 1, 2).connect_all()
    cluster.clients[0].push(0.0, "w", np.array([1.0, 2.0, 5.0, 6.0]), keys(0, 2))
    np.testing.assert_array_equal(cluster.pull(0).values, [1, 2, 0, 0, 5, 6])
    np.testing.assert_array_equal(cluster.pull(0, keys=keys(2)).values, [5, 6])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rule": "add"}, [6.0, 7.0]),
        ({"rule": "add_scaled"}, [3.0, 3.5]),
        ({"rule": "replace_mean"}, [(1 + 15) / 4, (2 + 15) / 4]),
        ({"rule": "average"}, [(1 + 15) / 4, (2 + 15) / 4]),
        ({"rule": "blend"}, [3.0, 3.5]),
        ({"rule": "adagrad", "step_size": 2.0}, [-2 - 2 * 15 / math.sqrt(1 + 225), -2 - 2 * 15 / math.sqrt(4 + 225)]),
    ],
)
def test_each_rule_does_what_its_line_in_the_table_of_the_page_says(
    options: dict[str, Any], expected: list[float]
) -> None:
    cluster = Cluster([table(size=2, **options)], 2).connect_all()
    weighted = options["rule"] not in {"add", "add_scaled", "blend"}
    cluster.clients[0].push(0.0, "w", np.array([1.0, 2.0]))
    cluster.clients[1].push(0.0, "w", np.array([5.0, 5.0]), weight=3.0 if weighted else 1.0)
    for client in cluster.clients:
        client.clock(0.0)
    cluster.run()
    pulled = cluster.pull(0).values
    assert pulled is not None
    np.testing.assert_allclose(pulled, np.array(expected), rtol=1e-15)
    np.testing.assert_array_equal(cluster.servers[0].snapshot("w"), pulled)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blending_moves_the_table_by_the_way_from_where_it_was_when_the_clock_began(dtype: str) -> None:
    random = np.random.default_rng(0)
    start, first, second = random.standard_normal((3, 4)).astype(dtype)
    cluster = Cluster([table(size=4, rule="blend", dtype=dtype), table("sum", 4, rule="add_scaled", dtype=dtype)], 2)
    for name in ("w", "sum"):
        cluster.servers[0].assign(name, start)
    cluster.connect_all()
    for client, end in zip(cluster.clients, (first, second), strict=True):
        client.push(0.0, "w", end[1:], keys(1, 2, 3))  # row 0 has not moved
        client.push(0.0, "sum", (end - start)[1:], keys(1, 2, 3))
    np.testing.assert_array_equal(cluster.pull(0).values, start)  # not before the end of the clock
    for client in cluster.clients:
        client.clock(0.0)
    cluster.run()
    np.testing.assert_array_equal(cluster.pull(0).values, cluster.pull(0, "sum").values)


@pytest.mark.parametrize("rule", ["blend", "replace_mean"])
def test_what_a_single_worker_pushes_is_what_it_pulls_to_the_bit(rule: str) -> None:
    cluster = Cluster([table(size=500, rule=rule)], 1)
    random = np.random.default_rng(0)
    cluster.servers[0].assign("w", random.standard_normal(500))
    cluster.connect_all()
    end = random.standard_normal(500)
    cluster.clients[0].push(0.0, "w", end, weight=1.0 if rule == "blend" else 49.0)
    cluster.clients[0].clock(0.0)
    cluster.run()
    np.testing.assert_array_equal(cluster.pull(0).values, end)


@pytest.mark.parametrize(("staleness", "others_needed"), [(0.0, 1), (1.0, 0), (math.inf, 0)])
def test_a_pull_waits_for_the_slowest_as_staleness_says(staleness: float, others_needed: int) -> None:
    cluster = Cluster([table()], 2, staleness=staleness).connect_all()
    fast, slow = cluster.clients
    fast.clock(0.0)
    fast.pull(0.0, 1, "w")
    cluster.run()
    assert len(cluster.taken(0, "pull")) == 1 - others_needed
    slow.clock(0.0)
    cluster.run()
    assert len(cluster.taken(0, "pull")) == others_needed


def test_in_bsp_a_pull_sees_its_own_pushes_and_no_push_of_others_in_the_same_clock() -> None:
    cluster = Cluster([table(size=1)], 2).connect_all()
    for client, value in zip(cluster.clients, (1.0, 10.0), strict=True):
        client.push(0.0, "w", np.array([value]))
    assert [cluster.pull(worker).values.tolist() for worker in (0, 1)] == [[1.0], [10.0]]  # type: ignore[union-attr]
    for client in cluster.clients:
        client.clock(0.0)
    assert cluster.pull(0).values.tolist() == [11.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(("mean", "expected"), [(False, [7.0, 11.0]), (True, [7 / 3, 11 / 3])])
def test_an_all_reduce_adds_up_weighted_values(mean: bool, expected: list[float]) -> None:
    cluster = Cluster([table()], 2, 2).connect_all()
    for client, values, weight in zip(cluster.clients, ([1.0, 3.0], [3.0, 4.0]), (1.0, 2.0), strict=True):
        client.all_reduce(0.0, np.array(values), mean=mean, weight=weight)
    cluster.run()
    for worker in (0, 1):
        (answer,) = cluster.taken(worker, "all_reduce")
        assert answer.values is not None
        np.testing.assert_allclose(answer.values, expected, rtol=1e-15)


def test_signals_reach_all_reports_the_server_and_letters_the_peer() -> None:
    cluster = Cluster([table()], 2).connect_all()
    one, two = cluster.clients
    one.signal(0.0, "stop")
    one.report(0.5, b'{"objective": 1.0}')
    cluster.run()
    for worker in (0, 1):
        (signal,) = cluster.taken(worker, "signal")
        assert (signal.name, signal.count, signal.worker) == ("stop", 1, 0)
    (report,) = cluster.servers[0].take_reports()
    assert (report.worker, report.clock, report.metrics) == (0, 0, b'{"objective": 1.0}')
    (frame,) = two.letter(np.array([1.5], dtype=np.float32), keys(3), name="w")
    letter = one.receive_letter(1, frame)
    assert letter is not None
    assert letter.values is not None
    assert letter.keys is not None
    assert (letter.worker, letter.values.tolist(), letter.keys.tolist(), letter.name) == (1, [1.5], [3], "w")
    assert one.receive_letter(1, frame) is None  # a repetition


def test_long_messages_are_sent_in_pieces() -> None:
    size = 300_000  # 2.4 MB
    cluster = Cluster([table(size=size)], 1, payload_checksum=True).connect_all()
    values = np.arange(size, dtype=np.float64)
    cluster.clients[0].push(0.0, "w", values)
    frames = [frame for _, frame in cluster.clients[0].take_frames() if frame is not None]
    assert [len(frame) > 2**20 for frame in frames] == [True, True, False]
    for frame in reversed(frames):  # pieces may come in any order
        cluster.deliver(0, cluster.servers[0].receive(0.0, cluster.ids[0, 0], frame))
    np.testing.assert_array_equal(cluster.pull(0).values, values)


def test_sparse_keys_take_few_bytes() -> None:
    cluster = Cluster([table(size=20_000_000, dtype="float32")], 1).connect_all()
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(20_000_000, 100_000, replace=False)).astype(np.uint64)
    cluster.clients[0].push(0.0, "w", np.ones(100_000, dtype=np.float32), rows)
    size = sum(len(frame) for _, frame in cluster.clients[0].take_frames() if frame is not None)
    assert size <= 6 * 100_000


def test_a_server_goes_on_from_its_checkpoint_and_workers_are_rewound() -> None:
    tables = [table(size=2), table("mean", 2, rule="replace_mean"), table("ada", 2, rule="adagrad")]
    cluster = Cluster(tables, 1, staleness=1).connect_all()
    client = cluster.clients[0]
    for name in ("w", "mean", "ada"):
        client.push(0.0, name, np.array([1.0, 2.0]))
    client.signal(0.0, "go")
    client.clock(0.0, b"state of clock 1")
    cluster.run()
    saved = cluster.servers[0].checkpoint()
    before = {name: cluster.servers[0].snapshot(name) for name in ("w", "mean", "ada")}
    client.push(0.0, "w", np.array([5.0, 5.0]))
    client.clock(0.0)
    cluster.run()
    with pytest.raises(ConfigError, match="incarnation must be larger"):
        _core.Server(0.0, tables, n_workers=1, checkpoint=saved)
    with pytest.raises(DataError, match="no array 'workers'"):
        _core.Server(
            0.0, tables, n_workers=1, incarnation=2, checkpoint={k: v for k, v in saved.items() if k != "workers"}
        )
    cluster.servers[0] = _core.Server(1.0, tables, n_workers=1, staleness=1, incarnation=2, checkpoint=saved)
    client.disconnected(1.0, 0)
    cluster.answers[0].clear()
    cluster.connect(0)
    cluster.run()
    (rewound,) = cluster.taken(0, "rewound")
    assert (rewound.clock, rewound.state) == (1, b"state of clock 1")
    assert [signal.name for signal in cluster.taken(0, "signal")] == ["go"]
    for name, values in before.items():
        np.testing.assert_array_equal(cluster.pull(0, name).values, values)


def test_a_silent_worker_is_lost_and_a_silent_server_fails_the_worker() -> None:
    cluster = Cluster([table()], 2, heartbeat_deadline=10.0, on_lost="fail").connect_all()
    server = cluster.servers[0]
    assert server.next_deadline() <= 10.0
    cluster.deliver(0, server.tick(10.0))
    assert {member.status for member in server.members} == {"lost"}
    assert server.failed is not None
    client = _core.Client(0.0, 0, cluster.tables, deadline=7.0)
    assert client.next_deadline() == 7.0
    client.tick(7.0)
    (failed,) = client.take_answers()
    assert (failed.kind, failed.name) == ("failed", "deadline")
    with pytest.raises(ConfigError, match="has failed"):
        client.clock(8.0)


def test_a_signal_of_an_unfinished_clock_is_not_in_a_checkpoint() -> None:
    cluster = Cluster([table()], 2, staleness=math.inf).connect_all()
    cluster.clients[0].clock(0.0)
    for client in cluster.clients:
        client.signal(0.0, f"of {client.own_clock}")
    cluster.run()
    assert not any(name.startswith("signal/") for name in cluster.servers[0].checkpoint())
    cluster.clients[0].clock(0.0)
    cluster.run()
    assert [name for name in cluster.servers[0].checkpoint() if name.startswith("signal/")] == ["signal/of 1"]


def test_too_many_names_of_signals_end_the_run() -> None:
    cluster = Cluster([table()], 1).connect_all()
    for number in range(1024):
        cluster.clients[0].signal(0.0, f"signal {number}")
    cluster.clients[0].signal(0.0, "signal 0")
    cluster.run()
    assert not cluster.taken(0, "failed")
    cluster.clients[0].signal(0.0, "one more")
    cluster.run()
    (failed,) = cluster.taken(0, "failed")
    assert failed.name == "config"
    assert "signal 'one more' is one name too many: a run has at most 1024 names of signals" in failed.message


def test_a_run_ends_when_all_have_left() -> None:
    cluster = Cluster([table()], 2, 2).connect_all()
    for client in cluster.clients:
        client.leave(0.0)
    cluster.run()
    assert [len(cluster.taken(worker, "left")) for worker in (0, 1)] == [1, 1]
    assert all(server.finished for server in cluster.servers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.push(0.0, "v", np.zeros(5)), "there is no table 'v'; there are 'w'"),
        (lambda c: c.push(0.0, "w", np.zeros(4)), "has 4 values; expected 5"),
        (lambda c: c.push(0.0, "w", np.zeros(5, dtype=np.float32)), "must have the dtype of the table"),
        (lambda c: c.push(0.0, "w", np.zeros(5, dtype=np.int64)), "values has dtype int64"),
        (lambda c: c.push(0.0, "w", np.zeros(2), keys(3, 3)), "must increase"),
        (lambda c: c.push(0.0, "w", np.zeros(1), keys(5)), "has 5 rows, but key 5"),
        (lambda c: c.push(0.0, "w", np.zeros(5), weight=math.nan), "must be finite"),
        (lambda c: c.pull(0.0, 0, "w", np.array([1])), "keys has dtype int64"),
        (lambda c: c.signal(0.0, ""), "must have 1 to 64 bytes"),
        (lambda c: (c.all_reduce(0.0, np.zeros(1)), c.all_reduce(0.0, np.zeros(1))), "still waits"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(call: Any, message: str) -> None:
    cluster = Cluster([table()], 1).connect_all()
    with pytest.raises(ConfigError, match=message):
        call(cluster.clients[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: table(rule="sum"), "unknown rule 'sum'; possible are 'add', "),
        (lambda: table(dtype="float16"), "unknown dtype 'float16'"),
        (lambda: table(width=0), "width must be at least 1"),
        (lambda: table(step_size=0.0), "step_size must be positive"),
        (lambda: table(""), "the name must have"),
        (lambda: _core.Server(0.0, [], n_workers=1), "at least one table"),
        (lambda: _core.Server(0.0, [table(), table()], n_workers=1), "two of this name"),
        (lambda: _core.Server(0.0, [table()], n_workers=0), "n_workers must be in"),
        (lambda: _core.Server(0.0, [table()], n_workers=1, staleness=0.5), "staleness must be a whole number"),
        (lambda: _core.Server(0.0, [table()], n_workers=1, shard=1), "shard 1 of 1"),
        (lambda: _core.Server(0.0, [table()], n_workers=1, heartbeat_deadline=0.0), "heartbeat_deadline must be"),
        (lambda: _core.Server(0.0, [table()], n_workers=1, on_lost="stop"), "unknown on_lost 'stop'"),
        (lambda: _core.Client(0.0, 0, [table()], resend_after=-1.0), "resend_after must be positive"),
        (lambda: _core.Client(0.0, 0, [table()]).clock(0.0), "has not joined yet"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_garbage_closes_the_connection_and_a_damaged_letter_is_an_error() -> None:
    cluster = Cluster([table()], 1).connect_all()
    effects = cluster.servers[0].receive(0.0, cluster.ids[0, 0], b"no frame")
    assert effects[-1] == (cluster.ids[0, 0], None)
    (frame,) = cluster.clients[0].letter(np.zeros(1))
    with pytest.raises(ProtocolError, match="damaged"):
        cluster.clients[0].receive_letter(0, frame[:10] + b"\xff" + frame[11:])


def test_cluster_errors_are_what_their_names_say() -> None:
    assert issubclass(DeadlineError, TimeoutError)
    assert all(issubclass(error, ClusterError) for error in (DeadlineError, ProtocolError, WorkerLostError))
    assert WorkerLostError("worker 3 is lost", worker=3).worker == 3
