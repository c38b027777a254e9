"""The rows of one worker of an engine, and what is computed of them where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd.cluster.program.clients import deal_codes
from dsgd.cluster.program.partition import Partition, deal
from dsgd.data.inputs import as_matrix, as_real, match_features, real_dtype
from dsgd.data.labels import as_dtype, as_labels
from dsgd.data.statistics import ClassCounts
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

__all__ = ["Chunk", "ChunkFacts", "NodeFacts", "Place", "ProblemTerms", "WorkerRows", "chunk_of", "facts_of", "join"]


@dataclass(frozen=True, kw_only=True)
class ProblemTerms:
    """A problem without its rows, as it is on every worker.

    Attributes
    ----------
    loss, alphas, fit_intercept, scale, n_classes, n_together, blind
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
    blind: bool
    classes: NDArray[Any] | None
    dtype: np.dtype[Any]


class NodeFacts(NamedTuple):
    """What the driver must know of the rows of a node first.

    Attributes
    ----------
    n_rows, n_features : int
    whole : bool
        Whether these are all rows, which every node has. False: they are its own.
    index_base : {"zero", "one"} or None
        What the node's file calls the first feature; None for rows that do not come from a file.
    """

    n_rows: int
    n_features: int
    whole: bool
    index_base: str | None


class Place(NamedTuple):
    """Where the rows of a node stand among those of all nodes.

    Attributes
    ----------
    n_features : int
        Columns of all rows; those of a sparse part may be fewer.
    first : int or None
        The number of the first row; None: the rows have their numbers.
    partition : Partition, "equal" or None
        Not None: every node has all rows, and takes those that the partition deals to its rank.
    rank, n_workers, n_clients : int
    seed : int
    """

    n_features: int
    first: int | None
    partition: Partition | str | None
    rank: int
    n_workers: int
    n_clients: int
    seed: int


@dataclass
class WorkerRows:
    """All rows of one worker, and the problem on them once the driver has told its terms.

    Attributes
    ----------
    X, y, sample_weight
        A single chunk is used in place; several are copied once into one.
    numbers : ndarray of int64, optional
        The numbers of the rows among those of all workers, rising; see `placed`.
    client_of : ndarray of int64, optional
        The client of every row, where a worker holds several.
    """

    X: Any
    y: Any
    sample_weight: Any
    numbers: NDArray[np.int64] | None = None
    client_of: NDArray[np.int64] | None = None
    _objective: Objective | None = field(default=None, repr=False)
    _problem: Problem | None = field(default=None, repr=False)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    @property
    def n_entries(self) -> int:
        """Stored entries of X."""
        return int(self.X.nnz if scipy.sparse.issparse(self.X) else np.prod(self.X.shape))

    def placed(self, place: Place) -> WorkerRows:
        """Return the rows of a node in its place among the others."""
        X = match_features(self.X, place.n_features) if scipy.sparse.issparse(self.X) else self.X
        if place.partition is None:
            first = place.first
            numbers = self.numbers if first is None else np.arange(first, first + self.n_rows, dtype=np.int64)
            placed = WorkerRows(X, self.y, self.sample_weight, numbers)
            if place.n_clients > place.n_workers:
                own = range(place.rank, place.n_clients, place.n_workers)
                placed.client_of = np.empty(self.n_rows, np.int64)
                for client, rows in zip(own, deal(self.n_rows, len(own), place.seed), strict=True):
                    placed.client_of[rows] = client
            return placed
        rows_of, client_of = deal_codes(place.partition, self._codes(), place.n_clients, place.n_workers, place.seed)
        mine = rows_of[place.rank]
        y, weight = (None if each is None else np.asarray(each)[mine] for each in (self.y, self.sample_weight))
        placed = WorkerRows(X[mine], y, weight, mine.astype(np.int64))
        placed.client_of = None if client_of is None else client_of[mine]
        return placed

    def _codes(self) -> NDArray[Any]:
        """Return the targets as a partition deals by them: the numbers of the classes, or the numbers themselves."""
        if self.y is None:
            return np.zeros(self.n_rows)
        labels = as_labels(self.y, self.n_rows)
        return np.unique(labels, return_inverse=True)[1] if labels.dtype.kind == "U" else labels

    def class_counts(self, loss: Loss) -> ClassCounts | None:
        """Return how many rows each class has; None for a loss without classes."""
        return ClassCounts.of(as_labels(self.y, self.n_rows)) if loss.classification else None

    def weighed(self, classes: NDArray[Any], factors: NDArray[np.float64]) -> WorkerRows:
        """Return the rows with the weights of their samples multiplied by those of their classes."""
        weight = factors[np.searchsorted(classes, as_labels(self.y, self.n_rows))]
        own = weight if self.sample_weight is None else weight * np.asarray(self.sample_weight)
        return WorkerRows(self.X, self.y, own, self.numbers, self.client_of)

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
        """Return the problem on these rows. It is made once: the rows belong to one fit."""
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
                blind=terms.blind,
            )
        return self._problem

    def loss(
        self, terms: ProblemTerms, weights: NDArray[Any], inverse: NDArray[Any] | None, *, n_threads: int
    ) -> PartLoss:
        """Return the mean loss of these rows at some weights; `inverse` is `Summary.inverse_frequency` of all rows."""
        problem = self.problem(terms, n_threads)
        if self._objective is None:
            self._objective = problem.objective(n_threads, inverse)
        return part_loss(self._objective, problem.matrix.n_rows, weights, n_threads)

    def score(self, model: Model, n_threads: int) -> Score:
        """Return the score of a model on these rows."""
        return model.score_of_part(model.decide(as_matrix(self.X, n_threads), n_threads), self.y, self.sample_weight)


def join(chunks: Sequence[Chunk], numbers: NDArray[np.int64]) -> WorkerRows:
    """Return the rows of a worker: those of its chunks, in the order of the chunks."""
    chunks = [chunk for chunk in chunks if chunk.X.shape[0]] or chunks
    if len(chunks) == 1:
        return WorkerRows(*chunks[0][:3], numbers)
    joining = Joining([facts_of(chunk, number) for number, chunk in enumerate(chunks)])
    for chunk in chunks:
        joining.add(chunk)
    return WorkerRows(*joining.joined()[:3], numbers)


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
