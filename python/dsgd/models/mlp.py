"""Fully connected networks: the losses, and the trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import check_integer, shown
from dsgd._common.threads import blas_threads
from dsgd.data.inputs import real_dtype, take_rows
from dsgd.errors import ConfigError, DataError
from dsgd.models.base import Loss, weighted_mean
from dsgd.models.network import Layers, NetworkObjective, Units, forward, starting_weights
from dsgd.models.protocols import Objective, RowSteps, Samples
from dsgd.models.trained import Model
from dsgd.models.unit_steps import NetworkSteps

__all__ = ["MLP", "MLPModel", "SquaredMLP"]


@dataclass(frozen=True, kw_only=True)
class MLP(Loss):
    """The softmax loss of a fully connected network, with max(0, z) after every layer but the last.

    It is trained by ``algo="minibatch"`` with momentum, and by ``"batch"``; L2 is on the weights, and there are always
    biases. Weights start at random (He, Zhang, Ren, Sun 2015), and with a momentum
    of 0.9 steps from 0.1, in units of the features' means and
    deviations: columns need not be scaled.

    Parameters
    ----------
    hidden : tuple of int, default=(100,)
        Units of each hidden layer; an empty tuple is multinomial logistic regression.
    """

    name = "mlp"
    model = "mlp"
    classification = True
    joint = True
    starts_from_moments = True
    hidden: tuple[int, ...] = field(default=(100,), kw_only=False)

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, tuple | list):
            raise ConfigError(f"hidden must be a tuple of numbers of units, not {shown(self.hidden)}")
        units = tuple(check_integer(f"hidden[{k}]", each, 1, 2**31 - 1) for k, each in enumerate(self.hidden))
        object.__setattr__(self, "hidden", units)

    def layout(self, n_features: int, n_classes: int, fit_intercept: bool) -> Layers:
        """Return the parameter layout: all matrices, then all biases."""
        if not fit_intercept:
            raise ConfigError(f"loss {self.name!r} always has biases; leave fit_intercept=False out")
        return Layers(n_features=n_features, hidden=self.hidden, n_outputs=n_classes or 1)

    def objective(self, problem: Samples, n_threads: int, inverse_frequency: NDArray[Any] | None) -> Objective:  # noqa: ARG002
        """Return the objective."""
        return NetworkObjective(
            problem.matrix,
            problem.target,
            problem.sample_weight,
            layout=self.layout(problem.matrix.n_features, problem.n_classes, problem.fit_intercept),
            alpha=problem.alphas[1],
            classes=self.classification,
        )

    def of_whole(self, problem: Samples, objective: Objective) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Return the units of features and targets."""
        return Units.measure(problem).arrays()

    def row_steps(self, problem: Samples, of_whole: Mapping[str, NDArray[Any]], n_threads: int) -> RowSteps:
        """Return the gradients and steps on named rows."""
        return NetworkSteps(problem, of_whole, n_threads)

    def start(self, problem: Samples, weights: NDArray[Any], seed: int) -> None:
        """Draw the initial weights, in place."""
        layout = self.layout(problem.matrix.n_features, problem.n_classes, problem.fit_intercept)
        weights[:] = starting_weights(layout, seed, weights.dtype, Units.measure(problem))

    def first_step(self, momentum: float = 0.9) -> float:
        """Return 1 - momentum: with momentum the steps of a batch go on for 1 / (1 - momentum) batches."""
        return (10 - 10 * momentum) / 10  # of 0.9 this is 0.1 to the bit

    def trivial_losses(self, problem: Samples) -> tuple[float, float]:
        """Return the mean loss of equal probabilities for all classes, for both models."""
        even = problem.mean_weight * float(np.log(problem.n_classes))
        return even, even

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Return exp(z_c) / sum_c exp(z_c)."""
        from scipy.special import softmax  # slow to import

        return np.asarray(softmax(decision.astype(np.float64), axis=1))


@dataclass(frozen=True, kw_only=True)
class SquaredMLP(MLP):
    """(z - y)^2 / 2 of the single output z of a fully connected network: regression. Parameters as for `MLP`.

    Steps start from 0.02, in units of the targets' deviation as well.
    """

    name = "squared_mlp"
    classification = False
    joint = False

    def first_step(self, momentum: float = 0.9) -> float:  # noqa: ARG002
        """Return 0.02 with any momentum: the slope of this loss grows with the error.

        Without momentum 0.063 diverged in 5 of 400 runs of `ssp` on 30 rows of 3 features, 0.02 in none.
        """
        return 0.02

    def start(self, problem: Samples, weights: NDArray[Any], seed: int) -> None:
        """Draw the initial weights, in place; the bias of the output starts at the mean of y."""
        super().start(problem, weights, seed)
        if problem.blind:
            return
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite mean is refused later
            weights[-1] += weighted_mean(problem)

    def trivial_losses(self, problem: Samples) -> tuple[float, float]:
        """Return the mean loss of the prediction mean(y), and that of the prediction 0."""
        y, weight = problem.target.astype(np.float64), problem.sample_weight
        importance = 1.0 if weight is None else weight
        with np.errstate(over="ignore", invalid="ignore"):
            mean = weighted_mean(problem)
            return float(np.mean(importance * (y - mean) ** 2) / 2), float(np.mean(importance * y**2) / 2)

    def probabilities(self, decision: NDArray[Any]) -> NDArray[np.float64]:
        """Raise `ConfigError`: a regression has no probabilities."""
        return Loss.probabilities(self, decision)


@dataclass(frozen=True, kw_only=True)
class MLPModel(Model):
    """A fully connected network; its decision values are its outputs, one a class, or one for regression.

    Attributes
    ----------
    weights : ndarray of shape (1, n_parameters)
        All matrices, then all biases; see `dsgd.models.network.Layers`.
    loss : MLP
    classes : ndarray of shape (n_classes,) or None
    """

    loss: MLP

    @property
    def _n_outputs(self) -> int:
        return 1 if self.classes is None else len(self.classes)

    @property
    def n_features(self) -> int:
        """Number of features it was trained on."""
        return (int(self.weights.shape[1]) - self._behind) // (*self.loss.hidden, self._n_outputs)[0]

    @property
    def _behind(self) -> int:
        """Number of parameters that are not in the first matrix."""
        return Layers(n_features=0, hidden=self.loss.hidden, n_outputs=self._n_outputs).size

    @property
    def layout(self) -> Layers:
        """The layout of matrices and biases in the weights."""
        return Layers(n_features=self.n_features, hidden=self.loss.hidden, n_outputs=self._n_outputs)

    def decide(self, matrix: _core.Matrix, threads: int) -> NDArray[Any]:
        """Return the outputs, shape (n_rows, n_classes), or (n_rows,) for regression."""
        weights = self.weights[0].astype(real_dtype(matrix), copy=False)
        outputs = np.empty((matrix.n_rows, self._n_outputs), weights.dtype)
        with blas_threads(threads):
            for begin in range(0, matrix.n_rows, 1024):
                rows = np.arange(begin, min(begin + 1024, matrix.n_rows))
                outputs[rows] = forward(take_rows(matrix, rows), self.layout, weights)[-1]
        return outputs if self.classes is not None else outputs[:, 0]

    @classmethod
    def from_description(
        cls,
        description: dict[str, Any],  # noqa: ARG003
        weights: NDArray[Any],
        loss: Loss,
        classes: NDArray[Any] | None,
    ) -> MLPModel:
        """Return the model of a description and its weights; `DataError` if they do not fit."""
        if not isinstance(loss, MLP) or len(weights) != 1:
            raise DataError("a network has one vector of weights")
        model = cls(weights=weights, loss=loss, classes=classes)
        if model.n_features < 1 or model.layout.size != weights.shape[1]:
            raise DataError(f"its weights have shape {weights.shape}, which layers of {loss.hidden} units do not have")
        return model
