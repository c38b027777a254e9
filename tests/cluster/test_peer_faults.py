"""A hundred seeded failure plans for asynchronous peers, for map-reduce, federated averaging and Downpour."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cluster.averaged import fit
from cluster.plans import PLANS, draw_cluster, draw_of_frames, draw_of_processes

from dsgd.algorithms import DistributedAlgorithm, Downpour, FedAvg, MapReduce, P2p

ALGORITHMS = ["p2p", "map-reduce", "fedavg", "downpour"]


def draw_algorithm(algo: str, random: np.random.Generator) -> DistributedAlgorithm:
    if algo == "map-reduce":
        return MapReduce()
    if algo == "fedavg":
        return FedAvg(
            clients=int(random.integers(4, 12)),
            fraction=float(random.choice([0.4, 1.0])),
            local_epochs=2,
            batch_size=int(random.choice([1, 5])),
            failing=float(random.choice([0.0, 0.2])),
        )
    if algo == "downpour":
        drawn = {name: int(random.choice(values)) for name, values in {"n_fetch": (1, 3), "n_push": (1, 3)}.items()}
        server = str(random.choice(["plain", "adagrad"]))
        warm = int(random.choice([0, 5]))
        return Downpour(**drawn, server_step=server, ahead=bool(random.integers(2)), warm_start=warm, batch_size=4)
    bounds = (0, 1, 3, math.inf)
    options: dict[str, Any] = {"max_ahead": bounds[random.integers(0, len(bounds))]}
    options |= {"send_every": int(random.choice([1, 10, 61])), "max_wait": float(random.choice([0.01, 0.1]))}
    return P2p(**options)


@pytest.mark.parametrize("tens", range(PLANS // 10))
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_run_ends_with_a_model_that_is_not_worse_than_the_start(algo: str, tens: int) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        random = np.random.default_rng([40 + ALGORITHMS.index(algo), number])
        of_frames = draw_of_frames(random)
        failures = [*of_frames, *draw_of_processes(random, bool(of_frames))]
        where, algorithm = draw_cluster(random, failures), draw_algorithm(algo, random)
        case = f"{number}: {failures}, {algorithm}"
        result = fit(algorithm, where)
        assert np.isfinite(result.model.weights).all(), case
        assert (result.history[-1].objective or math.inf) < math.log(2), case


@pytest.mark.parametrize("tens", range(PLANS // 10))
@pytest.mark.parametrize("algorithm", [MapReduce(), FedAvg(clients=7, fraction=0.5)], ids=lambda each: each.name)
def test_behind_barriers_frames_that_are_lost_or_late_change_no_bit(algorithm: DistributedAlgorithm, tens: int) -> None:
    undisturbed = fit(algorithm).model.weights.tobytes()
    for number in range(10 * tens, 10 * tens + 10):
        random = np.random.default_rng([98, number])
        where = draw_cluster(random, draw_of_frames(random))
        assert fit(algorithm, where).model.weights.tobytes() == undisturbed, number
