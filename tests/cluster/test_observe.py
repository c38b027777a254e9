"""Observed vectors: which of them a record is made of, in virtual time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cluster.toys import compute, run_toy, toy_assignment
from numpy.typing import NDArray

from dsgd.algorithms.distributed import Mailbox, Program
from dsgd.cluster import Crash, Simulation
from dsgd.cluster.program.commands import Clock, Observe, Poll, Pull, Push, Receive, Send
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.observed import Observation, Observed, model_of
from dsgd.cluster.runtime.replay import replay
from dsgd.cluster.runtime.run_spec import ClusterRecord, Outcome
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.errors import ClusterError, ConfigError

UNEVEN = Simulation(workers=3, speeds=[0.1, 1, 0.5])
Records = list[tuple[ClusterRecord, NDArray[Any]]]


def counting(task: WorkerTask) -> Program:
    """Observe 100 * rank + finished clocks, after every clock but the first also before."""
    for clock in range(task.start_clock, task.max_clocks):
        compute(task, 0.01)
        yield Observe(np.full(4, -1.0))
        yield Observe(np.full(4, 100.0 * task.rank + clock + 1))
        yield Clock()


def run(
    body: Any, cluster: Simulation = UNEVEN, notices: Sequence[int] = (2, 5), **work: Any
) -> tuple[Outcome, Records]:
    """Run `body` for six clocks, by default without any bound; return the outcome and the records."""
    records: Records = []

    def on_clock(record: ClusterRecord, weights: NDArray[Any]) -> bool:
        records.append((record, weights))
        return False

    options = {"nodes": cluster.workers, "clocks": 6, "staleness": np.inf, "observes": "mean", **work}
    return SimulatedRun(cluster, toy_assignment(body, **options), on_clock, notices).run(), records


def numbers(record: ClusterRecord) -> dict[int, float]:
    return {rank: observed.vector[0] for rank, observed in record.observed.items()}


@pytest.mark.parametrize(
    ("observes", "weights"), [("server", [0.0, 0.0, 0.0]), ("first", [2.0, 5.0, 6.0]), ("mean", [102.0, 105.0, 106.0])]
)
def test_a_record_is_made_of_what_each_worker_observed_last_before_it_finished_that_clock(
    observes: str, weights: list[float]
) -> None:
    """Also of workers that are clocks ahead by then."""
    outcome, records = run(counting, observes=observes)
    assert records[0][0].clocks[1] > 2
    assert [numbers(record) for record, _ in records] == [{0: k, 1: 100 + k, 2: 200 + k} for k in (2.0, 5.0)]
    assert numbers(outcome.record) == {0: 6.0, 1: 106.0, 2: 206.0}
    assert [model.tolist() for _, model in records] == [[number] * 4 for number in weights[:2]]
    assert outcome.weights.tolist() == [weights[2]] * 4


def test_nodes_that_observe_nothing_do_not_count() -> None:
    def body(task: WorkerTask) -> Program:
        if task.rank > 0:
            yield from counting(task)
        for _ in range(task.max_clocks):
            yield Clock()

    for observes, expected in (("first", 106.0), ("mean", 156.0)):
        assert run(body, observes=observes)[0].weights.tolist() == [expected] * 4

    def silent(task: WorkerTask) -> Program:
        yield Push(np.ones(4))
        yield Clock()

    assert run(silent)[0].weights.tolist() == [0.0] * 4


def test_a_worker_that_is_lost_drops_out_of_the_mean() -> None:
    def body(task: WorkerTask) -> Program:
        for clock, command in enumerate(counting(task)):
            if clock % 3 == 0:
                yield Pull(clock // 3)  # nobody comes to the end before the loss is known
            yield command

    outcome, records = run(body, Simulation(workers=3, failures=[Crash(1, at=0.035)]), staleness=1)
    assert [sorted(record.observed) for record, _ in records] == [[0, 1, 2], [0, 2]]
    assert [model[0] for _, model in records] == [102.0, 105.0]
    assert outcome.weights.tolist() == [(6.0 + 206.0) / 2] * 4


def test_a_worker_that_is_gone_for_good_drops_out_of_the_result_before_the_server_knows() -> None:
    outcome, records = run(counting, Simulation(workers=3, failures=[Crash(1, at=0.035)]))
    assert [sorted(record.observed) for record, _ in records] == [[0, 1, 2]]
    assert outcome.record.virtual_seconds is not None
    assert outcome.record.virtual_seconds < 1  # of the 30 after which it would be lost
    assert outcome.weights.tolist() == [(6.0 + 206.0) / 2] * 4


@pytest.mark.parametrize("node", [2, -1], ids=["worker", "server"])
def test_a_restart_changes_no_record_of_a_barrier_program(node: int) -> None:
    def body(task: WorkerTask) -> Program:
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)
            compute(task, 0.01 * (1 + task.rank))
            yield Observe(weights + task.rank + clock)
            yield Push(np.full(4, 1.0 + task.rank))
            yield Clock()

    whole, records = run(body, Simulation(workers=3), staleness=0)
    crash = Crash(node, at=0.082, restart_after=0.01)
    again, others = run(body, Simulation(workers=3, failures=[crash], checkpoint_every=1), staleness=0)
    assert again.record.virtual_seconds != whole.record.virtual_seconds
    assert np.array_equal(again.weights, whole.weights)
    assert [numbers(record) for record, _ in others] == [numbers(record) for record, _ in records]
    assert [model.tolist() for _, model in others] == [model.tolist() for _, model in records]


def test_observing_costs_nothing() -> None:
    def body_of(observes: bool) -> Any:
        def body(task: WorkerTask) -> Program:
            for clock in range(task.max_clocks):
                yield Pull(clock)
                compute(task, 0.01)
                if observes:
                    yield Observe(np.ones(4))
                yield Push(np.ones(4))
                yield Clock()

        return body

    traced = Simulation(workers=3, trace=True)
    (with_it, first), (without, second) = (run(body_of(observes), traced) for observes in (True, False))
    assert with_it.trace is not None
    assert without.trace is not None
    assert with_it.trace.to_bytes() == without.trace.to_bytes()
    for name in ("virtual_seconds", "waiting", "bytes_sent", "bytes_received", "samples", "staleness"):
        assert [getattr(record, name) for record, _ in first] == [getattr(record, name) for record, _ in second]


def test_the_vector_is_copied_before_the_program_goes_on() -> None:
    def body(task: WorkerTask) -> Program:
        own = np.ones(4)
        yield Observe(own)
        own += 1
        yield Clock()

    assert run(body)[0].weights.tolist() == [1.0] * 4


def test_a_program_that_observes_is_replayed() -> None:
    def body_of(more: float) -> Any:
        def body(task: WorkerTask) -> Program:
            for clock in range(task.max_clocks):
                weights = yield Pull(clock)
                yield Observe(weights + more)
                yield Push(np.ones(4))
                yield Clock()

        return body

    cluster = Simulation(workers=2, trace=True, record_answers=True)
    trace = run_toy(body_of(0.0), cluster, clocks=3).trace
    assert trace is not None

    def start(more: float) -> Any:
        given = toy_assignment(body_of(more), nodes=2, clocks=3)
        return lambda node, clock, saved: given.program(
            given.task(
                given.kernels(node),
                node,
                start_clock=clock,
                saved=saved,
                now=lambda: 0.0,
                chunk_rows=1,
                groups={"all": (0, 1)},
            )
        )

    assert replay(trace, start(0.0)) == 2 * 3 * 4
    with pytest.raises(ClusterError, match=r"command 2 of worker 0 is Observe:\w+; in the run it was Observe"):
        replay(trace, start(1.0))


def test_what_cannot_be_a_model_is_refused() -> None:
    def body(task: WorkerTask) -> Program:
        yield Observe(np.ones((2, 2)))

    with pytest.raises(ConfigError, match=r"worker \d observes an array of shape \(2, 2\); the model has 4 parameters"):
        run(body)
    with pytest.raises(ConfigError, match="observes"):
        run(counting, observes="last")


def test_the_mean_of_equal_vectors_is_that_vector_to_the_bit() -> None:
    vector = np.random.default_rng(0).standard_normal(100)
    start = np.zeros(100)
    assert not np.array_equal(sum([vector] * 7) / 7, vector)
    assert np.array_equal(model_of("mean", dict.fromkeys(range(7), Observation(vector, 0.0)), None, start), vector)
    both = {3: Observation(vector, 0.0), 1: Observation(2 * vector, 0.0)}
    np.testing.assert_allclose(model_of("mean", both, None, start), 1.5 * vector, rtol=1e-15)
    assert np.array_equal(model_of("first", both, None, start), 2 * vector)
    assert model_of("mean", both, None, start.astype(np.float32)).dtype == np.float32


def test_what_a_former_life_observed_later_is_void() -> None:
    observed = Observed([2, 3])
    for clock in (1, 2, 3):
        observed.take(np.full(1, float(clock)))
        observed.finish_clock()
    observed.begin(2)
    assert observed.latest is None
    assert observed.at(2) == Observation(np.full(1, 2.0), 0.0)
    observed.take(np.full(1, 30.0))
    observed.finish_clock()
    observed.take(np.full(1, 40.0), -1.5)
    assert observed.at(3) == Observation(np.full(1, 30.0), 0.0)
    assert observed.at(4) == Observation(np.full(1, 40.0), -1.5)


@pytest.mark.parametrize("height", [0.0, -1e9, 1e9])
def test_a_mean_counts_its_vectors_by_their_logarithms(height: float) -> None:
    observed = {0: Observation(np.full(2, 3.0), height), 2: Observation(np.full(2, 6.0), height + math.log(2))}
    np.testing.assert_allclose(model_of("mean", observed, None, np.zeros(2)), 5.0, rtol=1e-6)
    observed[1] = Observation(np.full(2, 1e300), height - 1e9)  # it counts nothing
    np.testing.assert_allclose(model_of("mean", observed, None, np.zeros(2)), 5.0, rtol=1e-6)
    assert math.isfinite(model_of("mean", {0: Observation(np.ones(2), -1e9)}, None, np.zeros(2))[0])


def test_a_record_has_the_counts_that_each_worker_observed_with_its_vector() -> None:
    def body(task: WorkerTask) -> Program:
        for clock in range(task.max_clocks):
            compute(task, 0.01)
            yield Observe(np.ones(4), counts={"early": -1.0})
            counts = {"clocks": clock + 1.0, "rank": float(task.rank)}
            yield Observe(np.ones(4), counts=counts)
            counts["clocks"] = -5.0  # they are copied
            yield Clock()

    def told(mailbox: Mailbox) -> list[dict[int, dict[str, float]]]:
        outcome, records = run(body, mailbox=mailbox)
        all_records = [*(record for record, _ in records), outcome.record]
        return [{rank: dict(each.counts) for rank, each in record.observed.items()} for record in all_records]

    expected = [{rank: {"clocks": clock, "rank": rank} for rank in range(3)} for clock in (2, 5, 6)]
    assert told(Mailbox()) == expected
    of_mailbox = {"overwritten": 0, "torn": 0}
    slots = [{rank: counts | of_mailbox for rank, counts in each.items()} for each in expected]
    assert told(Mailbox(slots=1)) == slots


def test_letters_that_were_overwritten_are_counted_with_what_their_receiver_observes() -> None:
    def body(task: WorkerTask) -> Program:
        for _ in range(5 if task.rank > 0 else 0):
            yield Send(0, np.ones(1))
        yield Clock()
        compute(task, 10.0)
        yield Poll("the work is done after this command")
        read = len((yield Receive()))
        yield Observe(np.ones(4), counts={"read": read})
        yield Clock()

    outcome, _ = run(body, clocks=2, mailbox=Mailbox(slots=1))
    counts = {rank: dict(each.counts) for rank, each in outcome.record.observed.items()}
    assert counts[0] == {"read": 1, "overwritten": 9, "torn": 0}
    assert counts[1] == counts[2] == {"read": 0, "overwritten": 0, "torn": 0}
