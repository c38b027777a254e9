"""Tables of the parameter server as algorithms declare them: every option, in virtual time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cluster.toys import run_toy, toy_assignment

from dsgd.algorithms.distributed import Program, Table
from dsgd.cluster import Crash, Simulation
from dsgd.cluster.program.commands import Clock, Observe, Pull, Push
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.checkpoint import About, check_same
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.errors import ConfigError

SHARDS = Simulation(workers=3, servers=2)


def pushing(values: Any, keys: Any = None) -> Callable[[WorkerTask], Program]:
    """Return a program that pushes the same to the table "second" in every clock, one worker after the other."""

    def body(task: WorkerTask) -> Program:
        for clock in range(task.max_clocks):
            yield Pull(clock)
            yield Push(np.array(values), None if keys is None else np.array(keys, np.uint64), table="second")
            yield Clock()

    return body


def second(body: Any, cluster: Simulation = SHARDS, **options: Any) -> list[float]:
    """Return how the table "second" ends after two clocks."""
    table = Table(name="second", **options)
    numbers: list[float] = run_toy(body, cluster, clocks=2, tables=(table,)).tables["second"].tolist()
    return numbers


@pytest.mark.parametrize(("size", "expected"), [("parameters", 4), (1, 1), (2, 2), (9, 9), ("gradient", 4)])
def test_a_table_has_its_own_size(size: Any, expected: int) -> None:
    assert second(pushing(np.ones(expected)), size=size) == [6.0] * expected


def test_a_gradient_may_be_longer_than_the_parameters() -> None:
    from dsgd.losses import KMeans

    assignment = toy_assignment(pushing([1.0]), nodes=1, clocks=1, tables=(Table(name="second", size="gradient"),))
    problem = dataclasses.replace(assignment.problem, loss=KMeans(n_clusters=2))
    start = np.zeros(problem.layout.size)
    assignment = dataclasses.replace(assignment, problem=problem, start=start)
    kernels = assignment.kernels(0)
    assert [spec.size for spec in assignment.table_specs()] == [kernels.n_parameters, kernels.gradient_size]
    assert kernels.gradient_size == kernels.n_parameters + 2


def test_a_key_stands_for_a_row_of_the_width() -> None:
    assert second(pushing([1.0, 2.0], [2]), size=6, width=2) == [0.0] * 4 + [6.0, 12.0]
    assert second(pushing([1.0, 2.0], [2, 4]), size=6) == [0.0, 0.0, 6.0, 0.0, 12.0, 0.0]


def test_the_weights_may_have_rows_too() -> None:
    def body(task: WorkerTask) -> Program:
        assert (yield Pull(0, np.array([1], np.uint64))).tolist() == [12.0, 13.0]
        yield Push(np.ones(2), np.array([2], np.uint64))
        yield Clock()

    assignment = toy_assignment(body, nodes=3, clocks=1, size=6, rules={}, tables=(Table(width=2),))
    assignment = dataclasses.replace(assignment, start=np.arange(10.0, 16.0))
    for failures in ([], [Crash(-1, at=1e-4, restart_after=0.01)]):  # or of a checkpoint
        cluster = Simulation(workers=3, servers=2, failures=failures)
        assert SimulatedRun(cluster, assignment).run().weights.tolist() == [10, 11, 12, 13, 17, 18]


def test_adagrad_has_the_step_size_of_the_table_or_of_the_run() -> None:
    one = Simulation(workers=1)
    expected = -(1 + 1 / np.sqrt(2))
    for step_size, factor in ((None, 0.1), (0.5, 0.5)):
        numbers = second(pushing([3.0]), one, size=1, rule="adagrad", step_size=step_size)
        assert numbers == pytest.approx([factor * expected], rel=1e-15)


def test_of_a_sparse_table_workers_name_the_keys() -> None:
    expected = [0.0, 6.0, 0.0, 0.0]
    assert second(pushing([1.0], [1]), sparse=True) == second(pushing([1.0], [1])) == expected
    assert second(pushing(np.ones(4))) == [6.0] * 4
    with pytest.raises(ConfigError, match="a Push of the whole table 'second', which is sparse: name its keys"):
        second(pushing(np.ones(4)), sparse=True)

    def pulling(task: WorkerTask) -> Program:
        assert len((yield Pull(0, np.array([0, 2], np.uint64), table="second"))) == 2
        yield Pull(0, table="second")

    assert second(pulling) == [0.0] * 4
    with pytest.raises(ConfigError, match=r"worker \d gives a Pull of the whole table 'second', which is sparse"):
        second(pulling, sparse=True)


def test_an_algorithm_whose_model_lives_on_the_workers_needs_no_weights() -> None:
    def body(task: WorkerTask) -> Program:
        yield Push(np.ones(1), table="second")
        yield Observe(np.full(4, float(task.rank)))
        yield Clock()

    table = Table(name="second", size=1)
    for observes, expected in (("mean", 1.0), ("server", 0.0)):
        outcome = run_toy(body, SHARDS, clocks=1, rules={}, tables=(table,), observes=observes)
        assert outcome.weights.tolist() == [expected] * 4
        assert outcome.tables["second"].tolist() == [3.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be an integer of at least 1, not 0"),
        ({"size": "params"}, "unknown size 'params'; did you mean 'parameters'"),
        ({"name": "weights", "size": 3}, "the table 'weights' has the size 'parameters', not 3; take another name"),
        ({"width": 0}, "width must be an integer of at least 1, not 0"),
        ({"width": 3}, "table 'second' has 4 values, which width=3 does not divide"),
        ({"rule": "adagrad", "step_size": 0}, "step_size must be a finite number above 0, not 0"),
        ({"rule": "add", "step_size": 1.0}, "step_size is for the rule 'adagrad'; table 'second' has the rule 'add'"),
        ({"rule": "multiply"}, "multiply"),
        ({"sparse": 1}, "sparse must be True or False, not 1"),
    ],
)
def test_what_cannot_be_a_table_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_toy(pushing([1.0]), clocks=1, tables=(Table(**{"name": "second", **options}),))


def test_a_checkpoint_is_of_its_tables() -> None:
    def about(**options: Any) -> About:
        tables = (Table(name="second", **{"rule": "adagrad", **options}),)
        return About.of(toy_assignment(pushing([1.0]), nodes=2, clocks=1, tables=tables), 1, {})

    saved = about()
    assert saved.tables == "weights: add, 4 x 1, second: adagrad of step 0.1, 4 x 1"
    check_same(saved, about(sparse=True), "file")
    for options in ({"size": 2}, {"width": 2}, {"step_size": 0.2}, {"rule": "average"}):
        with pytest.raises(ConfigError, match=r"file is a checkpoint of a run with tables=.*; this one has"):
            check_same(saved, about(**options), "file")
    check_same(dataclasses.replace(saved, tables=""), about(size=2), "file")  # from before
