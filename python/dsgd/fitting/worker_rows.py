"""The rows of one worker of an engine, and what is computed of them where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.data.inputs import as_matrix, as_real, real_dtype, stored_entries
from dsgd.data.labels import as_dtype, as_labels
from dsgd.data.summary import Summary
from dsgd.fitting.parts import summarise
from dsgd.fitting.row_chunks import Chunk, ChunkFacts, Joining, chunk_of, facts_of
from dsgd.fitting.targets import OneVsAll, as_sample_weight, targets_of
from dsgd.losses import Loss
from dsgd.models.protocols import Objective
from dsgd.models.scores import Score
from dsgd.models.trained import Model
from dsgd.problems.parts import PartLoss, part_loss
from dsgd.problems.problem import Problem

__all__ = ["Chunk", "ChunkFacts", "ProblemTerms", "WorkerRows", "chunk_of", "facts_of", "join"]


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
        return part_loss(self._objective, problem.matrix.n_rows, weights, 1)

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
    chunks = [chunk for chunk in chunks if chunk.X.shape[0]] or chunks
    if len(chunks) == 1:
        return WorkerRows(*chunks[0], numbers)
    joining = Joining([facts_of(chunk, number) for number, chunk in enumerate(chunks)])
    for chunk in chunks:
        joining.add(chunk)
    return WorkerRows(*joining.joined(), numbers)


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
