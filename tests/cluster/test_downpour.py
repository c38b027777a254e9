"""Downpour SGD: it equals its listing on the schedule of a run, loses no push, and waits for nobody."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from cluster import exact
from cluster.exact import change_of_a_pass, exact_run
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import Downpour
from dsgd.cluster import SERVER, Crash, Delay, Duplication, FrameLoss, KernelCost, Simulation
from dsgd.cluster.program.partition import deal
from dsgd.cluster.runtime.trace import Kind
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.testing import reference

X, Y = make_problem(240, 20, seed=3)
# L2 is so strong that every row brings it at every visit, whatever its turn.
SEED, SIZE, STEP, ALPHA, EPOCHS = 3, 4, 0.3, 1.0, 3
RATE = measure(as_matrix(X, 1), None, 1).intercept_rate
UNEVEN: dict[str, Any] = {"workers": 3, "speeds": [1, 0.5, 0.25], "kernel_cost": KernelCost(call=0, entry=1e-4)}


def train(cluster: Simulation | None = None, **options: Any) -> dsgd.FitResult:
    given: dict[str, Any] = {"algo": "downpour", "loss": "logistic", "alpha": ALPHA, "max_epochs": EPOCHS}
    given |= {"random_state": SEED, "step_size": STEP, "n_threads": 1, "batch_size": SIZE, "schedule": "constant"}
    data = options.pop("data", (X, Y))
    return dsgd.fit(*data, cluster=cluster or Simulation(**UNEVEN), **{**given, **options})


def listing(trace: Any, n_fetch: int, n_push: int, server_step: str, workers: int = 3) -> tuple[Any, int]:
    """Return the weights by the paper's listing, and how many pulls missed a push of another worker.

    Of a run it takes the order of pushes, and how many of them were in the answer of each pull.
    """
    own, rows = 240 // workers, deal(240, workers, SEED)
    pulled = {
        rank: iter([values for name, values in trace.answers[rank] if name.split(":")[0] in ("Pull", "Wait")])
        for rank in range(workers)
    }
    states, squares, late, done = [np.zeros(21)], np.zeros(21), 0, Counter[int]()
    w = [np.zeros(21)] * workers
    events = trace.columns()
    order = events["node"][events["kind"] == Kind.CLOCK]
    for rank in order.tolist():
        accrued = np.zeros(21)
        for step in range(done[rank] * n_push, (done[rank] + 1) * n_push):
            if step % n_fetch == 0:
                value = next(pulled[rank])
                gaps = [np.abs(state - value).max() for state in states]
                version = int(np.argmin(gaps))
                assert gaps[version] < 1e-12
                late += version < len(states) - 1
                w[rank] = states[version]
            index = step * SIZE // own
            visits = _core.draw_rows(own, own, block_size=1, seed=SEED, index=index, stream=rank)
            batch = rows[rank][visits[step * SIZE % own :][:SIZE]]
            options: dict[str, Any] = {"loss": "logistic", "alpha": ALPHA, "fit_intercept": True, "index": index}
            options |= {"stored": X.toarray() != 0, "intercept_rate": RATE, "batch_size": SIZE}
            start = (w[rank][:-1], w[rank][-1])
            (moved,) = reference.iterates(X.toarray(), Y, [batch.tolist()], [STEP], start=start, **options)
            change = np.append(*moved) - w[rank]
            accrued += change if server_step == "plain" else -change / STEP
            w[rank] = w[rank] + change if server_step == "plain" else w[rank]
        done[rank] += 1
        if server_step == "plain":
            states.append(states[-1] + accrued / workers)
        else:
            squares += accrued**2
            rates = np.divide(STEP, np.sqrt(squares), out=np.zeros(21), where=squares > 0)
            states.append(states[-1] - rates * accrued)
    return states[-1], late


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("server_step", ["plain", "adagrad"])
@pytest.mark.parametrize(("n_fetch", "n_push"), [(1, 1), (2, 1), (1, 3), (5, 2)])
def test_several_workers_equal_a_plain_listing(n_fetch: int, n_push: int, server_step: str, servers: int) -> None:
    """Of 60 steps a worker; two shards have the same pushes here, as their links are alike."""
    cluster = Simulation(**UNEVEN, servers=servers, record_answers=True)
    result = train(cluster, n_fetch=n_fetch, n_push=n_push, server_step=server_step)
    weights, late = listing(result.trace, n_fetch, n_push, server_step)
    np.testing.assert_allclose(result.model.weights[0], weights, rtol=0, atol=1e-12)
    assert late > 10


EXACT: dict[str, Any] = {**exact.EXACT, "max_epochs": 5}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt"])
@pytest.mark.parametrize("size", [1, 16])
def test_one_worker_is_minibatch_to_the_bit(size: int, schedule: str, dtype: Any) -> None:
    given: dict[str, Any] = {"loss": "logistic", "alpha": ALPHA, "max_epochs": EPOCHS, "random_state": SEED}
    given |= {"step_size": STEP, "n_threads": 1, "batch_size": size, "schedule": schedule}
    alone = dsgd.fit(X.astype(dtype), Y, algo="downpour", cluster=Simulation(workers=1), **given)
    machine = dsgd.fit(X.astype(dtype), Y, algo="minibatch", block_size=1, **given)
    assert np.array_equal(alone.model.weights, machine.model.weights)


@pytest.mark.parametrize("options", [{"n_push": 4}, {"n_fetch": 4, "n_push": 4}])
def test_one_worker_that_pushes_now_and_then_learns_as_well(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"schedule": "constant", **options}
    often, seldom = train(Simulation(workers=1)), train(Simulation(workers=1), **given)
    assert seldom.history[-1].objective == pytest.approx(often.history[-1].objective, rel=0.2)


OPTIONS: dict[str, list[Any]] = {
    "n_fetch": [1, 2, 5],
    "n_push": [1, 2, 5],
    "server_step": ["plain", "adagrad"],
    "ahead": [False, True],
    "warm_start": [0, 1, 20],
    "batch_size": [1, 4, 8],
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_changes_the_result(option: str) -> None:
    results = [train(**{option: value}).model.weights.tobytes() for value in OPTIONS[option]]
    assert len(set(results)) == len(results)


def test_a_pull_ahead_saves_time() -> None:
    """Links are slow beside steps."""
    seconds = [
        train(Simulation(workers=3, latency=2e-3, kernel_cost=KernelCost(call=1e-3)), ahead=ahead)
        .history[-1]
        .virtual_seconds
        or 0.0
        for ahead in (True, False)
    ]
    assert seconds[0] < 0.9 * seconds[1]


CLOCKS = 60  # 60 rows of a worker, one a step
FULL = change_of_a_pass(range(exact.WORKERS))
EVERY_FRAME = [FrameLoss(0.1), Delay(0.1, 0.02), Duplication(0.1)]


@pytest.mark.parametrize("failures", [[], EVERY_FRAME, [*EVERY_FRAME, Crash(SERVER, 0.03, 0.02)]], ids=len)
@pytest.mark.parametrize(("n_fetch", "n_push"), [(1, 1), (3, 2)])
def test_every_change_is_applied_exactly_once(n_fetch: int, n_push: int, failures: list[Any]) -> None:
    """A server that is started again from a checkpoint forgets nothing that its clocks count."""
    algorithm = Downpour(batch_size=1, n_fetch=n_fetch, n_push=n_push)
    outcome = exact_run(algorithm, CLOCKS // n_push, failures=failures, servers=2, checkpoint_every=5)
    assert np.array_equal(outcome.weights, FULL)


@pytest.mark.parametrize("rank", [0, 3])
def test_a_worker_that_dies_and_returns_loses_no_push(rank: int) -> None:
    """It repeats at most the clock that it had not finished, whose push may have arrived."""
    outcome = exact_run(Downpour(batch_size=1), CLOCKS, failures=[Crash(rank, 0.05, 0.05), *EVERY_FRAME])
    extra = (outcome.weights - FULL) / exact.STEP * exact.WORKERS
    assert np.array_equal(extra, np.round(extra))
    assert np.abs(extra).max() <= 1
    assert min(outcome.record.clocks) == CLOCKS


def test_the_first_worker_makes_its_steps_alone_before_all_others_begin() -> None:
    result = train(Simulation(**UNEVEN, record_answers=True), warm_start=20)
    answers = result.trace.answers  # type: ignore[union-attr]
    names = {rank: [name.split(":")[0] for name, _ in answers[rank]] for rank in range(3)}
    assert names[0][: names[0].index("AllReduce")].count("Push") == 20
    assert all("Pull" not in names[rank][: names[rank].index("AllReduce")] for rank in (1, 2))
    first = next(values for name, values in answers[1] if name.startswith("Pull"))
    assert np.abs(first).max() > 0


def test_the_others_begin_without_a_first_worker_that_dies_while_it_is_alone() -> None:
    algorithm = Downpour(batch_size=1, warm_start=10**6)
    outcome = exact_run(algorithm, CLOCKS, failures=[Crash(0, 0.05)])
    assert list(outcome.record.clocks)[1:] == [CLOCKS] * 3
    assert (outcome.record.virtual_seconds or 9.0) < 2


@pytest.mark.parametrize("server_step", ["plain", "adagrad"])
@pytest.mark.parametrize(
    "loss", [dsgd.losses.KMeans(3), "softmax", dsgd.losses.MLP((5,)), "squared"], ids=["kmeans", "softmax", "mlp", "ls"]
)
def test_every_model_gets_better(loss: Any, server_step: str) -> None:
    classes = np.array(["a", "b", "c"])[np.argmax(X.toarray()[:, :3], axis=1)]
    target = classes if loss == "softmax" or isinstance(loss, dsgd.losses.MLP) else Y
    given: dict[str, Any] = {"algo": "downpour", "random_state": 0, "cluster": Simulation(workers=3), "n_threads": 1}
    given |= {"loss": loss, "server_step": server_step, "max_epochs": 8, "batch_size": 4}
    if isinstance(loss, str):
        given["alpha"] = ALPHA
    y = None if isinstance(loss, dsgd.losses.KMeans) else target
    history = dsgd.fit(X.toarray(), y, **given).history
    assert (history[-1].objective or 9e9) < (history[0].objective or 0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("n_fetch", 0), ("n_push", 0.5), ("server_step", "adam"), ("ahead", 1), ("warm_start", -1), ("batch_size", 0)],
)
def test_bad_options_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        Downpour(**{option: value})
