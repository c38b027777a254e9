"""Engines that hold the rows already. None of them is imported here."""

from __future__ import annotations

import sys
from typing import Any

from dsgd._common.checks import shown
from dsgd.errors import ConfigError

__all__ = ["check_engine", "is_client"]


def is_client(cluster: Any) -> bool:
    """Return whether a cluster is a client of Dask; who has made one has imported `distributed`."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(cluster, distributed.Client)


def check_engine(workers: Any) -> None:
    """Refuse a number of workers: those of the engine that have rows take part."""
    if workers is not None:
        raise ConfigError(f"workers={shown(workers)} must be left out with a Dask client: its workers are used")
