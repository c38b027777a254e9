"""Failure plans by seed, and clusters to try them on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cluster.averaged import cluster

from dsgd.cluster import SERVER, Crash, Delay, Duplication, Failure, FrameLoss, NetworkSplit, Pause, Simulation

__all__ = ["PLANS", "draw_cluster", "draw_of_frames", "draw_of_processes"]

PLANS = 100
# Virtual seconds: a run takes 0.1 of them where no process is down.
_RUN = 0.1
_SILENCE = 0.3  # after which a worker counts as lost; the server, after twice as long


def draw_of_frames(random: np.random.Generator) -> list[Failure]:
    """Return failures of frames, after which every process still runs."""
    chance = float(random.uniform(0, 0.15))
    kinds = [FrameLoss(chance), Delay(chance, float(random.uniform(0, 0.02))), Duplication(chance)]
    return [kind for kind in kinds if random.random() < 0.5]


def draw_of_processes(
    random: np.random.Generator, links_fail: bool, run: float = _RUN, workers: int = 4
) -> list[Failure]:
    """Return crashes of workers with and without a restart, of the server with one, pauses and splits.

    Worker 0 never crashes for good, so that a run has an end. Where links fail too, a pause is short: after a long one
    a worker has little time left until it takes the server for lost.
    """
    plan: list[Failure] = []
    for _ in range(random.integers(1, 4)):
        node, at = int(random.integers(0, workers)), float(random.uniform(0, 1.2 * run))
        short = float(random.choice([0.002, 0.02, 0.12]) * random.uniform(0.5, 1))
        long = float(random.choice([short, random.uniform(0.9, 1.4) * _SILENCE]))
        kinds: list[Failure] = [
            Crash(node, at, long),
            Crash(max(node, 1), at),
            Crash(SERVER, at, short),
            Pause(node, at, short if links_fail else long),
            Pause(SERVER, at, short),
            NetworkSplit([node], at, short),
        ]
        plan.append(kinds[random.integers(0, len(kinds))])
    return plan


def draw_cluster(
    random: np.random.Generator, failures: list[Failure], make: Callable[..., Simulation] = cluster, workers: int = 4
) -> Simulation:
    return make(
        speeds=random.uniform(0.2, 1.5, workers).tolist(),
        failures=failures,
        seed=int(random.integers(0, 1000)),
        checkpoint_every=int(random.integers(1, 4)),
        heartbeat_deadline=_SILENCE,
        resend_after=0.01,
        reconnect_after=0.005,
        stall_deadline=60.0,
        trace=False,
    )
