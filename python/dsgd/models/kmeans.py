"""k-means: the loss, the initial centres, distances, and the trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd._common.checks import check_choice, check_integer
from dsgd.data.inputs import real_dtype, take_rows
from dsgd.data.row_sample import SAMPLE_ROWS
from dsgd.errors import ConfigError, DataError
from dsgd.models.base import Loss
from dsgd.models.feature_major import WEIGHTS_OF_AN_ENTRY, FeatureMajor
from dsgd.models.protocols import Objective, ParameterLayout, RowSteps, Samples
from dsgd.models.scores import Inertia, Score
from dsgd.models.trained import Model

__all__ = ["Centres", "KMeans", "KMeansModel", "distances", "starting_centres"]


# Least number of rows per centre among which k-means++ chooses the initial centres.
_ROWS_A_CENTRE = 3
# Rows whose distances are computed together, which bounds the memory.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Centres(FeatureMajor):
    """The layout of k-means centres: that of `n_outputs` decision values, with two dimensions even for one centre."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_clusters, n_features)."""
        return (self.n_outputs, self.n_features)


@dataclass(frozen=True, kw_only=True)
class KMeans(Loss):
    """min_c ||x - w_c||^2 / 2: k-means. It has no targets, and its mean is the squared quantisation error.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of centres, at least 1.
    init : {"k-means++", "random"}, default="k-means++"
        The initial centres. ``"k-means++"``: rows far from one another (Arthur, Vassilvitskii 2007),
        chosen among 3,072 random rows, or three per centre if that is more. ``"random"``: random rows.
    """

    name = "kmeans"
    model = "kmeans"
    classification = False
    supervised = False
    penalised = False
    explodes = False  # a step moves a centre at most to the mean of its rows
    n_clusters: int = field(default=8, kw_only=False)
    init: str = "k-means++"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_clusters", check_integer("n_clusters", self.n_clusters, 1, 2**31 - 1))
        check_choice("init", self.init, ("k-means++", "random"))

    @property
    def start_rows(self) -> int:
        """Rows that k-means++ chooses among, if there are so many."""
        return _start_rows(self.n_clusters)

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:  # noqa: ARG002
        """Return the layout of the centres: feature by feature, one number for each centre."""
        return Centres(n_features=n_features, n_outputs=self.n_clusters, fit_intercept=False)

    def objective(self, problem: Samples, n_threads: int, inverse_frequency: NDArray[Any] | None) -> Objective:  # noqa: ARG002
        """Return the objective for the core."""
        return _core.QuantisationObjective(problem.matrix, problem.sample_weight, n_clusters=self.n_clusters)

    def of_whole(self, problem: Samples, objective: Objective) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def row_steps(self, problem: Samples, of_whole: Mapping[str, NDArray[Any]], n_threads: int) -> RowSteps:  # noqa: ARG002
        """Return the gradients and steps on named rows."""
        return CentreSteps(problem, self.n_clusters, n_threads)

    def start(self, problem: Samples, weights: NDArray[Any], seed: int) -> None:
        """Set the initial centres in place, to rows of the data."""
        centres = starting_centres(problem.matrix, self.n_clusters, self.init, seed, problem.sample_weight)
        weights[:] = problem.layout.pack(centres)

    def first_step(self, momentum: float = 0.9) -> float:  # noqa: ARG002
        """Return the number of clusters: a step in which a centre of average size moves to the mean of its rows."""
        return float(self.n_clusters)

    def trivial_losses(self, problem: Samples) -> tuple[float, float]:
        """Return half the mean of s_i ||x_i||^2, the loss of centres at the origin, for both models."""
        return problem.scale.mean / 2, problem.scale.mean / 2


