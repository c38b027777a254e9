"""The rows of one worker of an engine, and what is computed of them where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd.data.inputs import as_matrix, as_real, real_dtype, stored_entries
from dsgd.data.labels import as_dtype, as_labels
from dsgd.data.summary import Summary
from dsgd.errors import DataError
from dsgd.fitting.parts import summarise
from dsgd.fitting.targets import OneVsAll, as_sample_weight, targets_of
from dsgd.losses import Loss
from dsgd.models.protocols import Objective
from dsgd.models.scores import Score
from dsgd.models.trained import Model
from dsgd.problems.parts import PartLoss, part_loss
from dsgd.problems.problem import Problem

__all__ = ["Chunk", "ChunkFacts", "ProblemTerms", "WorkerRows", "chunk_of", "facts_of", "join"]


class Chunk(NamedTuple):
    """Some rows as the engine held them; `y` and `sample_weight` may be None."""

    X: Any
    y: Any
    sample_weight: Any


class ChunkFacts(NamedTuple):
    """What the driver must know of a chunk to deal it: its rows, and its stored entries."""

    n_rows: int
    n_entries: int


@dataclass(frozen=True, kw_only=True)
class ProblemTerms:
    """A problem without its rows, as it is on every worker.

    Attributes
    ----------
    loss, alphas, fit_intercept, scale, n_classes, n_together
        See `Problem`.
    classes : ndarray or None
        None for a regression, and without targets.
    dtype : numpy dtype
        The type of X on all workers.
    """

    loss: Loss
    alphas: tuple[float, float]
    fit_intercept: bool
    scale: Any
    n_classes: int
    n_together: int
    classes: NDArray[Any] | None
    dtype: np.dtype[Any]


def chunk_of(X: Any, y: Any = None, sample_weight: Any = None) -> Chunk:
    """Return a chunk. Data frames are turned into arrays, and all else is kept as it is."""
    return Chunk(*(each.to_numpy() if hasattr(each, "to_numpy") else each for each in (X, y, sample_weight)))


def facts_of(chunk: Chunk, number: int) -> ChunkFacts:
    """Return the facts of a chunk; `DataError` if its X, y and weights have different lengths."""
    n_rows = chunk.X.shape[0]
    for name in ("y", "sample_weight"):
        value = getattr(chunk, name)
        if value is not None and len(value) != n_rows:
            raise DataError(
                f"chunk {number} of X has {n_rows} rows, and that of {name} has {len(value)}: give {name} the chunks "
                "of X"
            )
    return ChunkFacts(n_rows, chunk.X.nnz if scipy.sparse.issparse(chunk.X) else int(np.prod(chunk.X.shape)))


@dataclass
class WorkerRows:
    """All rows of one worker, and the problem on them once the driver has told its terms.

    Attributes
    ----------
    X, y, sample_weight
        A single chunk is used in place; several are copied once into one.
    numbers : ndarray of int64
        The numbers of the rows among those of all workers, rising.
    """

    X: Any
    y: Any
    sample_weight: Any
    numbers: NDArray[np.int64]
    _objective: Objective | None = field(default=None, repr=False)
    _problem: Problem | None = field(default=None, repr=False)

    def summary(self, loss: Loss, n_samples: int, batch_rows: int, seed: int) -> Summary:
        """Return the summary of these rows; see `summarise`."""
        return summarise(
            self.X,
            self.y,
            self.sample_weight,
            loss,
            rows=self.numbers,
            n_samples=n_samples,
            batch_rows=batch_rows,
            seed=seed,
        )

    def problem(self, terms: ProblemTerms, n_threads: int) -> Problem:
        """Return the problem on these rows. It is made once a fit: the rows belong to one fit."""
        if self._problem is None:
            X = self.X if self.X.dtype == terms.dtype else self.X.astype(terms.dtype)
            matrix = as_matrix(X, n_threads)
            self._problem = Problem(
                matrix=matrix,
                target=_target(self.y, terms, matrix.n_rows, real_dtype(matrix)),
                sample_weight=as_sample_weight(
                    self.sample_weight, None, None, None, matrix.n_rows, terms.dtype, part=True
                ),
                loss=terms.loss,
                alphas=terms.alphas,
                fit_intercept=terms.fit_intercept,
                scale=terms.scale,
                n_classes=terms.n_classes,
                n_together=terms.n_together,
            )
        return self._problem

    def loss(self, terms: ProblemTerms, weights: NDArray[Any], inverse: NDArray[Any] | None) -> PartLoss:
        """Return the mean loss of these rows at some weights; `inverse` is `Summary.inverse_frequency` of all rows."""
        problem = self.problem(terms, 1)
        if self._objective is None:
            self._objective = problem.objective(1, inverse)
        aligned = np.require(weights, requirements=["C", "ALIGNED"])  # arrays that an engine carries may not be
        return part_loss(self._objective, problem.matrix.n_rows, aligned, 1)

    def score(self, model: Model) -> Score:
        """Return the score of a model on these rows."""
        matrix = as_matrix(self.X, 1)
        return model.score_of_part(model.decide(matrix, 1), self.y, self.sample_weight)

    @property
    def n_entries(self) -> int:
        """Stored entries of X."""
        return stored_entries(as_matrix(self.X, 1))


def join(chunks: Sequence[Chunk], numbers: NDArray[np.int64]) -> WorkerRows:
    """Return the rows of a worker: those of its chunks, in the order of the chunks."""
    if len(chunks) == 1:
        return WorkerRows(*chunks[0], numbers)
    X = [chunk.X for chunk in chunks]
    sparse = {bool(scipy.sparse.issparse(each)) for each in X}
    if len(sparse) > 1:
        raise DataError("some chunks of X are sparse and some are dense; use one kind")
    columns = sorted({each.shape[1] for each in X})
    if len(columns) > 1:
        raise DataError(f"chunks of X have {columns[0]} and {columns[-1]} features; give all the same")
    together = scipy.sparse.vstack(X, format="csr") if sparse == {True} else np.concatenate(X)
    y, weight = ([getattr(chunk, name) for chunk in chunks] for name in ("y", "sample_weight"))
    return WorkerRows(
        together,
        None if y[0] is None else np.concatenate(y),
        None if weight[0] is None else np.concatenate(weight),
        numbers,
    )


def _target(y: Any, terms: ProblemTerms, n_rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the target of the rows, as the driver's tasks have it on their sample."""
    if not terms.loss.supervised:
        return np.zeros(n_rows, dtype)
    labels = as_labels(y, n_rows)
    if terms.classes is None:
        return as_dtype(as_real(labels, "y"), dtype, "y")
    if terms.n_together:
        return np.searchsorted(terms.classes, labels).astype(dtype)
    targets: NDArray[Any] | OneVsAll = targets_of(labels, terms.classes, terms.loss, dtype)
    return targets[0]
