"""Estimators with scikit-learn's names, parameters and defaults."""

from dsgd.estimators.classifier import SGDClassifier
from dsgd.estimators.kmeans import KMeans
from dsgd.estimators.mlp import MLPClassifier
from dsgd.estimators.regressor import SGDRegressor

__all__ = ["KMeans", "MLPClassifier", "SGDClassifier", "SGDRegressor"]
