"""Summaries of parts add up to the summary of all rows."""

from __future__ import annotations

import dataclasses
import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import make_problem
from row_parts import LABELS, dense, draw_data, machine_tasks, spec_of

from dsgd import losses
from dsgd.data.inputs import as_matrix
from dsgd.data.row_sample import RowSample
from dsgd.data.scale import RowSizes, measure
from dsgd.data.statistics import ClassCounts, FeatureMoments, Moments, TargetMoments
from dsgd.data.summary import Summary
from dsgd.errors import ConfigError, DataError
from dsgd.fitting.parts import summarise, tasks_of
from dsgd.fitting.targets import as_sample_weight
from dsgd.losses import Loss


def equal(a: Any, b: Any) -> bool:
    """Return whether two arrays are the same to the last bit, or both None."""
    return (a is None) == (b is None) and (a is None or bool(np.array_equal(a, b)))


def check_samples(a: RowSample, b: RowSample) -> None:
    assert a.n_counted == b.n_counted
    assert equal(a.rows, b.rows)
    assert equal(dense(a.X), dense(b.X))
    assert equal(a.labels, b.labels)
    assert equal(a.sample_weight, b.sample_weight)


def check_moments(a: Moments, b: Moments, largest: Any) -> None:
    """Means agree to 1e-12 of the largest number, and squared distances to 1e-12 of its square for every row."""
    assert a.weight == pytest.approx(b.weight, rel=1e-12, abs=1e-300)
    assert (np.abs(a.mean - b.mean) <= 1e-12 * largest).all()
    assert (np.abs(a.squares - b.squares) <= 1e-12 * largest**2 * max(a.weight, 1)).all()


def check_same(a: Summary, b: Summary) -> None:
    """Counts agree to the last bit, and sums to 1e-12."""
    assert (a.n_samples, a.n_features, a.dtype, a.sparse) == (b.n_samples, b.n_features, b.dtype, b.sparse)
    assert a.sizes.n_entries == b.sizes.n_entries
    assert dataclasses.asdict(a.scale()) == pytest.approx(dataclasses.asdict(b.scale()), rel=1e-12, abs=1e-300)
    assert a.mean_weight == b.mean_weight
    assert equal(a.stored, b.stored)
    check_samples(a.sample, b.sample)
    if isinstance(a.targets, ClassCounts):
        assert isinstance(b.targets, ClassCounts)
        assert a.targets.classes.dtype == b.targets.classes.dtype
        assert np.array_equal(a.targets.classes, b.targets.classes)
        assert np.array_equal(a.targets.counts, b.targets.counts)
    elif isinstance(a.targets, TargetMoments):
        assert isinstance(b.targets, TargetMoments)
        assert (a.targets.low, a.targets.high) == (b.targets.low, b.targets.high)
        largest = max(-a.targets.low, a.targets.high)
        check_moments(a.targets.plain, b.targets.plain, largest)
        assert a.targets.weighted.mean == b.targets.weighted.mean
    if isinstance(a.features, FeatureMoments):
        assert isinstance(b.features, FeatureMoments)
        assert np.array_equal(a.features.low, b.features.low)
        assert np.array_equal(a.features.high, b.features.high)
        check_moments(a.features.moments, b.features.moments, np.maximum(-a.features.low, a.features.high))


KINDS = [losses.Hinge(), losses.Softmax(), losses.Squared(), losses.Huber(), losses.MLP((4,)), losses.SquaredMLP((4,))]


@given(st.integers(0, 2**32), st.sampled_from(KINDS), st.sampled_from(sorted(LABELS)))
@settings(max_examples=200, deadline=None)
def test_parts_in_any_order_make_the_whole(seed: int, loss: Loss, kind: str) -> None:
    data = draw_data(seed, loss=loss, kind=kind)
    check_same(data.merged(), data.whole())


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_parts_of_parts_make_the_whole(seed: int) -> None:
    """Of more rows than a sample has, so that rows are left out of it."""
    data = draw_data(seed, n_rows=9000, n_features=3)
    options = {"seed": seed % 7}
    parts = list(data.split(**options))
    while len(parts) > 1:  # as a tree
        parts = [Summary.merge(parts[k : k + 2]) for k in range(0, len(parts), 2)]
    whole = data.whole(**options)
    assert parts[0].n_samples == whole.n_samples == 9000
    assert len(whole.sample.rows) == 3072
    check_samples(parts[0].sample, whole.sample)
    assert dataclasses.asdict(parts[0].scale()) == pytest.approx(
        dataclasses.asdict(whole.scale()), rel=1e-12, abs=1e-300
    )


