"""Algorithms that worker processes import: with accidents, and with commands that the real ones do not use."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsgd.algorithms import Ssp
from dsgd.algorithms.distributed import Program
from dsgd.cluster.program.commands import (
    AllReduce,
    Clock,
    Message,
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

__all__ = ["AllCommands", "Failing", "Measured", "Mortal"]


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
    """Every command once a clock; the weights end as the sum of what all were answered, the same on every cluster."""

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
            yield Clock()
        while not (yield Poll("tick")):
            yield Receive(wait=True, deadline=0.01)
        yield Push(state.total * 2.0**-20)
        yield Clock()
