"""`dissvrg` behind a barrier equals its listing in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import DisSvrg
from dsgd.cluster.program.partition import deal
from dsgd.testing import reference

ALPHA, STEP, CLOCKS, SEED = 1e-2, 0.2, 4, 3
SPARSE, Y = make_problem(125, 20, seed=3)
X = SPARSE.toarray()
STORED = X != 0


def listing(gradient: str, workers: int) -> np.ndarray[Any, Any]:
    """Return the weights after `CLOCKS` clocks of which each begins where the mean of the last one's ends is."""
    parts = deal(len(X), workers, SEED)
    w = np.zeros(X.shape[1])
    old = [np.zeros_like(w)] * workers
    for clock in range(CLOCKS):
        own = [reference.loss_gradient(X[part], Y[part], w, 0.0, loss="logistic")[0] for part in parts]
        sizes = [len(part) for part in parts]
        mean, mean_old = np.average(own, axis=0, weights=sizes), np.average(old, axis=0, weights=sizes)
        ends = []
        for rank, part in enumerate(parts):
            if gradient == "global":
                mean = own[rank] + (mean_old - old[rank] if clock > 0 else 0)
            *_, (end, _) = reference.svrg_epoch(
                X[part],
                Y[part],
                w,
                0.0,
                _core.draw_rows(len(part), len(part), block_size=1, seed=SEED, index=clock, stream=rank),
                STEP,
                loss="logistic",
                alpha=ALPHA,
                fit_intercept=False,
                stored=STORED[part],
                frequency=np.maximum(STORED.sum(axis=0), 1) / len(X),
                mean_gradient=(mean, 0.0),
            )
            ends.append(end)
        w, old = np.mean(ends, axis=0), own
    return w


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("gradient", ["global", "exact"])
def test_a_barrier_run_equals_the_listing(gradient: str, workers: int) -> None:
    result = dsgd.fit(
        SPARSE,
        Y,
        algo=DisSvrg(staleness=0, gradient=gradient),
        loss="logistic",
        alpha=ALPHA,
        fit_intercept=False,
        step_size=STEP,
        schedule="constant",
        max_epochs=CLOCKS,
        random_state=SEED,
        cluster=dsgd.Simulation(workers=workers),
    )
    np.testing.assert_allclose(result.coef_, listing(gradient, workers), rtol=0, atol=1e-12)
