"""Softmax on real data: how well it does, and that threads do as well as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dsgd
from common.real_sets import Parts

SETTINGS: dict[str, Any] = {"loss": "softmax", "random_state": 0, "max_epochs": 10, "evaluate_every": 10}


@pytest.mark.parametrize(("name", "most"), [("mnist", 0.078), ("20news", 0.20)])  # measured: 0.0725 and 0.189
def test_the_test_error_is_low_and_two_threads_reach_the_same_objective(
    name: str, most: float, real_set: Callable[[str], Parts]
) -> None:
    parts = real_set(name)
    X = parts.X.astype(np.float32)
    one = dsgd.fit(X, parts.y, algo="sgd", **SETTINGS)
    assert 1 - one.score(parts.X_test.astype(np.float32), parts.y_test) <= most
    two = dsgd.fit(X, parts.y, algo="hogwild", n_threads=2, **SETTINGS)
    assert two.history[-1].objective == pytest.approx(one.history[-1].objective, rel=0.01)
