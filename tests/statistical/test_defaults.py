"""Untuned, on real data: automatic steps beside a grid, the defaults beside scikit-learn (bench: all sets)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.real_sets import Parts
from studies.defaults import SCORE_BOUND, STEP_BOUND, scores, step_rows

NAMES = ("reuters", "20news", "a9a", "phishing", "casp", "year")


@pytest.mark.filterwarnings("ignore:epoch .* diverged:RuntimeWarning")  # the longest steps of the grid
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e3])
def test_auto_is_as_good_as_the_best_constant_step(name: str, factor: float, real_set: Callable[[str], Parts]) -> None:
    for loss, best, _, auto, _ in step_rows(real_set(name), factor, range(1)):
        assert auto <= STEP_BOUND * best, loss


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_score_as_well_as_scikit_learn(name: str, real_set: Callable[[str], Parts]) -> None:
    ours, theirs = scores(real_set(name), range(5))
    assert ours >= theirs - SCORE_BOUND
