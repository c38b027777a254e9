"""The algorithms, and the registry that finds one by its name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

from dsgd._common.checks import one_of, shown, unknown_name
from dsgd.algorithms.auto import Auto as Auto
from dsgd.algorithms.base import Algorithm, Capabilities, Choice, Facts
from dsgd.algorithms.batch import Batch as Batch
from dsgd.algorithms.dissvrg import DisSvrg as DisSvrg
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.algorithms.hogwild import Hogwild as Hogwild
from dsgd.algorithms.minibatch import Minibatch as Minibatch
from dsgd.algorithms.sdca import Sdca as Sdca
from dsgd.algorithms.sgd import Sgd as Sgd
from dsgd.algorithms.ssp import Ssp as Ssp
from dsgd.algorithms.svrg import Svrg as Svrg
from dsgd.algorithms.sync import Sync as Sync
from dsgd.errors import ConfigError
from dsgd.problems.task import EpochEnd, LocalTask

REGISTRY: dict[str, type[Algorithm]] = {
    kind.name: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Algorithm) and not inspect.isabstract(kind)
}
"""Every algorithm that is imported above, by its name: that import is all that makes it known."""

__all__ = [
    "REGISTRY",
    "Algorithm",
    "Capabilities",
    "Choice",
    "DistributedAlgorithm",
    "EpochEnd",
    "Facts",
    "LocalTask",
    "on_clusters",
    "on_one_machine",
    "resolve_algorithm",
    *(kind.__name__ for kind in REGISTRY.values()),
]


def on_clusters(model: str | None = None) -> str:
    """Return the names of the algorithms that run on a cluster and train a kind of model; empty if there is none."""
    kinds = [kind for kind in REGISTRY.values() if issubclass(kind, DistributedAlgorithm)]
    return one_of(kind.name for kind in kinds if model is None or model in kind.capabilities.models)


def on_one_machine(model: str) -> str:
    """Return the names of the algorithms that run on one machine and train a kind of model."""
    kinds = [kind for kind in REGISTRY.values() if not issubclass(kind, DistributedAlgorithm)]
    return one_of(kind.name for kind in kinds if model in kind.capabilities.models)


def resolve_algorithm(algo: Any, options: dict[str, Any], other_parameters: Iterable[str] = ()) -> Algorithm:
    """Return the configured algorithm.

    Parameters
    ----------
    algo : str or Algorithm
        A name of the registry, or a configuration object.
    options : dict
        Options of the named algorithm; none are allowed beside an object, which has its own.
    other_parameters : iterable of str
        Names that a misspelled option may have been meant for.

    Raises
    ------
    ConfigError
        For an unknown name or option (it names the nearest valid one), or an impossible value.
    """
    if isinstance(algo, Algorithm):
        if options:
            given = ", ".join(options)
            raise ConfigError(f"options ({given}) belong into the {type(algo).__name__} object, not beside it")
        return algo
    if not isinstance(algo, str):
        raise ConfigError(f"algo must be a name or an object of dsgd.algorithms, not {shown(algo)}")
    if algo not in REGISTRY:
        raise unknown_name("algo", algo, REGISTRY)
    valid = [field.name for field in dataclasses.fields(REGISTRY[algo])]
    for option in options:
        if option not in valid:
            raise unknown_name(f"option of {algo!r}", option, valid, other_parameters)
    return REGISTRY[algo](**options)
