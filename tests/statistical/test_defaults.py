"""Untuned, on real data: automatic steps beside a grid, the defaults beside scikit-learn (bench: all sets)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from defaults import ALPHA, PASSES, step_rows
from real_sets import SETS
from sklearn.linear_model import SGDClassifier, SGDRegressor

import dsgd

FILES = {
    "reuters": "reuters_earn_train.svm.xz",
    "20news": "20news_train.svm.xz",
    "a9a": "a9a_train.svm.xz",
    "phishing": "phishing.svm.xz",
    "casp": "casp.csv.xz",
    "year": "yearprediction_subset.csv.xz",
}


@pytest.mark.filterwarnings("ignore:epoch .* diverged:RuntimeWarning")  # the longest steps of the grid
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e3])
def test_auto_is_as_good_as_the_best_constant_step(name: str, factor: float, real_file: Callable[[str], Path]) -> None:
    real_file(FILES[name])
    for loss, best, _, auto, _ in step_rows(SETS[name](), factor, range(1)):
        assert auto <= 1.02 * best, loss


@pytest.mark.parametrize("name", FILES)
def test_the_defaults_score_as_well_as_scikit_learn(name: str, real_file: Callable[[str], Path]) -> None:
    real_file(FILES[name])
    data = SETS[name]()
    peer, loss = (SGDRegressor, "squared") if data.regression else (SGDClassifier, "hinge")
    peers = [
        peer(alpha=ALPHA, max_iter=PASSES, tol=None, random_state=seed)
        .fit(data.X, data.y)
        .score(data.X_test, data.y_test)
        for seed in range(5)
    ]
    result = dsgd.fit(data.X, data.y, algo="sgd", loss=loss, alpha=ALPHA, max_epochs=PASSES, random_state=0)
    assert result.score(data.X_test, data.y_test) >= np.median(peers) - 0.003
