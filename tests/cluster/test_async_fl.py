"""Asynchronous clients with growing rounds: they equal their listing, keep the wait rules, and every option counts."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from cluster.plans import PLANS, draw_cluster, draw_of_frames, draw_of_processes
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import AsyncFl
from dsgd.algorithms.growing_sizes import first_break, most_delay, round_starts
from dsgd.cluster import ByLabel, KernelCost, Shares, Simulation
from dsgd.cluster.program.partition import deal
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.testing import reference
from dsgd.testing.async_fl_reference import client_changes, sizes_of_rounds

X, Y = make_problem(240, 20, seed=3)
CLASSES = np.array(["a", "b", "c"])[np.random.default_rng(0).integers(0, 3, 240)]
SPEEDS = [1, 0.5, 0.25]
PROBLEM: dict[str, Any] = {"loss": "logistic", "alpha": 1e-2, "fit_intercept": True, "stored": X.toarray() != 0}
PROBLEM["intercept_rate"] = measure(as_matrix(X, 1), None, 1).intercept_rate


def train(data: Any = (X, Y), **options: Any) -> dsgd.FitResult:
    given = {"loss": "logistic", "alpha": 1e-2, "max_epochs": 4, "random_state": 3, "step_size": 0.1, "n_threads": 1}
    given["cluster"] = Simulation(workers=3, speeds=SPEEDS, kernel_cost=KernelCost(call=0, entry=1e-5))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "algo 'async-fl'")  # the condition of the theory
        return dsgd.fit(*data, algo="async-fl", **{**given, **options})


def order_of(rank: int, rows: Any, passes: int) -> Any:
    draws = [_core.draw_rows(len(rows), len(rows), block_size=1, seed=3, index=k, stream=rank) for k in range(passes)]
    return np.concatenate([rows[draw] for draw in draws])


def rounds_of(order: Any, sizes: list[int], look_every: int) -> list[list[Any]]:
    """Return the pieces of every round of one of three clients; none goes beyond a pass over its 80 rows."""
    rounds = []
    for begin, end in itertools.pairwise(np.cumsum([0, *sizes]) // 3):
        cuts = [begin]
        while cuts[-1] < end:
            cuts.append(min(cuts[-1] + look_every, end, (cuts[-1] // 80 + 1) * 80))
        rounds.append([order[first:last] for first, last in itertools.pairwise(cuts)])
    return rounds


def last_gradients(pieces: list[Any]) -> list[float]:
    """Return for each piece of a round where in the round its last gradient is, from 0 to below 1."""
    ends = np.cumsum([len(piece) for piece in pieces])
    return [(end - 1) / ends[-1] for end in ends.tolist()]


def falls(sizes: list[int], fall: float) -> list[float]:
    return [0.1 / (1 + fall * sum(sizes[:index])) for index in range(len(sizes))]


def models_told(answers: Any) -> list[Any]:
    """Return for each look of a client the global model that came, or None."""
    told: list[Any] = []
    for name, numbers in answers:
        kind = name.split(":")[0]
        if kind == "Poll":
            told.append(None)
        elif kind == "Pull":
            told[-1] = numbers
    return told


@pytest.mark.parametrize(
    ("sizes", "first_size", "delay", "wait", "epochs"),
    [("constant", 36, 1, "rounds", 8), ("linear", 30, 2, "rounds", 8), ("linear", 6, 2, "delay", 3)],
)
def test_every_global_model_is_a_sum_of_rounds_of_the_listing(
    sizes: str, first_size: int, delay: int, wait: str, epochs: int
) -> None:
    """Over 50 rounds and more: the changes computed in numpy from the models that came explain all of these."""
    listed = sizes_of_rounds(sizes, first_size, 0.05, delay, 240 * epochs)
    assert len(listed) >= 50
    cluster = Simulation(workers=3, speeds=SPEEDS, jitter=1e-4, record_answers=True)
    options: dict[str, Any] = {
        "sizes": sizes,
        "first_size": first_size,
        "growth": 0.05,
        "max_delay": delay,
        "wait": wait,
    }
    result = train(max_epochs=epochs, cluster=cluster, look_every=4, fall=0.01, **options)
    changes, seen = [], []
    for rank, rows in enumerate(deal(240, 3, 3)):
        told = models_told(result.trace.answers[rank])  # type: ignore[union-attr]
        looks = iter(told)
        rounds = rounds_of(order_of(rank, rows, 9), listed, 4)
        changes.append(client_changes(X.toarray(), Y, rounds, falls(listed, 0.01), looks, **PROBLEM))
        assert next(looks, "end") == "end"
        at = [(index, last) for index, pieces in enumerate(rounds) for last in last_gradients(pieces)]
        seen += [(rank, index, last, model) for (index, last), model in zip(at, told, strict=True)]
    sums = [np.cumsum([np.zeros(21), *each], axis=0) for each in changes]
    np.testing.assert_allclose(result.model.weights[0], sum(each[-1] for each in sums), rtol=0, atol=1e-12)
    begins, held = np.cumsum([0, *listed]), 0
    for rank, index, last, model in seen:
        if model is not None:  # otherwise it goes on with the one before
            others = [other for other in range(3) if other != rank]
            missing = (
                model - sums[rank][index]
            )  # it holds all that this client has sent, and not the round that it makes
            far = np.abs(sums[others[0]][:, None] + sums[others[1]][None] - missing).max(axis=2)
            held = int(min(np.unravel_index(far.argmin(), far.shape)))
            assert far.min() < 1e-12
        if wait == "rounds":
            assert held >= index - delay
        else:
            time = begins[index] + math.ceil(last * listed[index])
            assert held >= index or time - begins[held] <= most_delay(time)


def test_one_client_is_sequential_sgd_on_its_steps() -> None:
    """But for rounding: the server adds the sum of the steps of a round."""
    listed = sizes_of_rounds("linear", 5, 3.0, 1, 960)
    cluster = Simulation(workers=1, trace=False)
    result = train(cluster=cluster, sizes="linear", first_size=5, growth=3.0, fall=0.01)
    steps = np.repeat(falls(listed, 0.01), listed)
    w, b = reference.sgd(X.toarray(), Y, order_of(0, np.arange(240), 4), steps, **PROBLEM)
    np.testing.assert_allclose(result.model.weights[0], np.append(w, b), rtol=0, atol=1e-12)


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("sizes", ["theory", "linear", "constant"])
def test_rounds_are_those_of_the_listing(sizes: str, delay: int) -> None:
    for first, growth, total in ((1, 0.5, 1000), (7, 2.0, 5001), (10**6, 1.0, 50)):
        starts = round_starts(sizes, first, growth, delay, total)
        assert np.diff(starts).tolist() == sizes_of_rounds(sizes, first, growth, delay, total)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_rounds_of_the_theory_are_as_large_as_the_condition_allows(delay: int) -> None:
    starts = round_starts("theory", 1, 0.0, delay, 10**5)
    assert first_break(starts, delay) is None
    for start, size in zip(starts[50:-2], np.diff(starts)[50:-1], strict=True):
        assert (delay + 1) * size <= max(most_delay(int(start)), delay + 1) < (delay + 1) * (size + 1)


def test_the_first_round_that_breaks_the_condition_is_reported() -> None:
    assert most_delay(252_500) == pytest.approx(136.6, abs=0.1)
    assert most_delay(110) == pytest.approx(4.292, abs=0.001)
    by_hand = np.cumsum([0] + [1] * 100 + [2] * 5 + [3] + [1] * 10)  # rounds 104 and 105 have 2 + 3, after 108
    assert first_break(by_hand, 1) == 105
    assert first_break(by_hand, 0) is None
    assert first_break(np.cumsum([0] + [1] * 100), 1) is None
    options: dict[str, Any] = {"sizes": "linear", "first_size": 2, "growth": 2.0, "cluster": Simulation(workers=2)}
    with pytest.warns(RuntimeWarning, match=r"round 4 is the first .* lack 18 gradients; .* allows 2\.109 after 20;"):
        dsgd.fit(X, Y, algo="async-fl", max_epochs=1, step_size=0.1, **options)


def test_a_new_global_model_interrupts_a_round() -> None:
    """A slow client takes in the rounds of the fast ones while it makes its own."""
    counts = train(sizes="constant", first_size=60, look_every=2).history[-1].counts
    assert counts is not None
    assert min(counts["interrupted"][:2]) > 0  # type: ignore[operator, type-var]
    rare = train(sizes="constant", first_size=60, look_every=10**6).history[-1].counts
    assert rare is not None
    assert rare["interrupted"] == (0, 0, 0)
    assert rare["rounds"] == rare["sent"] == (16, 16, 16)


def test_the_wait_rules_hold_over_many_schedules() -> None:
    """A client that goes by rounds is never more than d rounds ahead when it takes a model."""
    for seed in range(60):
        random = np.random.default_rng([7, seed])
        delay = int(random.integers(0, 4))
        cluster = Simulation(workers=3, speeds=random.uniform(0.1, 1, 3).tolist(), jitter=1e-3, seed=seed)
        options: dict[str, Any] = {"max_delay": delay, "first_size": int(random.integers(1, 40)), "sizes": "linear"}
        result = train(cluster=cluster, growth=5.0, max_epochs=2, **options)
        assert result.trace is not None
        result.trace.check(delay)
        staleness = result.history[-1].staleness  # models taken by the rounds that they lacked
        assert staleness is not None
        assert len(staleness) <= delay + 1


def test_the_finer_rule_bounds_the_gradients_that_are_missing() -> None:
    """Rounds of 60 gradients are far beyond tau: no client may then begin a round before all have ended the last."""
    slow = train(sizes="constant", first_size=60, max_delay=5, wait="delay")
    fast = train(sizes="constant", first_size=60, max_delay=5)
    assert slow.history[-1].virtual_seconds > fast.history[-1].virtual_seconds  # type: ignore[operator]
    spread = [max(record.clocks) - min(record.clocks) for record in slow.history if record.clocks]
    assert max(spread) <= 1 < max(max(r.clocks) - min(r.clocks) for r in fast.history if r.clocks)


OPTIONS: dict[str, list[Any]] = {
    "sizes": ["theory", "linear", "constant"],
    "first_size": [None, 7, 30],
    "growth": [50.0, 3.0, 0.0],
    "falling": ["auto", "sqrt", "constant"],
    "fall": [None, 1e-2, 0.0],
    "max_delay": [1, 0, 5],
    "wait": ["rounds", "delay"],
    "participation": [1.0, 0.5],
    "look_every": [100, 3],
    "batch_size": [1, 4],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_the_result(option: str) -> None:
    results = [train(**{"sizes": "linear", option: value}).model.weights.tobytes() for value in OPTIONS[option]]
    assert len(set(results)) == len(results)
    assert train(sizes="linear").model.weights.tobytes() == train(sizes="linear").model.weights.tobytes()


def test_auto_falls_by_whether_there_is_l2() -> None:
    for alpha, falling in ((1e-2, "linear"), (0.0, "sqrt")):
        given: dict[str, Any] = {"alpha": alpha, "penalty": "l2" if alpha else "none"}
        weights = [train(falling=name, **given).model.weights.tobytes() for name in ("auto", falling)]
        assert weights[0] == weights[1]


def test_clients_that_sit_out_make_up_for_it() -> None:
    counts = train(participation=0.5, sizes="constant", first_size=12, max_epochs=10).history[-1]
    assert counts.counts is not None
    assert all(60 < (rounds or 0) < 140 for rounds in counts.counts["rounds"])  # of 200
    assert 0.75 < counts.effective_passes / 10 < 1.25


@pytest.mark.parametrize("partition", [Shares([3, 2, 1]), ByLabel(1)])
def test_uneven_and_biased_clients_come_as_near_to_the_optimum(partition: Any) -> None:
    best = dsgd.fit(X, Y, algo="batch", loss="logistic", alpha=1e-2, max_epochs=200).history[-1].objective
    cluster = Simulation(workers=3, speeds=SPEEDS, partition=partition)
    objective = train(cluster=cluster, max_epochs=60, falling="linear", fall=1e-3).history[-1].objective
    assert objective is not None
    assert best is not None
    assert objective < 1.005 * best


@pytest.mark.parametrize("loss", ["hinge", "softmax", "mlp", "kmeans"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_model_is_trained(loss: str, dtype: Any) -> None:
    data = (X.toarray().astype(dtype), None if loss == "kmeans" else CLASSES if loss != "hinge" else Y)
    kind: dict[str, Any] = {"loss": dsgd.losses.KMeans(3), "alpha": 0.0} if loss == "kmeans" else {"loss": loss}
    result = train(data, max_epochs=6, **kind)
    first, last = result.history[0].objective, result.history[-1].objective
    assert first is not None
    assert last is not None
    assert last < first


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": "square"},
        {"first_size": 0},
        {"growth": -1.0},
        {"falling": "log"},
        {"fall": -1.0},
        {"max_delay": -1},
        {"wait": "never"},
        {"participation": 0.0},
        {"look_every": 0},
        {"batch_size": 0},
    ],
)
def test_a_bad_option_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AsyncFl(**wrong)


@pytest.mark.parametrize("tens", range(PLANS // 10))
def test_a_run_with_failures_ends_with_a_model_that_is_not_worse_than_the_start(tens: int) -> None:
    for number in range(10 * tens, 10 * tens + 10):
        random = np.random.default_rng([77, number])
        of_frames = draw_of_frames(random)
        failures = [*of_frames, *draw_of_processes(random, bool(of_frames))]
        options: dict[str, Any] = {"sizes": str(random.choice(["linear", "constant"])), "growth": 10.0}
        options |= {"max_delay": int(random.integers(0, 4)), "wait": str(random.choice(["rounds", "delay"]))}
        case = f"{number}: {failures}, {options}"
        result = train(cluster=draw_cluster(random, failures), max_epochs=3, **options)
        assert np.isfinite(result.model.weights).all(), case
        assert (result.history[-1].objective or math.inf) < math.log(2), case
