"""The data of measurements of throughput, in a form that every library takes.

It is float32, CSR or in C order, with labels -1 and 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import dsgd
from common.real_sets import SETS

__all__ = ["WORKLOADS", "Workload", "mean_square"]

_LOSSES: dict[str, Callable[[Any], Any]] = {
    "hinge": lambda margin: np.maximum(0, 1 - margin),
    "logistic": lambda margin: np.logaddexp(0, -margin),
}


def mean_square(X: Any) -> float:
    """Return mean ||x_i||^2."""
    values = X.data if scipy.sparse.issparse(X) else X.ravel()
    return float(np.einsum("i,i->", values, values, dtype=np.float64) / X.shape[0])


@dataclass(frozen=True)
class Workload:
    """A binary problem with l2 of strength `alpha`.

    Its `step_size` suits its rows, so that no search for a step size need be timed.
    """

    X: Any
    y: NDArray[np.float64]
    step_size: float
    alpha: float = 1e-5

    @classmethod
    def of(cls, X: Any, y: Any, **settings: Any) -> Workload:
        """Return the problem of X and y.

        A scipy sparse array becomes a sparse matrix in the same memory, since Snap ML takes no
        arrays.
        """
        X = scipy.sparse.csr_matrix(X) if scipy.sparse.issparse(X) else np.ascontiguousarray(X)
        X = X.astype(np.float32, copy=False)
        return cls(X, np.asarray(y, np.float64), 0.5 / mean_square(X), **settings)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """The arrays that a pass reads."""
        return [self.X.data, self.X.indices, self.X.indptr] if scipy.sparse.issparse(self.X) else [self.X]

    @property
    def entries(self) -> int:
        """Stored numbers of X."""
        return int(self.X.nnz if scipy.sparse.issparse(self.X) else self.X.size)

    def first(self, rows: int) -> Workload:
        """Return the problem of the first rows."""
        return self.of(self.X[:rows], self.y[:rows])

    def learnt(self, w: NDArray[np.float64], b: float) -> bool:
        """Whether the error is below 0.8 of that of naming the more frequent class everywhere."""
        wrong = np.mean(self.y * (self.X @ w + b) <= 0)
        return bool(wrong < 0.8 * min(np.mean(self.y > 0), np.mean(self.y < 0)))

    def objective(self, w: NDArray[np.float64], b: float, loss: str = "hinge") -> float:
        """Return F(w, b) in double precision."""
        return float(_LOSSES[loss](self.y * (self.X @ w + b)).mean() + self.alpha / 2 * float(w @ w))


@functools.cache  # it takes a few seconds and 170 MB, for two of the workloads
def _documents(rows: int) -> Workload:
    return Workload.of(*dsgd.data.make_text_classification(rows, random_state=0))


def _contention(rows: int) -> Workload:
    """Return rows that nearly all hold the same few features: 20 of 100, the first in three quarters of the rows."""
    settings: dict[str, Any] = {"n_features": 100, "words_per_sample": 20, "exponent": 1.5, "random_state": 0}
    return Workload.of(*dsgd.data.make_text_classification(rows, **settings))


def _real(name: str, positive: tuple[int, ...]) -> Workload:
    data = SETS[name]()
    return Workload.of(data.X, np.where(np.isin(data.y, positive), 1.0, -1.0))


# Functions of the most rows wanted; real sets raise FileNotFoundError if they are absent.
WORKLOADS: dict[str, Callable[[int], Workload]] = {
    "documents": _documents,
    "first-20000": lambda rows: _documents(rows).first(20_000),
    "20news": lambda rows: _real("20news", (2, 3, 4, 5, 6)).first(rows),
    "mnist": lambda rows: _real("mnist", (3,)).first(rows),
    "contention": lambda rows: _contention(min(rows, 100_000)),
}
