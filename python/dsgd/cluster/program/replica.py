"""The model of a node that trains on its own rows, and is averaged with those of other nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.program.descent import Descent
from dsgd.cluster.program.task import WorkerTask

__all__ = ["Replica"]

# The largest step times strength of L2 that counts: 1 - step alpha must be above 0.
_MOST = 1 - np.finfo(np.float64).tiny


class Replica:
    """A model that a node trains by stochastic gradient descent.

    Parameters
    ----------
    task : WorkerTask
    weights : ndarray of shape (n_parameters,)
        What it starts from.
    descent : Descent
        Its steps.
    batch_size : int
        Rows of a step.
    rate : float or None
        By how much a step brings two models nearer to each other, in (0, 1]. None: by 1 - step alpha.

    Attributes
    ----------
    descent : Descent
    samples : int
        Samples that it was trained on.
    updates : int
        Samples of the steps that were made since it was started from an average.
    progress : float
        The logarithm of how many times nearer to each other two models have come by these steps. It is the
        -ln r^t of the paper, r being `rate` and t the steps.
    certain_progress : float
        Likewise with the rate 1 - step alpha, which always holds.
    """

    def __init__(
        self,
        task: WorkerTask,
        weights: NDArray[Any],
        descent: Descent,
        *,
        batch_size: int = 1,
        rate: float | None = None,
    ) -> None:
        self.samples = 0
        self._task = task
        self.descent = descent
        self._batch_size = batch_size
        self._log_rate = None if rate is None else math.log(rate)
        self._alpha = task.kernels.problem.alphas[1]
        self._before = 0
        self.restart(weights, 0)

    def resume(self, before: int) -> None:
        """Go on where an earlier life of the node was after `before` samples, which are not counted again."""
        self._before = self._time = before

    def restart(self, weights: NDArray[Any], time: int) -> None:
        """Start from `weights`; the schedule of the step size goes on after `time` samples."""
        self._weights = weights.copy()
        self._time = time
        self.updates = 0
        self.progress = 0.0
        self.certain_progress = 0.0

    def weights(self) -> NDArray[Any]:
        """Return a copy of the model."""
        self.descent.settle(self._weights)
        return self._weights.copy()

    def pieces(self, mark: int, most: int) -> Iterator[int]:
        """Yield the sizes of pieces until the schedule has come to `mark` samples; `train` must be called for each.

        A piece has about `most` rows, and at most `WorkerTask.chunk_rows`. It is made of whole batches. It lies in one
        pass over the rows and in one of the schedule.
        """
        task, size = self._task, self._batch_size
        most = max(min(most, task.chunk_rows) // size, 1) * size
        while self._time < mark:
            drawn = (self._before + self.samples) % task.n_samples
            scheduled = self._time % task.mean_samples
            left = min(task.n_samples - drawn, task.mean_samples - scheduled, mark - self._time)
            yield min(most, left)

    def train(self, count: int) -> None:
        """Step on the next `count` rows."""
        task, drawn = self._task, self._before + self.samples
        index = drawn // task.n_samples
        # As at the end of an epoch of `sgd`, and as for a record, which a later life does not make again.
        if drawn % task.n_samples == 0 or self._time % task.mean_samples == 0:
            self.descent.settle(self._weights)
        steps = task.own_step_sizes(self._time, count)
        made = self.descent.steps(self._weights, task.rows_at(drawn, count), steps, index)
        self.samples += count
        self._time += count
        self.updates += int(made.sum())
        certain = -float(np.log1p(-np.minimum(steps[made] * self._alpha, _MOST)).sum()) / self._batch_size
        self.certain_progress += certain
        self.progress += certain if self._log_rate is None else -self._log_rate * int(made.sum()) / self._batch_size
