"""SimuParallelSGD: every node trains on as many samples, and the models are averaged at the end."""

from __future__ import annotations

from dataclasses import dataclass

from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import Program
from dsgd.algorithms.model_averaging import ModelAveraging
from dsgd.cluster.program.task import WorkerTask

__all__ = ["SimuParallel"]


@dataclass(frozen=True, kw_only=True)
class SimuParallel(ModelAveraging):
    """Stochastic gradient descent on every node alone; at the end the models are averaged.

    Every node makes steps on `max_epochs` times n / P samples of n rows on P nodes, drawn from its own
    rows. The average waits for the slowest node.

    Parameters
    ----------
    averaging_span : int, optional
        Samples of a node from one average to the next; all nodes go on from it. By default the
        models are averaged once, at the end.
    batch_size : int, optional
        Rows of a step. By default 1, for networks 64.

    Notes
    -----
    Without `averaging_span` the history has a record a pass, of what an average would have been
    then. On one node this is `sgd`, with ``block_size=1``, to the bit.

    References
    ----------
    Zinkevich, Weimer, Li, Smola (2010), "Parallelized stochastic gradient descent", Algorithm 3;
    Algorithm 2 of Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload
    training system". The averages on the way are that paper's section 5.1, Deduction 1.
    """

    name = "simuparallel"
    summary = "SGD on every node alone, models averaged at the end"
    capabilities = Capabilities(
        threads=True, deterministic=True, distributed=True, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    averaging_span: int | None = None
    batch_size: int | None = None

    def worker(self, task: WorkerTask) -> Program:
        """Run one node."""
        node = yield from self.begin(task)
        for clock in range(task.start_clock, task.max_clocks):
            for count in self.pieces(task, node, clock):
                node.train(count)
            yield from self.end_clock(task, node, clock, self.ends(task, clock))
