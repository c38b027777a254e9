"""Stochastic gradient descent on one core, on all cores without locks, and on many machines."""

import importlib
from typing import TYPE_CHECKING, Any

from dsgd._core import __version__

if TYPE_CHECKING:
    from dsgd import algorithms, callbacks, cluster, data, errors, losses, schedules
    from dsgd.api import fit, load
    from dsgd.cluster import LocalCluster, Simulation
    from dsgd.cluster.remote.hosts import Hosts
    from dsgd.estimators import KMeans, MLPClassifier, SGDClassifier, SGDRegressor
    from dsgd.models import LinearModel
    from dsgd.privacy.config import Privacy
    from dsgd.results.history import History, Record
    from dsgd.results.result import FitResult

__all__ = [
    "FitResult",
    "History",
    "Hosts",
    "KMeans",
    "LinearModel",
    "LocalCluster",
    "MLPClassifier",
    "Privacy",
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

_HOMES = {
    **dict.fromkeys(("fit", "load"), "api"),
    **dict.fromkeys(("LocalCluster", "Simulation"), "cluster"),
    **dict.fromkeys(("KMeans", "MLPClassifier", "SGDClassifier", "SGDRegressor"), "estimators"),
    **dict.fromkeys(("History", "Record"), "results.history"),
    "Hosts": "cluster.remote.hosts",
    "LinearModel": "models.trained",
    "Privacy": "privacy.config",
    "FitResult": "results.result",
}
"""The modules that define public names; all other public names are modules themselves."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    A program loads only the modules that it uses, and the command heeds Ctrl-C while it starts.
    """
    if name not in __all__:
        raise AttributeError(f"module 'dsgd' has no attribute {name!r}")
    module = importlib.import_module(f"dsgd.{_HOMES.get(name, name)}")
    value = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