class CentreSteps:
    """The `RowSteps` of k-means. A gradient has, behind the parameters, the weight of the rows of every centre.

    Parameters
    ----------
    problem : Samples
    n_clusters : int
    n_threads : int
    """

    def __init__(self, problem: Samples, n_clusters: int, n_threads: int) -> None:
        self.objective: Objective = problem.objective(n_threads)
        self.gradient_size = problem.layout.size + n_clusters
        self._core = cast(_core.QuantisationObjective, self.objective)
        self._n_clusters = n_clusters
        self._n_threads = n_threads

    def gradient(self, weights: NDArray[Any], rows: NDArray[np.int64], out: NDArray[np.float64]) -> None:
        """Write the sums over `rows` of s_i (w_c - x_i), c the nearest centre, and of s_i, by centre, into `out`."""
        out.fill(0)
        _core.rows_gradient(self._core, weights, rows, out)

    def clipped_gradient(
        self,
        weights: NDArray[Any],  # noqa: ARG002
        rows: NDArray[np.int64],  # noqa: ARG002
        clip_norm: float,  # noqa: ARG002
        out: NDArray[np.float64],  # noqa: ARG002
    ) -> int:
        """Raise `ConfigError`: a step of k-means needs the weight of the rows of every centre, which is not clipped."""
        raise ConfigError("gradients of k-means cannot be clipped; train a loss with a gradient for every row")

    def step(self, weights: NDArray[Any], gradient: NDArray[Any], step: float) -> NDArray[Any]:
        """Return the centres after a step, each moved to the mean of its rows at most."""
        moves, held = gradient[: len(weights)].reshape(-1, self._n_clusters), gradient[len(weights) :]
        part = np.minimum(1.0, step * held)  # of the way to the mean
        away = moves / np.where(held > 0, held, 1)
        return np.asarray(weights - (part * away).ravel()).astype(weights.dtype, copy=False)

    def minibatch_step(
        self, weights: NDArray[Any], rows: NDArray[np.int64], step: float, batch_size: int, index: int
    ) -> None:
        """Make the step that `minibatch` makes of `rows`, in place."""
        _core.minibatch_step(self._core, weights, rows, step, batch_size, index, self._n_threads)

    def work(self, entries: int, n_rows: int) -> float:  # noqa: ARG002
        """Return the entries, each as often as the centres beside one another ask for."""
        return entries * max(1.0, self._n_clusters / WEIGHTS_OF_AN_ENTRY)


def _start_rows(n_clusters: int) -> int:
    return max(SAMPLE_ROWS, _ROWS_A_CENTRE * n_clusters)


def starting_centres(
    matrix: _core.Matrix,
    n_clusters: int,
    init: str,
    seed: int,
    sample_weight: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return rows of a matrix to start k-means from.

    Parameters
    ----------
    matrix : _core.Matrix
    n_clusters : int
    init : {"k-means++", "random"}
    seed : int
        In [0, 2^64).
    sample_weight : ndarray of shape (n_samples,), optional

    Returns
    -------
    ndarray of shape (n_clusters, n_features)

    Raises
    ------
    DataError
        If fewer rows have a weight than there are clusters.

    References
    ----------
    Arthur, Vassilvitskii (2007), "k-means++: the advantages of careful seeding".
    """
    random = np.random.default_rng(seed)
    rows = np.arange(matrix.n_rows) if sample_weight is None else np.flatnonzero(sample_weight)
    if len(rows) < n_clusters:
        raise DataError(f"{len(rows)} rows are fewer than n_clusters={n_clusters}; ask for fewer clusters")
    wanted = _start_rows(n_clusters)  # k-means++ chooses among them
    rows = random.permutation(rows)[: n_clusters if init == "random" else wanted]
    X = take_rows(matrix, rows)
    if init == "k-means++":
        # Importing scikit-learn takes longer than many a fit, so it is imported only if it is needed.
        from sklearn.cluster import kmeans_plusplus

        # Divided by the largest weight, because the sum of the weights may be out of range.
        weight = None if sample_weight is None else sample_weight[rows].astype(np.float64) / sample_weight.max()
        state = int(random.integers(2**32))
        # The rows are centred first: k-means++ computes distances from products of rows, and far from 0 these are
        # differences of large numbers.
        seen = X - X.mean(axis=0, dtype=np.float64) if isinstance(X, np.ndarray) else X
        with np.errstate(over="ignore", invalid="ignore"):  # with infinite squares any rows will do
            X = X[kmeans_plusplus(seen, n_clusters, sample_weight=weight, random_state=state)[1]]
    return np.asarray(X if isinstance(X, np.ndarray) else X.toarray())


def distances(X: NDArray[Any], centres: NDArray[Any]) -> NDArray[np.float64]:
    """Return the Euclidean distance of every row from every centre.

    The mean of the centres is subtracted from rows and centres first: far from 0 the digits of squared
    distances cancel.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
    centres : ndarray of shape (n_centres, n_features)

    Returns
    -------
    ndarray of float64, shape (n_rows, n_centres)
    """
    middle = centres.mean(axis=0, dtype=np.float64)
    shifted = centres - middle
    out = np.empty((len(X), len(centres)))
    for begin in range(0, len(X), _ROWS_AT_ONCE):
        out[begin : begin + _ROWS_AT_ONCE] = _of_some(X[begin : begin + _ROWS_AT_ONCE] - middle, shifted)
    return out


# Share of the squared sizes below which the digits of a squared distance have cancelled.
_CANCELLED = 1e-10


def _of_some(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of rows from centres. If squares overflow, each distance is computed in its own unit."""
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.square(rows).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)
        squares = sizes - 2 * rows @ centres.T
        row, centre = np.nonzero(squares < _CANCELLED * sizes)  # what is left may be rounding alone
        squares[row, centre] = np.square(rows[row] - centres[centre]).sum(axis=1)
        out = np.sqrt(np.maximum(squares, 0))
        for k in np.flatnonzero(~np.isfinite(squares).all(axis=1)):
            away = np.nan_to_num(rows[k] - centres)
            unit = np.maximum(np.abs(away).max(axis=1), 1.0)
            out[k] = unit * np.sqrt(np.square(away / unit[:, None]).sum(axis=1))
    return np.asarray(out)


