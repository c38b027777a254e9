"""A problem whose changes are exact: whatever the order of the steps, their sum is known to the bit.

Entries are -1, 0 and 1, there is neither penalty nor intercept, steps are a power of two, and all margins stay below 1.
The hinge then has the slope -y at every row and all weights, and every sum is a whole number of smallest changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.algorithms import DistributedAlgorithm
from dsgd.cluster import KernelCost, Simulation
from dsgd.cluster.program.partition import deal
from dsgd.cluster.runtime.run_spec import Outcome, RunSpec
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem
from dsgd.schedules import Constant

__all__ = ["EXACT", "SEED", "STEP", "WORKERS", "X", "Y", "change_of_a_pass", "exact_run"]

SEED, STEP, WORKERS = 5, 2.0**-16, 4
_random = np.random.default_rng(0)
X = _random.integers(-1, 2, (240, 20)).astype(np.float64)
X[:, 0] = 1.0
Y = np.where(_random.random(240) < 0.7, 1.0, -1.0)

EXACT: dict[str, Any] = {
    "loss": "hinge",
    "penalty": "none",
    "schedule": "constant",
    "step_size": STEP,
    "fit_intercept": False,
    "random_state": SEED,
}
"""The options of `dsgd.fit` for this problem."""


def change_of_a_pass(ranks: Any, workers: int = WORKERS) -> NDArray[np.float64]:
    """Return the sum of the changes that workers make in a pass over their rows."""
    rows = np.concatenate([deal(240, workers, SEED)[rank] for rank in ranks])
    total: NDArray[np.float64] = STEP / workers * (X[rows] * Y[rows, None]).sum(axis=0)
    return total


def exact_run(algorithm: DistributedAlgorithm, clocks: int, dtype: Any = np.float64, **cluster: Any) -> Outcome:
    """Run the problem on four nodes on which a pass takes some 0.1 s, far longer than a frame."""
    matrix = as_matrix(X.astype(dtype), 1)
    problem = Problem(
        matrix=matrix,
        target=Y.astype(dtype),
        sample_weight=None,
        loss=resolve_loss("hinge"),
        alphas=(0.0, 0.0),
        fit_intercept=False,
        scale=measure(matrix, None, 1),
    )
    work = RunSpec(
        algorithm=algorithm,
        problem=problem,
        rows=deal(240, WORKERS, SEED),
        of_whole=problem.loss.of_whole(problem, problem.objective(1)),
        n_threads=1,
        start=np.zeros(20, dtype),
        max_clocks=clocks,
        passes_per_clock=1.0,
        schedule=Constant(),
        step_size=STEP,
        seed=SEED,
        n_total=240,
    )
    given: dict[str, Any] = {
        "kernel_cost": KernelCost(call=0, entry=0, element=2e-5),
        "resend_after": 0.01,
        "reconnect_after": 0.005,
        "heartbeat_deadline": 0.5,
        "trace": False,
    }
    return SimulatedRun(Simulation(workers=WORKERS, **{**given, **cluster}), work).run()
