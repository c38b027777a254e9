"""Stochastic gradient descent on one core, on all cores without locks, and on many machines."""

from dsgd import algorithms, callbacks, data, errors, losses, schedules
from dsgd._core import __version__
from dsgd.api import fit
from dsgd.history import History, Record
from dsgd.result import FitResult, LinearModel

load = FitResult.load

__all__ = [
    "FitResult",
    "History",
    "LinearModel",
    "Record",
    "__version__",
    "algorithms",
    "callbacks",
    "data",
    "errors",
    "fit",
    "load",
    "losses",
    "schedules",
]
