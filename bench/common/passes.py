"""The timed fits of dsgd and of other libraries, from the same arrays.

They minimise the same objective where the library can.

Every fit returns a function that reads out the weights: reading is not part of the timed fit.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import SGDClassifier

import dsgd
from common.workloads import Workload

__all__ = ["Fit", "Solver", "ours", "scikit_learn", "snap_ml", "xgboost"]

Weights = tuple[NDArray[np.float64], float]
Fit = Callable[[Workload, int], Callable[[], Weights]]


@dataclass(frozen=True)
class Solver:
    """A fit of a given number of passes, the loss that it minimises, and the package it needs."""

    fit: Fit
    loss: str = "hinge"
    package: str = "dsgd"

    @property
    def missing(self) -> str | None:
        """The reason why the solver cannot run, or None."""
        found = importlib.util.find_spec(self.package) is not None
        return None if found else f"{self.package} is not installed: pip install '.[bench]'"

    def objective(self, data: Workload, passes: int) -> float:
        """Return the objective after a fit of `passes` passes."""
        return data.objective(*self.fit(data, passes)(), loss=self.loss)


def ours(algo: str = "hogwild", *, search: bool = False, **options: Any) -> Solver:
    """Return a fit of dsgd.

    With `search` it searches its step size, as a user's fit does by default. Otherwise the step
    size is given, as for the other libraries.
    """

    def fit(data: Workload, passes: int) -> Callable[[], Weights]:
        named = {} if search else {"step_size": data.step_size, "schedule": "epoch-decay"}
        settings: dict[str, Any] = {"random_state": 0, **named, **options}
        result = dsgd.fit(data.X, data.y, algo=algo, alpha=data.alpha, max_epochs=passes, evaluate_every=0, **settings)
        return lambda: (result.coef_.astype(np.float64), float(result.intercept_))

    return Solver(fit)


def scikit_learn() -> Solver:
    """Return SGDClassifier, which has one thread for a binary problem."""

    def fit(data: Workload, passes: int) -> Callable[[], Weights]:
        model = SGDClassifier(alpha=data.alpha, max_iter=passes, tol=None, random_state=0).fit(data.X, data.y)
        return lambda: (model.coef_[0].astype(np.float64), float(model.intercept_[0]))

    return Solver(fit, package="sklearn")


def snap_ml(threads: int) -> Solver:
    """Return Snap ML's SVM: dual coordinate ascent on n times the objective.

    It has no intercept, because Snap ML would penalise it.
    """

    def fit(data: Workload, passes: int) -> Callable[[], Weights]:
        with warnings.catch_warnings():
            # Snap ML finds AVX2 by a module of numpy that warns when it is used. If the warning
            # were an error, Snap ML would go without AVX2.
            warnings.simplefilter("ignore")
            from snapml import SupportVectorMachine
        strength = data.alpha * len(data.y)
        model = SupportVectorMachine(max_iter=passes, regularizer=strength, tol=0.0, n_jobs=threads, random_state=0)
        model.fit(data.X, data.y)
        return lambda: (np.ravel(model.coef_).astype(np.float64), 0.0)

    return Solver(fit, package="snapml")


def xgboost(threads: int) -> Solver:
    """Return XGBoost's linear booster (shotgun): rounds of coordinate descent on the logistic loss; it has no hinge."""

    def fit(data: Workload, passes: int) -> Callable[[], Weights]:
        import xgboost

        settings = {
            "booster": "gblinear",
            "updater": "shotgun",
            "objective": "binary:logistic",
            "base_score": 0.5,  # a margin of 0
            "reg_lambda": data.alpha,
            "nthread": threads,
        }
        matrix = xgboost.DMatrix(data.X, label=data.y > 0, nthread=threads)
        model = xgboost.train(settings, matrix, num_boost_round=passes)

        def weights() -> Weights:
            dump = json.loads(model.get_dump(dump_format="json")[0])
            return np.array(dump["weight"], np.float64), float(dump["bias"][0])

        return weights

    return Solver(fit, loss="logistic", package="xgboost")
