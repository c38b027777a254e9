"""Losses, as objects that `dsgd.fit` takes in place of a name; a loss says what kind of model it is of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.checks import check_choice, check_integer, check_real, shown, unknown_name
from dsgd.errors import ConfigError
from dsgd.parameters import Centres, FeatureMajor, ParameterLayout

if TYPE_CHECKING:
    from dsgd.problem import Problem

__all__ = [
    "EpsilonInsensitive",
    "Hinge",
    "Huber",
    "KMeans",
    "Logistic",
    "Loss",
    "ModifiedHuber",
    "Perceptron",
    "Softmax",
    "Squared",
    "SquaredEpsilonInsensitive",
    "SquaredHinge",
    "resolve_loss",
]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss l(z, y) of the decision value z = w.x + b and the target y; or that of another model, which says how."""

    name: ClassVar[str]
    model: ClassVar[str] = "linear"
    """The kind of model, by which algorithms say what they train, and which class of `dsgd.models` it is."""
    classification: ClassVar[bool]
    """Whether targets are classes, coded -1 and +1, rather than real numbers."""
    supervised: ClassVar[bool] = True
    """Whether there are targets."""
    penalised: ClassVar[bool] = True
    """Whether there are a penalty and an intercept."""
    joint: ClassVar[bool] = False
    """Whether all classes make one problem, whose targets are their numbers, rather than one each."""
    curvature: ClassVar[float] = 1.0
    """The greatest second derivative in z; 1 by convention for a loss with a kink."""
    smooth: ClassVar[bool] = True
    """Whether the derivative in z has no jump."""
    steep: ClassVar[bool] = False
    """Whether the slope grows without bound, so that a step too long for one sample makes its error grow."""
    scale_free: ClassVar[bool] = False
    """Whether weights of any length are as good, so that no step is too long and a loss says nothing of the step."""

    def core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, of so many decision values."""
        return _core.Loss(self.name, 0.0, n_outputs)

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:  # noqa: ARG002
        """Return where the parameters of one problem lie; `n_classes` is 0 for regression."""
        return FeatureMajor(n_features=n_features, fit_intercept=fit_intercept)

    def objective(self, problem: Problem, n_threads: int, inverse_frequency: NDArray[Any] | None) -> _core.Objective:
        """Return the objective for the core; parameters as for `Problem.objective`."""
        return _core.LinearObjective(
            problem.matrix,
            problem.target,
            problem.sample_weight,
            loss=self.core(problem.layout.per_feature),
            alpha_l1=problem.alphas[0],
            alpha_l2=problem.alphas[1],
            fit_intercept=problem.fit_intercept,
            intercept_rate=problem.scale.intercept_rate,
            n_threads=n_threads,
            inverse_frequency=inverse_frequency,
        )

    def start(self, problem: Problem, weights: NDArray[Any], seed: int) -> None:  # noqa: ARG002
        """Set the weights that a problem is trained from where nobody gave any; they are zeros before."""
        if problem.fit_intercept:
            weights[-1] = self.best_constant(problem.target, problem.sample_weight)

    def first_step(self) -> float | None:
        """Return the step to start from where nobody chose one; None: it is searched for."""
        return None

    def trivial_losses(self, problem: Problem) -> tuple[float, float]:
        """Return the mean losses of the best model without any feature, and of one whose decision values are zeros."""
        importance = 1.0 if problem.sample_weight is None else problem.sample_weight
        constants = (self.best_constant(problem.target, problem.sample_weight) if problem.fit_intercept else 0.0, 0.0)
        with np.errstate(over="ignore"):
            best, zero = (float(np.mean(importance * self.value(each, problem.target))) for each in constants)
        return best, zero

    def value(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return l(z, y).

        Parameters
        ----------
        z, y : array-like of float
            Decision values and targets; broadcast against each other.

        Returns
        -------
        ndarray of float64
        """
        return np.asarray(self.core().value(z, y))

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), a subgradient at a kink; parameters as for `value`."""
        return np.asarray(self.core().derivative(z, y))

    def best_constant(self, y: NDArray[Any], sample_weight: NDArray[Any] | None) -> float:
        """Return the decision value that predicts y best without any feature; 0 for a loss of classification.

        Parameters
        ----------
        y : ndarray of shape (n_samples,)
        sample_weight : ndarray of shape (n_samples,) or None

        Returns
        -------
        float
            The weighted mean for losses that are steep (best for the squared loss, near it where small errors cost
            nothing), the weighted median for the losses that are linear far out.
        """
        if self.classification:
            return 0.0
        if self.steep:
            return float(np.average(y.astype(np.float64), weights=sample_weight))
        order = np.argsort(y)
        below = np.cumsum(np.ones(len(y)) if sample_weight is None else sample_weight[order], dtype=np.float64)
        return float(y[order[np.searchsorted(below, below[-1] / 2)]])

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the probability of the positive class at decision values z; `ConfigError` if the loss has none."""
        raise ConfigError(f"loss {self.name!r} has no probabilities; train with loss='logistic'")

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities of all classes, shape (n_samples, n_classes), at the decision values of a model.

        For more than two classes those of each against all others, scaled to sum 1; `ConfigError` if there are none.
        """
        positive = self.probability(decision.astype(np.float64))
        if positive.ndim == 1:
            return np.stack([1 - positive, positive], axis=1)
        total = positive.sum(axis=1, keepdims=True)
        return np.asarray(np.where(total > 0, positive, 1) / np.where(total > 0, total, positive.shape[1]))


@dataclass(frozen=True, kw_only=True)
class Hinge(Loss):
    """max(0, 1 - y z): the linear support vector machine."""

    name = "hinge"
    smooth = False
    classification = True


@dataclass(frozen=True, kw_only=True)
class SquaredHinge(Loss):
    """max(0, 1 - y z)^2."""

    name = "squared_hinge"
    classification = True
    curvature = 2.0
    steep = True


@dataclass(frozen=True, kw_only=True)
class Perceptron(Loss):
    """max(0, -y z): only samples on the wrong side count, and weights of zero cost nothing."""

    name = "perceptron"
    smooth = False
    classification = True
    scale_free = True


@dataclass(frozen=True, kw_only=True)
class Logistic(Loss):
    """ln(1 + exp(-y z)): logistic regression, with probabilities."""

    name = "logistic"
    classification = True
    curvature = 0.25

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return 1 / (1 + exp(-z))."""
        return np.asarray(scipy.special.expit(z))


