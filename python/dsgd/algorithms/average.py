"""Averaging directly: the models of uneven nodes count alike, however far each has come."""

from __future__ import annotations

from dataclasses import dataclass

from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import Program
from dsgd.algorithms.model_averaging import UnevenNodes
from dsgd.cluster.program.task import WorkerTask

__all__ = ["Average"]


@dataclass(frozen=True, kw_only=True)
class Average(UnevenNodes):
    """Stochastic gradient descent on every node until the fastest is done; the models are then averaged as they are.

    It is the baseline that the authors of `WpSgd` warn of: the model of a node that has come half as
    far counts as much as that of the fastest one.

    Parameters
    ----------
    averaging_span : int, optional
        Samples of the fastest node from one average to the next; all nodes go on from it. By default
        the models are averaged once, at the end.
    batch_size : int, optional
        Rows of a step. By default 1, for networks 64.
    deadline : float, optional
        Seconds after which all nodes stop, even if none has made all its steps.

    References
    ----------
    Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training system",
    section 6.2.6.
    """

    name = "average"
    summary = "SGD on uneven nodes, models averaged as they are: a baseline"
    capabilities = Capabilities(
        threads=True, deterministic=False, distributed=True, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    averaging_span: int | None = None
    batch_size: int | None = None
    deadline: float | None = None

    def worker(self, task: WorkerTask) -> Program:
        """Run one node."""
        node = yield from self.begin(task)
        for clock in range(task.start_clock, task.max_clocks):
            yield from self.train(task, node, clock)
            last = yield from self.all_end(task, clock)
            yield from self.end_clock(task, node, clock, last)
            if last:
                return
