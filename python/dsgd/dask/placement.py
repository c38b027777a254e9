"""Where the chunks of a fit lie, and which worker trains on which of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dask
import distributed
import numpy as np

from dsgd._common.checks import shown
from dsgd.errors import ConfigError, DataError, DeadlineError, WorkerLostError
from dsgd.fitting.worker_rows import ChunkFacts, chunk_of, facts_of

__all__ = ["PlacedChunk", "check_living", "deal_chunks", "place", "results", "workers_of"]

_TICK = 0.25  # seconds between two looks at the list of workers


class PlacedChunk(NamedTuple):
    """A chunk that has rows: its future, its facts, the number of its first row, and the workers that hold it."""

    future: Any
    facts: ChunkFacts
    first_row: int
    holders: tuple[str, ...]


def place(client: Any, X: Any, y: Any, sample_weight: Any, deadline: float) -> list[PlacedChunk]:
    """Compute all chunks where the scheduler wants them, and find out where they lie.

    Parameters
    ----------
    client : distributed.Client
    X, y, sample_weight
        Dask collections, or lists of delayed values or futures; `y` and `sample_weight` may be None.
    deadline : float
        Seconds after which chunks that are not there are given up.

    Raises
    ------
    DataError
        If X, y and weights have different chunks, or there are no rows.
    """
    pieces = _pieces("X", X)
    columns = [[None] * len(pieces) if each is None else _pieces(name, each) for name, each in _named(y, sample_weight)]
    for (name, _), column in zip(_named(y, sample_weight), columns, strict=True):
        if len(column) != len(pieces):
            raise DataError(f"X has {len(pieces)} chunks and {name} has {len(column)}: give {name} the chunks of X")
    make = dask.delayed(chunk_of, pure=False)
    futures = client.compute([make(*each) for each in zip(pieces, *columns, strict=True)])
    facts = results(client, client.map(facts_of, futures, range(len(futures)), pure=False), deadline)
    holders = client.who_has(futures)
    chunks, first = [], 0
    for future, each in zip(futures, facts, strict=True):
        if each.n_rows:
            chunks.append(PlacedChunk(future, each, first, tuple(holders[future.key])))
        first += each.n_rows
    if not chunks:
        raise DataError("X has no rows")
    return chunks


def deal_chunks(chunks: Sequence[PlacedChunk], workers: Sequence[str]) -> dict[str, list[PlacedChunk]]:
    """Return the chunks of each worker, in the order of the rows; the first worker has the first row.

    A chunk stays with one of its holders, the one with the fewest entries. A worker that would have none takes the
    last chunk of the worker with the most, as long as one has several.
    """
    load, dealt = dict.fromkeys(workers, 0), {worker: list[PlacedChunk]() for worker in workers}
    for chunk in chunks:
        at = min((each for each in chunk.holders if each in load), key=load.__getitem__, default=None)
        owner = min(workers, key=load.__getitem__) if at is None else at
        load[owner] += chunk.facts.n_entries
        dealt[owner].append(chunk)
    for idle in [worker for worker in workers if not dealt[worker]]:
        giver = max(workers, key=lambda worker: (len(dealt[worker]) > 1, load[worker]))
        if len(dealt[giver]) > 1:
            chunk = dealt[giver].pop()
            load[giver] -= chunk.facts.n_entries
            load[idle] += chunk.facts.n_entries
            dealt[idle].append(chunk)
    busy = {worker: own for worker, own in dealt.items() if own}
    return dict(sorted(busy.items(), key=lambda item: item[1][0].first_row))


def results(client: Any, futures: Sequence[Any], deadline: float, needed: Mapping[str, int] | None = None) -> list[Any]:
    """Return the results of futures, or raise the error of the first that failed, with its traceback.

    Parameters
    ----------
    client : distributed.Client
    futures : sequence of distributed.Future
    deadline : float
        Seconds.
    needed : mapping of str to int, optional
        The workers without which there is no result, by address, and their ranks.

    Raises
    ------
    DeadlineError
        If a result is missing when the deadline has passed.
    WorkerLostError
        If a needed worker has left.
    """
    end = time.monotonic() + deadline
    while any(future.status == "pending" for future in futures):
        if needed is not None:
            check_living(client, needed)
        if time.monotonic() > end:
            n = sum(future.status == "pending" for future in futures)
            raise DeadlineError(f"{n} of {len(futures)} tasks of Dask have no result after {deadline:g} s")
        try:
            with client.as_current():  # which need not be the default one
                distributed.wait(futures, timeout=_TICK)
        except (TimeoutError, distributed.TimeoutError):
            continue
    return [future.result(timeout=max(end - time.monotonic(), 1.0)) for future in futures]


def workers_of(client: Any) -> list[str]:
    """Return the addresses of the workers that the scheduler has now.

    `Client.scheduler_info` is of no use: every two seconds the client overwrites its answer by one without workers.
    """
    return list(client.nthreads())


def check_living(client: Any, needed: Mapping[str, int]) -> None:
    """Raise `WorkerLostError` if one of the workers has left the cluster."""
    living = workers_of(client)
    for address, rank in needed.items():
        if address not in living:
            raise WorkerLostError(f"worker {rank} at {address} has left the Dask cluster", worker=rank)


def _named(y: Any, sample_weight: Any) -> list[tuple[str, Any]]:
    return [("y", y), ("sample_weight", sample_weight)]


def _pieces(name: str, value: Any) -> list[Any]:
    """Return the chunks of a collection as delayed values or futures."""
    if isinstance(value, list | tuple) and value:
        return list(value)
    if not dask.is_dask_collection(value) or not hasattr(value, "to_delayed"):
        raise ConfigError(
            f"with a Dask client {name} must be a dask array, a dask data frame or a list of delayed parts or futures, "
            f"not {shown(value)}"
        )
    delayed = value.to_delayed()
    if isinstance(delayed, np.ndarray) and delayed.ndim == 2 and delayed.shape[1] > 1:
        raise DataError(
            f"{name} has {delayed.shape[1]} chunks of columns; every chunk must have all columns: rechunk({{1: -1}})"
        )
    return list(np.ravel(delayed)) if isinstance(delayed, np.ndarray) else list(delayed)
