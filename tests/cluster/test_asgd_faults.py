"""A hundred seeded failure plans for `asgd`: every run ends, with a model that is better than the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cluster.asgd_fits import MODELS, WORKERS, cluster, fit
from cluster.plans import PLANS, draw_cluster, draw_of_frames, draw_of_processes

from dsgd.cluster import Crash

# Virtual seconds: a run takes about so many where no process is down.
RUN = 0.05


def draw_options(random: np.random.Generator) -> dict[str, Any]:
    choices: dict[str, list[Any]] = {
        "batch_size": [10, 30, "adaptive"],
        "fanout": [1, 2],
        "buffers": [1, 4],
        "partial": [1.0, 0.4],
        "pull": ["eps", "full"],
        "result": ["first", "mean"],
    }
    return {name: of[random.integers(0, len(of))] for name, of in choices.items()}


@pytest.mark.parametrize("tens", range(PLANS // 10))
def test_a_run_ends_with_a_model_that_is_better_than_the_start(tens: int) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        random = np.random.default_rng([7, number])
        model = list(MODELS)[number % len(MODELS)]
        failures = [*draw_of_frames(random), *draw_of_processes(random, links_fail=True, run=RUN, workers=WORKERS)]
        options = draw_options(random)
        where = draw_cluster(random, failures, cluster, WORKERS)
        case = f"{model} {number}: {failures}, {options}"
        result = fit(model, where, **options)
        start = fit(model, cluster(1), step_size=1e-300, max_epochs=1, silent=True)
        assert np.isfinite(result.model.weights).all(), case
        assert (result.history[-1].objective or math.inf) < (start.history[-1].objective or 0), case


@pytest.mark.parametrize("at", [0.3, 0.9])
@pytest.mark.parametrize("model", MODELS)
def test_a_worker_that_is_started_again_goes_on_where_it_was(model: str, at: float) -> None:
    """It is the one whose state is the model."""
    whole = fit(model, max_epochs=20)
    start = fit(model, cluster(1), step_size=1e-300, max_epochs=1, silent=True)
    failures = [Crash(0, at * (whole.history[-1].virtual_seconds or 0), 0.001)]
    again = fit(model, cluster(failures=failures, resend_after=0.01, reconnect_after=0.005), max_epochs=20)
    before, undisturbed, ended = ((each.history[-1].objective or 0) for each in (start, whole, again))
    assert before - ended > 0.97 * (before - undisturbed)
    silent, crashed = (
        fit(model, cluster(failures=each, resend_after=0.01, reconnect_after=0.005), max_epochs=20, silent=True)
        for each in ([], failures)
    )
    assert np.array_equal(silent.model.weights, crashed.model.weights)
