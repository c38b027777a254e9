"""Every command, by programs of a few lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cluster.toys import compute, run_toy

from dsgd.algorithms.distributed import Program
from dsgd.cluster import Crash, Simulation
from dsgd.cluster.program.commands import (
    AllReduce,
    Clock,
    Clocks,
    Poll,
    Pull,
    Push,
    Receive,
    Report,
    Send,
    Signal,
    Signals,
    Ticket,
    Wait,
)
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError, DeadlineError, WorkerLostError


def test_a_pull_sees_the_pushes_of_all_finished_clocks() -> None:
    seen = []

    def body(task: WorkerTask) -> Program:
        for clock in range(task.max_clocks):
            weights = yield Pull(clock)
            seen.append((task.rank, clock, weights.tolist()))
            yield Push(np.full(2, 1.0 + task.rank))
            clocks = yield Clock()
            assert isinstance(clocks, Clocks)
            assert clocks.own == clock + 1

    outcome = run_toy(body, clocks=4, size=2)
    assert sorted(seen) == [(rank, clock, [6.0 * clock] * 2) for rank in range(3) for clock in range(4)]
    assert outcome.weights.tolist() == [24.0, 24.0]


def test_keys_pull_and_push_some_rows() -> None:
    def body(task: WorkerTask) -> Program:
        keys = np.array([1, 3], np.uint64)
        yield Push(np.array([1.0, 2.0]), keys)
        yield Clock()
        assert (yield Pull(1, keys)).tolist() == [3.0, 6.0]
        assert (yield Pull(1)).tolist() == [0.0, 3.0, 0.0, 6.0]

    run_toy(body, clocks=1, size=4)


def test_a_ticket_lets_a_program_work_while_values_travel() -> None:
    times: dict[bool, float] = {}

    def body_of(ahead: bool) -> Any:
        def body(task: WorkerTask) -> Program:
            for clock in range(3):
                ticket = yield Pull(clock, ahead=ahead)
                compute(task, 1e-3)
                if ahead:
                    assert isinstance(ticket, Ticket)
                    assert len((yield Wait(ticket))) == 4
                yield Clock()
            times[ahead] = task.now()

        return body

    cluster = Simulation(workers=2, latency=1e-3)
    for ahead in (False, True):
        run_toy(body_of(ahead), cluster, clocks=3, staleness=5)
    assert times[True] < times[False]


def test_a_ticket_is_waited_for_once() -> None:
    def body(task: WorkerTask) -> Program:
        ticket = yield Pull(0, ahead=True)
        yield Wait(ticket)
        yield Wait(ticket)

    with pytest.raises(ConfigError, match="was waited for before"):
        run_toy(body, clocks=1)


@pytest.mark.parametrize(
    ("mean", "weighted", "expected"), [(False, False, 6.0), (True, False, 2.0), (True, True, (1 + 4 + 9) / 6)]
)
def test_all_reduce_adds_up_in_the_order_of_the_ranks(mean: bool, weighted: bool, expected: float) -> None:
    answers = []

    def body(task: WorkerTask) -> Program:
        weight = task.rank + 1.0 if weighted else 1.0
        answers.append((yield AllReduce(np.full(3, task.rank + 1.0), mean=mean, weight=weight)))

    run_toy(body, Simulation(workers=3, speeds=[1, 0.5, 0.1]), clocks=1)
    assert [answer.tolist() for answer in answers] == [[pytest.approx(expected, rel=1e-15)] * 3] * 3


def test_a_signal_reaches_all_and_is_read_locally() -> None:
    seen = []

    def body(task: WorkerTask) -> Program:
        assert not (yield Poll("stop"))
        if task.rank == 1:
            yield Signal("stop")
        yield Clock()
        yield AllReduce(np.zeros(1))
        seen.append((yield Poll("stop")))
        assert (yield Poll("other")) == Signals()

    run_toy(body, clocks=1)
    assert seen == [Signals(1, 1, 0)] * 3


def test_messages_go_to_the_peer_and_are_drained() -> None:
    received: dict[int, list[Any]] = {}

    def body(task: WorkerTask) -> Program:
        yield Send((task.rank + 1) % 3, np.full(2, float(task.rank)), name="ring")
        messages = yield Receive(wait=True)
        received[task.rank] = [(message.sender, message.value.tolist(), message.name) for message in messages]
        assert (yield Receive()) == []

    run_toy(body, clocks=1)
    assert received == {rank: [((rank - 1) % 3, [float((rank - 1) % 3)] * 2, "ring")] for rank in range(3)}


def test_a_receive_gives_up_at_its_deadline() -> None:
    def body(task: WorkerTask) -> Program:
        before = task.now()
        assert (yield Receive(wait=True, deadline=0.25)) == []
        assert task.now() == pytest.approx(before + 0.25)

    run_toy(body, clocks=1)


def test_a_program_that_waits_for_ever_is_given_up() -> None:
    def body(task: WorkerTask) -> Program:
        yield Receive(wait=True)

    with pytest.raises(DeadlineError, match=r"wait for \{0: 'Receive'"):
        run_toy(body, Simulation(workers=2, stall_deadline=50), clocks=1)


def test_reports_reach_whoever_started_the_run() -> None:
    def body(task: WorkerTask) -> Program:
        yield Report({"loss": 0.5 + task.rank})
        yield Clock()

    outcome = run_toy(body, clocks=1)
    assert sorted((rank, text) for rank, _, text in outcome.reports) == [
        (rank, b'{"loss": %.1f}' % (0.5 + rank)) for rank in range(3)
    ]


def test_groups_have_servers_of_their_own() -> None:
    answers = {}

    def body(task: WorkerTask) -> Program:
        host = yield AllReduce(np.array([float(task.rank)]), group="host")
        everyone = yield AllReduce(np.array([float(task.rank)]))
        assert len(task.groups["host"]) == 2
        answers[task.rank] = (host[0], everyone[0])

    run_toy(body, Simulation(workers=4, groups={"host": [(0, 1), (2, 3)]}), clocks=1)
    assert answers == {0: (1.0, 6.0), 1: (1.0, 6.0), 2: (5.0, 6.0), 3: (5.0, 6.0)}


def test_a_group_that_a_worker_is_not_in_is_refused() -> None:
    def body(task: WorkerTask) -> Program:
        yield AllReduce(np.zeros(1), group="rack")

    with pytest.raises(ConfigError, match="not in group 'rack'; it is in: all"):
        run_toy(body, clocks=1)


def test_what_is_no_command_is_refused() -> None:
    def body(task: WorkerTask) -> Program:
        yield 3  # type: ignore[misc]

    with pytest.raises(ConfigError, match="yielded 3, which is no command"):
        run_toy(body, clocks=1)


def counting_state(lives: list[tuple[int, int, int]]) -> Any:
    """Return a program that counts its clocks in its state, and notes where each life begins."""

    def body(task: WorkerTask) -> Program:
        state = task.state(done=0, sums=np.zeros(2))
        lives.append((task.rank, task.start_clock, state.done))
        for clock in range(task.start_clock, task.max_clocks):
            yield Pull(clock)
            compute(task, 0.01)
            state.done += 1
            state.sums = state.sums + 1
            yield Push(np.ones(4))
            yield Clock()
        assert state.sums.tolist() == [task.max_clocks] * 2

    return body


def test_the_state_survives_a_restart_of_the_worker() -> None:
    lives: list[tuple[int, int, int]] = []
    cluster = Simulation(workers=2, failures=[Crash(1, at=0.055, restart_after=0.02)])
    outcome = run_toy(counting_state(lives), cluster, clocks=10)
    assert lives[:2] == [(0, 0, 0), (1, 0, 0)]
    (rank, start, done) = lives[2]
    assert len(lives) == 3
    assert (rank, done) == (1, start)
    assert 0 < start < 10
    assert outcome.record.clocks == (10, 10)


def test_a_restarted_server_rewinds_all_workers_to_its_checkpoint() -> None:
    lives: list[tuple[int, int, int]] = []
    cluster = Simulation(workers=2, checkpoint_every=2, failures=[Crash(-1, at=0.055, restart_after=0.02)])
    outcome = run_toy(counting_state(lives), cluster, clocks=10)
    assert len(lives) == 4
    assert all(done == start > 0 for _, start, done in lives[2:])
    assert outcome.weights.tolist() == [20.0] * 4


def test_a_lost_worker_ends_the_run_or_not_as_configured() -> None:
    def body(task: WorkerTask) -> Program:
        for clock in range(task.start_clock, task.max_clocks):
            yield Pull(clock)
            compute(task, 1.0)
            yield Clock()

    failures = [Crash(1, at=2.5)]
    outcome = run_toy(body, Simulation(workers=3, failures=failures), clocks=10)
    assert outcome.record.clocks[0] == 10
    with pytest.raises(WorkerLostError, match="1"):
        run_toy(body, Simulation(workers=3, failures=failures, on_lost="fail"), clocks=10)


def test_a_server_that_is_gone_for_good_is_an_error() -> None:
    lives: list[tuple[int, int, int]] = []
    with pytest.raises(DeadlineError):
        run_toy(counting_state(lives), Simulation(workers=2, failures=[Crash(-1, at=0.05)]), clocks=10)
