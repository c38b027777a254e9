"""The problems that solvers bring to a given accuracy, without an intercept.

A problem has data, a loss and a strength of l2.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import dsgd
from common.real_sets import SETS as REAL
from common.workloads import Workload

__all__ = ["ALPHAS", "LOSSES", "SETS", "Problem"]

LOSSES = ("hinge", "logistic")
ALPHAS = (1e-4, 1e-5)
Data = tuple[Any, NDArray[np.float64], Any, NDArray[np.float64]]


@dataclass(frozen=True)
class Problem:
    """Minimise F(w) = (1/n) sum loss(y_i w.x_i) + alpha/2 ||w||^2; with a test part."""

    name: str
    loss: str
    data: Workload
    X_test: Any
    y_test: NDArray[np.float64]

    @property
    def title(self) -> str:
        """The first part of a line of a table."""
        return f"{self.name}, {self.loss}, {self.data.alpha:g}"

    @property
    def strength(self) -> float:
        """The strength of l2 beside the sum of the losses rather than their mean.

        Snap ML takes this strength; LIBLINEAR's C is its inverse.
        """
        return self.data.alpha * len(self.data.y)

    @cached_property
    def hash(self) -> str:
        """A hash that identifies the data."""
        digest = hashlib.sha256()
        for array in (*self.data.arrays, self.data.y, *_arrays(self.X_test), self.y_test):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def objective(self, w: NDArray[np.float64]) -> float:
        """Return F(w) in double precision."""
        return self.data.objective(w, 0.0, self.loss)

    def accuracy(self, w: NDArray[np.float64]) -> float:
        """Return the share of the test rows that are classified correctly."""
        return float(np.mean((self.X_test @ w > 0) == (self.y_test > 0)))


def _arrays(X: Any) -> list[NDArray[Any]]:
    return [X.data, X.indices, X.indptr]


def _real(name: str, positive: tuple[int, ...]) -> Callable[[int], Data]:
    def read(rows: int) -> Data:
        parts = REAL[name]()
        y, y_test = (np.where(np.isin(labels, positive), 1.0, -1.0) for labels in (parts.y, parts.y_test))
        return parts.X[:rows], y[:rows], parts.X_test, y_test

    return read


def _documents(most: int) -> Callable[[int], Data]:
    """Return a function that generates documents of the shape of RCV1-v2, at most `most`.

    A fifth as many more are generated for the test part.
    """

    def generate(rows: int) -> Data:
        rows = min(rows, most)
        X, y = dsgd.data.make_text_classification(rows + rows // 5, random_state=0)
        return X[:rows], y[:rows], X[rows:], y[rows:]

    return generate


# Functions of the most rows wanted; real sets raise FileNotFoundError if they are absent.
_READERS: dict[str, Callable[[int], Data]] = {
    "20news": _real("20news", (2, 3, 4, 5, 6)),
    "reuters": _real("reuters", (1,)),
    "a9a": _real("a9a", (1,)),
    "documents-20000": _documents(20_000),
    "documents-300000": _documents(300_000),
}


def _problems(name: str, rows: int, losses: tuple[str, ...], alphas: tuple[float, ...]) -> list[Problem]:
    X, y, X_test, y_test = _READERS[name](rows)
    X_test = scipy.sparse.csr_matrix(X_test)
    # All problems share one matrix, so that libraries find out only once that its indices are
    # sorted.
    first = Workload.of(X, y)
    return [
        Problem(name, loss, Workload(first.X, first.y, first.step_size, alpha), X_test, np.asarray(y_test, np.float64))
        for loss in losses
        for alpha in alphas
    ]


SETS: dict[str, Callable[[int, tuple[str, ...], tuple[float, ...]], list[Problem]]] = {
    name: functools.partial(_problems, name) for name in _READERS
}
