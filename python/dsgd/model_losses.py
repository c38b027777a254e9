"""Losses of models that are not linear: k-means and networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.checks import check_choice, check_integer, check_real, shown
from dsgd.errors import ConfigError
from dsgd.loss import Loss
from dsgd.objective import Objective
from dsgd.parameters import Centres, ParameterLayout

if TYPE_CHECKING:
    from dsgd.network import Layers
    from dsgd.problem import Problem

__all__ = ["MLP", "KMeans", "SquaredMLP"]


@dataclass(frozen=True, kw_only=True)
class KMeans(Loss):
    """min_c ||x - w_c||^2 / 2: k-means, which has no targets; the mean is the squared quantisation error.

    Parameters
    ----------
    n_clusters : int, default=8
        Centres, at least 1.
    init : {"k-means++", "random"}, default="k-means++"
        Where they start: rows far from one another (Arthur, Vassilvitskii 2007), drawn from 3,072 rows, or from
        three times as many as centres; or any rows.
    """

    name = "kmeans"
    model = "kmeans"
    classification = False
    supervised = False
    penalised = False
    explodes = False  # a centre moves towards a mean of rows, at most to it
    n_clusters: int = field(default=8, kw_only=False)
    init: str = "k-means++"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_clusters", check_integer("n_clusters", self.n_clusters, 1, 2**31 - 1))
        check_choice("init", self.init, ("k-means++", "random"))

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:  # noqa: ARG002
        """Return where the centres lie: feature by feature, one number a centre."""
        return Centres(n_features=n_features, n_outputs=self.n_clusters, fit_intercept=False)

    def objective(self, problem: Problem, n_threads: int, inverse_frequency: NDArray[Any] | None) -> Objective:  # noqa: ARG002
        """Return the objective for the core."""
        return _core.QuantisationObjective(problem.matrix, problem.sample_weight, n_clusters=self.n_clusters)

    def start(self, problem: Problem, weights: NDArray[Any], seed: int) -> None:
        """Set the centres to rows."""
        from dsgd.seeding import starting_centres  # which needs dsgd.data, and that needs the losses

        centres = starting_centres(problem.matrix, self.n_clusters, self.init, seed, problem.sample_weight)
        weights[:] = problem.layout.pack(centres)

    def first_step(self) -> float:
        """Return the number of clusters: a step in which a centre of average size moves to the mean of its rows."""
        return float(self.n_clusters)

    def trivial_losses(self, problem: Problem) -> tuple[float, float]:
        """Return half the mean of s_i ||x_i||^2, the error of centres at the origin, twice."""
        return problem.scale.mean / 2, problem.scale.mean / 2


@dataclass(frozen=True, kw_only=True)
class MLP(Loss):
    """The softmax loss of a fully connected network, max(0, z) after every layer but the last.

    It is trained by ``algo="minibatch"`` with momentum, and by ``"batch"``; L2 is on the weights, and there are always
    biases. Weights start at random (He, Zhang, Ren, Sun 2015), and steps from 0.1, in units of the features' means and
    deviations: columns need not be scaled.

    Parameters
    ----------
    hidden : tuple of int, default=(100,)
        Units of each hidden layer; an empty tuple is multinomial logistic regression.
    momentum : float, default=0.9
        Part of a step that the next one repeats, in [0, 1).
    """

    name = "mlp"
    model = "mlp"
    classification = True
    joint = True
    hidden: tuple[int, ...] = field(default=(100,), kw_only=False)
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, tuple | list):
            raise ConfigError(f"hidden must be a tuple of numbers of units, not {shown(self.hidden)}")
        units = tuple(check_integer(f"hidden[{k}]", each, 1, 2**31 - 1) for k, each in enumerate(self.hidden))
        object.__setattr__(self, "hidden", units)
        object.__setattr__(self, "momentum", check_real("momentum", self.momentum, 0, 1))
        if self.momentum == 1:
            raise ConfigError("momentum must be below 1: a step would be repeated for ever")

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> Layers:
        """Return where the parameters lie: all matrices, then all biases."""
        from dsgd.network import Layers  # which needs dsgd.data, and that needs the losses

        if not fit_intercept:
            raise ConfigError(f"loss {self.name!r} always has biases; leave fit_intercept=False out")
        return Layers(n_features=n_features, hidden=self.hidden, n_outputs=n_classes or 1)

    def objective(self, problem: Problem, n_threads: int, inverse_frequency: NDArray[Any] | None) -> Objective:  # noqa: ARG002
        """Return the objective."""
        from dsgd.network import NetworkObjective

        return NetworkObjective(
            problem.matrix,
            problem.target,
            problem.sample_weight,
            layout=self.layout(problem.matrix.n_features, problem.n_classes, problem.fit_intercept),
            alpha=problem.alphas[1],
            classes=self.classification,
        )

    def start(self, problem: Problem, weights: NDArray[Any], seed: int) -> None:
        """Draw the weights."""
        from dsgd.network import Units, starting_weights

        layout = self.layout(problem.matrix.n_features, problem.n_classes, problem.fit_intercept)
        weights[:] = starting_weights(layout, seed, weights.dtype, Units.measure(problem))

    def first_step(self) -> float:
        """Return 0.1."""
        return 0.1

    def trivial_losses(self, problem: Problem) -> tuple[float, float]:
        """Return the mean loss where all classes are as likely, twice."""
        even = problem.mean_weight * float(np.log(problem.n_classes))
        return even, even

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return exp(z_c) / sum_c exp(z_c)."""
        from scipy.special import softmax  # slow to import

        return np.asarray(softmax(decision.astype(np.float64), axis=1))


@dataclass(frozen=True, kw_only=True)
class SquaredMLP(MLP):
    """(z - y)^2 / 2 of the one output z of such a network: regression. Parameters as of `MLP`.

    Steps start from 0.02, in units of the targets' deviation as well.
    """

    name = "squared_mlp"
    classification = False
    joint = False

    def first_step(self) -> float:
        """Return 0.02: the slope of this loss grows with the error, and 0.1 is too long for some starting weights."""
        return 0.02

    def start(self, problem: Problem, weights: NDArray[Any], seed: int) -> None:
        """Draw the weights; the bias of the output starts at the mean of y."""
        super().start(problem, weights, seed)
        with np.errstate(over="ignore", invalid="ignore"):  # of a mean that is refused later
            weights[-1] += np.average(problem.target.astype(np.float64), weights=problem.sample_weight)

    def trivial_losses(self, problem: Problem) -> tuple[float, float]:
        """Return the mean losses of the mean of y, and of 0."""
        y, weight = problem.target.astype(np.float64), problem.sample_weight
        importance = 1.0 if weight is None else weight
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.average(y, weights=weight))
            return float(np.mean(importance * (y - mean) ** 2) / 2), float(np.mean(importance * y**2) / 2)

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Raise `ConfigError`: there are none."""
        return Loss.probabilities(self, decision)
