"""WP-SGD: the models of uneven nodes are averaged with weights that fall with what a node lags behind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from dsgd._common.checks import check_choice, check_real
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.contraction import estimate_contraction
from dsgd.algorithms.distributed import Program
from dsgd.algorithms.model_averaging import UnevenNodes
from dsgd.cluster.program.task import WorkerTask
from dsgd.problems.task import LocalTask

__all__ = ["WpSgd"]


@dataclass(frozen=True, kw_only=True)
class WpSgd(UnevenNodes):
    """Stochastic gradient descent on every node until the fastest is done; the others count for less.

    With T_i samples less than the fastest node, node i counts for r^T_i / sum_j r^T_j in the average.
    No node waits for a slower one.

    Parameters
    ----------
    averaging_span : int, optional
        Samples of the fastest node from one average to the next; all nodes go on from it. By default
        the models are averaged once, at the end.
    batch_size : int, optional
        Rows of a step. By default 1, for networks 64.
    deadline : float, optional
        Seconds after which all nodes stop, even if none has made all its steps.
    contraction : float or "data", optional
        The rate r, by which a step brings two models nearer to each other. By default 1 - eta alpha, which
        holds for every loss; eta is the step size of the schedule and alpha the strength of L2.
        ``"data"``: estimated before the run. A number in (0, 1]; 1 is `Average`.

    Notes
    -----
    The average is better than the fastest node alone, by the bounds of the paper, while
    sum_i r^T_i >= (k + sqrt(k)) / 2 on k nodes (Eq. 6, Corollary 4). `FitResult.averaging` has the
    margin of this condition, and a warning tells when it fails. On an even cluster this is
    `SimuParallel`; on one node it is `sgd` with ``block_size=1``. Both hold to the bit.

    References
    ----------
    Cheng, Li, Zhang, "Weighted parallel SGD for distributed unbalanced-workload training system",
    Algorithm 1; docs/algorithms/wpsgd.md.
    """

    name = "wpsgd"
    summary = "SGD on uneven nodes, models averaged by how far each has come"
    capabilities = Capabilities(
        threads=True, deterministic=False, distributed=True, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    averaging_span: int | None = None
    batch_size: int | None = None
    deadline: float | None = None
    contraction: float | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.contraction, str):
            check_choice("contraction", self.contraction, ("data",))
        elif self.contraction is not None:
            check_real("contraction", self.contraction, 0, 1, low_open=True)

    def prepared(self, task: LocalTask, n_workers: int) -> Self:
        """Return the algorithm with the rate that ``contraction="data"`` stands for."""
        if self.contraction != "data":
            return self
        steps = task.max_epochs * -(-task.n_samples // n_workers)
        return dataclasses.replace(self, contraction=estimate_contraction(task, steps).rate)

    @property
    def rate(self) -> float | None:
        """The rate r; None: 1 - eta alpha."""
        return None if self.contraction is None else float(self.contraction)

    def worker(self, task: WorkerTask) -> Program:
        """Run one node."""
        node = yield from self.begin(task)
        for clock in range(task.start_clock, task.max_clocks):
            yield from self.train(task, node, clock)  # until the fastest node is done
            last, weight = (yield from self.all_end(task, clock)), 1.0
            if last or self.averaging_span is not None:
                weight = yield from self.share(task, node)  # r^T_i
            yield from self.end_clock(task, node, clock, last, weight)
            if last:
                return
