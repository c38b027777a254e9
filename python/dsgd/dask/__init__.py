"""Fits whose rows lie on the workers of a Dask cluster; docs/design/engines.md says what the engine is used for.

Dask is imported only once a fit is given a client of it.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["is_client"]


def is_client(cluster: Any) -> bool:
    """Return whether a cluster is a client of Dask; who has made one has imported `distributed`."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(cluster, distributed.Client)
