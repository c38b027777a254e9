"""Hogwild!: stochastic gradient descent on all cores, without locks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd.algorithms.base import Algorithm, Capabilities, EpochEnd, Task, check_block_size
from dsgd.checks import check_choice, check_integer
from dsgd.errors import ConfigError

__all__ = ["Hogwild"]

# Samples of all threads between two merges, and merges of an epoch that there must be at least (docs/design.md).
_MERGED_SAMPLES, _MERGES = 8192, 32


@dataclass(frozen=True, kw_only=True)
class Hogwild(Algorithm):
    """Hogwild! of Niu, Recht, Re and Wright: threads share the weights and do not wait for one another.

    Parameters
    ----------
    write : {"racy", "atomic", "locked"}, default="racy"
        How a thread changes a shared weight. ``"racy"`` reads and writes it separately, so that an update may be lost
        when two threads meet; ``"atomic"`` never loses one; ``"locked"`` locks all weights of a sample for the whole
        step, the baseline AIG of the paper.
    merge_every : int, optional
        Samples after which a thread adds what it changed in a copy of its own to the shared weights, and takes over
        what others changed; 0: threads write the shared weights themselves, as in the paper. Needs
        ``write="racy"``. By default 8,192 divided by the number of threads, or less on few rows, where that costs less
        than it saves (the weights are not much more than the non-zeros of so many samples); else 0.
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
    merge_every: int | None = None
    block_size: int | None = None

    def __post_init__(self) -> None:
        check_choice("write", self.write, ("racy", "atomic", "locked"))
        if self.merge_every is not None:
            object.__setattr__(self, "merge_every", check_integer("merge_every", self.merge_every, 0, 2**63 - 1))
        if self.merge_every and self.write != "racy":
            raise ConfigError(f"merge_every={self.merge_every} needs write='racy': copies are not {self.write}")
        object.__setattr__(self, "block_size", check_block_size(self.block_size))

    def epochs(self, task: Task) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        merge_every = self._merge_every(task) if self.merge_every is None else self.merge_every
        for index in range(task.start_epoch, task.max_epochs):
            epoch = task.epoch(index, self.block_size)
            _core.hogwild_epoch(task.objective, task.weights, epoch, task.n_threads, self.write, merge_every)
            yield EpochEnd(index + 1, task.step_size_at(index))

    def _merge_every(self, task: Task) -> int:
        """Return the default: copies are merged as often as the result needs, if that pays, else there are none."""
        samples = min(_MERGED_SAMPLES, task.n_samples // _MERGES) // task.n_threads
        pays = 4 * samples * task.problem.scale.row_entries >= len(task.weights)
        return samples if self.write == "racy" and pays else 0
