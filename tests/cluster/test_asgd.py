"""`asgd` in virtual time: one worker is an algorithm of one machine, every option counts, messages are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cluster.asgd_fits import MODELS, WORKERS, X, cluster, fit, same
from cluster.toys import compute
from problems import make_problem

import dsgd
from dsgd.algorithms import Asgd
from dsgd.algorithms.distributed import Program
from dsgd.cluster.program.commands import Clock, Observe, Poll, Receive
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError

COUNTED = ("sent", "received", "accepted", "rejected", "age", "overwritten", "torn")
MANY, LABELS = make_problem(30_000, 20, seed=5)


def counts(result: dsgd.FitResult) -> dict[str, list[float]]:
    """Return the counts of all workers at the end."""
    last = result.history[-1].counts
    assert last is not None
    return {name: [0.0 if each is None else each for each in of_workers] for name, of_workers in last.items()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch_size", [10, 32])
@pytest.mark.parametrize("model", MODELS)
def test_one_worker_with_steps_of_batches_is_minibatch_to_the_bit(model: str, batch_size: int, dtype: Any) -> None:
    rows = X.toarray().astype(dtype)
    options: dict[str, Any] = {"batch_size": batch_size, "X": rows, "schedule": "inverse-sqrt"}
    alone = fit(model, cluster(1), steps="batch", **options)
    momentum: dict[str, Any] = {"momentum": 0.0} if model == "mlp" else {}
    plain = fit(model, algo="minibatch", block_size=1, cluster=None, **options, **momentum)
    assert same(alone, plain)
    assert alone.history[-1].objective == plain.history[-1].objective


@pytest.mark.parametrize("batch_size", [1, 7, 240])
@pytest.mark.parametrize("model", ["hinge", "softmax", "kmeans"])
def test_one_worker_with_single_steps_is_sgd_to_the_bit(model: str, batch_size: int) -> None:
    """However long a batch is: a linear model then settles its scale more often, by another rounding."""
    alone = fit(model, cluster(1), steps="single", batch_size=batch_size)
    options: dict[str, Any] = {"algo": "sgd"} if model != "kmeans" else {"algo": "minibatch", "batch_size": 1}
    plain = fit(model, cluster=None, block_size=1, **options)
    if batch_size == 240 or model != "hinge":
        assert same(alone, plain)
    else:
        np.testing.assert_allclose(alone.model.weights, plain.model.weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_silent_workers_train_alone(model: str) -> None:
    """The first of three workers ends where one worker ends that has its rows and nobody else's."""
    silent = fit(model, silent=True)
    assert same(silent, fit(model, cluster(speeds=[1.0, 0.2, 3.0], bandwidth=1e3), silent=True))
    assert not same(silent, fit(model))
    assert counts(silent) == {name: [0] * WORKERS for name in COUNTED}
    few = fit(model, silent=True, result="mean")
    assert not same(silent, few)
    apart = fit(model, algo=Asgd(batch_size=10, buffers=10**6, fanout=WORKERS, silent=True))
    assert same(silent, apart)


