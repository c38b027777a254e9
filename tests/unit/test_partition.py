"""How rows are dealt to workers: every row once, by the seed, as each partition says."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from problems import make_problem

import dsgd
from dsgd.cluster import ByLabel, Dirichlet, Given, Partition, Shares
from dsgd.cluster.program.partition import deal, deal_problem
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem

X, Y = make_problem(60, 12, seed=0)
SEEDS = st.integers(0, 2**64 - 1)
CONCENTRATIONS = st.floats(0, 1e9, exclude_min=True)


def sizes_of(rows: list[NDArray[np.intp]]) -> list[int]:
    return [len(each) for each in rows]


def check_rows(rows: list[NDArray[np.intp]], n_samples: int, n_workers: int) -> None:
    """Every row once, no worker without one, in the order of the data."""
    assert len(rows) == n_workers
    assert all(len(each) > 0 and (np.diff(each) > 0).all() for each in rows)
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(n_samples))


@st.composite
def dealt(draw: st.DrawFn, kind: Callable[[st.DrawFn, int], Partition], rows_per_worker: int = 1) -> Any:
    """Return a partition, and the labels, workers and seed of a run."""
    n_workers = draw(st.integers(1, 6))
    labels = draw(st.lists(st.integers(0, 4), min_size=rows_per_worker * n_workers, max_size=80))
    return kind(draw, n_workers), np.array(labels, float), n_workers, draw(SEEDS)


@given(dealt(lambda draw, n: Shares(draw(st.lists(st.floats(0.5, 3), min_size=n, max_size=n))), rows_per_worker=13))
def test_shares_are_met_within_one_row(run: Any) -> None:
    partition, labels, n_workers, seed = run
    rows = partition.deal(labels, n_workers, seed)
    check_rows(rows, len(labels), n_workers)
    exact = np.array(partition.shares) / sum(partition.shares) * len(labels)
    assert (np.abs(sizes_of(rows) - exact) <= 1 + 1e-9).all()


@given(dealt(lambda draw, _: ByLabel(draw(st.integers(1, 3))), rows_per_worker=3))
def test_shards_are_runs_of_the_rows_sorted_by_label(run: Any) -> None:
    partition, labels, n_workers, seed = run
    rows = partition.deal(labels, n_workers, seed)
    check_rows(rows, len(labels), n_workers)
    shard = len(labels) / (n_workers * partition.shards_per_worker)
    place = np.empty(len(labels), int)
    place[np.argsort(labels, kind="stable")] = np.arange(len(labels))
    for own in rows:
        # Each shard is a run of places, and so are neighbours together.
        assert (np.diff(np.sort(place[own])) > 1).sum() < partition.shards_per_worker
        assert abs(len(own) - shard * partition.shards_per_worker) < partition.shards_per_worker
        if np.unique(labels, return_counts=True)[1].min() > shard:
            assert len(np.unique(labels[own])) <= 2 * partition.shards_per_worker


@given(dealt(lambda draw, _: Dirichlet(draw(CONCENTRATIONS))))
def test_a_dirichlet_deals_every_row_once_and_one_to_every_worker(run: Any) -> None:
    partition, labels, n_workers, seed = run
    check_rows(partition.deal(labels, n_workers, seed), len(labels), n_workers)


@given(n_samples=st.integers(1, 60), data=st.data())
def test_given_rows_are_those_that_were_given(n_samples: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(n_samples)))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(n_samples - 1, 1)), max_size=5)) - {n_samples})
    parts = [order[a:b] for a, b in itertools.pairwise([0, *cuts, n_samples])]
    rows = Given(parts).deal(np.zeros(n_samples), len(parts), 0)
    check_rows(rows, n_samples, len(parts))
    assert [each.tolist() for each in rows] == [sorted(part) for part in parts]


MANY = np.repeat(np.arange(10), 20)


@pytest.mark.parametrize("partition", [Shares([3, 1, 1, 1, 1]), ByLabel(), Dirichlet()], ids=repr)
def test_the_seed_decides_and_nothing_else(partition: Partition) -> None:
    first, again, other = (partition.deal(MANY, 5, seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))
    words = np.array(list("abcdefghij"))[MANY]  # labels in the same order
    assert all(map(np.array_equal, first, partition.deal(words, 5, 1)))


@pytest.mark.parametrize("partition", [Shares([0.1]), ByLabel(3), Dirichlet(0.1), Given([range(60)[::-1]])], ids=repr)
def test_one_worker_has_all_rows_in_their_order(partition: Partition) -> None:
    labels = np.random.default_rng(0).integers(0, 3, 60)
    assert partition.deal(labels, 1, 7)[0].tolist() == list(range(60))


def test_two_shards_of_the_length_of_a_class_are_two_classes() -> None:
    """As on MNIST in the paper: most workers have two labels, none more."""
    labels = np.random.default_rng(0).permutation(MANY)
    counts = [len(np.unique(labels[own])) for own in ByLabel().deal(labels, 5, 0)]
    assert max(counts) == 2
    assert all(len(np.unique(labels[own])) == 1 for own in ByLabel(1).deal(labels, 10, 0))
    assert min(len(np.unique(labels[own])) for own in ByLabel(40).deal(labels, 5, 0)) > 5


def test_the_proportions_of_a_class_are_those_of_a_symmetric_dirichlet() -> None:
    """Their mean is 1 / P, that of their squares (c + 1) / (P (P c + 1)); of 2,000 classes, within five deviations."""
    n_workers, per_class, n_classes = 4, 500, 2000
    labels = np.repeat(np.arange(n_classes), per_class)
    for concentration in (0.1, 0.3, 2.0):
        shares = np.zeros((n_workers, n_classes))
        for worker, own in enumerate(Dirichlet(concentration).deal(labels, n_workers, 0)):
            shares[worker] = np.bincount(labels[own], minlength=n_classes) / per_class
        square = (concentration + 1) / (n_workers * (n_workers * concentration + 1))
        for values, mean in ((shares, 1 / n_workers), (shares**2, square)):
            deviation = values.std() / np.sqrt(n_classes)  # of the mean of one worker
            assert np.abs(values.mean(axis=1) - mean).max() < 5 * deviation


def test_extreme_concentrations_are_one_worker_a_class_and_equal_shares() -> None:
    few = Dirichlet(1e-9).deal(MANY, 3, 0)
    assert [len(np.unique(MANY[own])) for own in few] == [len(own) // 20 for own in few]
    for own in Dirichlet(1e9).deal(MANY, 4, 0):
        assert np.bincount(MANY[own], minlength=10).tolist() == [5] * 10


def test_a_worker_without_rows_is_given_one() -> None:
    rows = Dirichlet(1e-9).deal(np.zeros(30), 10, 0)
    assert sorted(sizes_of(rows)) == [1] * 9 + [21]


def test_the_targets_of_a_regression_are_sorted() -> None:
    target = np.random.default_rng(0).standard_normal(60)
    (low, high) = sorted((target[own] for own in ByLabel(1).deal(target, 2, 0)), key=np.mean)
    assert low.max() < high.min()


def problem_of(loss: Any) -> Problem:
    matrix = as_matrix(X, 1)
    return Problem(
        matrix=matrix,
        target=Y,
        sample_weight=None,
        loss=resolve_loss(loss),
        alphas=(0.0, 0.0),
        fit_intercept=True,
        scale=measure(matrix, None, 1),
    )


def test_the_rows_of_a_problem_are_dealt_by_its_targets() -> None:
    assert all(map(np.array_equal, deal_problem("equal", problem_of("logistic"), 3, 5), deal(60, 3, 5)))
    for partition in (ByLabel(), Dirichlet(), Shares([1, 2, 3])):
        dealt_rows = deal_problem(partition, problem_of("logistic"), 3, 5)
        assert all(map(np.array_equal, dealt_rows, partition.deal(np.where(Y > 0, "spam", "ham"), 3, 5)))
    check_rows(deal_problem(ByLabel(), problem_of("squared"), 3, 5), 60, 3)
    with pytest.raises(ConfigError, match=r"Dirichlet\(concentration=0.3\) deals by class.*'squared' is.*use ByLabel"):
        deal_problem(Dirichlet(), problem_of("squared"), 3, 5)
    for partition in (ByLabel(), Dirichlet()):
        with pytest.raises(ConfigError, match="deals by the targets, and loss 'kmeans' has none; use 'equal'"):
            deal_problem(partition, problem_of(dsgd.losses.KMeans(2)), 3, 5)
    check_rows(deal_problem(Shares([1, 2, 3]), problem_of(dsgd.losses.KMeans(2)), 3, 5), 60, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shares([]), "Shares takes a number for every worker, such as [2, 1, 1], not []"),
        (lambda: Shares(2), "Shares takes a number for every worker"),  # type: ignore[arg-type]
        (lambda: Shares([1, 0]), "Shares[1] must be a finite number above 0, not 0"),
        (lambda: Shares([np.nan, 1]), "Shares[0] must be a finite number above 0, not nan"),
        (lambda: Shares("ab"), "Shares[0] must be a finite number above 0, not 'a'"),  # type: ignore[arg-type]
        (lambda: ByLabel(0), "ByLabel.shards_per_worker must be an integer of at least 1, not 0"),
        (lambda: ByLabel(1.5), "ByLabel.shards_per_worker must be an integer"),  # type: ignore[arg-type]
        (lambda: Dirichlet(0), "Dirichlet.concentration must be a finite number above 0 and at most 1e+09, not 0"),
        (lambda: Dirichlet(1e10), "Dirichlet.concentration must be"),
        (lambda: Given([]), "Given takes an array of row numbers for every worker, not []"),
        (lambda: Given([[0, 1], []]), "Given[1] must be row numbers in one dimension, at least one, not []"),
        (lambda: Given([[0.0, 1.0]]), "Given[0] must be row numbers in one dimension"),
        (lambda: Given([[True, False]]), "not [True, False]; np.flatnonzero makes them of a mask"),
        (lambda: Given([["a", "b"]]), "Given[0] must be row numbers in one dimension"),
        (lambda: Given([[[0], [1, 2]]]), "Given[0] must be row numbers in one dimension"),
        (lambda: Given([0, 1]), "Given[0] must be row numbers in one dimension, at least one, not 0"),
        (lambda: Given([[0, -1]]), "Given[0] must be row numbers from 0 on, not [0, -1]"),
        (lambda: Given([np.array([2**63], np.uint64)]), "Given[0] must be row numbers from 0 on"),
        (lambda: Given([[0, 3], [3, 1]]), "Given names row 3 more than once; one worker only can have it"),
        (
            lambda: Given([[0, 1], [2, 3]]).deal(np.zeros(3), 2, 0),
            "Given names row 3 of 3 samples, which are rows 0 to 2",
        ),
        (
            lambda: Given([[0, 2], [4]]).deal(np.zeros(5), 2, 0),
            "leaves out 2 of 5 samples, the first of them row 1: give",
        ),
        (lambda: Given([[0], [1]]).deal(np.zeros(2), 3, 0), "Given has 2 elements for 3 workers; give it one for each"),
        (lambda: Shares([1, 1]).deal(np.zeros(9), 3, 0), "Shares has 2 elements for 3 workers; give it one for each"),
        (
            lambda: Shares([1, 1e-9]).deal(np.zeros(9), 2, 0),
            "Shares[1]=1e-09 of 9 samples comes to no row: make it larger",
        ),
        (lambda: ByLabel(3).deal(np.zeros(8), 3, 0), "3 workers with shards_per_worker=3 are 9 shards of 8 samples"),
        (lambda: Dirichlet().deal(np.zeros(2), 3, 0), "3 workers for 2 samples: some would have none; use fewer"),
        (
            lambda: dsgd.Simulation(partition="even"),
            "partition must be 'equal' or an object such as dsgd.cluster.ByLabel()",
        ),
        (lambda: dsgd.Simulation(partition=ByLabel), "partition must be 'equal' or"),  # type: ignore[arg-type]
        (lambda: dsgd.LocalCluster(partition=0.3), "partition must be 'equal' or"),  # type: ignore[arg-type]
        (
            lambda: dsgd.fit(X, Y, algo="ssp", cluster=dsgd.Simulation(workers=3, partition=Shares([1, 1]))),
            "Shares has 2 elements for 3 workers",
        ),
        (
            lambda: dsgd.fit(X, Y, algo="ssp", cluster=dsgd.LocalCluster(workers=3, partition=Given([[0], [1]]))),
            "Given has 2 elements for 3 workers",
        ),
    ],
)
def test_impossible_partitions_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make()


def test_partitions_are_frozen_and_say_what_they_are() -> None:
    shares = Shares((2, 1))
    assert shares == Shares((2.0, 1.0))
    assert repr(shares) == "Shares(shares=(2.0, 1.0))"
    rows = np.array([0, 2])
    named = Given([rows, [1]])
    rows[0] = 1  # a copy was taken
    assert [each.tolist() for each in named.deal(np.zeros(3), 2, 0)] == [[0, 2], [1]]
    assert repr(named) == repr(Given([[2, 0], np.array([1], np.uint8)]))
    texts = {repr(Given(each)) for each in ([[0, 2], [1]], [[0, 1], [2]], [[1], [0, 2]], [[0], [2], [1]])}
    assert len(texts) == 4
    for partition in (shares, ByLabel(), Dirichlet(), named):
        with pytest.raises(dataclasses.FrozenInstanceError):
            partition.extra = 1  # type: ignore[union-attr]
