"""Algorithms whose workers send letters, for worker processes."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import numpy as np

from dsgd import _core
from dsgd.algorithms import Ssp
from dsgd.algorithms.distributed import Mailbox, Program
from dsgd.cluster.program.commands import Clock, Message, Observe, Poll, Pull, Push, Receive, Report, Send, Signal
from dsgd.cluster.program.task import WorkerTask

__all__ = ["Flooded", "HalfWritten", "Restarted", "Ring"]


@dataclass(frozen=True, kw_only=True)
class Ring(Ssp):
    """Every worker sends its rank and clock to the next one, and waits for a letter.

    With staleness 0 a worker reads the letter of its own clock, on every cluster. The weights become
    sums of what was read.
    """

    name = "ring"

    slots: int | None = 2
    on_full: str = "overwrite"
    times: int = 1  # length of a letter, in parameter vectors
    by_rows: bool = False

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(slots=self.slots, on_full=self.on_full)

    def worker(self, task: WorkerTask) -> Program:
        size = self.times * task.n_parameters
        keys = np.arange(size, dtype=np.uint64) if self.by_rows else None
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)
            letter = np.full(size, task.rank + 2.0**-10 * clock, weights.dtype)
            yield Send((task.rank + 1) % task.n_workers, letter, keys, "ring")
            letters: list[Message] = []
            while not letters:
                letters = yield Receive(wait=True, deadline=10.0)
            assert len(letters) == 1
            assert (letters[0].keys is None) == (keys is None)
            read = letters[0].value[-task.n_parameters :] * 2.0**-10
            yield Push(weights + read if self.staleness == 0 else read)
            yield Clock()


@dataclass(frozen=True, kw_only=True)
class HalfWritten(Ssp):
    """Worker 1 is killed while it writes a letter to worker 0. Worker 2 then writes to the same slot."""

    name = "half-written"

    mailbox = Mailbox(slots=1)

    def worker(self, task: WorkerTask) -> Program:
        if task.rank == 1:
            _core.SharedMailbox.put = _core.SharedMailbox.put_half  # type: ignore[method-assign]
            yield Send(0, np.ones(task.n_parameters))
            yield Signal("begun")
            while not (yield Poll("begun")):
                yield Receive(wait=True, deadline=0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        while task.rank == 2 and not (yield Poll("begun")):
            yield Receive(wait=True, deadline=0.01)
        while task.rank == 2 and not (yield Poll("read")):
            yield Send(0, np.full(task.n_parameters, 2.0))
            yield Receive(wait=True, deadline=0.01)
        if task.rank == 0:
            for message in (yield Receive(wait=True)):
                yield Report({"sender": float(message.sender), "value": float(message.value.mean())})
            yield Signal("read")
        yield Clock()


@dataclass(frozen=True, kw_only=True)
class Restarted(Ssp):
    """Worker 1 is killed when a letter to it is there that it has not read."""

    name = "restarted"

    mailbox = Mailbox(slots=2)

    def worker(self, task: WorkerTask) -> Program:
        yield Clock()
        if task.start_clock == 1:
            yield Report({"letters": float(len((yield Receive())))})
            yield Signal("reported")
        elif task.rank == 0:
            yield Send(1, np.ones(task.n_parameters))
            yield Signal("sent")
            while not (yield Poll("reported")):
                yield Receive(wait=True, deadline=0.01)
            yield Send(1, np.full(task.n_parameters, 2.0))
        else:
            while not (yield Poll("sent")):
                yield Pull(0)
            os.kill(os.getpid(), signal.SIGKILL)
        if task.rank == 1:
            letters = yield Receive(wait=True, deadline=100.0)
            yield Report({"value": float(letters[0].value.mean())})
        yield Clock()


@dataclass(frozen=True, kw_only=True)
class Flooded(Ssp):
    """Worker 1 writes letters of one number each without a pause. Worker 0 reads until it has seen what it wants."""

    name = "flooded"

    torn: str = "detect"

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(slots=1, torn=self.torn)

    def worker(self, task: WorkerTask) -> Program:
        number, whole, torn = 0.0, 0, 0
        while task.rank == 1 and not (yield Poll("read")):
            for _ in range(50):
                number += 1
                yield Send(0, np.full(task.n_parameters, number))
            yield Receive(wait=True, deadline=0.001)  # without a wait no signal is heard
        while task.rank == 0 and (whole < 10 or (torn == 0 and self.torn == "accept")):
            for message in (yield Receive(wait=True)):
                equal = bool((message.value == message.value[0]).all())
                whole, torn = whole + equal, torn + (not equal)
        if task.rank == 0:
            yield Signal("read")
        yield Observe(task.start, counts={"seen torn": float(torn)})
        yield Clock()