DENSE: dict[str, Any] = {"fanout": 2, "buffers": 1}
OPTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("batch_size", {}, {"batch_size": 20}),
    ("batch_size", {}, {"batch_size": "adaptive"}),
    ("batch_size, default", {}, {"batch_size": None}),
    ("steps", {"steps": "single"}, {"steps": "batch"}),
    ("fanout", {}, {"fanout": 2}),
    ("buffers", {"fanout": 2}, DENSE),
    ("partial", {}, {"partial": 0.5}),
    ("pull", {}, {"pull": "full"}),
    ("silent", {}, {"silent": True}),
    ("result", {}, {"result": "mean"}),
    ("queue_target", {"batch_size": "adaptive"}, {"batch_size": "adaptive", "queue_target": 0.5}),
]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("before", "after"), [each[1:] for each in OPTIONS], ids=[each[0] for each in OPTIONS])
def test_every_option_changes_the_result(model: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    options: dict[str, Any] = {"where": cluster(bandwidth=1e6)}
    assert not same(fit(model, **options, **before), fit(model, **options, **after))


def test_the_defaults_are_those_of_the_documentation() -> None:
    given: dict[str, Any] = {
        "batch_size": None,
        "steps": None,
        "fanout": 1,
        "buffers": 4,
        "partial": 1.0,
        "pull": "eps",
    }
    given |= {"silent": False, "result": "first", "torn": "detect", "queue_target": None}
    for model, steps in (("hinge", "single"), ("softmax", "single"), ("kmeans", "batch"), ("mlp", "batch")):
        default = fit(model, batch_size=None)
        assert same(default, fit(model, **{**given, "steps": steps}))
    adaptive = fit(batch_size="adaptive", fanout=2)
    assert same(adaptive, fit(batch_size="adaptive", fanout=2, queue_target=4.0))
    assert Asgd(torn="accept").mailbox.torn == "accept"
    assert (Asgd().mailbox.torn, Asgd(buffers=3).mailbox.slots, Asgd().mailbox.on_full) == ("detect", 3, "overwrite")


@pytest.mark.parametrize("model", MODELS)
def test_two_runs_give_the_same_bits(model: str) -> None:
    options: dict[str, Any] = {"speeds": [1.0, 0.7, 0.3], "jitter": 1e-3, "seed": 4}
    runs = [fit(model, cluster(**options), partial=0.5, batch_size="adaptive", fanout=2) for _ in range(2)]
    assert same(*runs)
    assert [record.counts for record in runs[0].history] == [record.counts for record in runs[1].history]
    assert counts(runs[0])["accepted"] > [0] * WORKERS


@pytest.mark.parametrize("model", MODELS)
def test_the_first_state_or_the_mean_of_all_is_better_than_the_start(model: str) -> None:
    start = fit(model, step_size=1e-300, max_epochs=1).history[-1].objective
    assert start is not None
    for result in ("first", "mean"):
        history = fit(model, result=result, max_epochs=8).history
        assert (history[-1].objective or np.inf) < start


class Emptied(Asgd):
    """Before its last clock a worker waits until all others have sent everything, and counts what it had not read."""

    def worker(self, task: WorkerTask) -> Program:
        program, answer, clock, last = super().worker(task), None, 0, Observe(task.start)
        while True:
            try:
                command = program.send(answer)
            except StopIteration:
                return
            if isinstance(command, Observe):
                last = command
            clock += isinstance(command, Clock)
            if isinstance(command, Clock) and clock == task.max_clocks:
                compute(task, 100.0)
                yield Poll("the work is done after this command")
                unread = len((yield Receive()))
                yield Observe(last.value, counts={**last.counts, "unread": unread})
            answer = yield command


@pytest.mark.parametrize("buffers", [1, 2, 4])
@pytest.mark.parametrize("fanout", [1, 2])
def test_every_message_is_received_overwritten_or_unread(buffers: int, fanout: int) -> None:
    result = fit(algo=Emptied(batch_size=10, buffers=buffers, fanout=fanout), where=cluster(speeds=[1.0, 0.5, 0.2]))
    total = {name: sum(values) for name, values in counts(result).items()}
    assert total["sent"] == WORKERS * fanout * 4 * 8  # of 80 rows a pass
    assert total["received"] + total["overwritten"] + total["unread"] == total["sent"]
    assert (total["accepted"] + total["rejected"]) == total["received"] * 16  # the parts of a state
    assert total["torn"] == 0
    assert min(total["overwritten"], total["received"], total["age"]) > 0


def test_a_history_keeps_the_counts(tmp_path: Any) -> None:
    history = fit(evaluate_every=1).history
    assert len(history) == 4
    for record in history:
        assert set(record.counts or ()) == set(COUNTED)
        assert all(len(of_workers) == WORKERS for of_workers in (record.counts or {}).values())
    sent = [sum(each or 0 for each in (record.counts or {})["sent"]) for record in history]
    assert sent == [WORKERS * 8 * clock for clock in (1, 2, 3, 4)]
    (tmp_path / "history").write_text(history.to_json())
    for again in (dsgd.History.from_json(history.to_json()), dsgd.History.from_json(tmp_path / "history")):
        assert [record.counts for record in again] == [record.counts for record in history]


def messages_of(bandwidth: float, **options: Any) -> list[float]:
    options = {"batch_size": "adaptive", "loss": "hinge", "y": LABELS, "X": MANY, "random_state": 1, **options}
    return counts(fit(where=cluster(bandwidth=bandwidth), **options))["sent"]


def test_adaptive_batches_grow_on_a_slow_link_and_shrink_on_a_fast_one() -> None:
    """They start at 500 of the 10,000 rows of a worker. Behind the messages of a pass goes its clock, and waits."""
    fast, fixed, slow = messages_of(1e9), messages_of(1e9, batch_size=500), messages_of(2e2)
    assert fixed == [4 * 20] * WORKERS
    assert min(fast) > 2 * 4 * 20
    assert max(slow) < 4 * 20 / 2


def test_a_queue_target_is_the_length_that_leaves_batches_as_they_are() -> None:
    """On a fast link a message never waits for another one: it alone is the queue."""
    assert messages_of(1e9, queue_target=1.0) == messages_of(1e9, batch_size=500)
    assert messages_of(1e9, queue_target=0.5)[0] < messages_of(1e9, queue_target=1.0)[0]
    assert messages_of(1e9, queue_target=4.0)[0] > messages_of(1e9)[0]


def test_an_adaptive_batch_is_within_its_bounds() -> None:
    algorithm = Asgd(batch_size="adaptive")
    size = 500
    for _ in range(300):
        size = algorithm._next_size(size, 0, 10**9)
    assert size == 10
    for _ in range(300):
        size = algorithm._next_size(size, 10, 10**9)
    assert size == 100_000
    assert algorithm._next_size(size, 10, 700) == 700
    assert algorithm._next_size(100, 2, 700) == 100


@pytest.mark.parametrize("steps", ["batch", "single"])
def test_a_batch_has_at_most_the_rows_of_a_worker(steps: str) -> None:
    options: dict[str, Any] = {"steps": steps, "where": cluster(bandwidth=1e2)}
    assert same(fit(batch_size=80, **options), fit(batch_size=10**6, **options))
    assert same(fit(batch_size=80, **options), fit(batch_size="adaptive", queue_target=1e-3, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size must be .* from 1 .*, not 0"),
        ({"batch_size": "auto"}, "batch_size must be an integer or 'adaptive', not 'auto'"),
        ({"batch_size": 2.5}, r"batch_size must be .*, not 2\.5"),
        ({"fanout": 0}, r"fanout must be .*, not 0"),
        ({"fanout": True}, r"fanout must be .*, not True"),
        ({"buffers": -1}, r"buffers must be .*, not -1"),
        ({"steps": "one"}, "unknown steps 'one'; known: batch, single"),
        ({"partial": 0}, r"partial must be .*, not 0"),
        ({"partial": 1.5}, r"partial must be .*, not 1\.5"),
        ({"pull": "half"}, "unknown pull 'half'; known: eps, full"),
        ({"silent": 1}, r"silent must be .*, not 1"),
        ({"result": "last"}, "unknown result 'last'; known: first, mean"),
        ({"torn": "drop"}, "unknown torn 'drop'; known: accept, detect"),
        ({"queue_target": 0}, r"queue_target must be .*, not 0"),
        ({"queue_target": float("nan")}, r"queue_target must be .*, not nan"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Asgd(**options)
    with pytest.raises(ConfigError, match=message):
        fit(**options)


def test_asgd_needs_a_cluster() -> None:
    with pytest.raises(ConfigError, match="algo 'asgd' needs workers=4"):
        fit(cluster=None)
