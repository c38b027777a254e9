"""The solvers, each with the one parameter that ends its run and the values to be tried.

The penalty of each library is scaled to dsgd's objective, and no solver fits an intercept.
LIBLINEAR takes rows as structs of its own. A user of its C interface has these, so the time to make
them (`prepare`) is told apart and is not part of LIBLINEAR's seconds. Its multi-core edition is what
runs on one thread too: its algorithms, times and objectives are then those of the plain edition, and
two packages that both install a module `liblinear` cannot lie side by side.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, SGDClassifier

import dsgd
from common.problems import LOSSES, Problem

__all__ = ["LIBLINEAR", "OURS", "PEERS", "Candidate", "Fit", "absent"]

Fit = Callable[[float, int], Callable[[], NDArray[Any]]]
"""Function of a setting and a seed; it returns a function that reads out the weights, untimed."""


LIBLINEAR = "liblinear-multicore"  # the plain edition has a module of the same name


def absent(package: str) -> str | None:
    """Return the reason why a package cannot be used, or None."""
    if package == LIBLINEAR:
        found = any(dist.name == LIBLINEAR for dist in importlib.metadata.distributions())
    else:
        found = importlib.util.find_spec(package) is not None
    return None if found else f"{package} is not installed: pip install '.[bench]'"


@dataclass(frozen=True)
class Candidate:
    """A solver: `prepare` readies the data and returns the fit that is timed."""

    prepare: Callable[[Problem], Fit]
    stopping: str
    ladder: Sequence[float]
    losses: tuple[str, ...] = LOSSES
    package: str = "dsgd"
    algo: str | None = None  # the algorithm of dsgd

    def may_reach(self, target: float, setting: float) -> bool:
        """Return whether a fit with this setting counts for the target; a gap must be proven to be as small."""
        return self.stopping != "gap_tol" or setting <= target

    @property
    def missing(self) -> str | None:
        """The reason why the solver cannot run, or None."""
        if self.algo and self.algo not in dsgd.algorithms.REGISTRY:
            return f"dsgd has no algorithm {self.algo!r}"
        return absent(self.package)


EPOCHS = (*range(1, 21), *range(22, 50, 2), *range(50, 100, 5), *range(100, 200, 10), 200, 300, 500, 750, 1000)


def _falling(most: float, least: float) -> tuple[float, ...]:
    """Return 1, 0.7, 0.5, 0.3, 0.2, 0.15 times powers of ten between the bounds."""
    values = [m * 10.0**e for e in range(4, -12, -1) for m in (1, 0.7, 0.5, 0.3, 0.2, 0.15)]
    return tuple(float(f"{value:.3g}") for value in values if least <= value <= most)


def ours(algo: str, stopping: str = "max_epochs", ladder: Sequence[float] = EPOCHS, **options: Any) -> Candidate:
    """Return a configuration of `dsgd.fit`; by default its time includes the search for a step."""

    def prepare(problem: Problem) -> Fit:
        X, y = problem.data.X, problem.data.y
        settings: dict[str, Any] = {"alpha": problem.data.alpha, "loss": problem.loss, "fit_intercept": False}

        def fit(setting: float, seed: int) -> Callable[[], NDArray[Any]]:
            end: dict[str, Any] = {stopping: int(setting) if stopping == "max_epochs" else setting}
            result = dsgd.fit(X, y, algo=algo, evaluate_every=0, random_state=seed, **settings, **options, **end)
            return lambda: result.coef_

        return fit

    return Candidate(prepare, stopping, ladder, algo=algo)


def _liblinear(solver: int, loss: str, threads: int = 1) -> Candidate:
    several = f" -m {threads}" if threads > 1 else ""  # not every solver knows -m

    def prepare(problem: Problem) -> Fit:
        from liblinear.liblinearutil import parameter, train
        from liblinear.liblinearutil import problem as structs

        rows = structs(problem.data.y, problem.data.X)

        # LIBLINEAR takes no seed but uses the random numbers of the C library, so every run
        # differs.
        def fit(setting: float, seed: int) -> Callable[[], NDArray[Any]]:  # noqa: ARG001
            model = train(rows, parameter(f"-s {solver} -c {1 / problem.strength!r} -e {setting!r} -B -1 -q{several}"))
            sign = 1 if model.label[0] > 0 else -1  # the weights are those of the label that came first
            return lambda: sign * np.array(model.w[: problem.data.X.shape[1]])

        return fit

    # The first setting is 100, with which a solver ends after its first pass.
    return Candidate(prepare, "eps", _falling(100, 1e-6), (loss,), LIBLINEAR)


def _snap_ml(threads: int, loss: str, **options: Any) -> Candidate:
    def prepare(problem: Problem) -> Fit:
        with warnings.catch_warnings():
            # Snap ML finds AVX2 by a module of numpy that warns when it is used. If the warning
            # were an error, Snap ML would go without AVX2.
            warnings.simplefilter("ignore")
            import snapml
        kind = {"hinge": snapml.SupportVectorMachine, "logistic": snapml.LogisticRegression}[loss]
        settings = {"regularizer": problem.strength, "n_jobs": threads, "fit_intercept": False, **options}

        def fit(setting: float, seed: int) -> Callable[[], NDArray[Any]]:
            model = kind(max_iter=int(setting), tol=0.0, random_state=seed, **settings)
            model.fit(problem.data.X, problem.data.y)
            return lambda: np.ravel(model.coef_)

        return fit

    return Candidate(prepare, "max_iter", EPOCHS, (loss,), "snapml")


def _cyanure(solver: str) -> Candidate:
    def prepare(problem: Problem) -> Fit:
        from cyanure.estimators import Classifier

        settings = {"loss": "logistic", "penalty": "l2", "lambda_1": problem.data.alpha, "fit_intercept": False}

        def fit(setting: float, seed: int) -> Callable[[], NDArray[Any]]:
            model = Classifier(
                **settings,
                solver=solver,
                max_iter=int(setting),
                tol=1e-9,
                n_threads=2,
                random_state=seed,
                verbose=False,
            )
            model.fit(problem.data.X, problem.data.y)
            return lambda: np.ravel(model.coef_)

        return fit

    # Cyanure computes its gap every 10 passes only, so passes are the finer setting.
    return Candidate(prepare, "max_iter", EPOCHS, ("logistic",), "cyanure")


def _sgd_classifier(**options: Any) -> Candidate:
    def prepare(problem: Problem) -> Fit:
        loss = {"hinge": "hinge", "logistic": "log_loss"}[problem.loss]
        settings = {"loss": loss, "alpha": problem.data.alpha, "fit_intercept": False, **options}

        def fit(setting: float, seed: int) -> Callable[[], NDArray[Any]]:
            model = SGDClassifier(max_iter=int(setting), tol=None, random_state=seed, **settings)
            model.fit(problem.data.X, problem.data.y)
            return lambda: model.coef_[0]

        return fit

    return Candidate(prepare, "max_iter", EPOCHS, package="sklearn")


def _saga() -> Candidate:
    def prepare(problem: Problem) -> Fit:
        settings = {"solver": "saga", "C": 1 / problem.strength, "fit_intercept": False}

        def fit(setting: float, seed: int) -> Callable[[], NDArray[Any]]:
            model = LogisticRegression(max_iter=int(setting), tol=1e-12, random_state=seed, **settings)
            model.fit(problem.data.X, problem.data.y)
            return lambda: model.coef_[0]

        return fit

    return Candidate(prepare, "max_iter", EPOCHS, ("logistic",), "sklearn")


# The fastest first: a solver that takes six times the best time so far is given up.
PEERS: dict[str, Candidate] = {
    "LIBLINEAR -s 3": _liblinear(3, "hinge"),
    "Snap ML SVM, 2 threads": _snap_ml(2, "hinge"),
    "Snap ML SVM, 1 thread": _snap_ml(1, "hinge"),
    "LIBLINEAR -s 3, 2 threads": _liblinear(3, "hinge", 2),
    "LIBLINEAR -s 7": _liblinear(7, "logistic"),
    "LIBLINEAR -s 0": _liblinear(0, "logistic"),
    "LIBLINEAR -s 0, 2 threads": _liblinear(0, "logistic", 2),
    "Snap ML logistic, 2 threads": _snap_ml(2, "logistic"),
    "Snap ML logistic, 1 thread": _snap_ml(1, "logistic"),
    "Snap ML logistic, primal, 2 threads": _snap_ml(2, "logistic", dual=False),
    "Cyanure auto": _cyanure("auto"),
    "Cyanure catalyst-miso": _cyanure("catalyst-miso"),
    "Cyanure qning-ista": _cyanure("qning-ista"),
    "Cyanure qning-svrg": _cyanure("qning-svrg"),
    "SGDClassifier": _sgd_classifier(),
    "SGDClassifier, average": _sgd_classifier(average=True),
    "scikit-learn SAGA": _saga(),
}

# What stops by a duality gap is asked for the target itself: for its proof, and not for luck with a wider gap.
PROVEN = (0.01, 0.001)

# Algorithms that the registry of dsgd lacks are left out.
OURS: dict[str, Candidate] = {
    "sgd": ours("sgd", schedule="linear"),
    "sgd-average": ours("sgd", average=True),
    "hogwild": ours("hogwild", n_threads=2),
    "auto": ours("auto"),
    "auto-proven": ours("auto", "gap_tol", PROVEN),
    "sdca": ours("sdca"),
    "svrg": ours("svrg"),
}
