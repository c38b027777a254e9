"""Random fits: a number determines the data, the model, the algorithm and every parameter of a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from algorithm_options import ALGORITHM_OPTIONS
from random_data import draw_features, draw_labels, draw_layout, draw_targets, draw_weights

import dsgd
from dsgd import losses, schedules
from dsgd.losses import LOSSES, resolve_loss

__all__ = ["Case", "draw_case"]

_ON_CLUSTERS = (
    "ssp",
    "dissvrg",
    "sync",
    "simuparallel",
    "average",
    "wpsgd",
    "wpsgd-delay",
    "wpsgd-dm",
    "asgd",
    "p2p",
    "map-reduce",
    "fedavg",
    "downpour",
    "async-fl",
)
_OTHER_MODELS = ("kmeans", "mlp", "squared_mlp")
_LINEAR = tuple(name for name in LOSSES if name not in _OTHER_MODELS)

_STEPS = (1e-300, 1e-8, 1e-3, 0.01, 0.1, 1.0, 30.0, 1e4, 1e20, 1e300)
_STRENGTHS = (0.0, 5e-324, 1e-300, 1e-40, 1e-8, 1e-4, 0.01, 1.0, 100.0, 1e10, 1e300)
_EPSILONS = (1e-300, 1e-3, 0.1, 1.0, 1e5, 1e300)

_SCHEDULES: tuple[Callable[[np.random.Generator], Any], ...] = (
    lambda random: str(random.choice(list(schedules.SCHEDULES))),
    lambda random: schedules.Adaptive(factor=float(random.choice([1e-3, 0.5, 0.99]))),
    lambda random: schedules.InverseScaling(power=float(random.choice([1e-3, 0.25, 2.0, 300.0]))),
    lambda random: schedules.Optimal(alpha=float(random.choice([1e-300, 1e-4, 1.0, 1e300]))),
    lambda random: schedules.EpochDecay(factor=float(random.choice([1e-300, 0.5, 1.0]))),
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One random fit.

    Attributes
    ----------
    number : int
        The number from which the case was drawn.
    face : str
        ``"fit"`` for `dsgd.fit`, or the name of an estimator.
    X, y : what is trained on
    settings : dict
        Keywords of `dsgd.fit`, or of the estimator.
    method : str
        The method of the estimator: ``"fit"`` or ``"partial_fit"``.
    keywords : dict
        Further keywords of the method.
    calls : int
        How often the method is called.
    """

    number: int
    face: str
    X: Any
    y: Any
    settings: dict[str, Any]
    method: str = "fit"
    keywords: dict[str, Any] = field(default_factory=dict)
    calls: int = 1

    def __str__(self) -> str:
        """Return everything but the data in full, as the message of a failure."""
        data = f"X {type(self.X).__name__}{self.X.shape} {getattr(self.X, 'dtype', '')}"
        return (
            f"random_fits.draw_case({self.number}): {self.face}.{self.method} x{self.calls} on {data}, "
            f"settings {self.settings}, keywords {self.keywords}"
        )


def draw_case(number: int) -> Case:
    """Return the random fit of this number, the same one at every call."""
    random = np.random.default_rng(number)
    face = str(random.choice(["fit", "SGDClassifier", "SGDRegressor", "KMeans", "MLPClassifier"], p=_FACES))
    return _fit_case(number, random) if face == "fit" else _ESTIMATORS[face](number, random)


_FACES = (0.6, 0.15, 0.1, 0.1, 0.05)


def maybe(random: np.random.Generator, chance: float) -> bool:
    """Return True with this chance."""
    return bool(random.random() < chance)


def one_of(random: np.random.Generator, values: Sequence[Any]) -> Any:
    """Return one of the values, of its own type."""
    return values[int(random.integers(len(values)))]


def _some_of(random: np.random.Generator, choices: dict[str, Sequence[Any]], chance: float) -> dict[str, Any]:
    """Return a value for every name that is drawn."""
    return {name: one_of(random, values) for name, values in choices.items() if maybe(random, chance)}


