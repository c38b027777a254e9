"""The algorithms, and the registry that finds one by its name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from typing import Any

from dsgd._common.checks import one_of, shown, unknown_name
from dsgd.algorithms.asgd import Asgd as Asgd
from dsgd.algorithms.async_fl import AsyncFl as AsyncFl
from dsgd.algorithms.auto import Auto as Auto
from dsgd.algorithms.average import Average as Average
from dsgd.algorithms.base import Algorithm, Capabilities, Choice, Facts
from dsgd.algorithms.batch import Batch as Batch
from dsgd.algorithms.dissvrg import DisSvrg as DisSvrg
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.algorithms.downpour import Downpour as Downpour
from dsgd.algorithms.fedavg import FedAvg as FedAvg
from dsgd.algorithms.hogwild import Hogwild as Hogwild
from dsgd.algorithms.map_reduce import MapReduce as MapReduce
from dsgd.algorithms.minibatch import Minibatch as Minibatch
from dsgd.algorithms.p2p import P2p as P2p
from dsgd.algorithms.sdca import Sdca as Sdca
from dsgd.algorithms.sgd import Sgd as Sgd
from dsgd.algorithms.simuparallel import SimuParallel as SimuParallel
from dsgd.algorithms.ssp import Ssp as Ssp
from dsgd.algorithms.svrg import Svrg as Svrg
from dsgd.algorithms.sync import Sync as Sync
from dsgd.algorithms.wpsgd import WpSgd as WpSgd
from dsgd.algorithms.wpsgd_delay import WpSgdDelay as WpSgdDelay
from dsgd.algorithms.wpsgd_dm import WpSgdDm as WpSgdDm
from dsgd.errors import ConfigError
from dsgd.problems.task import EpochEnd, LocalTask

REGISTRY: dict[str, type[Algorithm]] = {
    kind.name: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Algorithm) and not inspect.isabstract(kind)
}
"""Algorithm classes by name. An algorithm is registered by its import at the top of this file."""

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
    """Return the names of the distributed algorithms, as text for a message; empty if there are none.

    With `model`, a kind of model (`Loss.model`), only those that train it.
    """
    kinds = [kind for kind in REGISTRY.values() if issubclass(kind, DistributedAlgorithm)]
    return one_of(kind.name for kind in kinds if model is None or model in kind.capabilities.models)


def on_one_machine(model: str) -> str:
    """Return the names of the algorithms of one machine that train a kind of model (`Loss.model`)."""
    kinds = [kind for kind in REGISTRY.values() if not issubclass(kind, DistributedAlgorithm)]
    return one_of(kind.name for kind in kinds if model in kind.capabilities.models)


def resolve_algorithm(algo: Any, options: dict[str, Any], other_parameters: Iterable[str] = ()) -> Algorithm:
    """Return the configured algorithm.

    Parameters
    ----------
    algo : str or Algorithm
        A name of the registry, or a configuration object.
    options : dict
        Options of the named algorithm. Must be empty if `algo` is an object, which has its own options.
    other_parameters : iterable of str
        Other parameters of the caller. The message on a misspelled option may suggest one of them.

    Raises
    ------
    ConfigError
        If the name or an option is unknown (the message suggests the nearest valid one), if a value
        is impossible, or if options are given beside an object.
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
