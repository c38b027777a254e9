"""Starts a fit at the weights of an earlier result, after checking that they fit the new model."""

from __future__ import annotations

import numpy as np

from dsgd._common.checks import shown
from dsgd.data.feature_names import FeatureNames
from dsgd.data.labels import as_dtype
from dsgd.data.reading import common_base
from dsgd.errors import ConfigError, DataError
from dsgd.losses import MLP, KMeans
from dsgd.models import LinearModel
from dsgd.models.trained import Model
from dsgd.results.result import FitResult

__all__ = ["start_from"]


def start_from(result: FitResult, model: Model, names: FeatureNames, index_base: str | None) -> None:
    """Copy the weights of a result into a model that is to be trained.

    Parameters
    ----------
    result : FitResult
        The earlier result. Its loss may be another one of the same kind of model.
    model : Model
        The model that is to be trained, with the loss and the shape of the new data.
    names : FeatureNames
        The feature names of the new data.
    index_base : {"zero", "one"} or None
        The number of the first feature in the text of the new data; None if it is unknown.

    Raises
    ------
    ConfigError
        If the result is of another kind of model.
    DataError
        If the result has other features or classes, or weights beyond the range of the new data's dtype.
    """
    old = result.model
    _check_kind(old, model)
    common_base({"init": result.index_base, "the training data": index_base})
    if old.n_features != model.n_features:
        raise DataError(f"init was trained on {old.n_features} features; X has {model.n_features} features")
    try:
        result.feature_names.check(names.names)
    except DataError as error:
        raise DataError(f"init: {error}") from error
    if _classes(old) != _classes(model):
        raise DataError(f"init has the classes {shown(_classes(old))}; y has {shown(_classes(model))}")
    np.copyto(model.weights, as_dtype(old.weights, model.weights.dtype, "init"))


def _check_kind(old: Model, model: Model) -> None:
    """Raise `ConfigError` unless the weights of both models have the same meaning."""
    if type(old) is not type(model):
        raise ConfigError(
            f"init is a result of loss {old.loss.name!r}, a {type(old).__name__}; loss {model.loss.name!r} needs a "
            f"{type(model).__name__}"
        )
    for kind, name in ((KMeans, "n_clusters"), (MLP, "hidden")):
        if isinstance(old.loss, kind):
            before, now = getattr(old.loss, name), getattr(model.loss, name)
            if before != now:
                raise ConfigError(f"init is a result of {name}={before}; the loss has {name}={now}")
    if isinstance(old, LinearModel) and isinstance(model, LinearModel) and old.fit_intercept != model.fit_intercept:
        raise ConfigError(f"init was trained with fit_intercept={old.fit_intercept}, not {model.fit_intercept}")


def _classes(model: Model) -> list[object]:
    return [] if model.classes is None else list(model.classes.tolist())
