"""Which worker of an engine trains on which chunks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dsgd.fitting.row_chunks import ChunkFacts

__all__ = ["PlacedChunk", "deal_chunks", "run_bounds"]


class PlacedChunk(NamedTuple):
    """A chunk that has rows: its future, its facts, the number of its first row, and the workers that hold it.

    `number` is its number among all chunks of the collection, those without rows too.
    """

    future: Any
    facts: ChunkFacts
    first_row: int
    holders: tuple[str, ...]
    number: int = -1


def deal_chunks(
    chunks: Sequence[PlacedChunk], workers: Sequence[str], *, order: bool = False
) -> dict[str, list[PlacedChunk]]:
    """Return the chunks of each worker that has some, by rank, in the order of the rows.

    Parameters
    ----------
    chunks : sequence of PlacedChunk
    workers : sequence of str
    order : bool
        False: a chunk stays with one of its holders, the one with the fewest entries. A worker that would have none
        takes the last chunk of the worker with the most, as long as that one has several.

        True: a rank is a run of chunks one after the other, and the runs depend on the chunks and the number of
        workers alone, so that a barrier algorithm has the same bits wherever the chunks lie. The largest run has as
        few entries as it can have. Runs are given to the workers so that as few entries as possible move.
    """
    return _deal_in_order(chunks, workers) if order else _deal_where_they_lie(chunks, workers)


def _deal_where_they_lie(chunks: Sequence[PlacedChunk], workers: Sequence[str]) -> dict[str, list[PlacedChunk]]:
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


def _deal_in_order(chunks: Sequence[PlacedChunk], workers: Sequence[str]) -> dict[str, list[PlacedChunk]]:
    bounds = run_bounds([chunk.facts.n_entries for chunk in chunks], len(workers))
    runs = [list(chunks[begin:end]) for begin, end in itertools.pairwise(bounds)]
    column = {worker: k for k, worker in enumerate(workers)}
    held = np.zeros((len(runs), len(workers)))
    for rank, run in enumerate(runs):
        for chunk in run:
            held[rank, [column[holder] for holder in chunk.holders if holder in column]] += chunk.facts.n_entries
    _, owners = linear_sum_assignment(held, maximize=True)
    return {workers[owner]: run for owner, run in zip(owners, runs, strict=True)}


def run_bounds(entries: Sequence[int], n_workers: int) -> list[int]:
    """Return where runs of chunks begin, and where the last one ends; each run has a chunk at least.

    The first run takes as many chunks as the smallest possible largest run can hold, which bisection finds; the second
    run likewise of the chunks that are left, and so on. The largest run is then as small as it can be, and the
    runs after it as equal as theirs allow.
    """
    n, ends = len(entries), np.concatenate([[0], np.cumsum(entries, dtype=np.int64)])
    bounds = [0]
    for left in range(min(n, n_workers), 0, -1):
        begin = bounds[-1]
        low, high = max(entries[begin:]), int(ends[-1] - ends[begin])
        while low < high:
            middle = (low + high) // 2
            at = begin
            for _ in range(left):
                at = _reach(ends, at, middle)
            low, high = (low, middle) if at >= n else (middle + 1, high)
        bounds.append(n if left == 1 else min(_reach(ends, begin, low), n - left + 1))
    return bounds


def _reach(ends: NDArray[np.int64], begin: int, most: int) -> int:
    """Return the end of the longest run from `begin` on that has at most so many entries."""
    return int(np.searchsorted(ends, ends[begin] + most, side="right")) - 1
