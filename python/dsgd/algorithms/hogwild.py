"""Hogwild!: stochastic gradient descent on all cores, without locks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd.algorithms.base import Algorithm, Capabilities, EpochEnd, Task, check_block_size
from dsgd.checks import check_choice

__all__ = ["Hogwild"]


@dataclass(frozen=True, kw_only=True)
class Hogwild(Algorithm):
    """Hogwild! of Niu, Recht, Re and Wright: threads share the weights and do not wait for one another.

    Parameters
    ----------
    write : {"racy", "atomic", "locked"}, default="racy"
        How a thread changes a shared weight. ``"racy"`` reads and writes it separately, so that an update may be lost
        when two threads meet; ``"atomic"`` never loses one; ``"locked"`` locks all weights of a sample for the whole
        step, the baseline AIG of the paper.
    block_size : int, optional
        Rows that are visited together, in memory order, by one thread; the blocks are visited in a new random order
        every epoch. 1 shuffles the rows themselves, larger blocks are faster and need data that is not sorted. By
        default a thousandth of the rows, at most 256; 1 where neighbouring rows have like targets.

    Notes
    -----
    The loop is ``cpp/src/solver/hogwild.cpp``. Every epoch visits every row once; thread k of T owns every T-th
    block from k on. On more than one thread the result differs from run to run; on one it equals `Sgd` bit for bit.

    References
    ----------
    Niu, Recht, Re, Wright (2011), "Hogwild!: a lock-free approach to parallelizing stochastic gradient descent",
    arXiv:1106.5730, Algorithm 1 and section 5.
    """

    name = "hogwild"
    summary = "lock-free parallel stochastic gradient descent (Niu, Recht, Re, Wright 2011)"
    capabilities = Capabilities(threads=True, deterministic=False)

    write: str = "racy"
    block_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("write", self.write, ("racy", "atomic", "locked"))
        object.__setattr__(self, "block_size", check_block_size(self.block_size))

    def epochs(self, task: Task) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        for index in range(task.start_epoch, task.max_epochs):
            epoch = task.epoch(index, self.block_size)
            _core.hogwild_epoch(task.objective, task.weights, epoch, task.n_threads, self.write)
            yield EpochEnd(index + 1, task.step_size_at(index))
