"""Losses, as objects that `dsgd.fit` takes in place of a name; a loss says what kind of model it is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.checks import check_real, shown, unknown_name
from dsgd.errors import ConfigError
from dsgd.loss import Loss
from dsgd.model_losses import MLP, KMeans, SquaredMLP
from dsgd.parameters import FeatureMajor, ParameterLayout

if TYPE_CHECKING:
    from dsgd.problem import Problem

__all__ = [
    "MLP",
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
    "SquaredMLP",
    "resolve_loss",
]


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
        from scipy.special import expit  # slow to import

        return np.asarray(expit(z))


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
        even = problem.mean_weight * float(np.log(problem.layout.per_feature))
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
        from scipy.special import logsumexp  # slow to import

        with np.errstate(over="ignore"):  # of a difference whose exponential is 0
            return np.asarray(logsumexp(decision, axis=1) - of_target)

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), of the shape of z; parameters as for `value`."""
        decision, target = np.asarray(z, np.float64), np.asarray(y, np.intp)
        return np.asarray(self.probabilities(decision) - (target[:, None] == np.arange(decision.shape[1])))

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return exp(z_c) / sum_c exp(z_c)."""
        from scipy.special import softmax  # slow to import

        with np.errstate(over="ignore"):
            return np.asarray(softmax(decision.astype(np.float64), axis=1))


@dataclass(frozen=True, kw_only=True)
class Squared(Loss):
    """(z - y)^2 / 2: least squares."""

    name = "squared"
    classification = False
    steep = True


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class SquaredEpsilonInsensitive(EpsilonInsensitive):
    """max(0, |z - y| - epsilon)^2; parameters as for `EpsilonInsensitive`."""

    name = "squared_epsilon_insensitive"
    smooth = True
    curvature = 2.0
    steep = True


_CLASSIFICATION: tuple[type[Loss], ...] = (Hinge, SquaredHinge, Perceptron, Logistic, ModifiedHuber, Softmax)
_REGRESSION: tuple[type[Loss], ...] = (Squared, Huber, EpsilonInsensitive, SquaredEpsilonInsensitive)

_OTHERS: tuple[type[Loss], ...] = (KMeans, MLP, SquaredMLP)

LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (*_CLASSIFICATION, *_REGRESSION, *_OTHERS)}

SKLEARN_NAMES = {"logistic": "log_loss", "squared": "squared_error"}
"""What scikit-learn calls the losses that have another name there; their parameters are the same."""

_ELSEWHERE = {
    **{other: ours for ours, other in SKLEARN_NAMES.items()},
    **dict.fromkeys(("log", "logloss", "binary_crossentropy"), "logistic"),
    **dict.fromkeys(("squared_loss", "mse", "least_squares"), "squared"),
    **dict.fromkeys(("multinomial", "cross_entropy", "categorical_crossentropy"), "softmax"),
    "svm": "hinge",
}
"""What users of other libraries may write for a loss."""


def resolve_loss(loss: Any) -> Loss:
    """Return the loss of that name, or the object itself; `ConfigError` for anything else."""
    if isinstance(loss, Loss) and isinstance(loss, tuple(LOSSES.values())):  # the base class has no name
        return loss
    if not isinstance(loss, str):
        raise ConfigError(f"loss must be a name or an object of dsgd.losses, not {shown(loss)}")
    if (ours := _ELSEWHERE.get(loss)) is not None:
        raise ConfigError(f"unknown loss {loss!r}: here it is called {ours!r}")
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    return LOSSES[loss]()
