"""Mailboxes with slots, by programs of a few lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cluster.toys import compute, run_toy

from dsgd import _core
from dsgd.algorithms.distributed import Mailbox, Program
from dsgd.cluster import Crash, Simulation
from dsgd.cluster.program.commands import Clock, Poll, Receive, Send
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError

LETTERS = 20


def to_rank_0(mailbox: Mailbox, *, size: int = 1, nodes: int = 3, **cluster: Any) -> tuple[list[Any], Any]:
    """Let every other rank send rank 0 the numbers 1, 2, ... as fast as it can; return what it reads at the end."""
    read: list[Any] = []

    def body(task: WorkerTask) -> Program:
        if task.rank > 0:
            for number in range(1, LETTERS + 1):
                yield Send(0, np.full(size, float(number * 100**task.rank)))
        else:
            yield Receive(wait=True, deadline=1.0)  # the first comes at once
            compute(task, 10.0)
        yield Clock()
        read.extend((yield Receive()) if task.rank == 0 else ())

    outcome = run_toy(body, Simulation(workers=nodes, **cluster), clocks=1, mailbox=mailbox)
    return [(message.sender, message.value[0]) for message in read], outcome


def test_without_slots_every_letter_is_read() -> None:
    read, _ = to_rank_0(Mailbox(), nodes=2)
    assert read == [(1, 100.0 * number) for number in range(2, LETTERS + 1)]


def test_a_letter_overwrites_an_unread_one_of_its_slot() -> None:
    last = [(1, 100.0 * LETTERS), (2, 10_000.0 * LETTERS)]
    assert sorted(to_rank_0(Mailbox(slots=2))[0]) == last
    read, _ = to_rank_0(Mailbox(slots=1))
    assert len(read) == 1  # both ranks have the same slot
    assert read[0] in last


def test_a_letter_is_added_to_an_unread_one_of_its_slot() -> None:
    total = LETTERS * (LETTERS + 1) / 2
    read, _ = to_rank_0(Mailbox(slots=1, on_full="sum"), nodes=2)
    assert read == [(1, 100 * (total - 1))]  # the first was read at once
    overwritten, _ = to_rank_0(Mailbox(slots=1), nodes=2)
    assert overwritten != read


def test_a_sender_adds_up_what_its_link_cannot_carry_yet() -> None:
    """A letter of 8 kB takes 8 ms; all others are given before the first has left, and go as one."""
    slow: dict[str, Any] = {"size": 1000, "nodes": 2, "bandwidth": 1e6}
    each, plain = to_rank_0(Mailbox(), **slow)
    added, summed = to_rank_0(Mailbox(on_full="sum"), **slow)
    assert [value for _, value in each] == [100.0 * number for number in range(2, LETTERS + 1)]
    assert [value for _, value in added] == [sum(value for _, value in each)]
    assert summed.record.bytes_sent[1] < plain.record.bytes_sent[1] / 5


def test_what_waits_for_its_way_when_a_program_ends_still_goes() -> None:
    total = 0.0

    def body(task: WorkerTask) -> Program:
        nonlocal total
        for _ in range(3 if task.rank == 1 else 0):
            yield Send(0, np.ones(1000))
        while task.rank == 0 and total < 3:
            total += sum(message.value[0] for message in (yield Receive(wait=True)))

    run_toy(body, Simulation(workers=2, bandwidth=1e6), clocks=0, mailbox=Mailbox(on_full="sum"))
    assert total == 3


def test_letters_of_different_names_have_different_places() -> None:
    read: list[Any] = []

    def body(task: WorkerTask) -> Program:
        for name in ("a", "b", "a"):
            yield Send(1 - task.rank, np.ones(1), name=name)
        yield Clock()
        compute(task, 1.0)
        yield Clock()
        read.extend((yield Receive()))

    run_toy(body, Simulation(workers=2), clocks=2, mailbox=Mailbox(slots=1, on_full="sum"))
    assert sorted((message.name, message.value[0]) for message in read) == [("a", 2.0)] * 2 + [("b", 1.0)] * 2


def test_what_a_crashed_receiver_had_not_read_is_gone_and_the_senders_go_on() -> None:
    """Letters are fire and forget; a life of a program begins with empty boxes."""
    lives: list[int] = []

    def body(task: WorkerTask) -> Program:
        lives.append(task.rank)
        for _ in range(task.start_clock, task.max_clocks):
            yield Send(1 - task.rank, np.ones(1))
            compute(task, 1.0)
            yield Clock()
        yield Receive()

    failures = [Crash(1, at=2.5, restart_after=1.0)]
    cluster = Simulation(workers=2, failures=failures)
    run_toy(body, cluster, clocks=5, staleness=9, mailbox=Mailbox(slots=1, on_full="sum"))
    assert sorted(lives) == [0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slots": 0}, "slots must be"),
        ({"on_full": "drop"}, "unknown on_full 'drop'"),
        ({"slots": 2.5}, "slots must be"),
        ({"torn": "drop"}, "unknown torn 'drop'; known: accept, detect"),
    ],
)
def test_a_mailbox_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mailbox(**options)


def test_only_letters_that_take_the_place_of_others_are_overwritten() -> None:
    kept, added, slots = (
        _core.Mailbox(slots=slots, on_full=on_full)
        for slots, on_full in ((0, "overwrite"), (1, "sum"), (2, "overwrite"))
    )
    for peer in (0, 1, 2, 1):
        for box in (kept, added, slots):
            box.put(peer, np.ones(2))
    slots.put(1, np.ones(2), name="in another place")
    assert (kept.overwritten, added.overwritten, slots.overwritten) == (0, 0, 2)
    slots.drain()
    slots.put(1, np.ones(2))
    assert slots.overwritten == 2


@pytest.mark.parametrize(("pause", "waiting"), [(0.0, list(range(1, LETTERS + 1))), (1.0, [1] * LETTERS)])
def test_a_send_tells_how_many_letters_wait_for_the_link(pause: float, waiting: list[int]) -> None:
    """The link of one worker carries the letters to all peers."""
    told: list[int] = []

    def body(task: WorkerTask) -> Program:
        for number in range(LETTERS if task.rank == 0 else 0):
            told.append((yield Send(1 + number % 2, np.ones(1000))))
            compute(task, pause)
            yield Poll("the work is done after this command")
        yield Clock()

    run_toy(body, Simulation(workers=3, bandwidth=1e6), clocks=1, mailbox=Mailbox(slots=2))
    assert told == waiting


def test_a_send_without_a_link_waits_for_none() -> None:
    """With sums the letters wait in the outbox."""
    told: list[int] = []

    def body(task: WorkerTask) -> Program:
        for _ in range(3 if task.rank == 0 else 0):
            told.append((yield Send(1, np.ones(1000))))
        yield Clock()

    run_toy(body, Simulation(workers=2, bandwidth=1e6), clocks=1, mailbox=Mailbox(on_full="sum"))
    assert told == [1, 0, 0]
