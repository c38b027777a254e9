"""A simulated cluster described in TOML."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from typing import Any

from dsgd._common.checks import shown, unknown_name
from dsgd._common.files import as_path
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
        given["failures"] = [_failure(table) for table in given["failures"]]
    return Simulation(**given)


def _failure(table: Any) -> failures.Failure:
    kind = table.pop("kind", None) if isinstance(table, dict) else None
    if kind not in _FAILURES:
        raise unknown_name("kind of failure", kind, _FAILURES)
    _check_names(f"key of a {kind}", table, _FAILURES[kind])
    try:
        failure: failures.Failure = _FAILURES[kind](**table)
    except TypeError as error:  # a parameter without a default is missing
        raise ConfigError(f"a failure of kind {kind!r}: {error}") from error
    return failure


def _check_names(what: str, given: Any, kind: Any) -> None:
    if not isinstance(given, dict):
        raise ConfigError(f"a table was expected, not {shown(given)}")
    valid = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in valid:
            raise unknown_name(what, name, valid)