def _draw_loss(random: np.random.Generator, name: str) -> Any:
    """Return the loss by its name, or as an object with a parameter."""
    if name == "kmeans":
        return losses.KMeans(int(random.integers(1, 6)), init=str(random.choice(["k-means++", "random"])))
    if name in ("mlp", "squared_mlp"):
        network = losses.MLP if name == "mlp" else losses.SquaredMLP
        hidden = tuple(int(units) for units in random.integers(1, 6, int(random.integers(0, 3))))
        return network(hidden)
    if name in ("huber", "epsilon_insensitive", "squared_epsilon_insensitive") and maybe(random, 0.5):
        return LOSSES[name](epsilon=one_of(random, _EPSILONS))  # type: ignore[call-arg]
    return name


def _draw_algorithm(random: np.random.Generator, loss: str) -> dict[str, Any]:
    """Return an algorithm and its options; seldom one that does not train this loss."""
    if loss == "kmeans":
        name = str(random.choice(["sgd", "hogwild", "minibatch", "batch"]))
    elif loss in _OTHER_MODELS:
        name = str(random.choice(["minibatch", "batch"]))
    elif maybe(random, 0.06):
        name = str(random.choice(_ON_CLUSTERS))
    else:
        without = _ON_CLUSTERS if loss not in ("softmax", "perceptron") else (*_ON_CLUSTERS, "sdca")
        name = str(random.choice([name for name in ALGORITHM_OPTIONS if name not in without]))
    settings = {"algo": name, **_some_of(random, ALGORITHM_OPTIONS[name], 0.3)}
    if name == "minibatch" and loss in ("mlp", "squared_mlp") and maybe(random, 0.3):
        settings["momentum"] = float(random.choice([0.0, 0.5, 0.99]))
    if name in _ON_CLUSTERS:
        settings["cluster"] = dsgd.Simulation(workers=int(random.integers(2, 4)))
    elif name != "sgd" and maybe(random, 0.4):
        settings["n_threads"] = 2
    return {"n_threads": 1, **settings} if name not in _ON_CLUSTERS else settings


def _draw_training(random: np.random.Generator) -> dict[str, Any]:
    """Return step, schedule, and when to stop."""
    settings: dict[str, Any] = {"max_epochs": int(random.integers(1, 6)), "random_state": int(random.integers(2**32))}
    if maybe(random, 0.3):
        settings["step_size"] = one_of(random, _STEPS)
    if maybe(random, 0.3):
        settings["schedule"] = one_of(random, _SCHEDULES)(random)
    if maybe(random, 0.2):
        settings["evaluate_every"] = int(random.integers(0, 4))
    return settings | _some_of(
        random,
        {"tol": (0.0, 1e-300, 1e-3, 1e300), "max_seconds": (1e-9, 10.0), "patience": (1, 2)},
        0.15,
    )


def _draw_penalty(random: np.random.Generator) -> dict[str, Any]:
    choices: dict[str, Sequence[Any]] = {
        "penalty": ("l1", "l2", "elasticnet", "none", None),
        "alpha": _STRENGTHS,
        "l1_ratio": (0.0, 0.15, 1.0),
        "fit_intercept": (False,),
    }
    return _some_of(random, choices, 0.3)


def _draw_class_weight(random: np.random.Generator, y: Any) -> Any:
    """Return weights of the classes, or "balanced"."""
    if maybe(random, 0.4):
        return "balanced"
    return {label: one_of(random, (0.0, 1e-300, 0.1, 3, 1e20, 1e300)) for label in np.unique(y).tolist()}


def _draw_start(random: np.random.Generator, loss: Any, y: Any, n_features: int, fit_intercept: bool) -> Any:
    """Return initial weights, small or very large."""
    resolved = resolve_loss(loss)
    n_classes = len(np.unique(y)) if resolved.classification else 0
    # Networks always have an intercept, and losses without a penalty never.
    fit_intercept = resolved.model == "mlp" or (fit_intercept and resolved.penalised)
    shape = resolved.layout(n_features, n_classes, fit_intercept).shape
    if n_classes > 2 and not resolved.joint:
        shape = (n_classes, *shape)
    size = one_of(random, (0.0, 1.0, 1e5, 1e20, 1e38, 1e150, 1e300))
    return random.uniform(-size, size, shape) if maybe(random, 0.8) else np.full(shape, size)


