"""Gradient descent over all rows."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

import dsgd
from dsgd.errors import DivergedError
from dsgd.schedules import Constant, EpochDecay
from dsgd.testing import reference

X, Y = make_problem(400, 30, seed=0)
SETTINGS: dict[str, Any] = {"algo": "batch", "loss": "logistic", "alpha": 0.01}


def objectives(result: dsgd.FitResult) -> list[float]:
    return [record.objective for record in result.history if record.objective is not None]


@pytest.mark.parametrize("step_size", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_it_descends_to_the_optimum_from_any_first_step(step_size: float, layout: str) -> None:
    dense = X.toarray()

    def value(v: Any) -> float:
        return reference.objective(dense, Y, v[:30], float(v[30]), loss="logistic", alpha=0.01)

    best = minimize(value, np.zeros(31), method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9, "maxfun": 10**6}).fun
    data = X if layout == "sparse" else dense
    values = objectives(dsgd.fit(data, Y, step_size=step_size, max_epochs=500, **SETTINGS))
    assert all(after <= before * (1 + 1e-11) for before, after in pairwise(values))
    assert best * (1 - 1e-9) <= values[-1] <= best * (1 + 1e-6)


def test_the_result_hardly_depends_on_the_threads_and_repeats() -> None:
    big, y = make_problem(3000, 30, seed=1)
    one, two, again = (dsgd.fit(big, y, n_threads=threads, max_epochs=20, **SETTINGS).coef_ for threads in (1, 2, 2))
    assert (two == again).all()
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.005, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_the_support_under_l1_is_that_of_the_optimum(seed: int, alpha: float) -> None:
    """Against scikit-learn's saga, run to its optimum."""
    data, y = make_problem(400, 40, seed=seed)
    old = scipy.sparse.csr_matrix(data)
    peer = LogisticRegression(
        l1_ratio=1.0, solver="saga", C=1 / (alpha * 400), tol=1e-10, max_iter=100_000, fit_intercept=False
    ).fit(old, y)
    result = dsgd.fit(
        data, y, algo="batch", loss="logistic", penalty="l1", alpha=alpha, fit_intercept=False, max_epochs=2000
    )
    support = peer.coef_[0] != 0
    assert 0 < support.sum() < 40
    assert ((result.coef_ != 0) == support).all()
    np.testing.assert_allclose(result.coef_, peer.coef_[0], rtol=0, atol=1e-5)


def test_float32_and_several_classes() -> None:
    single = dsgd.fit(X.astype(np.float32), Y, max_epochs=100, **SETTINGS)
    double = dsgd.fit(X, Y, max_epochs=100, **SETTINGS)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=0, atol=1e-3)
    labels = np.digitize(X.toarray()[:, 0], [-0.5, 0.5])
    assert dsgd.fit(X, labels, max_epochs=50, **SETTINGS).score(X, labels) > 0.6


def test_the_schedule_has_no_say() -> None:
    coefs = [dsgd.fit(X, Y, max_epochs=5, schedule=s, **SETTINGS).coef_ for s in (Constant(), EpochDecay(factor=0.1))]
    assert (coefs[0] == coefs[1]).all()


def test_the_history_has_the_steps_of_the_line_search() -> None:
    steps = [record.step_size for record in dsgd.fit(X, Y, step_size=1e4, max_epochs=20, **SETTINGS).history]
    assert steps[0] < 1e4
    assert all(after / before in (2, 1, 0.5, 0.25) for before, after in pairwise(steps))


def test_what_overflows_diverges_without_warnings_of_numpy() -> None:
    with pytest.warns(RuntimeWarning, match="epoch 1 diverged"), pytest.raises(DivergedError, match="scale the data"):
        dsgd.fit(X * 1e150, Y, max_epochs=2, step_size=1e250, **SETTINGS)
