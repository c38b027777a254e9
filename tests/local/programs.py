"""Algorithms for worker processes, with accidents and with commands that dsgd's own do not use."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsgd.algorithms import P2p, Ssp
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import Observes, Program, Table
from dsgd.cluster.program.commands import (
    AllReduce,
    Clock,
    Message,
    Observe,
    Poll,
    Pull,
    Push,
    Receive,
    Report,
    Send,
    Signal,
    Wait,
)
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import DataError

__all__ = [
    "AllCommands",
    "Apart",
    "Failing",
    "GroupCommands",
    "Grouped",
    "Measured",
    "Mortal",
    "MortalPeers",
    "TwoTables",
]


@dataclass(frozen=True, kw_only=True)
class Mortal(Ssp):
    """Worker `victim` sends itself a signal at clock `at`, in its first life only."""

    name = "mortal"

    victim: int = 1
    at: int = 3
    signal: str = "SIGKILL"

    def worker(self, task: WorkerTask) -> Program:
        size = self.rows_of_batch(task.n_total, task.n_workers)
        for clock in range(task.start_clock, task.max_clocks):
            if task.rank == self.victim and clock == self.at and task.start_clock == 0:
                os.kill(os.getpid(), getattr(signal, self.signal))
            weights = yield Pull(clock)
            rows, index = task.draw(clock, size), task.pass_of(clock, size)
            moved = task.minibatch_step(weights, rows, task.step_size_at(clock), size, index)
            yield self.push(task, weights, moved)
            yield Clock()


@dataclass(frozen=True, kw_only=True)
class MortalPeers(P2p):
    """Worker 1 kills itself in its first life, behind the push of a pass; worker 2 in all lives, in front of it.

    It is pass `at` of the life, the first being 1.
    """

    name = "mortal-peers"

    at: int = 4

    def worker(self, task: WorkerTask) -> Program:
        program, passes = super().worker(task), 0
        command = next(program)
        while True:
            passes += isinstance(command, Push)
            behind = task.rank == 1 and isinstance(command, Clock) and task.start_clock == 0
            before = task.rank == 2 and isinstance(command, Push)
            if passes == self.at and (behind or before):
                os.kill(os.getpid(), signal.SIGKILL)
            answer = yield command
            try:
                command = program.send(answer)
            except StopIteration:
                return


@dataclass(frozen=True, kw_only=True)
class Failing(Ssp):
    """Worker 1 raises an error."""

    name = "failing"

    error: str = "ZeroDivisionError"

    def worker(self, task: WorkerTask) -> Program:
        yield Pull(0)
        if task.rank == 1:
            raise {"ZeroDivisionError": ZeroDivisionError, "DataError": DataError}[self.error]("this row is odd")
        yield Pull(1)


@dataclass(frozen=True, kw_only=True)
class Measured(Ssp):
    """Every worker reads all its rows and reports its memory, in bytes."""

    name = "measured"

    def worker(self, task: WorkerTask) -> Program:
        weights = yield Pull(0)
        task.full_gradient(weights)
        memory = {}
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
            name, size, _ = line.split()
            memory[name.strip(":")] = 1024.0 * int(size)
        yield Report({"samples": float(task.n_samples), **{key: memory[key] for key in ("Pss", "Rss", "Anonymous")}})
        yield Clock()


@dataclass(frozen=True, kw_only=True)
class AllCommands(Ssp):
    """Every command once per clock.

    At the end the weights are the sum of all answers, the same on every cluster.
    """

    name = "all-commands"

    def worker(self, task: WorkerTask) -> Program:
        state = task.state(total=np.zeros(task.n_parameters))
        n = task.n_workers
        for clock in range(task.start_clock, task.max_clocks):
            ticket = yield Pull(clock, ahead=True)
            yield Send((task.rank + 1) % n, np.full(3, task.rank + clock, float), name="ring")
            weights = yield Wait(ticket)
            keys = np.array([task.rank], np.uint64)
            yield Push(np.full(1, 2.0**-20), keys=keys)  # exact sums, too small for a divergence
            letters: list[Message] = []
            while not letters:
                letters = yield Receive(wait=True, deadline=10.0)
            reduced = yield AllReduce(np.array([float(task.rank)]), weight=2.0)
            if task.rank == 0:
                yield Signal("tick")
            own = yield Pull(clock, keys=keys)
            state.total = state.total + weights.sum() + own.sum() + reduced.sum() + letters[0].value.sum()
            yield Report({"clock": float(clock)})
            yield Observe(state.total)
            yield Clock()
        while not (yield Poll("tick")):
            yield Receive(wait=True, deadline=0.01)
        yield Push(state.total * 2.0**-20)
        yield Clock()


@dataclass(frozen=True, kw_only=True)
class Apart(Ssp):
    """Every worker trains alone and waits for nobody: the table of the server stands still.

    Worker `victim`, if not -1, kills itself in clock `at` of its first life.
    """

    name = "apart"

    model: Observes = "mean"
    victim: int = -1
    at: int = 3

    @property
    def observes(self) -> Observes:
        return self.model

    def worker(self, task: WorkerTask) -> Program:
        weights = yield Pull(0)
        state = task.state(weights=weights)
        yield Observe(state.weights)
        for clock in range(task.start_clock, task.max_clocks):
            if task.rank == self.victim and clock == self.at and task.start_clock == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            size = self.rows_of_batch(task.n_total, task.n_workers)
            rows, index = task.draw(clock, size), task.pass_of(clock, size)
            step = task.step_size_at(clock)
            state.weights = task.minibatch_step(state.weights, rows, step, size, index)
            yield Observe(state.weights)
            yield Clock()


@dataclass(frozen=True, kw_only=True)
class TwoTables(Ssp):
    """The weights tell what the workers have pulled of a second table, whose options are those of the algorithm.

    Workers name `rows` keys of it, or none if `rows` is 0.
    """

    name = "two-tables"
    capabilities = Capabilities(
        threads=True, deterministic=True, distributed=True, models=frozenset({"linear", "kmeans"})
    )

    staleness: float = 0
    rule: str = "add"
    size: int | str = "parameters"
    width: int = 1
    table_step: float | None = None
    sparse: bool = False
    rows: int = 0
    weights_width: int = 1

    @property
    def tables(self) -> tuple[Table, ...]:
        return (
            Table(width=self.weights_width),
            Table(
                name="second",
                rule=self.rule,
                size=self.size,  # type: ignore[arg-type]  # also others, to be refused
                width=self.width,
                step_size=self.table_step,
                sparse=self.sparse,
            ),
        )

    def worker(self, task: WorkerTask) -> Program:
        keys = np.arange(self.rows, dtype=np.uint64) if self.rows else None
        for clock in range(task.start_clock, task.max_clocks):
            second = yield Pull(clock, keys, table="second")
            yield Push(np.arange(1.0, 1 + len(second)), keys, table="second")
            change = np.zeros(task.n_parameters)
            change[:2] = len(second), second.sum()
            yield Push(change * 2.0**-20)
            yield Clock()


@dataclass(frozen=True, kw_only=True)
class Grouped(Ssp):
    """Steps of the mean of a host's workers: an all-reduce in the group "host", then a push to the server of all.

    With `tables` the hosts also keep a copy of the weights on their own servers, half a step behind, and
    count clocks there. Worker `victim` kills itself in clock `at`, before or after the all-reduce, unless it
    is in a later life.
    """

    name = "grouped"

    staleness: float = 0
    tables_too: bool = False
    victim: int = -1
    at: int = 5
    after: bool = False

    def worker(self, task: WorkerTask) -> Program:
        for clock in range(task.start_clock, task.max_clocks):
            dies = task.rank == self.victim and clock == self.at and task.start_clock == 0
            weights = yield Pull(clock)
            size = self.rows_of_batch(task.n_total, task.n_workers)
            rows, index = task.draw(clock, size), task.pass_of(clock, size)
            moved = task.minibatch_step(weights, rows, task.step_size_at(clock), size, index)
            if dies and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            moved = yield AllReduce(moved, mean=True, group="host")
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.tables_too:
                former = yield Pull(clock, group="host")
                yield Push((former + moved) / 2, group="host")
                yield Clock(group="host")
                moved = (former + 3 * moved) / 4
            yield self.push(task, weights, moved)
            yield Clock()


@dataclass(frozen=True, kw_only=True)
class GroupCommands(Ssp):
    """Every command once per clock in the group "host", in which ranks are not the numbers of nodes.

    At the end the weights are the sum of all answers, the same on every cluster.
    """

    name = "group-commands"

    def worker(self, task: WorkerTask) -> Program:
        members = task.groups["host"]
        rank, n = members.index(task.rank), len(members)
        total = np.zeros(task.n_parameters)
        for clock in range(task.max_clocks):
            ticket = yield Pull(clock, ahead=True, group="host")
            yield Send((rank + 1) % n, np.full(3, task.rank + clock, float), name="ring", group="host")
            weights = yield Wait(ticket)
            keys = np.array([rank], np.uint64)
            yield Push(np.full(1, 2.0**-20), keys=keys, group="host")  # exact sums, too small for a divergence
            letters: list[Message] = []
            while not letters:
                letters = yield Receive(wait=True, deadline=10.0, group="host")
            assert members[letters[0].sender] == letters[0].value[0] - clock
            reduced = yield AllReduce(np.array([float(task.rank)]), weight=2.0, group="host")
            if rank == 0:
                yield Signal("tick", group="host")
            own = yield Pull(clock, keys=keys, group="host")
            total = total + weights.sum() + own.sum() + reduced.sum() + letters[0].value.sum()
            yield Report({"clock": float(clock)}, group="host")
            yield Clock(group="host")
        while not (yield Poll("tick", group="host")):
            yield Receive(wait=True, deadline=0.01, group="host")
        assert not (yield Poll("tick"))
        yield Push(total * 2.0**-20)
        yield Clock()
