"""The chunks of a collection of Dask, computed on the workers; nothing here waits without a deadline."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import distributed
import numpy as np
from dask.base import is_dask_collection
from dask.delayed import Delayed, delayed
from distributed.scheduler import KilledWorker

from dsgd._common.checks import shown
from dsgd.cluster.remote.dealing import PlacedChunk
from dsgd.errors import ClusterError, ConfigError, DataError, DeadlineError, WorkerLostError
from dsgd.fitting.row_chunks import check_alike, chunk_of, facts_of

__all__ = ["ask", "check_living", "compute_chunks", "living", "results", "tasks_of_chunks"]

_TICK = 0.25  # seconds between two looks at the list of workers
_ANSWER = 30.0  # seconds within which a scheduler answers; as long as Dask takes for a connection
_PATIENCE = 2.0  # seconds until the first look for tasks that no worker can run; then twice as long each time


def ask(client: Any, name: str, deadline: float = _ANSWER, **arguments: Any) -> Any:
    """Return the answer of a remote function of the scheduler, such as ``"who_has"``.

    Raises
    ------
    ConfigError
        If the client is asynchronous.
    ClusterError
        If the client is not connected.
    DeadlineError
        If there is no answer after `deadline` seconds. Dask would wait for ever.
    """
    if client.asynchronous:
        raise ConfigError("the Dask client is asynchronous; give one that is not")
    if client.status != "running":
        raise ClusterError(f"the Dask client is {client.status}; give one that is connected")
    try:
        return client.sync(getattr(client.scheduler, name), callback_timeout=deadline, **arguments)
    except TimeoutError as error:
        raise DeadlineError(f"the Dask scheduler did not answer within {deadline:.3g} s") from error
    except OSError as error:
        raise ClusterError(f"the Dask scheduler cannot be reached: {error}") from error


def living(client: Any, deadline: float = _ANSWER) -> list[str]:
    """Return the addresses of the workers of the cluster, sorted."""
    return sorted(ask(client, "ncores", deadline))


def check_living(client: Any, needed: Mapping[str, int], deadline: float = _ANSWER) -> None:
    """Raise `WorkerLostError` if one of the workers has left the cluster; `needed` has ranks by address."""
    _check_needed(needed, living(client, deadline))


def _check_needed(needed: Mapping[str, int], workers: Collection[str]) -> None:
    for address, rank in needed.items():
        if address not in workers:
            raise WorkerLostError(f"worker {rank} at {address} has left the Dask cluster", worker=rank)


def results(
    client: Any,
    futures: Sequence[Any],
    deadline: float,
    needed: Mapping[str, int] | None = None,
    upstream: Sequence[Iterable[Any]] = (),
) -> list[Any]:
    """Return the results of futures, or raise the error of one that failed, with its traceback.

    Parameters
    ----------
    client : distributed.Client
    futures : sequence of distributed.Future
    deadline : float
        Seconds.
    needed : mapping of str to int, optional
        The workers without which there is no result, by address, and their ranks.
    upstream : sequence of iterables, such as layers of graphs, optional
        The keys of tasks that the futures need, and that may be bound to a worker.

    Raises
    ------
    DeadlineError
        If a result is missing when the deadline has passed, or the scheduler does not answer.
    WorkerLostError
        If a needed worker has left, or if a task cannot be run or a result is lost since a worker has left.
    """
    end, before = time.monotonic() + deadline, living(client, min(deadline, _ANSWER))
    stuck = _StuckTasks(client, [*upstream, [future.key for future in futures]], before)

    def look() -> None:
        if (left := end - time.monotonic()) <= 0:
            n = sum(future.status == "pending" for future in futures)
            gone = _gone(before, living(client))
            raise DeadlineError(f"{n} of {len(futures)} tasks of Dask have no result after {deadline:g} s{gone}")
        workers = living(client, min(left, _ANSWER))
        _check_needed(needed or {}, workers)
        stuck.look(workers)

    try:
        _wait(futures, look, end)
        gathered = asyncio.run_coroutine_threadsafe(
            client.gather(list(futures), asynchronous=True), client.loop.asyncio_loop
        )
        try:
            while not concurrent.futures.wait([gathered], _TICK).done:
                look()
            return list(gathered.result())
        finally:
            gathered.cancel()
    except (concurrent.futures.CancelledError, KilledWorker) as error:
        raise WorkerLostError(f"Dask has lost a task{stuck.gone(living(client))}: {error}") from error


def _wait(futures: Sequence[Any], look: Callable[[], None], end: float) -> None:
    """Wait until all futures have results, and look now and then; raise the error of the first that is known to fail.

    Gathered at once, several futures that fail would leave errors in Dask that nobody retrieves.
    """
    wait = 0.01
    while not (failed := [future for future in futures if future.status in ("error", "cancelled")]):
        if all(future.status == "finished" for future in futures):
            return
        time.sleep(max(min(wait, end - time.monotonic()), 0.0))
        wait = min(2 * wait, _TICK)
        look()
    failed[0].result(timeout=_ANSWER)


def _gone(before: Collection[str], now: Collection[str]) -> str:
    gone = sorted(set(before) - set(now))
    return f"; these workers have left meanwhile: {', '.join(gone)}" if gone else ""


def _took(event: Any, keys: Collection[Any]) -> bool:
    """Return whether an event of the scheduler says that a worker has left with one of these data."""
    return (
        isinstance(event, Mapping)
        and event.get("action") == "remove-worker"
        and any(key in keys for kind in ("scattered", "computed") for key in event.get(f"lost-{kind}-tasks", ()))
    )


class _StuckTasks:
    """Finds tasks that only a worker that is not there could run; Dask lets them wait for ever.

    They are looked for after some seconds, then after twice as long each time, and so again from the beginning when
    the workers have changed. A task that two looks one after the other find is stuck.
    """

    def __init__(self, client: Any, keys: Sequence[Iterable[Any]], workers: list[str]) -> None:
        self._client, self._keys, self._first = client, keys, workers
        self._begin(workers)

    def _begin(self, workers: list[str]) -> None:
        self._workers, self._found = workers, set[Any]()
        self._wait = _PATIENCE
        self._next = time.monotonic() + self._wait

    def look(self, workers: list[str]) -> None:
        """Raise `WorkerLostError` if tasks are stuck."""
        if workers != self._workers:
            self._begin(workers)
        if time.monotonic() < self._next:
            return
        states = ask(self._client, "get_task_status", keys=list({key for keys in self._keys for key in keys}))
        found = {key for key, state in states.items() if state == "no-worker"}
        if stuck := found & self._found:
            raise WorkerLostError(
                f"{len(stuck)} task(s) of Dask, such as {shown(next(iter(stuck)))}, can be run by none of the "
                f"{len(workers)} workers of the cluster{self.gone(workers)}"
            )
        self._found, self._wait = found, 2 * self._wait
        self._next = time.monotonic() + self._wait

    def gone(self, workers: Collection[str]) -> str:
        """Return in words which workers have left since the beginning, or else those that left with data before."""
        if told := _gone(self._first, workers):
            return told
        keys = {key for each in self._keys for key in each}
        left = {event["worker"] for _, event in ask(self._client, "events", topic="all") if _took(event, keys)}
        return f"; these workers had left with data of the fit before: {', '.join(sorted(left))}" if left else ""


def tasks_of_chunks(X: Any, y: Any, sample_weight: Any) -> tuple[list[Any], list[Any]]:
    """Return the delayed chunks of a collection, and collections of the keys that they need; see `place`."""
    given = {"X": X, "y": y, "sample_weight": sample_weight}
    columns = {name: _pieces(name, value) for name, value in given.items() if value is not None or name == "X"}
    n_chunks = len(columns["X"])
    for name, column in columns.items():
        if len(column) != n_chunks:
            raise DataError(f"X has {n_chunks} chunks and {name} has {len(column)}: give {name} the chunks of X")
    if y is not None and isinstance(X, list | tuple) and any(map(_is_shard, X)):
        raise ConfigError("the parts of X bring their own y; leave y out")
    make = delayed(chunk_of, pure=False)
    missing = [None] * n_chunks
    tasks = [make(*each) for each in zip(*(columns.get(name, missing) for name in given), strict=True)]
    layers = {name: layer for task in tasks for name, layer in task.__dask_graph__().layers.items()}
    given_keys = [each.key for column in columns.values() for each in column if isinstance(each, distributed.Future)]
    return tasks, [*layers.values(), given_keys]


def compute_chunks(client: Any, X: Any, y: Any, sample_weight: Any, deadline: float) -> list[PlacedChunk]:
    """Compute all chunks where the scheduler wants them, and find out where they lie; see `place`."""
    end = time.monotonic() + deadline
    tasks, upstream = tasks_of_chunks(X, y, sample_weight)
    futures = client.compute(tasks)
    try:
        told = client.map(facts_of, futures, range(len(tasks)), pure=False)
        facts = results(client, told, deadline, upstream=upstream)
        check_alike(dict(enumerate(facts)))
        keys = [future.key for future in futures]
        holders = ask(client, "who_has", min(_ANSWER, max(end - time.monotonic(), 1.0)), keys=keys)
    except BaseException:
        for future in futures:  # the frames of the error would keep them
            future.release()
        raise
    firsts = np.cumsum([0, *(each.n_rows for each in facts)]).tolist()
    holding = (tuple(holders[key]) for key in keys)
    placed = zip(futures, facts, firsts, holding, range(len(futures)), strict=False)
    return [PlacedChunk(*each) for each in placed if each[1].n_rows]


def _is_shard(value: Any) -> bool:
    """Return whether a part is an object that the worker reads. A delayed value claims to have any method."""
    return not isinstance(value, Delayed | distributed.Future) and callable(getattr(value, "read", None))


def _pieces(name: str, value: Any) -> list[Any]:
    """Return the chunks of a collection as delayed values, futures or shards."""
    if isinstance(value, list | tuple):
        for k, piece in enumerate(value):
            if not (isinstance(piece, Delayed | distributed.Future) or (name == "X" and _is_shard(piece))):
                raise _not_taken(f"{name}[{k}]", piece)
        if not value:
            raise DataError(f"{name} has no chunks")
        return [delayed(piece, traverse=False, pure=False) if _is_shard(piece) else piece for piece in value]
    if isinstance(value, Delayed) or not is_dask_collection(value) or not hasattr(value, "to_delayed"):
        raise _not_taken(name, value)
    if not hasattr(value, "numblocks"):
        return list(value.to_delayed())
    if value.ndim != (2 if name == "X" else 1) and (name == "X" or value.ndim != 2):
        raise DataError(f"{name} has {value.ndim} dimension(s); X must have two, and y and sample_weight one")
    if value.ndim == 2 and value.numblocks[1] > 1:
        raise DataError(
            f"{name} has {value.numblocks[0]} chunks of rows times {value.numblocks[1]} of columns; every chunk must "
            f"have all columns: {name}.rechunk({{1: -1}})"
        )
    # Optimised one by one, X and y would each read again what they share.
    return list(value.to_delayed(optimize_graph=False).ravel())


def _not_taken(name: str, value: Any) -> ConfigError:
    return ConfigError(
        f"with a Dask client {name} must be a dask array, a dask data frame, or a list of delayed values, futures or "
        f"shards, not {shown(value)}"
    )