@given(st.integers(0, 2**32), st.integers(1, 3000))
@settings(max_examples=50, deadline=None)
def test_a_summary_of_all_rows_has_the_scale_of_a_fit_to_the_last_bit(seed: int, n_rows: int) -> None:
    data = draw_data(seed, n_rows=n_rows + 8)
    matrix = as_matrix(data.X, 1)
    weight = as_sample_weight(data.weight, None, None, None, matrix.n_rows, np.dtype(data.X.dtype))
    assert data.whole().scale() == measure(matrix, weight, 1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_frequencies_are_those_of_the_core_to_the_last_bit(dtype: str) -> None:
    X, y = make_problem(500, 40, seed=0)
    X = scipy.sparse.hstack([X, scipy.sparse.csr_array((500, 2))], format="csr").astype(dtype)
    task = machine_tasks(X, y, None, losses.Hinge())[0]
    parts = [summarise(X[k::3], y[k::3], None, losses.Hinge(), rows=np.arange(k, 500, 3)) for k in range(3)]
    frequencies = Summary.merge(parts).inverse_frequency()
    assert frequencies is not None
    assert frequencies.dtype == X.dtype
    assert np.array_equal(frequencies, np.asarray(task.linear.inverse_frequency))
    assert summarise(X.toarray(), y, None, losses.Hinge()).inverse_frequency() is None


@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0, 1e3))
@settings(deadline=None)
def test_few_rows_know_the_largest_of_all_at_every_rate(seed: int, n_rows: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    X = random.normal(size=(n_rows, 2)) * 10.0 ** random.uniform(-3, 3, (n_rows, 1))
    kinds = [random.random(n_rows), 1 / np.square(X).sum(axis=1), random.integers(0, 2, n_rows)]
    weight = kinds[random.integers(3)]
    whole = RowSizes.of(as_matrix(X, 1), weight.astype(float), 1)
    few = whole.compact()
    assert few.dtype == whole.dtype
    assert few.weights is not None
    largest = (weight * (whole.norms + rate)).max()
    assert (few.weights * (few.norms + rate)).max() == pytest.approx(largest, rel=1e-12)


def test_a_compact_summary_keeps_few_rows() -> None:
    random = np.random.default_rng(0)
    X, weight = random.normal(size=(100_000, 4)), random.random(100_000)
    assert len(RowSizes.of(as_matrix(X, 1), weight, 1).compact().norms) < 50


def test_a_column_that_is_much_larger_bounds_the_rate_of_parts_as_of_the_whole() -> None:
    """The bound comes from a sample of the entries, other ones in parts; without it the rate would be 1e14."""
    random = np.random.default_rng(0)
    X = random.normal(size=(4000, 11))
    X[0, 0] = 1e9
    y = np.arange(4000) % 2
    whole = measure(as_matrix(X, 1), None, 1).intercept_rate
    for n_parts in (2, 7, 40):
        parts = [
            summarise(X[k::n_parts], y[k::n_parts], None, losses.Hinge(), rows=np.arange(k, 4000, n_parts))
            for k in range(n_parts)
        ]
        assert Summary.merge(parts).scale().intercept_rate == pytest.approx(whole, rel=0.2)
    assert whole < 1e5


# --- the sample


def test_the_seed_and_the_size_decide_the_sample() -> None:
    data = draw_data(0, n_rows=9000)
    data.weight = None
    first, other = data.whole(seed=1).sample, data.whole(seed=2).sample
    assert len(first.rows) == len(other.rows) == 3072
    # Of 9,000 rows two random samples have 1,049 in common, with a deviation of 21.
    assert abs(len(np.intersect1d(first.rows, other.rows)) - 3072**2 / 9000) < 6 * 21
    assert len(data.whole(n_samples=9000, batch_rows=250).sample.rows) == 3072
    assert len(dataclasses.replace(data, loss=losses.KMeans(1500)).whole().sample.rows) == 4500


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    n, size, times = 50, 10, 2000
    matrix, counts = as_matrix(np.ones((n, 1)), 1), np.zeros(n)
    numbers = 2**40 + np.arange(n) * 1000
    for seed in range(times):
        sample = RowSample.draw(matrix, None, None, rows=numbers, size=size, seed=seed)
        counts[np.searchsorted(numbers, sample.rows)] += 1
    share = counts.sum() / times / n
    # Six deviations: a false alarm in 10 million runs, for seeds that were not these.
    assert (np.abs(counts - times * share) < 6 * np.sqrt(times * share * (1 - share))).all()


def test_a_sample_of_many_rows_has_a_hundredth_of_them() -> None:
    n = 500_000
    matrix = as_matrix(np.ones((n, 1), "f4"), 1)
    sample = RowSample.draw(matrix, None, None, rows=None, size=1000, seed=0)
    assert abs(len(sample.rows) - n / 100) < 6 * np.sqrt(n / 100)


def test_rows_without_weight_are_not_in_the_sample() -> None:
    data = draw_data(3)
    data.weight = np.arange(60) % 2.0
    assert (data.whole().sample.rows % 2 == 1).all()
    assert data.whole().sample.n_counted == 30


def test_a_merge_holds_two_summaries_and_never_all_rows() -> None:
    n_parts, n_rows, n_features = 60, 5000, 50
    random = np.random.default_rng(0)

    def parts() -> Iterator[Summary]:
        for k in range(n_parts):
            X = random.normal(size=(n_rows, n_features))
            y = (X[:, 0] > 0).astype(int)
            yield summarise(X, y, None, losses.Hinge(), rows=np.arange(k * n_rows, (k + 1) * n_rows))

    one_part, sample = 8 * n_rows * n_features, 8 * 3072 * n_features
    tracemalloc.start()
    summary = Summary.merge(parts())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.n_samples == n_parts * n_rows
    assert peak < 2 * one_part + 6 * sample < 0.15 * n_parts * one_part


def test_a_summary_travels_between_processes() -> None:
    data = draw_data(1, loss=losses.MLP())
    check_same(pickle.loads(pickle.dumps(data.whole())), data.whole())


def test_a_part_may_have_one_class_and_rows_without_weight_only() -> None:
    X, y = np.ones((6, 2)), np.array([0, 0, 1, 1, 2, 2])
    weight = np.array([0.0, 0, 1, 1, 1, 1])
    parts = [
        summarise(X[k : k + 2], y[k : k + 2], weight[k : k + 2], losses.Hinge(), rows=np.arange(k, k + 2))
        for k in (0, 2, 4)
    ]
    check_same(Summary.merge(parts), summarise(X, y, weight, losses.Hinge()))


# --- what cannot be merged


def summary_of(X: Any, y: Any, first: int = 0, loss: Loss | None = None, **options: Any) -> Summary:
    rows = np.arange(first, first + (X.shape[0]))
    return summarise(X, y, None, loss or losses.Hinge(), rows=rows, **options)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: summary_of(np.ones((2, 4)), [0, 1], 9), "have 3 and 4 features; give all the same"),
        (lambda: summary_of(scipy.sparse.csr_array(np.ones((2, 3))), [0, 1], 9), "some parts of X are sparse"),
        (lambda: summary_of(np.ones((2, 3)), ["a", "b"], 9), "y mixes strings and other labels; use one kind"),
        (lambda: summary_of(np.ones((2, 3)), np.array([2**63 + 1, 1], "u8"), 9), "use one type"),
        (lambda: summary_of(np.ones((2, 3)), [0, 1], 9, losses.KMeans()), "some parts have targets"),
        (lambda: summary_of(np.ones((2, 3)), [0, 1], 9, losses.MLP()), "moments of features"),
        (lambda: summary_of(np.ones((2, 3)), [0, 1], 1), "two parts have a row 1; number the rows"),
        (lambda: summary_of(np.ones((2, 3)), [0, 1], 9, seed=1), "size 3072, seed 0, and size 3072, seed 1, cannot"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(other: Any, message: str) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        summary_of(np.ones((2, 3)), [-1, 1]) + other()


@pytest.mark.parametrize(
    ("X", "y", "weight", "message"),
    [
        (np.array([[1.0], [np.nan]]), [0, 1], None, "1"),
        (np.ones((2, 1)), [0.0, np.nan], None, r"y\[1\] is not finite"),
        (np.ones((2, 1)), ["a", None], None, r"y\[1\] is missing"),
        (np.ones((2, 1)), [0, 1], [1, -1], "the weight of sample 1 is -1"),
        (np.ones((2, 1)), [0, 1, 1], None, r"y has shape \(3,\)"),
    ],
)
def test_a_part_with_a_fault_names_its_row(X: Any, y: Any, weight: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        summarise(X, y, weight, losses.Hinge(), rows=np.array([7, 8]))


@pytest.mark.parametrize(
    ("y", "weight", "message"),
    [
        ([1, 1], [1.0, 1.0], "y has one class only"),
        ([0, 1], [0.0, 0.0], "all sample weights are 0"),
        ([0.5, 1], [1.0, 1.0], "y looks continuous|one class"),
    ],
)
def test_what_cannot_be_learnt_from_all_parts_is_refused(y: Any, weight: Any, message: str) -> None:
    parts = [summarise(np.ones((2, 1)), y, weight, losses.Hinge(), rows=np.array([k, k + 1])) for k in (0, 2)]
    if "continuous" in message:
        parts.append(summarise(np.ones((1, 1)), [0.25], [1.0], losses.Hinge(), rows=np.array([9])))
    with pytest.raises(DataError, match=message):
        tasks_of(spec_of(losses.Hinge()), Summary.merge(parts))


def test_a_network_needs_the_moments_of_its_features() -> None:
    summary = dataclasses.replace(summarise(np.eye(4), [0, 1, 0, 1], None, losses.MLP()), features=None)
    with pytest.raises(ConfigError, match="moments=True"):
        tasks_of(spec_of(losses.MLP()), summary)
