"""The distributed algorithms, on simulated clusters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync, resolve_algorithm
from dsgd.algorithms.variance_reduction import longest_safe_step
from dsgd.cluster import Crash, KernelCost, Simulation
from dsgd.cluster.assignment import Assignment
from dsgd.cluster.kernels import Kernels
from dsgd.cluster.run import SimulatedRun
from dsgd.data.inputs import as_matrix
from dsgd.data.partition import deal
from dsgd.losses import resolve_loss
from dsgd.problem import Problem, measure
from dsgd.schedules import Constant

X, Y = make_problem(240, 20, seed=3)


def problem_of(X: Any) -> Problem:
    matrix = as_matrix(X, 1)
    return Problem(
        matrix=matrix,
        target=Y,
        sample_weight=None,
        loss=resolve_loss("logistic"),
        alphas=(0.0, 1e-2),
        fit_intercept=True,
        scale=measure(matrix, None, 1),
    )


def assignment(algorithm: DistributedAlgorithm, workers: int, clocks: int, step_size: float, X: Any = X) -> Assignment:
    problem = problem_of(X)
    coordinators = [np.zeros(1, np.intp)] * int(algorithm.has_coordinator)
    return Assignment(
        algorithm=algorithm,
        problem=problem,
        rows=coordinators + deal(240, workers, 5),
        inverse_frequency=problem.objective(1).inverse_frequency,
        n_threads=1,
        start=np.zeros(21),
        max_clocks=clocks,
        passes_per_clock=1.0,
        schedule=Constant(),
        step_size=step_size,
        seed=5,
        n_total=240,
    )


def simulate(work: Assignment, **cluster: Any) -> np.ndarray[Any, Any]:
    return SimulatedRun(Simulation(nodes=work.n_nodes, **cluster), work).run().weights


def optimum() -> float:
    result = dsgd.fit(X, Y, algo="batch", loss="logistic", alpha=1e-2, max_epochs=2000, n_threads=1)
    return float(result.history[-1].objective or math.nan)


def test_ssp_on_one_node_is_a_plain_loop() -> None:
    work = assignment(Ssp(batch_size=8), 1, 50, 0.2)
    kernels = Kernels(problem_of(X), None, 1)
    weights = np.zeros(21)
    random: Any = None
    for clock in range(50):
        index, begin = divmod(clock * 8, 240)
        if begin == 0:
            random = np.random.Generator(np.random.Philox(key=[6, index])).permutation(240)
        weights = weights + kernels.minibatch_step(weights, random[begin : begin + 8], 0.2)
    assert np.array_equal(simulate(work), weights)


def test_sync_with_one_worker_is_a_plain_loop() -> None:
    work = assignment(Sync(batch_size=240), 1, 20, 0.5)
    kernels = Kernels(problem_of(X), None, 1)
    weights = np.zeros(21)
    for clock in range(20):
        rows = np.random.Generator(np.random.Philox(key=[6, (1 << 40) + clock])).permutation(240)
        weights = kernels.proximal_step(weights, kernels.gradient(weights, rows), 0.5)
    assert np.array_equal(simulate(work), weights)


@pytest.mark.parametrize("gradient", ["global", "exact", "local"])
def test_dissvrg_on_one_node_is_a_plain_loop(gradient: str) -> None:
    work = assignment(DisSvrg(gradient=gradient), 1, 10, 0.1)
    kernels = Kernels(problem_of(X), None, 1)
    weights = np.zeros(21)
    step = min(0.1, longest_safe_step(problem_of(X)))
    for clock in range(10):
        rows = np.random.Generator(np.random.Philox(key=[5, clock])).integers(240, size=240)
        end = kernels.svrg_steps(weights, weights, kernels.full_gradient(weights), rows, step)
        weights = weights + (end - weights)
    assert np.array_equal(simulate(work), weights)


def test_a_barrier_algorithm_gives_the_same_bits_on_every_cluster() -> None:
    runs = [
        simulate(assignment(Sync(batch_size=10), 4, 30, 0.2), **cluster)
        for cluster in (
            {},
            {"speeds": [1, 0.1, 2, 1, 0.5], "jitter": 1e-3, "seed": 4},
            {"failures": [Crash(2, 0.005, 0.01), dsgd.cluster.Loss(0.2)], "resend_after": 0.01},
        )
    ]
    assert np.array_equal(runs[0], runs[1])
    assert np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("nodes", [4, 16])
@pytest.mark.parametrize(
    ("algorithm", "epochs", "bound"),
    [
        (Ssp(batch_size=2), 150, 1e-2),
        (Sync(batch_size=4), 150, 1e-2),
        (DisSvrg(gradient="global", inner_steps=60), 120, 1e-3),
        (DisSvrg(gradient="exact", inner_steps=60), 120, 1e-3),
    ],
    ids=["ssp", "sync", "global", "exact"],
)
def test_the_limit_is_the_optimum(algorithm: DistributedAlgorithm, epochs: int, bound: float, nodes: int) -> None:
    result = dsgd.fit(
        X,
        Y,
        algo=algorithm,
        loss="logistic",
        alpha=1e-2,
        max_epochs=epochs,
        evaluate_every=epochs,
        cluster=Simulation(nodes=nodes, trace=False),
        random_state=0,
    )
    best = optimum()
    assert (result.history[-1].objective or math.inf) < best * (1 + bound)


def test_a_local_gradient_is_biased() -> None:
    runs = {}
    for gradient in ("exact", "local"):
        result = dsgd.fit(
            X,
            Y,
            algo=DisSvrg(gradient=gradient, inner_steps=200),
            loss="logistic",
            alpha=1e-2,
            max_epochs=60,
            evaluate_every=60,
            cluster=Simulation(nodes=16),
            random_state=0,
        )
        runs[gradient] = result.history[-1].objective or math.nan
    assert runs["local"] > runs["exact"] + 1e-3


@pytest.mark.parametrize(
    ("algo", "option", "values"),
    [
        ("ssp", "staleness", (0, math.inf)),
        ("ssp", "batch_size", (4, 8)),
        ("sync", "batch_size", (4, 8)),
        ("sync", "stop_change", (None, 1.0)),
        ("dissvrg", "staleness", (0, math.inf)),
        ("dissvrg", "gradient", ("global", "exact", "local")),
        ("dissvrg", "inner_steps", (10, 20)),
        ("dissvrg", "inner_steps_increment", (0, 20)),
        ("dissvrg", "window", (False, True)),
        ("dissvrg", "max_sigma", (0.0, 1.0)),
    ],
)
def test_every_option_changes_the_result(algo: str, option: str, values: tuple[Any, ...]) -> None:
    results = []
    for value in values:
        algorithm = resolve_algorithm(algo, {option: value})
        assert isinstance(algorithm, DistributedAlgorithm)
        work = assignment(algorithm, 3, 30, 0.01)
        speeds = [1.0] * (work.n_nodes - 1) + [0.1]
        results.append(simulate(work, speeds=speeds).tobytes())
    assert len(set(results)) == len(values)


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"inner_steps_increment": 30}, {"max_inner_steps": 100}),
        ({"inner_steps_increment": 30}, {"decay": True}),
        ({}, {"safe": False}),
    ],
)
def test_options_that_need_others_change_the_result(options: dict[str, Any], changed: dict[str, Any]) -> None:
    results = []
    for more in ({}, changed):
        work = assignment(DisSvrg(staleness=2, **options, **more), 3, 30, 1.0)
        # The last node is slow at first and fast later, so that there are lags, and an end of them.
        slow = [(0.0, 0.05), (0.4, 10.0)]
        cost = KernelCost(call=1e-3)
        results.append(simulate(work, speeds=[1.0, 1.0, slow], kernel_cost=cost).tobytes())
    assert results[0] != results[1]


def test_sync_checks_as_often_as_it_is_told() -> None:
    clocks = []
    for every in (1, 7):
        work = assignment(Sync(stop_change=1.0, check_every=every), 2, 60, 0.1)
        clocks.append(SimulatedRun(Simulation(nodes=3), work).run().record.clocks[0])
    assert clocks == [3, 15]  # checks 0, 1, 2: the first has nothing to compare with


def test_frequencies_of_the_whole_data_reach_the_parts() -> None:
    work = assignment(Ssp(), 4, 1, 0.1)
    whole = problem_of(X).objective(1).inverse_frequency
    assert whole is not None
    for kernels in map(work.kernels, range(4)):
        assert np.array_equal(kernels._objective.inverse_frequency, whole)  # type: ignore[arg-type]
        own = kernels._local_frequencies()
        assert own is not None
        assert not np.array_equal(own, whole)
