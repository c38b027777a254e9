"""Where the chunks of a fit lie, and the rows of a worker made of its chunks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.remote.dealing import PlacedChunk, deal_chunks
from dsgd.dask.chunks import compute_chunks, living
from dsgd.errors import ClusterError
from dsgd.fitting.row_chunks import Chunk, Joining
from dsgd.fitting.worker_rows import WorkerRows, join

__all__ = ["Share", "join_shares", "place"]

_STEPS = 32  # tasks that copy the chunks of a worker; at most a few times the 32nd part of its rows is there twice


class Share(NamedTuple):
    """The chunks of one rank, in the order of the rows, and the address of the worker that trains on them."""

    worker: str
    chunks: list[PlacedChunk]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The numbers of the rows among those of all workers, rising."""
        return _numbers(self._spans)

    @property
    def _spans(self) -> list[tuple[int, int]]:
        return [(chunk.first_row, chunk.first_row + chunk.facts.n_rows) for chunk in self.chunks]


def place(client: Any, X: Any, y: Any, sample_weight: Any, deadline: float, *, order: bool) -> list[Share]:
    """Compute all chunks where the scheduler wants them, and deal them to the workers.

    Parameters
    ----------
    client : distributed.Client
    X : dask array, dask data frame, or list
        A chunk has all columns; it is dense or sparse. An item of a list is a delayed value, a future, or a shard: an
        object whose method `read`, called on the worker, returns X and y.
    y, sample_weight : dask array, dask series, list or None
        With the chunks of X. `y` is None if X is a list of shards.
    deadline : float
        Seconds after which chunks that are not there are given up.
    order : bool
        Whether the rows of a rank depend on the chunks and the number of workers alone; see `deal_chunks`.

    Returns
    -------
    list of Share
        By rank. There are fewer ranks than workers if there are fewer chunks with rows.

    Raises
    ------
    ConfigError
        If X, y or sample_weight is something else.
    DataError
        If X, y and weights have different chunks, chunks of X do not fit each other, or there are no rows.
    ClusterError
        If the client is not connected, or there are no workers.
    WorkerLostError
        If a chunk is lost, or cannot be computed, because a worker has left.
    DeadlineError
        If the deadline passes, or the scheduler does not answer.
    """
    end = time.monotonic() + deadline
    _check_some(living(client, min(deadline, 30.0)))
    chunks = compute_chunks(client, X, y, sample_weight, deadline)
    workers = _check_some(living(client, max(end - time.monotonic(), 1.0)))
    return [Share(*each) for each in deal_chunks(chunks, workers, order=order).items()]


def _check_some(workers: list[str]) -> list[str]:
    if not workers:
        raise ClusterError("the Dask cluster has no workers; start some, or wait with client.wait_for_workers")
    return workers


def join_shares(client: Any, shares: Sequence[Share]) -> list[Any]:
    """Return futures of the `WorkerRows` of the ranks, each on its worker; this waits for nothing.

    A single chunk is used in place. Several are copied one after the other, by up to `_STEPS` tasks. The futures of
    the chunks are released here: Dask frees chunks that nobody else needs as soon as a task has copied them, so that a
    worker needs memory for its rows and the chunks of a few tasks.

    A rank whose worker dies has no result ever: hand the worker to `results` as one that is needed.
    """
    rows = []
    for share in shares:
        at = {"workers": [share.worker], "allow_other_workers": False, "pure": False}
        if (n := len(share.chunks)) == 1:
            rows.append(client.submit(_in_place, share.chunks[0].future, share._spans, **at))
            continue
        step = client.submit(Joining, [chunk.facts for chunk in share.chunks], **at)
        for begin, end in itertools.pairwise(np.linspace(0, n, min(n, _STEPS) + 1).astype(int).tolist()):
            step = client.submit(_add, step, [chunk.future for chunk in share.chunks[begin:end]], **at)
        rows.append(client.submit(_joined, step, share._spans, **at))
    for share in shares:
        for chunk in share.chunks:
            chunk.future.release()
    return rows


def _in_place(chunk: Chunk, spans: Sequence[tuple[int, int]]) -> WorkerRows:
    return join([chunk], _numbers(spans))


def _add(joining: Joining, chunks: Sequence[Chunk]) -> Joining:
    for chunk in chunks:
        joining.add(chunk)
    return joining


def _joined(joining: Joining, spans: Sequence[tuple[int, int]]) -> WorkerRows:
    return WorkerRows(*joining.joined()[:3], _numbers(spans))


def _numbers(spans: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    return np.concatenate([np.arange(begin, end, dtype=np.int64) for begin, end in spans])