@dataclass(frozen=True, kw_only=True)
class KMeansModel(Model):
    """The centres of k-means; its decision values are the distances from them.

    Attributes
    ----------
    weights : ndarray of shape (1, n_parameters)
        The centres, feature by feature.
    loss : KMeans
    classes : None
    """

    loss: KMeans

    @property
    def n_features(self) -> int:
        """Number of features it was trained on."""
        return int(self.weights.shape[1]) // self.loss.n_clusters

    @property
    def centres(self) -> NDArray[Any]:
        """The centres, shape (n_clusters, n_features)."""
        return np.asarray(self.weights.reshape(-1, self.loss.n_clusters).T)

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the distances of every row from every centre, shape (n_rows, n_clusters)."""
        if not isinstance(matrix.arrays, tuple):
            return distances(matrix.arrays, self.centres)
        weights = np.ascontiguousarray(self.weights[0], dtype=real_dtype(matrix))
        objective = _core.QuantisationObjective(matrix, None, n_clusters=self.loss.n_clusters)
        return objective.distances(weights, threads)

    def labels(self, decision: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of the nearest centres."""
        return np.asarray(decision.argmin(axis=1))

    def score_of_part(
        self,
        decision: NDArray[Any],
        y: ArrayLike | None = None,  # noqa: ARG002
        sample_weight: NDArray[Any] | None = None,
    ) -> Score:
        """Return the inertia: the sum of squared distances from the nearest centres. Its score is minus that."""
        squares = np.square(decision.min(axis=1), dtype=np.float64)
        return Inertia(float(squares.sum() if sample_weight is None else squares @ sample_weight))

    @classmethod
    def from_description(
        cls,
        description: dict[str, Any],  # noqa: ARG003
        weights: NDArray[Any],
        loss: Loss,
        classes: NDArray[Any] | None,
    ) -> KMeansModel:
        """Return the model of a description and its weights; `DataError` if they do not fit."""
        if not isinstance(loss, KMeans) or classes is not None or len(weights) != 1:
            raise DataError("k-means has one set of centres and no classes")
        if weights.shape[1] % loss.n_clusters:
            raise DataError(f"its weights have shape {weights.shape}, with {loss.n_clusters} for every feature")
        return cls(weights=weights, loss=loss, classes=None)