def _make_possible(random: np.random.Generator, settings: dict[str, Any], loss: str) -> None:
    """Remove, mostly, settings that are refused with any data."""
    if maybe(random, 0.05):
        return
    impossible: list[str] = []
    if settings["algo"] == "sdca":
        impossible += ["step_size", "schedule", "penalty", "alpha" if settings.get("alpha") == 0 else ""]
    if loss in _OTHER_MODELS:
        impossible += ["fit_intercept", "penalty", "average" if loss != "kmeans" else ""]
    if settings.get("evaluate_every") == 0:
        impossible += ["tol"]
    for name in impossible:
        settings.pop(name, None)


def _fit_case(number: int, random: np.random.Generator) -> Case:
    """Return a case of `dsgd.fit`."""
    name = str(random.choice(_OTHER_MODELS)) if maybe(random, 0.2) else str(random.choice(_LINEAR))
    loss = _draw_loss(random, name)
    settings = {"loss": loss, **_draw_algorithm(random, name), **_draw_training(random)}
    if resolve_loss(loss).penalised:
        settings |= _draw_penalty(random)
    _make_possible(random, settings, name)
    features = draw_features(random)
    supervised, classification = resolve_loss(loss).supervised, resolve_loss(loss).classification
    y = draw_labels(random, features) if classification else draw_targets(random, features) if supervised else None
    if maybe(random, 0.3):
        settings["sample_weight"] = draw_weights(random, len(features))
    if classification and maybe(random, 0.2):
        settings["class_weight"] = _draw_class_weight(random, y)
    if maybe(random, 0.15):
        settings["init"] = _draw_start(random, loss, y, features.shape[1], settings.get("fit_intercept", True))
    if settings["algo"] not in _ON_CLUSTERS and maybe(random, 0.2):
        settings["gap_tol"] = one_of(random, (1e-300, 1e-3, 1e300))
    X = draw_layout(random, features)
    if supervised and maybe(random, 0.15):
        settings["eval_set"] = (X, y)
        settings["early_stopping"] = maybe(random, 0.5)
    if isinstance(X, pd.DataFrame) and supervised and maybe(random, 0.5):
        y = pd.Series(y)
    return Case(number=number, face="fit", X=X, y=y, settings=settings)


def _estimator_settings(random: np.random.Generator) -> dict[str, Any]:
    """Return parameters that both linear estimators have."""
    algo = str(random.choice(["sgd", "hogwild", "minibatch", "svrg", "batch", "sdca"]))
    choices: dict[str, Sequence[Any]] = {
        "penalty": ("l1", "l2", "elasticnet", None),
        "alpha": _STRENGTHS,
        "l1_ratio": (0.0, 0.15, 1.0, None),
        "fit_intercept": (False,),
        "tol": (None, 0.0, 1e300),
        "shuffle": (False,),
        "epsilon": (0.0, *_EPSILONS),
        "n_jobs": (1, 2),
        "learning_rate": ("optimal", "constant", "invscaling", "adaptive", "pa1", "pa2"),
        "eta0": _STEPS,
        "power_t": (0.0, 0.1, 2.0, 300.0),
        "early_stopping": (True,),
        "n_iter_no_change": (1, 2),
        "average": (True, 3),
        "algo": (algo,),
    }
    settings = {"max_iter": int(random.integers(1, 6)), "random_state": int(random.integers(2**31))}
    return settings | _some_of(random, choices, 0.15)


def _method(random: np.random.Generator, settings: dict[str, Any]) -> dict[str, Any]:
    """Return whether `fit` or `partial_fit` is called, and how often."""
    if maybe(random, 0.6):
        return {"method": "fit", "calls": 1}
    settings.pop("early_stopping", None)
    return {"method": "partial_fit", "calls": int(random.integers(1, 4))}


