"""Time of ten passes over the data: dsgd on one thread and several beside other libraries and the reading of memory.

Hinge loss, l2 with alpha 1e-5, float32, the whole `fit`, history evaluation off, medians of 5 rounds; XGBoost's linear
booster minimises the logistic loss. The objective after the passes is reported beside the time (``extra_info``). Run by
`make bench`; DSGD_BENCH_ROWS sets the most rows of a set. Ratios of one run: `bench/studies/hogwild_checks.py`.
"""

from __future__ import annotations

import os

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from common.ceiling import read
from common.passes import Solver, ours, scikit_learn, snap_ml, xgboost
from common.rounds import thread_counts
from common.workloads import WORKLOADS, Workload

PASSES, ROUNDS = 10, 5
ROWS = int(os.environ.get("DSGD_BENCH_ROWS", "300000"))
THREADS = thread_counts(least=2)

SOLVERS: dict[str, Solver] = {
    "sgd": ours("sgd"),
    **{f"hogwild-{threads}-threads": ours(n_threads=threads) for threads in THREADS},
    "hogwild-1-threads-step-searched": ours(n_threads=1, search=True),
    "hogwild-1-threads-memory-order": ours(n_threads=1, block_size=ROWS),
    "hogwild-1-threads-single-rows": ours(n_threads=1, block_size=1),
    "scikit-learn": scikit_learn(),
    "snapml-1-threads": snap_ml(1),
    "snapml-2-threads": snap_ml(2),
    "xgboost-2-threads": xgboost(2),
}


@pytest.fixture(scope="module", params=WORKLOADS)
def data(request: pytest.FixtureRequest) -> Workload:
    """Return a workload, where its data is there."""
    try:
        return WORKLOADS[request.param](ROWS)
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is not there; set DSGD_DATA to the folder of the real data sets")


def report(benchmark: BenchmarkFixture, data: Workload) -> None:
    """Group the passes over the same data, and say how many entries were visited in a second."""
    benchmark.group = f"{PASSES} passes, {len(data.y)} x {data.X.shape[1]}, {data.entries} entries"
    if benchmark.stats is not None:
        benchmark.extra_info["M entries/s"] = round(PASSES * data.entries / benchmark.stats.stats.median / 1e6)


@pytest.mark.parametrize("name", SOLVERS)
def test_ten_passes(benchmark: BenchmarkFixture, data: Workload, name: str) -> None:
    solver = SOLVERS[name]
    if solver.missing:
        pytest.skip(solver.missing)
    weights = benchmark.pedantic(solver.fit, args=(data, PASSES), rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    w, b = weights()
    benchmark.extra_info[f"{solver.loss} objective"] = data.objective(w, b, solver.loss)
    report(benchmark, data)
    assert data.learnt(w, b)


@pytest.mark.parametrize("threads", THREADS)
def test_reading_ten_times(benchmark: BenchmarkFixture, data: Workload, threads: int) -> None:
    total = benchmark.pedantic(read, args=(data, threads, PASSES), rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    report(benchmark, data)
    if benchmark.stats is not None:
        size = sum(array.nbytes for array in data.arrays)
        benchmark.extra_info["GB/s"] = round(PASSES * size / benchmark.stats.stats.median / 1e9, 1)
    assert total == PASSES * read(data, 1, 1) % 2**64
