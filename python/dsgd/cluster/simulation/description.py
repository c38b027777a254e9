"""A simulated cluster described in TOML."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from typing import Any

from dsgd._common.checks import shown, unknown_name
from dsgd._common.files import as_path
from dsgd.cluster.program.partition import PARTITIONS
from dsgd.cluster.simulation import failures
from dsgd.cluster.simulation.config import Simulation
from dsgd.cluster.simulation.nodes import KernelCost
from dsgd.errors import ConfigError, DataError

__all__ = ["load_simulation"]

_FAILURES: dict[str, type[failures.Failure]] = {
    "crash": failures.Crash,
    "delay": failures.Delay,
    "duplication": failures.Duplication,
    "frame_loss": failures.FrameLoss,
    "network_split": failures.NetworkSplit,
    "pause": failures.Pause,
}


def load_simulation(path: str | os.PathLike[str]) -> Simulation:
    """Read the parameters of a `Simulation` from a TOML file.

    The keys are the parameters of `Simulation`. The table ``[kernel_cost]`` has the parameters of
    `KernelCost`. Every table ``[[failures]]`` is one failure: ``kind`` is its name, such as
    ``frame_loss``, and the other keys are its parameters. The server is node -1.
    The table ``[partition]`` has a ``kind``, ``shares``, ``by_label``, ``dirichlet`` or ``given``, and
    the parameters of that partition.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Simulation

    Raises
    ------
    DataError
        If the file is not TOML.
    ConfigError
        For an unknown key (it names the nearest valid one) or an impossible value.

    Examples
    --------
    A cluster of four workers, one at half speed and one that crashes::

        workers = 4
        speeds = [1.0, 1.0, 1.0, 0.5]
        bandwidth = 1.25e8

        [partition]
        kind = "dirichlet"
        concentration = 0.1

        [[failures]]
        kind = "crash"
        node = 1
        at = 0.5
        restart_after = 0.2
    """
    try:
        given = tomllib.loads(as_path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also if text is not UTF-8, or a number too long
        raise DataError(f"not TOML: {error}", file=os.fsdecode(path)) from error
    try:
        return _simulation(given)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"{os.fsdecode(path)}: {error}") from error


def _simulation(given: dict[str, Any]) -> Simulation:
    _check_names("key of a simulation", given, Simulation)
    if "kernel_cost" in given:
        _check_names("key of kernel_cost", given["kernel_cost"], KernelCost)
        given["kernel_cost"] = KernelCost(**given["kernel_cost"])
    if "failures" in given:
        if not isinstance(given["failures"], list):
            raise ConfigError(f"failures are tables, [[failures]], not {shown(given['failures'])}")
        given["failures"] = [_of_kind("failure", table, _FAILURES) for table in given["failures"]]
    if isinstance(given.get("partition"), dict):
        given["partition"] = _of_kind("partition", given["partition"], PARTITIONS)
    return Simulation(**given)


def _of_kind(what: str, table: Any, kinds: Mapping[str, type[Any]]) -> Any:
    """Return the object of a table, whose ``kind`` names its class."""
    kind = table.pop("kind", None) if isinstance(table, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise unknown_name(f"kind of {what}", kind, kinds)
    _check_names(f"key of a {kind}", table, kinds[kind])
    try:
        return kinds[kind](**table)
    except TypeError as error:  # a parameter without a default is missing
        raise ConfigError(f"a {what} of kind {kind!r}: {error}") from error


def _check_names(what: str, given: Any, kind: Any) -> None:
    if not isinstance(given, dict):
        raise ConfigError(f"a table was expected, not {shown(given)}")
    valid = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in valid:
            raise unknown_name(what, name, valid)
