"""The distributed algorithms, on simulated clusters."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync, resolve_algorithm
from dsgd.algorithms.variance_reduction import longest_safe_step
from dsgd.cluster import Crash, KernelCost, Simulation
from dsgd.cluster.program.commands import Push
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.partition import deal
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem
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


def assignment(algorithm: DistributedAlgorithm, workers: int, clocks: int, step_size: float, X: Any = X) -> RunSpec:
    problem = problem_of(X)
    coordinators = [np.zeros(1, np.intp)] * int(algorithm.has_coordinator)
    return RunSpec(
        algorithm=algorithm,
        problem=problem,
        rows=coordinators + deal(240, workers, 5),
        of_whole=problem.loss.of_whole(problem, problem.objective(1)),
        n_threads=1,
        start=np.zeros(problem.matrix.n_features + 1),
        max_clocks=clocks,
        passes_per_clock=1.0,
        schedule=Constant(),
        step_size=step_size,
        seed=5,
        n_total=240,
    )


def simulate(work: RunSpec, **cluster: Any) -> np.ndarray[Any, Any]:
    workers = work.n_nodes - int(work.algorithm.has_coordinator)
    return SimulatedRun(Simulation(workers=workers, **cluster), work).run().weights


def optimum() -> float:
    result = dsgd.fit(X, Y, algo="batch", loss="logistic", alpha=1e-2, max_epochs=2000, n_threads=1)
    return float(result.history[-1].objective or math.nan)


def test_a_barrier_algorithm_gives_the_same_bits_on_every_cluster() -> None:
    runs = [
        simulate(assignment(Sync(batch_size=10), 4, 30, 0.2), **cluster)
        for cluster in (
            {},
            {"speeds": [0.1, 2, 1, 0.5], "jitter": 1e-3, "seed": 4},
            {"failures": [Crash(2, 0.005, 0.01), dsgd.cluster.FrameLoss(0.2)], "resend_after": 0.01},
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
        cluster=Simulation(workers=nodes, trace=False),
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
            algo=DisSvrg(gradient=gradient, inner_steps=200, safe=True),  # the paper's steps: shorter ones are
            schedule="constant",  # less biased
            loss="logistic",
            alpha=1e-2,
            max_epochs=60,
            evaluate_every=60,
            cluster=Simulation(workers=16),
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
        ("dissvrg", "inner_steps_increment", (0, 20, None)),
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
        workers = work.n_nodes - int(work.algorithm.has_coordinator)
        speeds = [1.0] * (workers - 1) + [0.1]  # and kernels slow enough for a node's speed to matter
        results.append(simulate(work, speeds=speeds, kernel_cost=KernelCost(entry=1e-7)).tobytes())
    assert len(set(results)) == len(values)


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"inner_steps_increment": 30}, {"max_inner_steps": 100}),
        ({"inner_steps_increment": 30}, {"decay": True}),
        ({}, {"safe": True}),
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


def test_by_default_a_worker_grows_its_loop_by_a_tenth_of_its_rows_up_to_five_times_them() -> None:
    slow: dict[str, Any] = {"speeds": [1.0, 1.0, 0.01], "kernel_cost": KernelCost(call=1e-3)}
    algorithms = (
        DisSvrg(staleness=2),
        DisSvrg(staleness=2, inner_steps_increment=8, max_inner_steps=400),
        DisSvrg(staleness=2, max_inner_steps=399),
    )
    runs = [simulate(assignment(algorithm, 3, 80, 0.01), **slow) for algorithm in algorithms]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("kind", [Ssp, Sync])
@pytest.mark.parametrize(("workers", "size"), [(1, 31), (4, 8), (16, 2), (64, 1)])
def test_by_default_a_step_of_all_workers_takes_twice_the_root_of_the_rows_but_not_more_than_256(
    kind: type[Ssp] | type[Sync], workers: int, size: int
) -> None:
    assert kind().rows_of_batch(240, workers) == size
    assert kind().rows_of_batch(10**6, workers) == max(1, 256 // workers)
    runs = [simulate(assignment(kind(batch_size=rows), workers, 5, 0.1)) for rows in (None, size, size + 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    for given in (None, size):
        assert kind(batch_size=given).clocks(3, 240, workers) == math.ceil(3 * math.ceil(240 / workers) / size)


@pytest.mark.parametrize("algo", ["ssp", "sync", "dissvrg"])
def test_by_default_steps_fall_in_a_line_to_zero(algo: str) -> None:
    settings: dict[str, Any] = {"loss": "logistic", "max_epochs": 4, "random_state": 0, "step_size": 0.1}
    papers = "constant" if algo == "dissvrg" else "inverse-sqrt"
    default, linear, paper = (
        dsgd.fit(X, Y, algo=algo, cluster=Simulation(workers=3), **(settings | more)).coef_
        for more in ({}, {"schedule": "linear"}, {"schedule": papers})
    )
    assert np.array_equal(default, linear)
    assert not np.array_equal(default, paper)


def test_safe_steps_begin_with_the_longest_that_the_theory_covers_and_others_are_tried() -> None:
    def step(**options: Any) -> float:
        settings: dict[str, Any] = {
            "loss": "logistic",
            "alpha": 1e-2,
            "max_epochs": 2,
            "random_state": 0,
            "schedule": "constant",
        }
        return dsgd.fit(X, Y, algo=DisSvrg(**options), cluster=Simulation(workers=3), **settings).history[0].step_size

    longest = longest_safe_step(problem_of(X))
    assert step(safe=True) == longest
    assert step(safe=True, max_sigma=1.0) == longest / 2
    assert step() > longest
    assert len({step(), step(inner_steps=800), step(max_sigma=8.0)}) == 3


@pytest.mark.parametrize("staleness", [0, 1, 3, math.inf])
def test_a_global_gradient_of_a_clock_ago_does_not_make_the_weights_swing(staleness: float) -> None:
    settings: dict[str, Any] = {"loss": "logistic", "alpha": 1e-4, "max_epochs": 12, "random_state": 0}
    result = dsgd.fit(X, Y, algo=DisSvrg(staleness=staleness), cluster=Simulation(workers=4), **settings)
    objectives = [record.objective or math.inf for record in result.history]
    assert all(later < earlier for earlier, later in itertools.pairwise([math.log(2), *objectives]))


def test_sync_checks_as_often_as_it_is_told() -> None:
    clocks = []
    for every in (1, 7):
        work = assignment(Sync(stop_change=1.0, check_every=every), 2, 60, 0.1)
        clocks.append(SimulatedRun(Simulation(workers=2), work).run().record.clocks[0])
    assert clocks == [3, 15]  # checks 0, 1, 2: the first has nothing to compare with


def test_frequencies_of_the_whole_data_reach_the_parts() -> None:
    work = assignment(Ssp(), 4, 1, 0.1)
    whole = problem_of(X).linear_objective(1).inverse_frequency
    assert whole is not None
    for kernels in map(work.kernels, range(4)):
        assert np.array_equal(kernels._linear.inverse_frequency, whole)  # type: ignore[arg-type]
        own = kernels._local_frequencies
        assert own is not None
        assert not np.array_equal(own, whole)


class WholePushes(Ssp):
    """One that names no keys, and takes as long."""

    def push(self, task: WorkerTask, start: Any, end: Any) -> Push:
        task.differing(start, end)
        return Push(end if self.staleness == 0 else end - start)


@pytest.mark.parametrize("staleness", [0, 2])
def test_pushing_only_what_moved_takes_fewer_bytes_to_the_same_weights(staleness: int) -> None:
    wide, _ = make_problem(240, 2000, seed=3)
    outcomes = []
    for kind in (Ssp, WholePushes):
        work = assignment(kind(batch_size=4, staleness=staleness), 4, 20, 0.1, wide)
        outcomes.append(SimulatedRun(Simulation(workers=4, bandwidth=1e15), work).run())
    some, whole = outcomes
    assert np.array_equal(some.weights, whole.weights)
    assert np.count_nonzero(some.weights) > 100
    assert max(some.record.bytes_sent) < 0.7 * min(whole.record.bytes_sent)


def test_where_nearly_all_weights_move_all_are_pushed() -> None:
    kernels = Kernels(problem_of(X), {}, 1)
    before = np.zeros(21)
    assert kernels.differing(before, np.where(np.arange(21) < 16, 1.0, 0.0)) is not None
    assert kernels.differing(before, np.where(np.arange(21) < 17, 1.0, 0.0)) is None
