"""Asynchronous peers: they equal their listing, lose no change, and wait for nobody for ever."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from cluster import exact
from cluster.exact import change_of_a_pass, exact_run
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import P2p
from dsgd.cluster import SERVER, Crash, Delay, Duplication, FrameLoss, NetworkSplit, Pause, Simulation
from dsgd.cluster.program.commands import Receive
from dsgd.cluster.program.partition import deal
from dsgd.cluster.runtime.replay import answer_of
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.testing import reference

X, Y = make_problem(240, 20, seed=3)
CLASSES = np.array(["a", "b", "c"])[np.random.default_rng(0).integers(0, 3, 240)]
CLOCKS = 6
FULL = CLOCKS * change_of_a_pass(range(exact.WORKERS))


def train(data: Any = (X, Y), **options: Any) -> dsgd.FitResult:
    given = {"loss": "logistic", "alpha": 1e-2, "max_epochs": 4, "random_state": 3, "step_size": 0.1, "n_threads": 1}
    return dsgd.fit(*data, **{**given, **options})


def peers(cluster: Simulation | None = None, **options: Any) -> dsgd.FitResult:
    return train(algo="p2p", cluster=cluster or Simulation(workers=3, speeds=[1, 0.5, 0.25]), **options)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", ["hinge", "logistic", "softmax"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, None),
        ({"batch_size": 4, "schedule": "inverse-sqrt"}, 7),
        ({"batch_size": 7, "penalty": "l1"}, 1),
        ({"batch_size": 1, "penalty": "none", "schedule": "constant"}, 50),
    ],
    ids=["single rows", "rows of 4", "l1", "no penalty"],
)
def test_one_worker_is_minibatch_to_the_bit(
    layout: str, dtype: Any, loss: str, options: dict[str, Any], message: int | None
) -> None:
    features = (X if layout == "sparse" else X.toarray()).astype(dtype)
    data = (features, CLASSES if loss == "softmax" else Y)
    alone = train(
        data, loss=loss, algo="p2p", send_every=message, cluster=Simulation(workers=1, trace=False), **options
    )
    machine = train(data, loss=loss, algo="minibatch", block_size=1, **options)
    assert np.array_equal(alone.model.weights, machine.model.weights)
    assert alone.model.weights.dtype == dtype


class Listing:
    """What a worker does, in plain numpy, with the letters that it received in a run.

    Attributes
    ----------
    w : ndarray
        Weights, the intercept last.
    made : ndarray
        The sum of its own changes.
    received : dict of int to ndarray
        The sum of what came from each peer.
    passes : list of ndarray
        The weights after every pass.
    """

    STEP, ALPHA, BATCH, SEND_EVERY, SEED, EPOCHS = 0.3, 1.0, 4, 3, 3, 4
    RATE = measure(as_matrix(X, 1), None, 1).intercept_rate

    def __init__(self, trace: Any, rank: int) -> None:
        self.w, self.made, self.passes = np.zeros(21), np.zeros(21), list[Any]()
        self.received: dict[int, Any] = {}
        own, letters, before = deal(240, 3, self.SEED)[rank], self._letters(rank), ""
        for name, numbers in trace.answers[rank]:
            kind = name.split(":")[0]
            if kind == "Send" and before != "Send":
                self._step([own[rows].tolist() for rows in next(letters, [])])
            elif kind == "Receive":
                for letter in answer_of(Receive(), name, numbers):
                    self._apply(letter)
            elif kind == "Observe":
                self.passes.append(self.w.copy())
            before = kind

    def _letters(self, rank: int) -> Any:
        """Yield the batches of every letter."""
        for index in range(self.EPOCHS):
            order = _core.draw_rows(80, 80, block_size=1, seed=self.SEED, index=index, stream=rank)
            batches = np.split(order, range(self.BATCH, 80, self.BATCH))
            for first in range(0, len(batches), self.SEND_EVERY):
                yield batches[first : first + self.SEND_EVERY]

    def _step(self, batches: list[Any]) -> None:
        before = self.w
        steps = [self.STEP / 3] * len(batches)  # the mean of the gradients of three workers
        options: dict[str, Any] = {"loss": "logistic", "alpha": self.ALPHA, "fit_intercept": True}
        options |= {"stored": X.toarray() != 0, "intercept_rate": self.RATE, "batch_size": self.BATCH}
        for w, b in reference.iterates(X.toarray(), Y, batches, steps, start=(self.w[:-1], self.w[-1]), **options):
            self.w = np.append(w, b)
        self.made += self.w - before

    def _apply(self, letter: Any) -> None:
        change = np.zeros(22)
        change[letter.keys.astype(int)] = letter.value
        self.w = self.w + change[:-1]
        self.received[letter.sender] = self.received.get(letter.sender, 0) + change[:-1]


def test_several_workers_equal_a_plain_listing() -> None:
    """L2 is so strong that every row brings it at every visit, whatever its turn."""
    shrinkage = Listing.STEP / 3 / Listing.BATCH * Listing.ALPHA * X.size / X.nnz
    assert reference.l2_period(shrinkage) == 1
    seen: list[Any] = []
    cluster = Simulation(workers=3, speeds=[1, 0.5, 0.25], jitter=1e-5, record_answers=True)
    result = peers(
        cluster,
        batch_size=Listing.BATCH,
        send_every=Listing.SEND_EVERY,
        max_ahead=0,
        step_size=Listing.STEP,
        alpha=Listing.ALPHA,
        schedule="constant",
        callbacks=[lambda _, model: seen.append(model.weights[0].copy())],
    )
    listings = [Listing(result.trace, rank) for rank in range(3)]
    close: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
    for listed, model in zip(listings[0].passes[:3], seen[:3], strict=True):
        np.testing.assert_allclose(model, listed, **close)
    total = sum(listing.made for listing in listings)
    np.testing.assert_allclose(result.model.weights[0], total, **close)
    for receiver, peer in itertools.permutations(range(3), 2):
        np.testing.assert_allclose(listings[receiver].received[peer], listings[peer].made, **close)
    for listing in listings:  # behind a barrier all have heard all
        np.testing.assert_allclose(listing.w, total, **close)


FRAMES = [FrameLoss(0.1), Duplication(0.2), Delay(0.2, 0.02)]
BAD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "two servers": {"servers": 2, "jitter": 1e-2},
    "frames": {"failures": FRAMES},
    "a crash": {"failures": [Crash(1, 0.03, 0.05)]},
    "a crash of the first": {"failures": [Crash(0, 0.15, 0.1)]},
    "a late worker": {"failures": [Crash(3, 0.0, 0.25)]},
    "a pause": {"failures": [Pause(2, 0.1, 0.2)]},
    "a split": {"failures": [NetworkSplit([0, 2], 0.1, 0.1), *FRAMES]},
    "a crash of the server": {"failures": [Crash(SERVER, 0.12, 0.05)], "checkpoint_every": 2},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("max_ahead", [0, 1, math.inf])
@pytest.mark.parametrize("name", BAD)
def test_all_end_with_the_sum_of_all_changes(name: str, max_ahead: float, dtype: Any) -> None:
    algorithm = P2p(send_every=10, max_ahead=max_ahead, max_wait=0.05)
    outcome = exact_run(algorithm, CLOCKS, dtype, **BAD[name])
    assert np.array_equal(outcome.weights, FULL)
    assert np.array_equal(outcome.tables["weights"], FULL)
    assert sorted(outcome.record.observed) == [0, 1, 2, 3]
    assert all(np.array_equal(each.vector, FULL) for each in outcome.record.observed.values())


@pytest.mark.parametrize("frames", [[], FRAMES], ids=["good links", "bad links"])
@pytest.mark.parametrize("rank", [0, 2])
def test_of_a_worker_that_is_gone_the_passes_that_it_finished_are_left(rank: int, frames: list[Any]) -> None:
    outcome = exact_run(
        P2p(send_every=10, max_wait=0.05), CLOCKS, failures=[Crash(rank, 0.2), *frames], resend_after=0.004
    )
    others = CLOCKS * change_of_a_pass(set(range(4)) - {rank})
    sums = [others + passes * change_of_a_pass([rank]) for passes in range(CLOCKS)]
    (passes,) = (number for number, each in enumerate(sums) if np.array_equal(outcome.weights, each))
    assert 0 < passes < CLOCKS
    assert sorted(outcome.record.observed) == sorted(set(range(4)) - {rank})
    assert all(np.array_equal(each.vector, outcome.weights) for each in outcome.record.observed.values())


@pytest.mark.parametrize(("at", "passes"), [(0.0, 0), (0.08, 0), (0.13, 1)])
def test_a_worker_that_joins_late_begins_with_what_is_pushed(at: float, passes: int) -> None:
    """By the time it is back the others have pushed one or two passes."""
    recorded: dict[str, Any] = {"record_answers": True, "trace": True}
    outcome = exact_run(P2p(send_every=10, max_ahead=math.inf), CLOCKS, failures=[Crash(3, at, 0.12)], **recorded)
    assert outcome.trace is not None
    answers = outcome.trace.answers[3]
    last = max(index for index, (name, _) in enumerate(answers) if name.startswith("start:"))
    assert answers[last][0] == f"start:{passes}"
    name, weights = answers[last + 1]
    assert name.startswith("Pull:")
    others = [number * change_of_a_pass(range(3)) for number in range(1, CLOCKS)]
    assert any(np.array_equal(weights, each + passes * change_of_a_pass([3])) for each in others)


OPTIONS: dict[str, list[Any]] = {
    "batch_size": [1, 2, 8],
    "send_every": [None, 1, 5],
    "max_ahead": [0, 1, 3, math.inf],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_the_result(option: str) -> None:
    given: dict[str, Any] = {"send_every": 2, "max_ahead": 1}
    results = [peers(**{**given, option: value}).model.weights.tobytes() for value in OPTIONS[option]]
    assert len(set(results)) == len(results)
    assert peers(**given).model.weights.tobytes() == peers(**given).model.weights.tobytes()


def test_by_default_a_letter_has_the_rows_of_200_of_all_workers() -> None:
    for batch_size, letters in ((1, 3), (10, 2), (100, 1)):  # of 120 rows: 50 + 50 + 20, or 100 + 20
        workers = 4 if batch_size == 1 else 2
        rows = 480 if batch_size == 1 else 240
        data = (X[:240], Y[:240]) if rows == 240 else (np.vstack([X.toarray()] * 2), np.tile(Y, 2))
        result = train(data, algo="p2p", cluster=Simulation(workers=workers, bandwidth=1e15), batch_size=batch_size)
        counts = result.history[-1].counts
        assert counts is not None
        expected = (4 * (letters if batch_size != 100 else 2) + 1) * (workers - 1)
        assert counts["sent"] == (expected,) * workers


@pytest.mark.parametrize("max_wait", [2.0, 5.0])
@pytest.mark.parametrize("max_ahead", [0, 1])
@pytest.mark.parametrize("rank", [0, 1])
def test_nobody_waits_longer_than_its_patience_for_a_dead_peer(rank: int, max_ahead: int, max_wait: float) -> None:
    """A run takes 0.3 s; after 0.5 s of silence the server takes the peer for lost."""
    algorithm = P2p(send_every=10, max_ahead=max_ahead, max_wait=max_wait)
    outcome = exact_run(algorithm, CLOCKS, failures=[Crash(rank, 0.1)])
    assert outcome.record.virtual_seconds is not None
    assert max_wait < outcome.record.virtual_seconds < max_wait + 1
    assert max(outcome.record.clocks) == CLOCKS
    assert sorted(outcome.record.observed) == sorted(set(range(4)) - {rank})


def test_without_a_bound_nobody_waits_for_a_dead_peer() -> None:
    outcome = exact_run(P2p(send_every=10, max_ahead=math.inf, max_wait=50.0), CLOCKS, failures=[Crash(1, 0.1)])
    assert (outcome.record.virtual_seconds or math.inf) < 1


@pytest.mark.parametrize("at", [0.02, 0.1, 0.2])
def test_a_peer_that_is_started_again_is_waited_for_once(at: float) -> None:
    """Its letters before the crash, or lost ones, are missing for ever in what the others have heard of it."""
    algorithm = P2p(send_every=2, max_wait=2.0)
    outcome = exact_run(algorithm, CLOCKS, failures=[Crash(1, at, 2.5)], heartbeat_deadline=5.0)
    assert (outcome.record.virtual_seconds or math.inf) < 6  # 180 letters
    assert np.array_equal(outcome.weights, FULL)


def test_a_worker_that_has_ended_does_not_hold_up_the_others() -> None:
    """They stop after different numbers of letters, and are patient for longer than the run."""
    cluster = Simulation(workers=3, speeds=[1, 0.5, 0.25])
    algorithm = P2p(send_every=2, check_every=1, max_ahead=0, max_wait=100.0, stop_change=0.002)
    result = train(algo=algorithm, cluster=cluster, max_epochs=30)
    counts, clocks = result.history[-1].counts, result.history[-1].clocks
    assert counts is not None
    assert len(set(counts["sent"])) > 1
    assert clocks is not None
    assert max(clocks) < 30
    assert (result.history[-1].virtual_seconds or math.inf) < 100


def test_a_run_ends_when_all_have_stopped() -> None:
    """The first evaluation has nothing before it, and two in a row must have changed little."""
    result = peers(stop_change=1e9, send_every=10, check_every=2, max_epochs=50)
    (*_, last) = result.history
    counts = last.counts
    assert counts is not None
    assert counts["sent"] == (2 * 7,) * 3  # three evaluations, and the last word
    assert last.effective_passes == pytest.approx(60 / 80)
    parts, weights = deal(240, 3, 3), result.model.weights[0]
    for rank, objective in enumerate(counts["objective"]):
        rows = parts[rank]
        margins = Y[rows] * (X[rows] @ weights[:-1] + weights[-1])
        now = np.logaddexp(0, -margins).mean() + 1e-2 / 2 * weights[:-1] @ weights[:-1]
        assert objective == pytest.approx(now, rel=0.1)  # a few letters before the end


def test_the_objective_in_the_history_is_that_of_the_last_evaluation() -> None:
    result = train(algo="p2p", cluster=Simulation(workers=1), stop_change=1e-3, max_epochs=100)
    assert len(result.history) < 50
    for record in result.history:
        assert record.counts is not None
        assert record.counts["objective"][0] == pytest.approx(record.objective, rel=1e-12)
    before, previous, last = (record.objective or math.nan for record in result.history[-3:])
    assert abs(last - previous) < 1e-3
    assert abs(previous - before) < 1e-3


def test_how_much_and_how_often_a_worker_looks_decides_when_it_stops() -> None:
    def passes(**options: Any) -> float:
        result = train(algo="p2p", cluster=Simulation(workers=1), send_every=20, max_epochs=40, **options)
        return result.history[-1].effective_passes or math.nan

    assert passes(stop_change=None) == passes(stop_change=0.0) == 40
    assert passes(stop_change=1e-3) > passes(stop_change=1e-2) > 2
    for every in (1, 5, 24, 30):  # of 12 letters a pass
        assert passes(stop_change=1e9, check_every=every) == pytest.approx(3 * every * 20 / 240)
    assert passes(stop_change=1e9) == 3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("send_every", 0),
        ("send_every", 1.5),
        ("check_every", -1),
        ("max_ahead", -1),
        ("max_ahead", 0.5),
        ("max_ahead", math.nan),
        ("max_wait", 0.0),
        ("max_wait", math.inf),
        ("stop_change", -1e-3),
        ("stop_change", math.nan),
    ],
)
def test_bad_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        P2p(**{option: value})


def test_models_that_it_does_not_train_are_refused() -> None:
    with pytest.raises(ConfigError, match="p2p"):
        peers(loss="mlp")
    with pytest.raises(ConfigError, match="p2p"):
        peers(loss=dsgd.losses.KMeans(3))
