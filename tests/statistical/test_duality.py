"""The duality gap on random problems, beside the optimum of other solvers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from least import LABELS, NUMBERS, least
from problems import make_problem

import dsgd


@settings(max_examples=200, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    loss=st.sampled_from(LABELS + NUMBERS),
    n=st.integers(2, 15),
    d=st.integers(1, 6),
    alpha=st.sampled_from([1e-3, 1e-2, 0.1, 1.0]),
    fit_intercept=st.booleans(),
    weighted=st.booleans(),
    n_threads=st.sampled_from([1, 2]),
    epochs=st.integers(1, 30),
)
def test_the_gap_is_not_negative_and_bounds_how_far_the_objective_is_from_the_least(
    seed: int, loss: str, n: int, d: int, alpha: float, fit_intercept: bool, weighted: bool, n_threads: int, epochs: int
) -> None:
    random = np.random.default_rng(seed)
    X = random.standard_normal((n, d)) * (random.random((n, d)) < 0.7)
    y = random.standard_normal(n) if loss in NUMBERS else np.where(np.arange(n) % 2, -1.0, 1.0)
    importance = random.exponential(size=n) if weighted else np.ones(n)
    common: dict[str, Any] = {"loss": loss, "alpha": alpha, "fit_intercept": fit_intercept}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that the epochs are too few
        last = dsgd.fit(
            X, y, algo="sdca", sample_weight=importance, n_threads=n_threads, max_epochs=epochs, gap_tol=1e-9,
            random_state=0, **common,
        ).history[-1]  # fmt: skip
    assert last.gap is not None
    assert last.objective is not None
    assert last.gap >= 0
    best = least(X, y, importance=importance, loss=loss, alphas=(0.0, alpha), fit_intercept=fit_intercept)
    assert last.objective >= best - 1e-6 * (1 + best)  # or scipy has not found it
    assert last.objective - best <= last.gap * best + 1e-10


@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared_hinge"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_two_threads_reach_the_same_gap(loss: str, fit_intercept: bool) -> None:
    X, y = dsgd.data.make_text_classification(3000, n_features=2000, random_state=0)
    common: dict[str, Any] = {"algo": "sdca", "loss": loss, "fit_intercept": fit_intercept, "alpha": 1e-3}
    ends = [
        dsgd.fit(X.astype(np.float64), y, n_threads=threads, gap_tol=1e-5, random_state=0, **common)
        for threads in (1, 2)
    ]
    assert [end.stop_reason for end in ends] == ["gap_tol"] * 2
    one, two = (end.history[-1].objective for end in ends)
    assert two == pytest.approx(one, rel=1e-5)


def gaps(loss: str, fit_intercept: bool, counts: tuple[int, ...], seed: int) -> list[float]:
    """Return the relative gap after so many epochs."""
    X, y = make_problem(300, 20, seed=5)
    found = []
    for epochs in counts:
        with pytest.warns(RuntimeWarning, match="the duality gap is"):
            history = dsgd.fit(
                X, y, algo="sdca", loss=loss, alpha=0.01, fit_intercept=fit_intercept, n_threads=1, random_state=seed,
                max_epochs=epochs, gap_tol=1e-15,
            ).history  # fmt: skip
        found.append(history[-1].gap or 0.0)
    return found


@pytest.mark.parametrize("loss", ["logistic", "squared", "squared_hinge", "modified_huber", "huber"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_smooth_losses_converge_linearly(loss: str, fit_intercept: bool) -> None:
    """Every four epochs the gap falls to half and less: one of 1/k would fall from epoch 12 to 16 by a quarter.

    In the mean over seeds: samples at rest make the gap of one run fall by leaps.
    """
    logs = np.mean([np.log10(gaps(loss, fit_intercept, (4, 8, 12, 16), seed)) for seed in range(8)], axis=0)
    assert (np.diff(logs) < -0.3).all()