def _classifier_case(number: int, random: np.random.Generator) -> Case:
    """Return a case of `dsgd.SGDClassifier`."""
    settings, features = _estimator_settings(random), draw_features(random)
    settings["loss"] = str(random.choice([name for name in _LINEAR if name != "squared"]))
    y = draw_labels(random, features)
    call = _method(random, settings)
    keywords: dict[str, Any] = {"classes": np.unique(y)} if call["method"] == "partial_fit" else {}
    if maybe(random, 0.3):
        keywords["sample_weight"] = draw_weights(random, len(features))
    if maybe(random, 0.2) and call["method"] == "fit":
        settings["class_weight"] = _draw_class_weight(random, y)
    X = draw_layout(random, features)
    return Case(number=number, face="SGDClassifier", X=X, y=y, settings=settings, keywords=keywords, **call)


def _regressor_case(number: int, random: np.random.Generator) -> Case:
    """Return a case of `dsgd.SGDRegressor`."""
    settings, features = _estimator_settings(random), draw_features(random)
    regressions = [name for name in _LINEAR if not LOSSES[name].classification]
    settings["loss"] = str(random.choice(regressions)).replace("squared", "squared_error", 1)
    if settings["loss"] == "squared_error_epsilon_insensitive":
        settings["loss"] = "squared_epsilon_insensitive"
    y = draw_targets(random, features)
    call, keywords = _method(random, settings), {}
    if maybe(random, 0.3):
        keywords["sample_weight"] = draw_weights(random, len(features))
    if maybe(random, 0.15) and call["method"] == "fit":
        size = one_of(random, (1.0, 1e20, 1e150, 1e300))
        keywords["coef_init"] = random.uniform(-size, size, features.shape[1])
    X = draw_layout(random, features)
    return Case(number=number, face="SGDRegressor", X=X, y=y, settings=settings, keywords=keywords, **call)


def _kmeans_case(number: int, random: np.random.Generator) -> Case:
    """Return a case of `dsgd.KMeans`."""
    features = draw_features(random)
    settings: dict[str, Any] = {"n_clusters": int(random.integers(1, 6)), "max_iter": int(random.integers(1, 6))}
    settings["random_state"] = int(random.integers(2**31))
    choices: dict[str, Sequence[Any]] = {
        "init": ("random", features[: settings["n_clusters"]]),
        "batch_size": (1, 7, 10**6),
        "compute_labels": (False,),
        "tol": (1e-300, 1e-3, 1e300),
        "max_no_improvement": (None, 1, 10),
        "init_size": (1, 10),
        "n_init": (1, 3),
        "n_jobs": (1, 2),
        "algo": ("minibatch", "hogwild", "sgd", "batch"),
    }
    settings |= _some_of(random, choices, 0.2)
    if settings.get("algo") == "sgd":
        settings.pop("n_jobs", None)
    keywords = {"sample_weight": draw_weights(random, len(features))} if maybe(random, 0.3) else {}
    X, call = draw_layout(random, features), _method(random, settings)
    return Case(number=number, face="KMeans", X=X, y=None, settings=settings, keywords=keywords, **call)


def _mlp_case(number: int, random: np.random.Generator) -> Case:
    """Return a case of `dsgd.MLPClassifier`."""
    features = draw_features(random)
    choices: dict[str, Sequence[Any]] = {
        "hidden_layer_sizes": (1, (5,), (3, 2), ()),
        "alpha": _STRENGTHS,
        "batch_size": (1, 7, 1000),
        "learning_rate_init": _STEPS,
        "momentum": (0.0, 0.5, 0.99),
        "n_jobs": (1, 2),
    }
    settings = {"max_iter": int(random.integers(1, 6)), "random_state": int(random.integers(2**31))}
    settings |= {"hidden_layer_sizes": (4,)} | _some_of(random, choices, 0.3)
    keywords = {"sample_weight": draw_weights(random, len(features))} if maybe(random, 0.3) else {}
    y = draw_labels(random, features)
    X = draw_layout(random, features)
    return Case(number=number, face="MLPClassifier", X=X, y=y, settings=settings, keywords=keywords)


_ESTIMATORS = {
    "SGDClassifier": _classifier_case,
    "SGDRegressor": _regressor_case,
    "KMeans": _kmeans_case,
    "MLPClassifier": _mlp_case,
}
