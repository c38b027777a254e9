"""A hundred seeded failure plans for each of the algorithms that average models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cluster.averaged import ALGORITHMS, fit
from cluster.plans import PLANS, draw_cluster, draw_of_frames, draw_of_processes


def draw_options(algo: str, random: np.random.Generator) -> dict[str, Any]:
    spans = (20, 61) if algo == "wpsgd-dm" else (None, 20, 61)
    return {"averaging_span": spans[random.integers(0, len(spans))], "step_size": 0.05}


@pytest.mark.filterwarnings("ignore:algo .* (the nodes lag so far behind|between two averages)")
@pytest.mark.parametrize("tens", range(PLANS // 10))
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_run_ends_with_a_model_that_is_better_than_the_start(algo: str, tens: int) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        random = np.random.default_rng([ALGORITHMS.index(algo), number])
        of_frames = draw_of_frames(random)
        failures = [*of_frames, *draw_of_processes(random, bool(of_frames))]
        where, options = draw_cluster(random, failures), draw_options(algo, random)
        case = f"{algo} {number}: {failures}, {options}"
        result = fit(algo, where, **options)
        assert np.isfinite(result.model.weights).all(), case
        assert (result.history[-1].objective or math.inf) < math.log(2), case
        averaging = result.averaging
        assert averaging is not None, case
        assert averaging.weights.sum() == pytest.approx(1), case
        assert (averaging.weights > 0).all(), case


@pytest.mark.parametrize("span", [None, 20])
@pytest.mark.parametrize("tens", range(PLANS // 10))
def test_behind_barriers_frames_that_are_lost_or_late_change_nothing(span: int | None, tens: int) -> None:
    undisturbed = fit("simuparallel", averaging_span=span).model.weights.tobytes()
    for number in range(10 * tens, 10 * tens + 10):
        random = np.random.default_rng([99, number])
        where = draw_cluster(random, draw_of_frames(random))
        assert fit("simuparallel", where, averaging_span=span).model.weights.tobytes() == undisturbed, number
