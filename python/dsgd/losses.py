"""Losses of a linear model, as objects that `dsgd.fit` takes in place of a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd import _core
from dsgd.checks import unknown_name
from dsgd.errors import ConfigError

__all__ = ["Hinge", "Logistic", "Loss", "Squared", "resolve_loss"]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss l(z, y) of the decision value z = w.x + b and the target y."""

    name: ClassVar[str]
    classification: ClassVar[bool]
    """Whether targets are classes, coded -1 and +1, rather than real numbers."""

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
        return np.asarray(_core.loss_value(self.name, z, y))

    def derivative(self, z: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return dl/dz at (z, y), a subgradient at a kink; parameters as for `value`."""
        return np.asarray(_core.loss_derivative(self.name, z, y))


@dataclass(frozen=True, kw_only=True)
class Hinge(Loss):
    """max(0, 1 - y z): the linear support vector machine."""

    name = "hinge"
    classification = True


@dataclass(frozen=True, kw_only=True)
class Logistic(Loss):
    """ln(1 + exp(-y z)): logistic regression, with probabilities."""

    name = "logistic"
    classification = True


@dataclass(frozen=True, kw_only=True)
class Squared(Loss):
    """(z - y)^2 / 2: least squares."""

    name = "squared"
    classification = False


LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (Hinge, Logistic, Squared)}


def resolve_loss(loss: Any) -> Loss:
    """Return the loss of that name, or the object itself; `ConfigError` for anything else."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise ConfigError(f"loss must be a name or an object of dsgd.losses, not {loss!r}")
    if loss not in LOSSES:
        raise unknown_name("loss", loss, LOSSES)
    return LOSSES[loss]()
