"""scikit-learn's own checks of estimators, with no other expected failures than those of its SGD estimators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn import cluster, linear_model
from sklearn.utils._test_common.instance_generator import PER_ESTIMATOR_XFAIL_CHECKS
from sklearn.utils.estimator_checks import parametrize_with_checks

from dsgd import KMeans, MLPClassifier, SGDClassifier, SGDRegressor
from dsgd.algorithms import Hogwild, Minibatch

ESTIMATORS = [
    # scikit-learn checks its own with five epochs too, which is why their warnings are no errors here.
    SGDClassifier(max_iter=5),
    SGDClassifier(max_iter=20, loss="log_loss", average=True),
    SGDClassifier(max_iter=20, loss="modified_huber", penalty="elasticnet", learning_rate="adaptive"),
    SGDClassifier(max_iter=20, loss="perceptron", penalty=None, learning_rate="adaptive", eta0=1.0, shuffle=False),
    SGDClassifier(max_iter=20, loss="log_loss", learning_rate="constant", average=7),
    SGDClassifier(max_iter=20, learning_rate="pa2"),
    SGDClassifier(
        max_iter=20, algo=Minibatch(batch_size=4), n_jobs=2, loss="squared_error", learning_rate="invscaling"
    ),
    SGDClassifier(max_iter=20, algo=Hogwild(write="atomic"), loss="log_loss"),  # on two threads no two fits are equal
    SGDRegressor(max_iter=5),
    SGDRegressor(max_iter=20, penalty="l1", average=10),
    SGDRegressor(max_iter=20, loss="squared_epsilon_insensitive", learning_rate="adaptive"),
    SGDRegressor(max_iter=20, loss="epsilon_insensitive", learning_rate="pa2", fit_intercept=False),
    SGDRegressor(max_iter=20, algo="batch", n_jobs=2),
    KMeans(n_clusters=2, max_iter=5, batch_size=10, n_init=2),  # as scikit-learn checks its own
    KMeans(n_clusters=3, algo="hogwild", tol=1e-4),
    MLPClassifier((10,), max_iter=50),
    KMeans(n_clusters=2, algo="batch", n_jobs=2, init="random"),
]


def expected_failures(estimator: Any) -> dict[str, str]:
    """Return what scikit-learn declares of its estimator of the same name."""
    base = {
        "KMeans": cluster.MiniBatchKMeans,
        "MLPClassifier": linear_model.SGDClassifier,  # mini-batches are as little equivalent under repeated rows
        "SGDClassifier": linear_model.SGDClassifier,
        "SGDRegressor": linear_model.SGDRegressor,
    }
    return dict(PER_ESTIMATOR_XFAIL_CHECKS[base[type(estimator).__name__]])


@pytest.mark.filterwarnings("default")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
