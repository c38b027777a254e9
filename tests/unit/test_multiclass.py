"""More than two classes: each against all others, in step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.fitting.targets import OneVsAll

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


@pytest.mark.parametrize("algo", ["sgd", "hogwild", "minibatch", "svrg", "batch", "sdca"])
def test_classes_that_share_the_memory_of_their_targets_are_trained_as_each_alone(algo: str) -> None:
    """Steps that are searched for, steps that are cut, evaluations that are left out: every reader has its turn."""
    X = np.random.default_rng(0).normal(size=(400, 8))
    y = (X[:, :5] + 0.3).argmax(axis=1)
    fixed: dict[str, Any] = {"algo": algo, "loss": "squared_hinge", "random_state": 0, "n_threads": 1, "max_epochs": 4}
    fixed["alpha"] = 0.01
    for options in ({}, {"evaluate_every": 0}, {} if algo in ("batch", "sdca") else {"step_size": 0.01}):
        together = dsgd.fit(X, y, **fixed, **options)
        for k in range(5):
            alone = dsgd.fit(X, y == k, **fixed, **options)
            if options.get("step_size") or algo in ("batch", "sdca"):  # else a search begins where the last one ended
                np.testing.assert_array_equal(together.coef_[k], alone.coef_)
            assert np.mean((together.decision_function(X)[:, k] > 0) == (alone.decision_function(X) > 0)) > 0.9


def test_targets_of_one_class_against_all_others() -> None:
    members = np.array([2, 0, 1, 2])
    for n_arrays in (0, 1, 2):
        targets = OneVsAll(members, 3, np.dtype(np.float32), n_arrays=n_arrays)
        assert [targets[k].tolist() for k in (0, 2, 1)] == [[-1, 1, -1, -1], [1, -1, -1, 1], [-1, -1, 1, -1]]
        assert targets[0].dtype == np.float32
        assert (targets[0] is targets[1]) is (n_arrays == 1)
        assert (targets[0] is targets[2]) is (n_arrays > 0)
        assert targets.shared is (n_arrays > 0)
    pair = OneVsAll(np.array([0, 1]), 2, np.dtype(np.float64))
    assert len(pair) == 1
    assert pair[0].tolist() == [-1, 1]
    assert targets.where(members > 0)[2].tolist() == [1, -1, 1]


def test_the_memory_of_many_classes_is_that_of_one() -> None:
    """A thousandth of what targets of all classes together would take."""
    program = """
import resource, sys, numpy as np, dsgd
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
X, y = np.random.default_rng(0).normal(size=(40000, 2)), np.arange(40000) % 400
def train(X, y):
    dsgd.fit(X, y, algo="sgd", max_epochs=1, step_size=1.0, evaluate_every=0)
    dsgd.SGDClassifier(max_iter=1, tol=None).fit(X, y)
train(X[:90], y[:90] % 3)
before = peak(); train(X, y); print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 30  # MiB; 122 for targets of all classes
