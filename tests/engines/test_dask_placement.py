"""Where the chunks of a fit on Dask come to lie; the numbers of lessons are those of `test_dask_lessons.py`."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

from dask_fits import start

import dsgd.dask.chunks
from dsgd.cluster.remote.dealing import PlacedChunk, deal_chunks, run_bounds
from dsgd.dask.chunks import compute_chunks, living, results
from dsgd.dask.placement import Share, join_shares, place
from dsgd.errors import ClusterError, ConfigError, DataError, DeadlineError, WorkerLostError
from dsgd.fitting.row_chunks import ChunkFacts, chunk_of
from dsgd.fitting.worker_rows import WorkerRows, join

LIMIT = 60.0  # seconds; nothing that works takes as long
ROWS = np.random.default_rng(5).integers(-2, 3, (30, 4)).astype(float)
LABELS = np.arange(30)
PARTS = [slice(0, 4), slice(4, 11), slice(11, 30)]


# Dealing: no cluster.


def placed(entries: list[int], holders: list[tuple[str, ...]]) -> list[PlacedChunk]:
    pairs = enumerate(zip(entries, holders, strict=True))
    return [PlacedChunk(None, ChunkFacts(10, each), 10 * k, at) for k, (each, at) in pairs]


def firsts(dealt: dict[str, list[PlacedChunk]]) -> list[list[int]]:
    return [[chunk.first_row // 10 for chunk in own] for own in dealt.values()]


def test_chunks_stay_with_the_holder_that_has_least_and_the_idle_take_from_the_richest() -> None:
    chunks = placed([5, 5, 9, 7], [("b",), ("b",), ("b", "a"), ("gone",)])
    dealt = deal_chunks(chunks, ["a", "b", "c", "d"])
    assert dict(zip(dealt, firsts(dealt), strict=True)) == {"b": [0], "d": [1], "a": [2], "c": [3]}


def test_runs_go_where_most_of_their_entries_lie() -> None:
    chunks = placed([3, 3, 4, 2], [("a",), ("b",), ("b", "a"), ("a",)])
    dealt = deal_chunks(chunks, ["a", "b"], order=True)
    assert dict(zip(dealt, firsts(dealt), strict=True)) == {"b": [0, 1], "a": [2, 3]}
    chunks = placed([3, 3, 4, 2], [("a",), ("b",), ("b",), ("a",)])
    dealt = deal_chunks(chunks, ["a", "b"], order=True)
    assert dict(zip(dealt, firsts(dealt), strict=True)) == {"a": [0, 1], "b": [2, 3]}


def smallest_largest(entries: list[int], n_runs: int) -> int:
    """Return the largest run of the best way to cut a list into at most so many runs, by trying all."""
    if n_runs == 1:
        return sum(entries)
    ways = (max(sum(entries[:k]), smallest_largest(entries[k:], n_runs - 1)) for k in range(1, len(entries)))
    return min(ways, default=sum(entries))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 5))
def test_the_largest_run_is_as_small_as_it_can_be(entries: list[int], n_workers: int) -> None:
    bounds = run_bounds(entries, n_workers)
    assert bounds[0] == 0
    assert bounds[-1] == len(entries)
    assert len(bounds) - 1 == min(len(entries), n_workers)
    assert np.all(np.diff(bounds) > 0)
    largest = max(sum(entries[begin:end]) for begin, end in itertools.pairwise(bounds))
    assert largest == smallest_largest(entries, min(len(entries), n_workers))


@given(st.data())
def test_ranks_by_order_do_not_depend_on_where_chunks_lie(data: st.DataObject) -> None:
    workers = [f"w{k}" for k in range(data.draw(st.integers(1, 5)))]
    entries = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=20))
    where = st.lists(st.sampled_from([*workers, "gone"]), unique=True).map(tuple)
    dealt = []
    for _ in range(2):
        holders = data.draw(st.lists(where, min_size=len(entries), max_size=len(entries)))
        dealt.append(deal_chunks(placed(entries, holders), data.draw(st.permutations(workers)), order=True))
    assert firsts(dealt[0]) == firsts(dealt[1])
    numbers = [Share(worker, chunks).numbers for worker, chunks in dealt[0].items()]
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(10 * len(entries)))


# Joining: no cluster.


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csr_array, None])
def test_chunks_are_joined_in_their_own_types(kind: Any, real: Any, index: Any) -> None:
    def part(rows: slice) -> Any:
        X = ROWS[rows].astype(real)
        if kind is None:
            return X
        X = kind(X)
        X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
        X.data = np.append(X.data, real(99))  # scipy allows longer arrays
        return X

    weights = np.linspace(1, 2, 30, dtype=np.float32)
    rows = join([chunk_of(part(each), LABELS[each], weights[each]) for each in (slice(0, 0), *PARTS)], LABELS)
    assert rows.X.dtype == real
    if kind is not None:
        assert type(rows.X) is kind
        assert rows.X.indices.dtype == rows.X.indptr.dtype == index
        rows.X.check_format(full_check=True)
    np.testing.assert_array_equal(rows.X if kind is None else rows.X.toarray(), ROWS)
    np.testing.assert_array_equal(rows.y, LABELS)
    np.testing.assert_array_equal(rows.sample_weight, weights)
    assert rows.sample_weight.dtype == np.float32


def test_lesson_13_a_single_chunk_is_used_in_place() -> None:
    rows = join([chunk_of(ROWS[:0]), chunk_of(ROWS, LABELS)], LABELS)
    assert rows.X is ROWS
    assert rows.y is LABELS


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([ROWS, scipy.sparse.csr_array(ROWS)], "chunk 0 of X is dense and chunk 1 is sparse"),
        ([ROWS, ROWS[:, :3]], "chunk 0 of X has 4 features and chunk 1 has 3"),
        ([ROWS, ROWS[:, 0]], "chunk 1 of X has 1 dimension"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(parts: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        join([chunk_of(each) for each in parts], np.arange(60))


# On a cluster.


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with start(3) as cluster, distributed.Client(cluster) as client:
        yield client


class Shard:
    """Rows that the worker reads."""

    def __init__(self, rows: slice) -> None:
        self.rows = rows

    def read(self) -> tuple[Any, Any]:
        return ROWS[self.rows], LABELS[self.rows]


def by_blocks(kind: Any) -> Any:
    return da.from_array(ROWS, chunks=((4, 7, 19), 4)).map_blocks(kind, dtype=float, meta=kind((0, 0)))


def frame() -> Any:
    pandas, frames = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    table = pandas.DataFrame(ROWS, columns=list("abcd")).assign(y=LABELS)
    return frames.from_pandas(table, npartitions=4)


def unknown() -> tuple[Any, Any]:
    """Return a collection whose chunks have lengths that Dask does not know, and a chunk without rows."""
    X = da.from_array(np.vstack([ROWS, -np.ones((5, 4))]), chunks=((4, 7, 19, 5), 4))
    y = da.from_array(np.append(LABELS, [-1] * 5), chunks=((4, 7, 19, 5),))
    return X[y >= 0], y[y >= 0]


COLLECTIONS: dict[str, Any] = {
    "array": lambda _: (da.from_array(ROWS, chunks=(7, 4)), da.from_array(LABELS, chunks=7)),
    "a single chunk": lambda _: (da.from_array(ROWS, chunks=-1), da.from_array(LABELS[:, None], chunks=-1)),
    "csr_matrix": lambda _: (by_blocks(scipy.sparse.csr_matrix), da.from_array(LABELS, chunks=((4, 7, 19),))),
    "csr_array": lambda _: (by_blocks(scipy.sparse.csr_array), da.from_array(LABELS, chunks=((4, 7, 19),))),
    "unknown lengths": lambda _: unknown(),
    "frame": lambda _: (frame()[list("abcd")], frame()["y"]),
    "delayed": lambda _: ([dask.delayed(ROWS[p]) for p in PARTS], [dask.delayed(LABELS[p]) for p in PARTS]),
    "sparse delayed": lambda _: (
        [dask.delayed(scipy.sparse.csc_array(ROWS[p])) for p in PARTS],
        [dask.delayed(LABELS[p]) for p in PARTS],
    ),
    "futures": lambda client: tuple(client.scatter([each[p] for p in PARTS], hash=False) for each in (ROWS, LABELS)),
    "futures on one worker": lambda client: tuple(
        client.scatter([each[p] for p in PARTS], hash=False, workers=living(client)[1:2]) for each in (ROWS, LABELS)
    ),
    "shards": lambda _: ([Shard(p) for p in PARTS], None),
}


def look(rows: WorkerRows) -> Any:
    X = rows.X if isinstance(rows.X, np.ndarray) else rows.X.toarray()
    return distributed.get_worker().address, X, rows.y, rows.sample_weight, rows.numbers


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("name", COLLECTIONS)
def test_every_collection_gives_its_rows_once(client: Any, name: str, order: bool) -> None:
    X, y = COLLECTIONS[name](client)
    weighted = name in ("array", "frame")
    shares = place(client, X, y, y if weighted else None, LIMIT, order=order)
    assert len(shares) == (1 if name == "a single chunk" else 3)
    asked = [client.submit(look, rows, pure=False) for rows in join_shares(client, shares)]
    told = results(client, asked, LIMIT, {share.worker: rank for rank, share in enumerate(shares)})
    assert len({share.worker for share in shares}) == len(shares)
    for share, (address, features, labels, weights, numbers) in zip(shares, told, strict=True):
        assert address == share.worker
        np.testing.assert_array_equal(numbers, share.numbers)
        np.testing.assert_array_equal(features, ROWS[numbers])
        np.testing.assert_array_equal(labels, LABELS[numbers])
        np.testing.assert_array_equal(weights, numbers if weighted else None)
    covered = np.concatenate([share.numbers for share in shares])
    np.testing.assert_array_equal(covered if order else np.sort(covered), LABELS)


def test_lesson_13_lazy_chunks_are_freed_once_they_are_joined(client: Any) -> None:
    def kept() -> set[Any]:
        return {key for keys in client.run(lambda dask_worker: list(dask_worker.data)).values() for key in keys}

    before = kept()
    X, y = da.from_array(ROWS, chunks=(3, 4)), da.from_array(LABELS, chunks=3)
    rows = join_shares(client, place(client, X, y, None, LIMIT, order=True))
    results(client, [client.submit(look, each, pure=False) for each in rows], LIMIT)
    end = time.monotonic() + LIMIT
    while (own := kept() - before) != {each.key for each in rows}:
        assert time.monotonic() < end, own
        time.sleep(0.05)


def test_what_x_and_y_share_is_computed_once(client: Any, tmp_path: Path) -> None:
    def load(number: int) -> Any:
        (tmp_path / f"{number}-{time.monotonic_ns()}").touch()
        return ROWS[PARTS[number]], LABELS[PARTS[number]]

    pairs = [dask.delayed(load, pure=False)(number) for number in range(3)]
    X = da.concatenate([da.from_delayed(pair[0], (np.nan, 4), float) for pair in pairs])
    y = da.concatenate([da.from_delayed(pair[1], (np.nan,), int) for pair in pairs])
    chunks = compute_chunks(client, X, y, None, LIMIT)
    assert [chunk.first_row for chunk in chunks] == [0, 4, 11]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (da.zeros((6, 4), chunks=(3, 2)), None, DataError, r"2 chunks of rows times 2 of columns.*rechunk"),
        (da.zeros(6, chunks=3), None, DataError, r"X has 1 dimension"),
        (da.zeros((6, 4), chunks=(3, 4)), da.zeros(6, chunks=2), DataError, r"X has 2 chunks and y has 3"),
        (
            da.zeros((9, 4), chunks=((3, 4, 2), 4)),
            da.zeros(9, chunks=((3, 3, 3),)),
            DataError,
            r"chunk 1 of X has 4 rows, and that of y has 3",  # lesson 12
        ),
        (da.zeros((0, 4)), None, DataError, r"X has no rows"),
        ([], None, DataError, r"X has no chunks"),
        (ROWS, None, ConfigError, r"X must be a dask array.* not array"),
        ([dask.delayed(ROWS), ROWS], None, ConfigError, r"X\[1\] must be"),
        ([Shard(PARTS[0])], [dask.delayed(LABELS)], ConfigError, r"leave y out"),
        ([dask.delayed(ROWS), dask.delayed(ROWS[:, :2])], None, DataError, r"4 features and chunk 1 has 2"),
    ],
)
def test_what_cannot_be_placed_is_refused(client: Any, X: Any, y: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        place(client, X, y, None, LIMIT, order=True)


def test_lesson_15_the_error_of_a_chunk_reaches_the_caller(client: Any) -> None:
    def fail() -> Any:
        raise TimeoutError("the disk sleeps")

    with pytest.raises(TimeoutError, match="the disk sleeps"):
        place(client, [dask.delayed(fail)()], None, None, LIMIT, order=True)


def test_chunks_that_take_too_long_are_given_up(client: Any) -> None:
    with pytest.raises(DeadlineError, match="1 of 1 tasks"):
        place(client, [dask.delayed(time.sleep)(1.5)], None, None, 0.5, order=True)


def test_a_client_that_is_closed_is_refused(client: Any) -> None:
    with distributed.Client(client.scheduler.address, set_as_default=False) as closed:
        pass
    with pytest.raises(ClusterError, match="client is closed"):
        place(closed, [dask.delayed(ROWS)], None, None, LIMIT, order=True)


def test_an_asynchronous_client_is_refused() -> None:
    with pytest.raises(ConfigError, match="asynchronous"):
        living(types.SimpleNamespace(asynchronous=True))


def run_and_kill(client: Any, victim: str, begun: Path) -> threading.Thread:
    """Kill a worker, in a thread, once a file is there."""
    pid = client.run(os.getpid, workers=[victim])[victim]

    def kill() -> None:
        end = time.monotonic() + LIMIT
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def begin(file: Path, seconds: float) -> Any:
    file.touch()
    time.sleep(seconds)
    return ROWS


def test_lesson_01_a_task_that_is_bound_to_a_dead_worker_does_not_hang(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsgd.dask.chunks, "_PATIENCE", 0.2)
    victim, begun = living(client)[0], tmp_path / "begun"
    killer = run_and_kill(client, victim, begun)
    bound = client.submit(begin, begun, 600, workers=[victim], pure=False)
    with pytest.raises(WorkerLostError, match=f"worker 4 at {victim}") as caught:
        results(client, [bound], LIMIT, {victim: 4})
    assert caught.value.worker == 4
    with pytest.raises(WorkerLostError, match=r"1 task.* can be run by none of the \d workers"):
        place(client, [dask.delayed(ROWS), bound], None, None, LIMIT, order=True)
    killer.join()


def test_data_that_left_with_its_worker_are_missed(client: Any, tmp_path: Path) -> None:
    client.wait_for_workers(3, timeout=LIMIT)
    victim, begun = living(client)[0], tmp_path / "begun"
    killer = run_and_kill(client, victim, begun)
    held = client.scatter(ROWS, workers=[victim], hash=False)
    slow = dask.delayed(begin)(begun, 1.0)
    with pytest.raises(WorkerLostError, match=f"has lost a task.* {victim}"):
        place(client, [held, slow], None, None, LIMIT, order=True)
    killer.join()


def test_lesson_03_a_scheduler_that_stands_still_does_not_hang_the_driver(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    command += ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as scheduler,
        distributed.Client(scheduler_file=str(file), set_as_default=False, timeout=LIMIT) as client,
    ):
        try:
            with pytest.raises(ClusterError, match="no workers"):
                place(client, [dask.delayed(ROWS)], None, None, LIMIT, order=True)
            waiting = client.submit(abs, 1)
            threading.Timer(0.4, scheduler.send_signal, [signal.SIGSTOP]).start()
            with pytest.raises(DeadlineError, match="scheduler did not answer"):
                results(client, [waiting], 1.5)
            with pytest.raises(DeadlineError, match="scheduler did not answer"):
                place(client, [dask.delayed(ROWS)], None, None, 0.3, order=True)
            scheduler.send_signal(signal.SIGCONT)
            threading.Timer(0.4, scheduler.kill).start()
            with pytest.raises(ClusterError, match=r"connecting|cannot be reached|has lost"):
                results(client, [waiting], LIMIT)
        finally:
            scheduler.kill()
            client.close()
