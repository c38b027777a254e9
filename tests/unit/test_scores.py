"""R2 of any finite targets and predictions, also where their squares, or the targets beside them, are out of range."""

from __future__ import annotations

import functools
import operator
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
from dsgd.errors import DataError
from dsgd.losses import SquaredMLP
from dsgd.models import LinearModel, MLPModel
from dsgd.models.kmeans import KMeansModel
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


def in_parts(model: Model, decision: Any, target: Any, weight: Any, owner: NDArray[np.intp]) -> float:
    """Return the score of all rows, added up from those of the parts that `owner` numbers."""
    rows = [np.flatnonzero(owner == part) for part in np.unique(owner)]
    scores = [model.score_of_part(decision[k], target[k], None if weight is None else weight[k]) for k in rows]
    return functools.reduce(operator.add, scores).value


@given(st.integers(0, 2**32), st.sampled_from([1e-300, 1e-5, 1.0, 1e150, 1e300]), st.booleans(), st.booleans())
def test_r2_of_parts_is_that_of_all_rows(seed: int, unit: float, weighted: bool, constant: bool) -> None:
    random = np.random.default_rng(seed)
    target, decision = random.normal(size=(2, 40)) * unit
    target = np.full(40, unit) if constant else target
    weight = random.integers(0, 3, 40).astype(float) if weighted else None
    model = LinearModel(fit_intercept=True, loss=dsgd.losses.Squared(), classes=None, weights=np.zeros((1, 2)))
    whole = model.score_of(decision, target, weight)
    assert in_parts(model, decision, target, weight, random.integers(0, 7, 40)) == pytest.approx(whole, rel=1e-12)


def test_r2_of_parts_of_which_one_is_huge_is_that_of_all_rows() -> None:
    random = np.random.default_rng(0)
    target, decision = random.normal(size=(2, 40))
    target[30:] *= 1e307
    decision[25] = 1.7e308
    model = LinearModel(fit_intercept=True, loss=dsgd.losses.Squared(), classes=None, weights=np.zeros((1, 2)))
    whole = model.score_of(decision, target, None)
    for owner in (np.arange(40) // 10, 3 - np.arange(40) // 10, np.arange(40)):
        assert in_parts(model, decision, target, None, owner) == pytest.approx(whole, rel=1e-12)


@given(st.integers(0, 2**32), st.booleans())
def test_accuracy_and_inertia_of_parts_are_those_of_all_rows(seed: int, weighted: bool) -> None:
    random = np.random.default_rng(seed)
    owner, weight = random.integers(0, 7, 40), random.random(40) if weighted else None
    linear = LinearModel(
        fit_intercept=True, loss=dsgd.losses.Hinge(), classes=np.array(["a", "b"]), weights=np.zeros((1, 2))
    )
    decision, labels = random.normal(size=40), np.array(["a", "b"])[random.integers(0, 2, 40)]
    whole = linear.score_of(decision, labels, weight)
    assert in_parts(linear, decision, labels, weight, owner) == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx(np.average(np.where(decision > 0, "b", "a") == labels, weights=weight), rel=1e-15)
    kmeans = KMeansModel(weights=np.zeros((1, 6)), loss=dsgd.losses.KMeans(3), classes=None)
    distances = np.abs(random.normal(size=(40, 3)))
    whole = kmeans.score_of(distances, None, weight)
    assert in_parts(kmeans, distances, labels, weight, owner) == pytest.approx(whole, rel=1e-12)
    assert whole == pytest.approx(
        -np.average(distances.min(axis=1) ** 2, weights=weight) * (40 if weight is None else weight.sum())
    )


def test_r2_needs_two_rows_with_a_weight() -> None:
    for target, weight, message in (([1.0], [1.0], "at least two rows"), ([1.0, 2.0], [0.0, 0.0], "weights are 0")):
        with pytest.raises(DataError, match=message):
            r2(target, target, np.array(weight))


def test_the_score_of_an_exploded_regression_is_kept_in_its_history() -> None:
    X = np.random.default_rng(0).normal(size=(50, 3))
    result = dsgd.fit(X, X[:, 0], algo="sgd", loss="squared", max_epochs=2, random_state=0)
    result.model.weights[:] = 1e200
    assert result.score(X, X[:, 0]) == -sys.float_info.max


def test_a_large_number_is_shown_without_its_309_digits() -> None:
    assert decimals(0.97, 4) == "0.9700"
    assert decimals(-sys.float_info.max, 4) == "-1.798e+308"
