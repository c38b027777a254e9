"""Time of ten passes over the data: dsgd on one and two threads beside scikit-learn's SGDClassifier.

Hinge loss, l2 with alpha 1e-5, float32 CSR (scikit-learn: float32 values as well), the whole `fit` call. The objective
after the passes is reported beside the time (``extra_info``). Run by `make bench`; DSGD_BENCH_ROWS sets the size.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn.linear_model import SGDClassifier

import dsgd

ALPHA, PASSES = 1e-5, 10
# Named, not left to the defaults: no search is timed, and figures stay comparable when the defaults change.
SETTINGS: dict[str, Any] = {
    "alpha": ALPHA,
    "step_size": 0.5,
    "schedule": "epoch-decay",
    "max_epochs": PASSES,
    "evaluate_every": 0,
}
ROWS = int(os.environ.get("DSGD_BENCH_ROWS", "300000"))


@pytest.fixture(scope="module")
def documents() -> tuple[Any, Any]:
    """Return documents of the shape of RCV1-v2."""
    return dsgd.data.make_text_classification(ROWS, random_state=0)


def hogwild(threads: int, block_size: int | None = None) -> Callable[[Any, Any], tuple[Any, float]]:
    """Return a fit of dsgd that gives weights and intercept."""

    def fit(X: Any, y: Any) -> tuple[Any, float]:
        result = dsgd.fit(X, y, algo="hogwild", n_threads=threads, random_state=0, block_size=block_size, **SETTINGS)
        return result.coef_, result.intercept_

    return fit


def sgd(X: Any, y: Any) -> tuple[Any, float]:
    """Fit with dsgd on one thread."""
    result = dsgd.fit(X, y, algo="sgd", random_state=0, **SETTINGS)
    return result.coef_, result.intercept_


def scikit_learn(X: Any, y: Any) -> tuple[Any, float]:
    """Fit with scikit-learn, which has one thread for a binary problem."""
    model = SGDClassifier(alpha=ALPHA, max_iter=PASSES, tol=None, random_state=0).fit(X, y)
    return model.coef_[0], float(model.intercept_[0])


SOLVERS: dict[str, Callable[[Any, Any], tuple[Any, float]]] = {
    "sgd": sgd,
    "hogwild-1-thread": hogwild(1),
    "hogwild-2-threads": hogwild(2),
    "hogwild-1-thread-single-rows": hogwild(1, 1),
    "hogwild-2-threads-single-rows": hogwild(2, 1),
    "scikit-learn": scikit_learn,
}


@pytest.mark.benchmark(group=f"{PASSES} passes, hinge, {ROWS} documents")
@pytest.mark.parametrize("solver", SOLVERS)
def test_ten_passes(benchmark: BenchmarkFixture, documents: tuple[Any, Any], solver: str) -> None:
    X, y = documents
    w, b = benchmark.pedantic(SOLVERS[solver], args=(X, y), rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
    objective = np.maximum(0, 1 - y * (X @ w + b)).mean() + ALPHA / 2 * float(w @ w)
    benchmark.extra_info["objective"] = float(objective)
    if benchmark.stats is not None:
        rate = PASSES * X.nnz / benchmark.stats.stats.median
        benchmark.extra_info["M non-zeros/s"] = round(rate / 1e6)
    assert objective < 0.5
