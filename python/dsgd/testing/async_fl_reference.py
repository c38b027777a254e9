"""The clients of async-fl in plain numpy, on a recorded schedule of the global models that reached them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.testing import reference
from dsgd.testing.loss_reference import Array

__all__ = ["client_changes", "sizes_of_rounds"]


def sizes_of_rounds(sizes: str, first_size: int, growth: float, delay: int, total: int) -> list[int]:
    """Return the gradients of every round of all clients; together they are `total`."""
    made: list[int] = []
    while (before := sum(made)) < total:
        size = first_size + (math.floor(growth * len(made)) if sizes == "linear" else 0)
        if sizes == "theory" and before >= 3:
            log = math.log(before)
            size = max(size, math.floor(math.sqrt(before * (1 / log - 1 / log**2)) / (delay + 1)))
        made.append(min(size, total - before))
    return made


def client_changes(
    X: Array,
    y: Array,
    rounds: Sequence[Sequence[NDArray[np.int64]]],
    steps: Sequence[float],
    told: Iterator[Array | None],
    **problem: Any,
) -> list[Array]:
    """Return the sum of a client's steps in every round.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    rounds : sequence of sequences of ndarray of int64
        The row of each step, by round and by piece of the round.
    steps : sequence of float
        The step of each round.
    told : iterator
        For each piece the global model that has come before it, the intercept last, or None. It must hold what the
        client has sent.
    **problem
        As for `reference.sgd`.

    Returns
    -------
    list of ndarray of shape (n_features + 1,)
    """
    w, changes = np.zeros(X.shape[1] + 1), []
    for pieces, step in zip(rounds, steps, strict=True):
        change = np.zeros_like(w)
        for piece in pieces:
            model = next(told)
            if model is not None:
                w = model + change
            stepped, b = reference.sgd(X, y, piece, [step] * len(piece), start=(w[:-1], w[-1]), **problem)
            moved = np.append(stepped, b)
            change, w = change + moved - w, moved
        changes.append(change)
    return changes
