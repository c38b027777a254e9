"""The algorithms that average models: they equal their listings, and weigh nodes by what these did."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from cluster.averaged import (
    ALGORITHMS,
    ALPHA,
    EPOCHS,
    SPEEDS,
    STEPS_OF_NODE,
    UNEVEN,
    X,
    Y,
    cluster,
    fit,
    listing,
    rates,
)

import dsgd
from dsgd.cluster import Averaging, Crash, Simulation

SCHEDULES = ["linear", "constant", "inverse-sqrt"]
FIT_OF_LISTING: dict[str, Any] = {"rtol": 0, "atol": 1e-12}


def averaging_of(result: dsgd.FitResult) -> Averaging:
    assert result.averaging is not None
    return result.averaging


def same(a: dsgd.FitResult, b: dsgd.FitResult) -> bool:
    return np.array_equal(a.model.weights, b.model.weights)


def check_listing(result: dsgd.FitResult, expected: tuple[Any, float]) -> None:
    np.testing.assert_allclose(result.coef_, expected[0], **FIT_OF_LISTING)
    np.testing.assert_allclose(result.intercept_, expected[1], **FIT_OF_LISTING)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("span", [None, 1, 20, 61, 10**6])
def test_simuparallel_equals_its_listing(schedule: str, span: int | None) -> None:
    result = fit("simuparallel", averaging_span=span, schedule=schedule)
    check_listing(result, listing([STEPS_OF_NODE] * 4, schedule, span=span))
    averaging = averaging_of(result)
    assert averaging.samples.tolist() == [STEPS_OF_NODE] * 4
    assert averaging.weights.tolist() == [0.25] * 4
    assert not averaging.lags.any()


@pytest.mark.parametrize("penalty", ["l1", "none"])
def test_simuparallel_equals_its_listing_with_other_penalties(penalty: str) -> None:
    strengths: dict[str, Any] = {"alpha": 0.0, "alpha_l1": ALPHA if penalty == "l1" else 0.0}
    result = fit("simuparallel", averaging_span=20, penalty=penalty)
    check_listing(result, listing([STEPS_OF_NODE] * 4, "linear", span=20, **strengths))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("algo", "contraction"), [("average", 1.0), ("wpsgd", None), ("wpsgd", 0.99)])
def test_uneven_nodes_are_averaged_by_the_listing(algo: str, contraction: float | None, schedule: str) -> None:
    options = {} if algo == "average" else {"contraction": contraction}
    result = fit_in_spite_of_warnings(algo, schedule=schedule, **options)
    averaging = averaging_of(result)
    # The fastest node makes all steps. The others stop by the signal, after about as many as their speeds say.
    np.testing.assert_allclose(averaging.samples / STEPS_OF_NODE, SPEEDS, atol=0.1)
    assert averaging.samples[0] == averaging.updates[0] == STEPS_OF_NODE
    check_listing(result, listing(averaging.samples, schedule, rates=rates(schedule, contraction)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("contraction", [None, 0.99, 1.0, 1e-300])
def test_the_weights_are_the_rate_to_the_power_of_the_lags_over_their_sum(
    contraction: float | None, schedule: str
) -> None:
    averaging = averaging_of(fit_in_spite_of_warnings("wpsgd", contraction=contraction, schedule=schedule))
    each = rates(schedule, contraction)
    powers = np.array([np.prod(each[count:]) for count in averaging.updates])
    np.testing.assert_allclose(averaging.weights, powers / powers.sum(), atol=1e-12)
    assert averaging.lags.tolist() == (averaging.updates.max() - averaging.updates).tolist()
    assert averaging.condition == pytest.approx(powers.sum() - (4 + 2) / 2)
    assert averaging.rate == pytest.approx(math.exp(np.log(each).mean()))
    certain = rates(schedule)
    lacked = [np.prod(certain[count:]) for count in averaging.updates]
    assert averaging.span_factor == pytest.approx(4 * np.prod(certain) / sum(lacked))


def fit_in_spite_of_warnings(algo: str, *more: Any, **options: Any) -> dsgd.FitResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dsgd.cluster.fit.warn", lambda _: None)
        return fit(algo, *more, **options)


@pytest.mark.parametrize("span", [None, 20])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_on_an_even_cluster_all_are_simuparallel_to_the_bit(span: int | None, dtype: Any) -> None:
    """Rows of dense data take the same time, so that no node lags."""
    data = (X.toarray()[:240].astype(dtype), Y[:240])
    results = [fit(algo, cluster(speeds=1.0), data=data, averaging_span=span) for algo in ALGORITHMS[:3]]
    assert same(results[0], results[1])
    assert same(results[0], results[2])
    assert averaging_of(results[2]).weights.tolist() == [0.25] * 4


def test_with_a_rate_of_1_wpsgd_is_average_to_the_bit() -> None:
    average, wpsgd, other = (
        fit("average"),
        fit("wpsgd", contraction=1.0),
        fit("wpsgd"),
    )
    assert averaging_of(average).lags.max() > 100
    assert same(average, wpsgd)
    assert not same(average, other)


def test_a_barrier_algorithm_gives_the_same_bits_on_every_cluster() -> None:
    """A node that is started again makes its steps again, or goes on from the last average."""
    for span in (None, 20):
        even = fit("simuparallel", cluster(speeds=1.0), averaging_span=span)
        for options in (
            {"speeds": SPEEDS, "jitter": 1e-3, "seed": 4},
            {"failures": [dsgd.cluster.FrameLoss(0.2)], "resend_after": 0.01},
            {"failures": [Crash(2, 0.005, 0.01), Crash(1, 0.15, 0.02)], "resend_after": 0.01},
            {"failures": [Crash(dsgd.cluster.SERVER, 0.15, 0.01)], "resend_after": 0.01, "checkpoint_every": 1},
        ):
            assert same(even, fit("simuparallel", cluster(**options), averaging_span=span)), (span, options)


@pytest.mark.parametrize("algo", UNEVEN)
def test_after_an_average_a_node_that_is_started_again_goes_on_with_the_schedule(algo: str) -> None:
    """Steps fall in a line to zero. With those of the start, the node would be far from the others."""
    failures = [Crash(3, 0.08, 0.005)]
    result, undisturbed = (
        fit(algo, cluster(speeds=1.0, failures=each, resend_after=0.01), averaging_span=20, step_size=1.0)
        for each in (failures, [])
    )
    averaging = averaging_of(result)
    assert averaging.samples[3] < averaging.samples[:3].min()
    assert averaging.lags[3] < 5  # it is one of them again
    assert np.linalg.norm(result.coef_ - undisturbed.coef_) < 0.05 * np.linalg.norm(undisturbed.coef_)


@pytest.mark.parametrize("algo", ["average", "wpsgd"])
@pytest.mark.parametrize("span", [None, 20])
@pytest.mark.parametrize("deadline", [0.01, 0.05])
def test_at_the_deadline_all_nodes_stop(algo: str, span: int | None, deadline: float) -> None:
    result = fit(algo, deadline=deadline, averaging_span=span, max_epochs=200, schedule="constant")
    last = result.history[-1].virtual_seconds
    # After it: a piece of four samples on the slowest node, and some messages there and back. Before it: an average
    # after which no node made a step, so that the next one, at the deadline, is no news.
    assert deadline - 0.002 < (last or 0) < deadline + 0.01
    averaging = averaging_of(result)
    assert averaging.samples.sum() == round((result.history[-1].effective_passes or 0) * 241)
    assert 0 < averaging.samples[3] <= averaging.samples[2] < averaging.samples[:2].min()
    if span is None:
        assert averaging.updates.tolist() == averaging.samples.tolist()
    rate = 1.0 if algo == "average" else 1 - 0.1 * ALPHA
    powers = rate ** averaging.lags.astype(float)
    np.testing.assert_allclose(averaging.weights, powers / powers.sum(), rtol=1e-12)


@pytest.mark.parametrize("algo", ["average", "wpsgd"])
def test_an_average_is_the_last_one_for_all_nodes_or_for_none(algo: str) -> None:
    """Some nodes end the first clock before the deadline, and others after it."""
    firsts = set()
    for deadline in np.linspace(0.008, 0.014, 13):
        averaging = averaging_of(fit(algo, deadline=float(deadline), averaging_span=20, max_epochs=100))
        is_first = averaging.updates == averaging.samples
        assert is_first.all() or not is_first.any()
        firsts.add(bool(is_first.all()))
    assert firsts == {True, False}


def test_a_deadline_after_the_end_changes_nothing() -> None:
    assert same(fit("wpsgd"), fit("wpsgd", deadline=100.0))


def test_a_run_may_have_more_clocks_than_the_server_knows_signals() -> None:
    data = (X.toarray()[:24], Y[:24])
    result = fit("wpsgd", Simulation(workers=2, speeds=[1, 0.5]), data=data, averaging_span=1, max_epochs=100)
    assert averaging_of(result).samples[0] > 1024
    assert result.history[-1].epoch == 100


def test_speeds_that_change_during_the_run_change_the_weights() -> None:
    changing: list[Any] = [1.0, [(0, 1.0), (0.03, 0.1)], [(0, 1.0), (0.06, 0.1)], [(0, 0.1), (0.06, 1.0)]]
    averaging = averaging_of(fit("wpsgd", cluster(speeds=changing)))
    assert averaging.weights[0] > averaging.weights[2] > averaging.weights[1]
    assert averaging.weights[2] > averaging.weights[3]
    steady = averaging_of(fit("wpsgd", cluster(speeds=1.0)))
    assert steady.weights.max() - steady.weights.min() < 0.1 * (averaging.weights[0] - averaging.weights[1])


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("span", [None, 20])
def test_a_node_that_crashes_for_good_counts_for_nothing(algo: str, span: int | None) -> None:
    if algo == "wpsgd-dm":
        span = 20 if span is None else 30
    result = fit(algo, cluster(failures=[Crash(1, 0.03)]), averaging_span=span)
    averaging = averaging_of(result)
    assert averaging.nodes.tolist() == [0, 2, 3]
    assert averaging.weights.sum() == pytest.approx(1)
    assert np.isfinite(result.coef_).all()
    assert (result.history[-1].objective or 0) < math.log(2)


@pytest.mark.parametrize(("algo", "contraction"), [("average", 1.0), ("wpsgd", None)])
def test_the_models_of_the_others_are_averaged_without_a_lost_one(algo: str, contraction: float | None) -> None:
    result = fit(algo, cluster(failures=[Crash(1, 0.03)]))
    counts = averaging_of(result).samples
    check_listing(result, listing(counts, "linear", nodes=[0, 2, 3], rates=rates("linear", contraction)))


@pytest.mark.parametrize(("algo", "contraction"), [("average", 1.0), ("wpsgd", None)])
def test_a_node_that_comes_back_late_is_weighed_by_what_it_did_since(algo: str, contraction: float | None) -> None:
    failing = cluster(speeds=1.0, failures=[Crash(1, 0.03, 0.01)], resend_after=0.01)
    result = fit(algo, failing)
    averaging = averaging_of(result)
    assert averaging.nodes.tolist() == [0, 1, 2, 3]
    assert 0 < averaging.samples[1] < 0.8 * averaging.samples[0]
    check_listing(result, listing(averaging.samples, "linear", rates=rates("linear", contraction)))


def test_records_are_made_of_passes_or_of_averages() -> None:
    for algo, span, every, epochs in (
        ("wpsgd", None, 1, [1, 2, 3]),
        ("wpsgd", None, 2, [2, 3]),
        ("wpsgd", 20, 1, [1, 2, 3]),
        ("simuparallel", 20, 2, [2, 3]),
        ("simuparallel", 1000, 1, [EPOCHS]),
    ):
        history = fit(algo, averaging_span=span, evaluate_every=every).history
        assert [record.epoch for record in history] == epochs
        assert all(record.objective is not None for record in history)
    (only,) = fit("wpsgd", evaluate_every=0).history
    assert only.objective is None


def test_a_record_is_what_an_average_would_be_then() -> None:
    """That of pass 2 of 3 is the mean of the models after as many samples."""
    seen: list[Any] = []

    def look(record: dsgd.Record, model: Any) -> None:
        seen.append(model.weights[0, :-1].copy())

    fit("simuparallel", callbacks=[look])
    expected, _ = listing([122] * 4, "linear")
    np.testing.assert_allclose(seen[1], expected, **FIT_OF_LISTING)
