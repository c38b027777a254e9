"""D&M WP-SGD: delay SGD by the workers of every node, and weighted averages on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dsgd._common.checks import check_integer
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.wpsgd import WpSgd
from dsgd.cluster.program.replica import Replica
from dsgd.cluster.program.task import WorkerTask
from dsgd.errors import ConfigError

__all__ = ["WpSgdDm"]


@dataclass(frozen=True, kw_only=True)
class WpSgdDm(WpSgd):
    """WP-SGD with delay and model averaging: every node is a small parameter server with its workers.

    The workers of a node take turns: each reads the node's weights, computes the gradient of a sample,
    and hands it to the server, which steps along it. When the fastest node has made `averaging_span`
    steps it gives a signal. All nodes average their weights as in `WpSgd`, and go on from the average.

    Parameters
    ----------
    averaging_span : int, default=1000
        Samples of the fastest node from one average to the next.
    node_workers : int, default=2
        Workers of a node. A gradient is `node_workers` - 1 steps old when it is used.
    deadline, contraction
        See `WpSgd`.
    batch_size : int, optional
        Not to be given, or 1.

    Notes
    -----
    Server and workers of a node are one thread, and its order is that of workers of equal speed: to
    hand a sparse row from thread to thread takes longer than the step on it. With ``node_workers=1``
    this is `WpSgd`.

    References
    ----------
    Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training system",
    Algorithm 5 and sections 5.3 and 6.2.1; docs/algorithms/wpsgd-dm.md.
    """

    name = "wpsgd-dm"
    summary = "WP-SGD with averages on the way and delayed gradients in a node"
    capabilities = Capabilities(
        threads=True, deterministic=False, distributed=True, models=frozenset({"linear", "softmax"})
    )

    averaging_span: int | None = 1000
    node_workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "node_workers", check_integer("node_workers", self.node_workers, 1, 1024))
        if self.averaging_span is None:
            raise ConfigError(f"algo {self.name!r} averages on the way; give averaging_span=1000, or use algo='wpsgd'")
        if self.batch_size not in (None, 1):
            raise ConfigError(f"algo {self.name!r} steps on one row at a time; leave out batch_size={self.batch_size}")

    def replica(self, task: WorkerTask, weights: NDArray[Any]) -> Replica:
        """Return the model of a node, which starts from `weights`."""
        return Replica(task, weights, task.kernels.descent(1, self.node_workers - 1), rate=self.rate)
