"""R2 of any finite targets and predictions, also where their squares, or the targets beside them, are out of range."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import r2_score

import dsgd
from dsgd.losses import SquaredMLP
from dsgd.models import LinearModel, MLPModel
from dsgd.models.trained import Model
from dsgd.results.progress import decimals

Y = np.array([1.0, 2.0, 3.0, 4.0])
REGRESSIONS = ["squared", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]


def r2(target: Any, decision: Any, weight: NDArray[Any] | None = None, loss: str = "squared") -> float:
    kind: Any = {"loss": dsgd.losses.LOSSES[loss](), "classes": None, "weights": np.zeros((1, 2))}
    model: Model = MLPModel(**kind) if loss == SquaredMLP.name else LinearModel(fit_intercept=True, **kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.score_of(np.asarray(decision), np.asarray(target), weight)


@pytest.mark.parametrize("loss", [*REGRESSIONS, SquaredMLP.name])
@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (1e10, -8e19),
        (-1e100, -8e199),
        (1e150, -8e299),
        (1e155, -sys.float_info.max),  # a history has no infinity
        (1e300, -sys.float_info.max),
        (-1.7e308, -sys.float_info.max),
    ],
)
def test_exploded_predictions_score_far_below_0(loss: str, prediction: float, expected: float) -> None:
    assert r2(Y, np.full(4, prediction), loss=loss) == pytest.approx(expected, rel=1e-6)


def test_an_exploded_prediction_of_single_precision_scores_far_below_0() -> None:
    assert r2(Y.astype(np.float32), np.full(4, 3e38, np.float32)) == pytest.approx(-4 * 9e76 / 5, rel=1e-6)


@pytest.mark.parametrize("unit", [1e-300, 1e-150, 1.0, 1e150, 4e307])
def test_r2_has_no_unit(unit: float) -> None:
    assert r2(Y * unit, np.array([1.5, 2, 3, 4]) * unit) == pytest.approx(0.95, rel=1e-9)
    assert r2(Y * unit, -Y * unit) == pytest.approx(-23, rel=1e-9)
    assert r2(Y * unit, Y * unit) == 1.0


@pytest.mark.parametrize("value", [0.1, 1e-300, 1.7e308, 0.0])
def test_r2_of_a_constant_is_that_of_scikit_learn(value: float) -> None:
    """Also where rounding makes the mean of equal numbers another one."""
    assert r2(np.full(10, value), np.full(10, value)) == 1.0
    assert r2(np.full(10, value), np.full(10, value / 2 + 1)) == 0.0


@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2, st.sampled_from([0.0, 0.5, 2.0])), min_size=3, max_size=30),
    st.booleans(),
)
def test_r2_is_that_of_scikit_learn(rows: list[tuple[float, float, float]], weighted: bool) -> None:
    target, decision, weight = np.round(np.array(rows).T, 3)
    weight[:2] = 1.0
    target[1] = target[0] + 1
    expected = r2_score(target, decision, sample_weight=weight if weighted else None)
    assert r2(target, decision, weight if weighted else None) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_the_score_of_an_exploded_regression_is_kept_in_its_history() -> None:
    X = np.random.default_rng(0).normal(size=(50, 3))
    result = dsgd.fit(X, X[:, 0], algo="sgd", loss="squared", max_epochs=2, random_state=0)
    result.model.weights[:] = 1e200
    assert result.score(X, X[:, 0]) == -sys.float_info.max


def test_a_large_number_is_shown_without_its_309_digits() -> None:
    assert decimals(0.97, 4) == "0.9700"
    assert decimals(-sys.float_info.max, 4) == "-1.798e+308"
