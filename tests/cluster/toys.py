"""Small programs for the tests of the drivers, and clusters to run them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import DistributedAlgorithm, Mailbox, Observes, Program, Table
from dsgd.cluster import KernelCost, Simulation
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.run_spec import Outcome, RunSpec
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem
from dsgd.schedules import Constant

Body = Callable[[WorkerTask], Program]


def compute(task: WorkerTask, seconds: float) -> None:
    """Count the work that a node of speed 1 does in so many seconds."""
    task.kernels.count(elements=round(seconds / KernelCost().element))


@dataclass(frozen=True, kw_only=True)
class Toy(DistributedAlgorithm):
    """An algorithm whose worker program is given as a function."""

    name = "toy"
    summary = "for tests"
    capabilities = Capabilities(threads=True, deterministic=True, distributed=True)

    body: Body
    staleness: float = 0
    rules: dict[str, str]
    letters: Mailbox = Mailbox()  # noqa: RUF009  # frozen
    observing: Observes = "server"
    more: tuple[Table, ...] = ()

    @property
    def observes(self) -> Observes:
        return self.observing

    @property
    def mailbox(self) -> Mailbox:
        return self.letters

    @property
    def tables(self) -> tuple[Table, ...]:
        return (*(Table(name=name, rule=rule) for name, rule in self.rules.items()), *self.more)

    @property
    def clock_bound(self) -> float:
        return self.staleness

    def worker(self, task: WorkerTask) -> Program:
        return self.body(task)

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:
        return max_epochs


def toy_assignment(
    body: Body,
    *,
    nodes: int,
    clocks: int,
    size: int = 4,
    staleness: float = 0,
    rules: dict[str, str] | None = None,
    mailbox: Mailbox | None = None,
    observes: Observes = "server",
    tables: tuple[Table, ...] = (),
) -> RunSpec:
    """Return a run of `body` on tables of `size` numbers, those of `rules`, and on further `tables`."""
    random = np.random.default_rng(0)
    matrix = as_matrix(random.standard_normal((4, size)), 1)
    problem = Problem(
        matrix=matrix,
        target=np.array([-1.0, 1.0, 1.0, -1.0]),
        sample_weight=None,
        loss=resolve_loss("logistic"),
        alphas=(0.0, 1e-4),
        fit_intercept=False,
        scale=measure(matrix, None, 1),
    )
    return RunSpec(
        algorithm=Toy(
            body=body,
            staleness=staleness,
            rules={"weights": "add"} if rules is None else rules,
            letters=mailbox or Mailbox(),
            observing=observes,
            more=tables,
        ),
        problem=problem,
        rows=[np.arange(4)] * nodes,
        of_whole={},
        n_threads=1,
        start=np.zeros(size),
        max_clocks=clocks,
        passes_per_clock=1.0,
        schedule=Constant(),
        step_size=0.1,
        seed=7,
        n_total=4 * nodes,
    )


def run_toy(body: Body, cluster: Simulation | None = None, **work: Any) -> Outcome:
    """Run `body` on every node of a cluster."""
    cluster = Simulation(workers=3) if cluster is None else cluster
    return SimulatedRun(cluster, toy_assignment(body, nodes=cluster.workers, **work)).run()
