"""Hogwild!: stochastic gradient descent on all cores, without locks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd._common.checks import check_choice, check_flag, check_integer
from dsgd.algorithms.base import Algorithm, Capabilities, check_block_size
from dsgd.errors import ConfigError
from dsgd.losses import Loss
from dsgd.problems.memory_layout import InPlace, MemoryLayout, Renumbered
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Hogwild"]

# The measurements behind these constants are in docs/design/throughput.md, "Copies of the weights".
#
# Visits of a weight after which a thread merges its copy of the weight into the shared one.
_VISITS = 2
# Entries an epoch per weight and thread from which on copies pay, if features are numbered by falling frequency.
_ENTRIES = 8
# The same for features in any other order, where every merge takes in all weights.
_WHOLE = 128
# Epochs after which renumbered indices have saved the time that it took to make them.
_EPOCHS = 4


@dataclass(frozen=True, kw_only=True)
class Hogwild(Algorithm):
    """Hogwild! of Niu, Recht, Re and Wright: threads share the weights and do not wait for one another.

    Parameters
    ----------
    write : {"racy", "atomic", "locked"}, default="racy"
        How a thread changes a shared weight. ``"racy"``: it reads and writes the weight separately. An
        update may be lost if two threads change the same weight at once. ``"atomic"``: no update is
        lost. ``"locked"``: all weights of a sample are locked for the whole step, the baseline AIG of
        the paper.
    order : {"free", "round-robin"}, default="free"
        When a thread updates. ``"free"``: as soon as it can. ``"round-robin"``: in its turn, one
        thread after the other, the baseline RR of the paper; needs ``write="racy"``.
    merge_every : int, optional
        Visits of a weight after which a thread merges it. Only visits that change weights count. Every
        thread then works on a copy of the weights. A merge adds the thread's changes to the shared
        weight and takes over the changes of the other threads. L2 alone shrinks all weights of a copy
        in every step, by a factor that is merged as well. Needs ``write="racy"`` and ``order="free"``.
        0: no copies; threads write the shared weights themselves, as in the paper. By default 2 if
        copies save more time than they cost, else 0.
    layout : {"auto", "inplace", "renumbered"}, default="auto"
        ``"inplace"``: copies no data. ``"renumbered"``: numbers the features of sparse data by falling
        frequency, in one copy of the indices. Merges can then take in frequent features more often
        than rare ones. ``"auto"``: renumbers if copies would not pay otherwise and the run is long
        enough.
    block_size : int, optional
        Number of neighbouring rows that one thread visits together, in memory order. Every epoch
        visits the blocks in a new random order. 1 shuffles single rows. Larger blocks are faster, but
        need data that is not sorted. By default n_samples / 1024, at most 256; 1 if neighbouring rows
        have similar targets.
    record_delay : bool, default=False
        Whether to count the delay of every update in `Record.delay`. The delay is the number of
        updates that other threads finish between the read of the weights and the end of the update.

    Notes
    -----
    The loop is ``cpp/src/solver/hogwild.cpp``. Every epoch visits every row once; thread k of T owns
    every T-th block from block k on. On several threads the result differs from run to run. One
    thread is `Sgd`, bit for bit. Without copies, with L1 and with several decision values, several
    threads apply L2 to the support of each sample only (degree split, docs/design/penalties.md). With
    `dsgd.losses.KMeans` a thread makes steps on 1,024 of its rows, with the gradient at the centres
    before the step.

    References
    ----------
    Niu, Recht, Re, Wright (2011), "Hogwild!: a lock-free approach to parallelizing stochastic gradient descent",
    arXiv:1106.5730, Algorithm 1 and section 5.
    """

    name = "hogwild"
    summary = "lock-free parallel stochastic gradient descent (Niu, Recht, Re, Wright 2011)"
    capabilities = Capabilities(threads=True, deterministic=False, models=frozenset({"linear", "softmax", "kmeans"}))

    write: str = "racy"
    order: str = "free"
    merge_every: int | None = None
    layout: str = "auto"
    block_size: int | None = None
    record_delay: bool = False

    def __post_init__(self) -> None:
        check_choice("write", self.write, ("racy", "atomic", "locked"))
        check_choice("order", self.order, ("free", "round-robin"))
        check_choice("layout", self.layout, ("auto", "inplace", "renumbered"))
        if self.merge_every is not None:
            object.__setattr__(self, "merge_every", check_integer("merge_every", self.merge_every, 0, 2**31 - 1))
        object.__setattr__(self, "block_size", check_block_size(self.block_size))
        object.__setattr__(self, "record_delay", check_flag("record_delay", self.record_delay))
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.order == "round-robin" and self.write != "racy":
            raise ConfigError(f"order='round-robin' needs write='racy', not {self.write!r}: whole updates take turns")
        if self.merge_every and (self.write != "racy" or self.order != "free"):
            raise ConfigError(
                f"merge_every={self.merge_every} needs write='racy' and order='free': a thread writes its own copy"
            )
        if self.layout == "renumbered" and self.write == "locked":
            raise ConfigError("layout='renumbered' needs write='racy' or 'atomic': locks need sorted columns")

    def check(self, loss: Loss, alphas: tuple[float, float]) -> None:  # noqa: ARG002
        """Raise `ConfigError` for `KMeans` with an option that its steps on many rows do not have."""
        plain = Hogwild(write=self.write if self.write == "atomic" else "racy", block_size=self.block_size)
        if loss.model == "kmeans" and self != plain:
            raise ConfigError(
                f"algo 'hogwild' trains loss {loss.name!r} by steps of many rows: leave out its options but block_size "
                "and write='atomic'"
            )

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        layout = self._layout(task)
        solver = _core.Hogwild(
            layout.objective,
            n_threads=task.n_threads,
            write="in-turn" if self.order == "round-robin" else self.write,
            merge_visits=self._merge_visits(task, layout),
            record_delay=self.record_delay,
            sum_loss=task.sum_loss,
        )
        for index in range(task.start_epoch, task.max_epochs):
            layout.fetch()
            loss = solver.epoch(layout.weights, task.epoch(index, self.block_size))
            layout.publish()
            delay = tuple(solver.delays.tolist()) if self.record_delay else None
            yield EpochEnd(index + 1, task.step_size_at(index), loss if task.sum_loss else None, delay)

    def _layout(self, task: LocalTask) -> MemoryLayout:
        if self.layout == "renumbered":
            if not task.problem.sparse:
                raise ConfigError("layout='renumbered' needs sparse data: all features of dense X are equally frequent")
            return Renumbered(task)
        long = task.max_epochs - task.start_epoch >= _EPOCHS
        if task.problem.loss.model == "kmeans":
            return InPlace(task)
        needed = task.problem.sparse and self._copies_pay(task, _ENTRIES) and not self._copies_pay(task, _WHOLE)
        return Renumbered(task) if self.layout == "auto" and needed and long else InPlace(task)

    def _merge_visits(self, task: LocalTask, layout: MemoryLayout) -> int:
        if self.merge_every is not None:
            return self.merge_every
        whole = task.problem.sparse and isinstance(layout, InPlace)
        return _VISITS if self._copies_pay(task, _WHOLE if whole else _ENTRIES) else 0

    def _copies_pay(self, task: LocalTask, entries: int) -> bool:
        """Return whether threads may have copies, and an epoch has at least `entries` entries per weight and thread."""
        free = self.write == "racy" and self.order == "free" and self.merge_every != 0
        # One entry touches `per_feature` weights.
        weights = task.n_threads * len(task.weights) / task.problem.layout.per_feature
        return free and task.n_threads > 1 and entries * weights <= task.problem.scale.row_entries * task.n_samples
