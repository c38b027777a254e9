"""Stochastic gradient descent on one core, on all cores without locks, and on many machines."""

from typing import TYPE_CHECKING, Any

from dsgd import algorithms, callbacks, cluster, data, errors, losses, schedules
from dsgd._core import __version__
from dsgd.api import fit
from dsgd.cluster import LocalCluster, Simulation
from dsgd.history import History, Record
from dsgd.models import LinearModel
from dsgd.result import FitResult

if TYPE_CHECKING:
    from dsgd.estimators import KMeans, MLPClassifier, SGDClassifier, SGDRegressor

load = FitResult.load

__all__ = [
    "FitResult",
    "History",
    "KMeans",
    "LinearModel",
    "LocalCluster",
    "MLPClassifier",
    "Record",
    "SGDClassifier",
    "SGDRegressor",
    "Simulation",
    "__version__",
    "algorithms",
    "callbacks",
    "cluster",
    "data",
    "errors",
    "fit",
    "load",
    "losses",
    "schedules",
]


def __getattr__(name: str) -> Any:
    """Import the estimators when they are asked for: scikit-learn takes longer to import than many a fit."""
    if name in ("KMeans", "MLPClassifier", "SGDClassifier", "SGDRegressor"):
        from dsgd import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module 'dsgd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
