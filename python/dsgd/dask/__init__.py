"""Fits whose rows lie on the workers of a Dask cluster; docs/design/engines.md says what the engine is used for.

`dsgd` imports it only once a fit is given a client of Dask.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsgd.dask.cluster import DaskCluster
    from dsgd.dask.estimators import KMeans, MLPClassifier, SGDClassifier, SGDRegressor

__all__ = ["DaskCluster", "KMeans", "MLPClassifier", "SGDClassifier", "SGDRegressor"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: workers that only train need none."""
    if name not in __all__:
        raise AttributeError(f"module 'dsgd.dask' has no attribute {name!r}")
    home = "cluster" if name == "DaskCluster" else "estimators"
    return getattr(importlib.import_module(f"dsgd.dask.{home}"), name)
