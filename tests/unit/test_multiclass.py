"""More than two classes: each against all others, in step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd

X, _ = make_problem(400, 20, seed=0)
SCORES = X @ np.random.default_rng(1).standard_normal((20, 4))
Y = np.array(["a", "b", "c", "d"])[SCORES.argmax(axis=1)]
SETTINGS: dict[str, Any] = {"algo": "sgd", "step_size": 0.2, "random_state": 0, "max_epochs": 10}


def test_each_class_is_trained_as_if_it_were_alone() -> None:
    result = dsgd.fit(X, Y, **SETTINGS)
    assert result.classes_ is not None
    assert result.classes_.tolist() == ["a", "b", "c", "d"]
    objectives = []
    for k, name in enumerate("abcd"):
        alone = dsgd.fit(X, name == Y, **SETTINGS)
        assert (result.coef_[k] == alone.coef_).all()
        assert result.intercept_[k] == alone.intercept_
        objectives.append(alone.history[-1].objective)
    assert result.history[-1].objective == pytest.approx(np.mean(objectives), rel=1e-14)  # type: ignore[arg-type]


def test_the_class_with_the_largest_decision_value_is_predicted() -> None:
    result = dsgd.fit(X, Y, eval_set=(X, Y), loss="logistic", **SETTINGS)
    decision = result.decision_function(X)
    assert decision.shape == (400, 4)
    np.testing.assert_allclose(decision, X @ result.coef_.T + result.intercept_, rtol=0, atol=1e-12)
    assert (result.predict(X) == np.array(list("abcd"))[decision.argmax(axis=1)]).all()
    assert result.score(X, Y) > 0.8
    assert result.history[-1].score == result.score(X, Y)
    probability = result.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    each = 1 / (1 + np.exp(-decision))
    np.testing.assert_allclose(probability, each / each.sum(axis=1, keepdims=True))


def test_probabilities_that_are_all_zero_become_equal() -> None:
    result = dsgd.fit(X, Y, loss="modified_huber", **SETTINGS)
    result.model.weights[:] = 0
    result.model.weights[:, -1] = -5
    assert (result.predict_proba(X) == 0.25).all()


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_save_and_load(tmp_path: Path, fit_intercept: bool) -> None:
    result = dsgd.fit(X, Y, fit_intercept=fit_intercept, **SETTINGS)
    result.save(tmp_path / "model")
    loaded = dsgd.load(tmp_path / "model")
    assert (loaded.coef_ == result.coef_).all()
    assert np.array_equal(loaded.intercept_, result.intercept_)
    assert np.array_equal(loaded.predict(X), result.predict(X))


def test_hogwild_init_and_weights() -> None:
    settings = {**SETTINGS, "penalty": "l1"}
    hogwild = dsgd.fit(X, Y, **{**settings, "algo": "hogwild", "n_threads": 1})
    assert (hogwild.coef_ == dsgd.fit(X, Y, **settings).coef_).all()
    start = np.arange(84.0).reshape(4, 21)
    result = dsgd.fit(X, Y, init=start, **{**SETTINGS, "step_size": 1e-12})
    np.testing.assert_allclose(result.coef_, start[:, :20], atol=1e-6)
    weighted = dsgd.fit(X, Y, class_weight={"b": 3}, **SETTINGS)
    same = dsgd.fit(X, Y, sample_weight=np.where(Y == "b", 3, 1), **SETTINGS)
    assert (weighted.coef_ == same.coef_).all()
