"""The losses that `dsgd.fit` minimises, and their names."""

from __future__ import annotations

from typing import Any

from dsgd._common.checks import shown, unknown_name
from dsgd.errors import ConfigError
from dsgd.models.base import Loss
from dsgd.models.kmeans import KMeans
from dsgd.models.linear import (
    EpsilonInsensitive,
    Hinge,
    Huber,
    Logistic,
    ModifiedHuber,
    Perceptron,
    Squared,
    SquaredEpsilonInsensitive,
    SquaredHinge,
)
from dsgd.models.mlp import MLP, SquaredMLP
from dsgd.models.softmax import Softmax

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


_CLASSIFICATION: tuple[type[Loss], ...] = (Hinge, SquaredHinge, Perceptron, Logistic, ModifiedHuber, Softmax)
_REGRESSION: tuple[type[Loss], ...] = (Squared, Huber, EpsilonInsensitive, SquaredEpsilonInsensitive)
_OTHERS: tuple[type[Loss], ...] = (KMeans, MLP, SquaredMLP)

LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in (*_CLASSIFICATION, *_REGRESSION, *_OTHERS)}

SKLEARN_NAMES = {"logistic": "log_loss", "squared": "squared_error"}
"""scikit-learn's names of losses, where they differ from dsgd's; the parameters are the same."""

_ELSEWHERE = {
    **{other: ours for ours, other in SKLEARN_NAMES.items()},
    **dict.fromkeys(("log", "logloss", "binary_crossentropy"), "logistic"),
    **dict.fromkeys(("squared_loss", "mse", "least_squares"), "squared"),
    **dict.fromkeys(("multinomial", "cross_entropy", "categorical_crossentropy"), "softmax"),
    "svm": "hinge",
}
"""Names of losses in other libraries, with dsgd's names."""


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
