"""Asynchronous peers on real data, in virtual time, beside SGD on one machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dsgd
from common.real_sets import Parts

HINGE: dict[str, Any] = {"loss": "hinge", "alpha": 1e-4, "max_epochs": 15, "random_state": 0, "evaluate_every": 0}


@pytest.mark.parametrize("name", ["reuters", "a9a"])
def test_four_peers_are_as_accurate_as_sgd(name: str, real_set: Callable[[str], Parts]) -> None:
    """Measured: 98.999 % beside 99.030 %, and 84.737 % beside 84.817 %."""
    X, y, X_test, y_test, _ = real_set(name).binary()
    scores = [
        dsgd.fit(X, y, **more, **HINGE).score(X_test, y_test)
        for more in ({"algo": "p2p", "cluster": dsgd.Simulation(workers=4, trace=False)}, {"algo": "sgd"})
    ]
    assert scores[0] >= scores[1] - 0.005
