"""Numbers near the ends of their range: a result that is returned can be saved, and what cannot be trained says why."""

from __future__ import annotations

import math
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dsgd
from dsgd.data.scale import measure
from dsgd.errors import DivergedError, DsgdError
from dsgd.losses import LOSSES
from dsgd.problems.problem import Problem
from dsgd.results.history import History, Record

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, 0] + X[:, 1]
Y /= np.abs(Y).max()
REGRESSIONS = ["squared", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]


def fit_or_error(path: Path, *data: Any, **options: Any) -> dsgd.FitResult | DsgdError:
    """Return the result, which is the same when it is loaded, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = dsgd.fit(*data, random_state=0, **options)
        except DsgdError as error:
            return error
    result.save(path)
    assert dsgd.load(path).history == result.history
    return result


@pytest.mark.parametrize("evaluate_every", [0, 1])
@pytest.mark.parametrize("loss", REGRESSIONS)
@pytest.mark.parametrize("largest", [1e100, 1e150, 1.3e154, 1e200, 1e300, 1e307, 1.79e308])
def test_sdca_trains_large_targets_or_names_them(
    loss: str, largest: float, evaluate_every: int, tmp_path: Path
) -> None:
    for alpha in (1e-4, 1e-300):
        options: dict[str, Any] = {"algo": "sdca", "loss": loss, "alpha": alpha, "gap_tol": 1e-3, "max_epochs": 3}
        answer = fit_or_error(tmp_path / "model", X, Y * largest, evaluate_every=evaluate_every, **options)
        if isinstance(answer, DsgdError):
            row = int(np.abs(Y).argmax())
            assert f"y[{row}] is " in str(answer)
            assert f"{abs(Y[row] * largest):g}: scale the targets" in str(answer)
        else:
            assert math.isfinite(answer.history[-1].gap or 0)
    options["alpha"] = 1e-4
    if largest <= 1e150:
        assert not isinstance(fit_or_error(tmp_path / "model", X, Y * largest, **options), DsgdError)


@pytest.mark.parametrize("algo", ["sdca", "sgd", "hogwild", "minibatch", "batch", "svrg", "ssp", "sync", "dissvrg"])
def test_a_result_that_is_returned_can_be_saved(algo: str, tmp_path: Path) -> None:
    """Options at random, from the ends of their ranges."""
    chance = random.Random(algo)
    powers = [0, 0, 0, 0, 0, -10, 10, -38, 38, -100, 100, -150, 150, 154, -300, 300, 307]
    kinds: list[type[DsgdError | dsgd.FitResult]] = []
    for _ in range(100):
        loss = chance.choice(list(LOSSES))
        scale, of_targets = (10.0 ** chance.choice(powers) for _ in range(2))
        options: dict[str, Any] = {
            "alpha": 10.0 ** chance.choice(powers),
            "max_epochs": chance.choice([1, 3]),
            "evaluate_every": chance.choice([0, 1, 1]),
            "fit_intercept": chance.random() < 0.5,
        }
        if algo == "sdca" and chance.random() < 0.7:
            options["gap_tol"] = 10.0 ** chance.choice([-1, -3, -15, -300])
        elif algo != "sdca" and chance.random() < 0.3:
            options["step_size"] = 10.0 ** chance.choice(powers)
        if chance.random() < 0.3:
            options["sample_weight"] = np.full(40, 10.0 ** chance.choice(powers))
        if algo in ("ssp", "sync", "dissvrg"):
            options["cluster"] = dsgd.Simulation(workers=2)
        y = Y > 0 if LOSSES[loss]().classification else Y * of_targets
        if LOSSES[loss]().supervised and chance.random() < 0.5:
            options["eval_set"] = (X * scale, y)
        data = (X * scale,) if loss == "kmeans" else (X * scale, y)
        kinds.append(type(fit_or_error(tmp_path / "model", *data, algo=algo, loss=loss, **options)))
    assert dsgd.FitResult in kinds


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ["step_size", "objective", "loss", "score", "gap"])
def test_a_history_takes_no_number_that_is_not_finite(name: str, value: float) -> None:
    numbers: dict[str, Any] = {"effective_passes": 3.0, "seconds": 0.1, "step_size": 1.0, name: value}
    history = History()
    with pytest.raises(DivergedError, match=f"{name} is {value} after epoch 3, .*: scale the data"):
        history.append(Record(epoch=3, **numbers))
    assert len(history) == 0


@pytest.mark.parametrize(
    ("alpha", "weight", "expected"), [(1e-300, 1e200, 1.5e100), (1e-300, 1e300, 1.5e300), (1.0, math.inf, math.inf)]
)
def test_a_penalty_is_finite_where_only_squares_are_not(alpha: float, weight: float, expected: float) -> None:
    matrix = dsgd.data.inputs.as_matrix(X, 1)
    problem = Problem(
        matrix=matrix,
        target=Y,
        sample_weight=None,
        loss=LOSSES["squared"](),
        alphas=(0.0, alpha),
        fit_intercept=False,
        scale=measure(matrix, None, 1),
    )
    with np.errstate(all="raise", under="ignore"):
        assert problem.penalty(np.full(3, weight)) == pytest.approx(expected, rel=1e-3)


def test_kmeans_takes_large_sample_weights() -> None:
    weight = np.full(40, 1e307)
    for algo in ("batch", "minibatch"):
        result = dsgd.fit(X / 1e100, algo=algo, loss="kmeans", sample_weight=np.full(40, 1e100), random_state=0)
        assert len(np.unique(result.predict(X / 1e100))) > 1
    answers = {fit_or_error(Path(), X, algo="batch", loss="kmeans", sample_weight=weight).__class__}
    assert answers <= {dsgd.errors.DataError, DivergedError}


def test_the_gap_of_an_objective_that_is_almost_nothing_is_a_number() -> None:
    result = dsgd.fit(X, Y * 1e-160, algo="sdca", loss="squared", gap_tol=1e-3, max_epochs=3, random_state=0)
    assert 0 <= (result.history[-1].gap or 0) < math.inf
