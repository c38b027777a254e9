"""Mini-batch gradient descent, synchronous and parallel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd._common.checks import check_integer, check_real
from dsgd.algorithms.base import Algorithm, Capabilities, check_block_size
from dsgd.algorithms.momentum import momentum_epochs
from dsgd.errors import ConfigError
from dsgd.models.base import Loss
from dsgd.models.network import NetworkObjective
from dsgd.problems.averaging import check_average
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Minibatch"]

# The default momentum of networks.
_MOMENTUM = 0.9


@dataclass(frozen=True, kw_only=True)
class Minibatch(Algorithm):
    """Gradient descent by the mean gradient of a few rows, which all threads compute together; reproducible.

    Parameters
    ----------
    batch_size : int, default=64
        Rows of a step. The last step of an epoch has the rows that are left. Each of them counts by
        1 / `batch_size`, as in every other step.
    block_size : int, optional
        Number of neighbouring rows that are visited together, in memory order. Every epoch visits
        the blocks in a new random order. 1 shuffles single rows. Larger blocks are faster, but need
        data that is not sorted. By default n_samples / 1024, at most 256; 1 if neighbouring rows
        have similar targets.
    average : bool or int, default=False
        Whether to return the mean of the weights after every step, as for `Sgd`. A number: the sample
        with which the average begins.
    momentum : float, optional
        The share of a step that is added to the next step, in [0, 1). By default 0.9. For networks
        only.

    Notes
    -----
    The loop is ``cpp/src/solver/minibatch.cpp``. The result does not depend on the number of threads,
    to the last bit. A batch uses one thread for every 100,000 of its non-zeros, but at least one.
    With ``batch_size=1`` this is `Sgd`. With `dsgd.losses.KMeans` a step moves a centre towards the
    mean of its rows in the batch, but not beyond it. With `dsgd.losses.MLP` the steps have momentum.
    The threads are then those of numpy's BLAS, whose sums may depend on the number of threads.

    References
    ----------
    Dekel, Gilad-Bachrach, Shamir, Xiao (2012), "Optimal distributed online prediction using mini-batches". "Mini-batch
    SGD" of Keuper, Pfreundt (2015) draws its batches with replacement; here every epoch visits every row once.
    """

    name = "minibatch"
    summary = "mini-batch gradient descent, synchronous and parallel"
    capabilities = Capabilities(
        threads=True, deterministic=True, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    batch_size: int = 64
    block_size: int | None = None
    average: bool | int = False
    momentum: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_size", check_integer("batch_size", self.batch_size, 1, 2**63 - 1))
        object.__setattr__(self, "block_size", check_block_size(self.block_size))
        object.__setattr__(self, "average", check_average(self.average))
        if self.momentum is not None:
            object.__setattr__(self, "momentum", check_real("momentum", self.momentum, 0, 1))
        if self.momentum == 1:
            raise ConfigError("momentum must be below 1: a step would be repeated for ever")

    @property
    def batch_rows(self) -> int:
        """Rows whose gradients make one step."""
        return self.batch_size

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        if isinstance(task.objective, NetworkObjective):
            block_size = task.problem.block_size if self.block_size is None else self.block_size
            momentum = _MOMENTUM if self.momentum is None else self.momentum
            yield from momentum_epochs(task, task.objective, self.batch_size, block_size, momentum)
            return
        average = task.averaging(self.average)
        for index in range(task.start_epoch, task.max_epochs):
            epoch = task.epoch(index, self.block_size)
            loss = _core.minibatch_epoch(
                task.core,
                average.iterate,
                epoch,
                self.batch_size,
                task.n_threads,
                drift=average.drift,
                averaged=average.steps,
                sum_loss=task.sum_loss,
            )
            average.advance(task.n_samples)
            yield EpochEnd(index + 1, task.step_size_at(index), loss if task.sum_loss else None)

    def first_step(self, loss: Loss) -> float | None:
        """Return the step that a run with this loss and momentum starts from; None: it is searched for."""
        return loss.first_step() if self.momentum is None else loss.first_step(self.momentum)

    def check(self, loss: Loss, alphas: tuple[float, float]) -> None:
        """Raise `ConfigError` for momentum without a network, and for an average or L1 with one."""
        if loss.model != "mlp" and self.momentum is not None:
            raise ConfigError(
                f"algo 'minibatch' has momentum for networks only, not for loss {loss.name!r}; leave it out"
            )
        if loss.model == "mlp" and self.average:
            raise ConfigError(f"algo 'minibatch' keeps no average with loss {loss.name!r}; leave average out")
        if loss.model == "mlp" and alphas[0] > 0:
            raise ConfigError(f"loss {loss.name!r} knows penalty='l2' or 'none' with algo 'minibatch'")
