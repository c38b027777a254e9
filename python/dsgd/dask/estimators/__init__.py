"""The estimators of `dsgd.estimators` for rows on a Dask cluster; docs/dask.md is their page for users."""

from dsgd.dask.estimators.kmeans import KMeans
from dsgd.dask.estimators.linear import SGDClassifier, SGDRegressor
from dsgd.dask.estimators.mlp import MLPClassifier

__all__ = ["KMeans", "MLPClassifier", "SGDClassifier", "SGDRegressor"]