@dataclass(frozen=True, kw_only=True)
class ModifiedHuber(Loss):
    """The squared hinge, linear where y z < -1: robust, and with probabilities (Zhang 2004)."""

    name = "modified_huber"
    classification = True
    curvature = 2.0

    def probability(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (1 + z) / 2, cut to [0, 1]: where the expected loss is least at z."""
        return (1 + np.clip(z, -1, 1)) / 2


@dataclass(frozen=True, kw_only=True)
class Softmax(Loss):
    """log(sum_c exp(z_c)) - z_y: multinomial logistic regression, one decision value z_c = w_c.x + b_c a class.

    All classes are trained together, also two; the weights of all of them are regularised.
    """

    name = "softmax"
    model = "softmax"
    classification = True
    joint = True
    curvature = 0.5  # the greatest eigenvalue of diag(p) - p p' is at most 1/2

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:
        """Return where the parameters lie: the weights of a feature together, one a class."""
        return FeatureMajor(n_features=n_features, n_outputs=n_classes, fit_intercept=fit_intercept)

    def start(self, problem: Problem, weights: NDArray[Any], seed: int) -> None:
        """Leave the weights at zeros."""

    def trivial_losses(self, problem: Problem) -> tuple[float, float]:
        """Return the mean loss where all classes are as likely, twice."""
        importance = 1.0 if problem.sample_weight is None else problem.sample_weight
        even = float(np.mean(importance)) * float(np.log(problem.layout.per_feature))
        return even, even

    def value(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return l(z, y).

        Parameters
        ----------
        z : array-like of shape (n_samples, n_classes)
        y : array-like of int, shape (n_samples,)
            Numbers of classes.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
        """
        decision, target = np.asarray(z, np.float64), np.asarray(y, np.intp)
        of_target = np.take_along_axis(decision, target[:, None], axis=1)[:, 0]
        with np.errstate(over="ignore"):  # of a difference whose exponential is 0
            return np.asarray(scipy.special.logsumexp(decision, axis=1) - of_target)

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), of the shape of z; parameters as for `value`."""
        decision, target = np.asarray(z, np.float64), np.asarray(y, np.intp)
        return np.asarray(self.probabilities(decision) - (target[:, None] == np.arange(decision.shape[1])))

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return exp(z_c) / sum_c exp(z_c)."""
        with np.errstate(over="ignore"):
            return np.asarray(scipy.special.softmax(decision.astype(np.float64), axis=1))


