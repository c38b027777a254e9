"""Who ``algo="auto"`` picks."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.algorithms import Algorithm, Auto, Facts, Hogwild, Sdca, Sgd, Svrg
from dsgd.algorithms.variance_reduction import safe_step
from dsgd.errors import ConfigError
from dsgd.losses import Hinge, Logistic, Perceptron, Squared

X, Y = make_problem(300, 20, seed=2)


def facts(**changes: Any) -> Facts:
    """Return those of text: a million entries, rows of norm 1, an average condition number of 0.2."""
    settings: dict[str, Any] = {"n_samples": 10_000, "n_features": 50_000, "n_entries": 1_000_000, "mean_square": 1.0}
    settings |= {"loss": Hinge(), "alphas": (0.0, 1e-4), "n_threads": 2, "gap_tol": None, "stepped": False}
    return Facts(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "algorithm", "threads", "why"),
    [
        ({}, Sdca, 1, "its steps are exact; 1,000,000 entries on 1 of 2 thread"),
        ({"n_entries": 8_000_000}, Sdca, 2, "its steps are exact; 8,000,000 entries on 2 of 2"),
        ({"n_entries": 7_999_999}, Sdca, 1, "on 1 of 2"),
        ({"n_entries": 8_000_000, "n_threads": 1}, Sdca, 1, "on 1 of 1"),
        ({"loss": Squared()}, Sdca, 1, "its steps are exact"),
        ({"loss": Perceptron()}, Sgd, 1, "loss 'perceptron' has no dual; 1,000,000 entries on 1 of 2"),
        ({"loss": Perceptron(), "n_entries": 2_000_000}, Hogwild, 2, "2,000,000 entries on 2 of 2"),
        ({"loss": Perceptron(), "n_entries": 2_000_000, "n_threads": 1}, Sgd, 1, "on 1 of 1"),
        ({"loss": Perceptron(), "n_entries": 1_999_999}, Sgd, 1, "on 1 of 2"),
        ({"alphas": (1e-4, 0.0)}, Sgd, 1, "only l2 alone has a dual to ascend"),
        ({"alphas": (1e-5, 1e-4)}, Sgd, 1, "only l2 alone"),
        ({"alphas": (0.0, 0.0)}, Sgd, 1, "only l2 alone"),
        ({"stepped": True}, Sgd, 1, "a step size or a schedule was given"),
        ({"n_features": 25}, Sdca, 1, "its steps are exact"),
        ({"n_features": 24}, Sgd, 1, "the average condition number, 417, is above 400"),
        ({"mean_square": 2_001.0}, Sgd, 1, "the average condition number"),
        ({"alphas": (0.0, 4e-8)}, Sgd, 1, "the average condition number, 500"),
        ({"n_features": 24, "gap_tol": 0.01}, Sdca, 1, "gap_tol needs a duality gap"),
        ({"n_features": 24, "gap_tol": 0.01, "loss": Logistic()}, Svrg, 1, "gap_tol of a smooth loss"),
        ({"n_features": 24, "gap_tol": 0.01, "loss": Logistic(), "alphas": (1e-4, 1e-4)}, Svrg, 1, "a smooth loss"),
        ({"gap_tol": 0.01, "alphas": (1e-4, 1e-4)}, Sgd, 1, "only l2 alone has a dual to ascend"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_it_picks(changes: dict[str, Any], algorithm: type[Algorithm], threads: int, why: str) -> None:
    choice = Auto().pick(facts(**changes))
    assert type(choice.algorithm) is algorithm
    assert choice.n_threads == threads
    assert why in choice.why


def test_variance_reduction_of_many_rows_with_few_features_takes_safe_steps() -> None:
    many: dict[str, Any] = {"gap_tol": 0.01, "loss": Logistic(), "n_features": 24}
    assert Auto().pick(facts(**many)).step_size == safe_step(Logistic(), 1.0, 1e-4) == 0.9 / (4 * (0.25 + 1e-4))
    assert Auto().pick(facts(**{**many, "n_features": 50_000}, alphas=(1e-4, 1e-4))).step_size is None
    assert Auto().pick(facts()).step_size is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Sdca()),
        ({"gap_tol": 0.01}, Sdca()),
        ({"gap_tol": 0.01, "loss": "logistic", "alpha": 1e-5}, Svrg()),
        ({"loss": "perceptron"}, Sgd()),
        ({"penalty": "l1"}, Sgd()),
        ({"step_size": 0.1}, Sgd()),
        ({"schedule": "linear"}, Sgd()),
        ({"alpha": 1e-5}, Sgd()),
    ],
    ids=str,
)
def test_the_result_names_who_was_picked_and_equals_it(
    settings: dict[str, Any], expected: Algorithm, caplog: pytest.LogCaptureFixture
) -> None:
    common: dict[str, Any] = {"alpha": 0.01, "random_state": 0, "n_threads": 2, **settings}
    with caplog.at_level(logging.INFO, "dsgd"):
        result = dsgd.fit(X, Y, algo="auto", **common)
    assert result.algorithm == expected
    picked = [message for message in caplog.messages if message.startswith(f"auto: picked {expected.name}: ")]
    assert len(picked) == 1
    assert "entries on 1 of 2 thread(s)" in picked[0]
    if isinstance(expected, Svrg):  # its step is the one that auto gave it
        common["step_size"] = result.history[0].step_size
    same = dsgd.fit(X, Y, algo=expected, **{**common, "n_threads": 1})
    assert (result.coef_ == same.coef_).all()
    assert result.intercept_ == same.intercept_
    assert result.stop_reason == same.stop_reason


def test_the_condition_number_knows_sample_weights() -> None:
    """Weights of 100 make it a hundred times as large."""
    settings: dict[str, Any] = {"algo": "auto", "alpha": 0.01, "random_state": 0}
    assert dsgd.fit(X, Y, **settings).algorithm == Sdca()
    assert dsgd.fit(X, Y, **settings, sample_weight=np.full(300, 100.0)).algorithm == Sgd()


def test_the_estimators_have_another_auto() -> None:
    with pytest.raises(ConfigError, match=r"Auto\(\) is for dsgd.fit; the estimators' algo='auto' is 'sgd', or"):
        dsgd.SGDClassifier(algo=Auto()).fit(X, Y)
    with pytest.raises(ConfigError, match=r"Auto\(\) is for dsgd.fit"):
        dsgd.SGDRegressor(algo=Auto()).fit(X, Y)