@dataclass(frozen=True, kw_only=True)
class Squared(Loss):
    """(z - y)^2 / 2: least squares."""

    name = "squared"
    classification = False
    steep = True


@dataclass(frozen=True, kw_only=True)
class Huber(Loss):
    """Least squares up to a distance, then linear: robust against outliers.

    Parameters
    ----------
    epsilon : float, default=0.1
        That distance, in units of y; above 0.
    """

    name = "huber"
    classification = False
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_real("epsilon", self.epsilon, 0, low_open=True))

    def core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, of so many decision values."""
        return _core.Loss(self.name, self.epsilon, n_outputs)


@dataclass(frozen=True, kw_only=True)
class EpsilonInsensitive(Loss):
    """max(0, |z - y| - epsilon): linear support vector regression.

    Parameters
    ----------
    epsilon : float, default=0.1
        Errors up to this, in units of y, cost nothing; at least 0.
    """

    name = "epsilon_insensitive"
    smooth = False
    classification = False
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_real("epsilon", self.epsilon, 0))

    def core(self, n_outputs: int = 1) -> _core.Loss:
        """Return the loss for the core, of so many decision values."""
        return _core.Loss(self.name, self.epsilon, n_outputs)


@dataclass(frozen=True, kw_only=True)
class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """max(0, |z - y| - epsilon)^2; parameters as for `EpsilonInsensitive`."""

    name = "squared_epsilon_insensitive"
    smooth = True
    curvature = 2.0
    steep = True


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
    n_clusters: int = field(default=8, kw_only=False)
    init: str = "k-means++"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_clusters", check_integer("n_clusters", self.n_clusters, 1, 2**31 - 1))
        check_choice("init", self.init, ("k-means++", "random"))

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> ParameterLayout:  # noqa: ARG002
        """Return where the centres lie: feature by feature, one number a centre."""
        return Centres(n_features=n_features, n_outputs=self.n_clusters, fit_intercept=False)

    def objective(self, problem: Problem, n_threads: int, inverse_frequency: NDArray[Any] | None) -> _core.Objective:  # noqa: ARG002
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


_CLASSIFICATION: tuple[type[Loss], ...] = (Hinge, SquaredHinge, Perceptron, Logistic, ModifiedHuber, Softmax)
_REGRESSION: tuple[type[Loss], ...] = (Squared, Huber, EpsilonInsensitive, SquaredEpsilonInsensitive)

_UNSUPERVISED: tuple[type[Loss], ...] = (KMeans,)

LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (*_CLASSIFICATION, *_REGRESSION, *_UNSUPERVISED)}

SKLEARN_NAMES = {"logistic": "log_loss", "squared": "squared_error"}
"""What scikit-learn calls the losses that have another name there; their parameters are the same."""


def resolve_loss(loss: Any) -> Loss:
    """Return the loss of that name, or the object itself; `ConfigError` for anything else."""
    if isinstance(loss, Loss) and isinstance(loss, tuple(LOSSES.values())):  # the base class has no name
        return loss
    if not isinstance(loss, str):
        raise ConfigError(f"loss must be a name or an object of dsgd.losses, not {shown(loss)}")
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    return LOSSES[loss]()
