"""`dsgd.fit` on a cluster: deals the rows, runs the algorithm and records the history."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_integer, shown
from dsgd._common.warn import warn
from dsgd.algorithms import Algorithm, on_clusters
from dsgd.algorithms.data_parallel import data_parallel
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.algorithms.model_averaging import ModelAveraging
from dsgd.cluster.account import Account
from dsgd.cluster.engines import Elsewhere
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.program.clients import deal_to_clients
from dsgd.cluster.program.partition import Partition
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import ClusterRecord, OnClock, Outcome, Run, RunSpec
from dsgd.cluster.runtime.trace import Trace
from dsgd.cluster.simulation.config import Simulation
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.cluster.together import as_one_task
from dsgd.errors import ConfigError, DivergedError
from dsgd.fitting.certificate import Certificates
from dsgd.fitting.divergence import Watch
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.step_search import choose_steps
from dsgd.privacy.ledger import PrivacyLedger
from dsgd.problems.task import LocalTask
from dsgd.results.averaging import Averaging
from dsgd.results.history import History, Record

__all__ = [
    "assignment",
    "check_cluster",
    "choose_step",
    "go_on_from",
    "on_cluster",
    "run_on_cluster",
    "train_on_cluster",
]


Cluster = Simulation | LocalCluster


def on_cluster(algorithm: Algorithm, cluster: Any, workers: Any) -> tuple[Algorithm, Any]:
    """Return the algorithm as it runs on a cluster, and the cluster; None for a run without one.

    Parameters
    ----------
    algorithm : Algorithm
        One of one machine is replaced by the distributed algorithm that makes its steps, if there is a cluster.
    cluster, workers
        As of `check_cluster`.

    Raises
    ------
    ConfigError
        If the algorithm does not run on a cluster, and as `check_cluster` does.
    """
    if not isinstance(algorithm, DistributedAlgorithm) and cluster is None and workers is None:
        return algorithm, None
    if isinstance(cluster, Elsewhere):
        cluster.check_workers(workers)
        distributed_on(algorithm, 1)
        return algorithm, cluster
    cluster = check_cluster(algorithm, cluster, workers)
    distributed = distributed_on(algorithm, cluster.workers)
    n_parts = distributed.n_clients(cluster.workers)
    if isinstance(cluster.partition, Partition):
        cluster.partition.check(n_parts, "workers" if n_parts == cluster.workers else "clients")
    return distributed, cluster


def distributed_on(algorithm: Algorithm, n_workers: int) -> DistributedAlgorithm:
    """Return the distributed algorithm that makes the steps of an algorithm; `ConfigError` if there is none."""
    distributed = data_parallel(algorithm, n_workers)
    if distributed is None:
        raise ConfigError(
            f"algo {algorithm.name!r} runs on one machine: leave out cluster and workers, or use {on_clusters()}, "
            "'batch' or 'minibatch', which run on several"
        )
    return distributed


def check_cluster(algorithm: Algorithm, cluster: Any, workers: Any) -> Cluster:
    """Return the cluster that an algorithm runs on.

    Parameters
    ----------
    algorithm : Algorithm
    cluster : Simulation, LocalCluster or None
        None: a `LocalCluster` of `workers` workers.
    workers : int or None

    Raises
    ------
    ConfigError
        If there is neither a cluster nor `workers`, if the cluster has another number of workers,
        or if its checkpoint or log folder cannot be written.
    """
    if cluster is None and workers is not None:
        return LocalCluster(workers=workers)
    if not isinstance(cluster, Cluster):
        given = "" if cluster is None else f", not {shown(cluster)}"
        raise ConfigError(
            f"algo {algorithm.name!r} needs workers=4 (processes of this machine), or a cluster such as "
            f"dsgd.LocalCluster(workers=4) or dsgd.Simulation(workers=4){given}"
        )
    if workers is not None and check_integer("workers", workers, 1) != cluster.workers:
        raise ConfigError(f"workers={workers}, but the cluster has {cluster.workers}; leave out workers")
    if isinstance(cluster, LocalCluster):
        cluster.check_writable()
    return cluster


def n_nodes(algorithm: DistributedAlgorithm, cluster: Cluster) -> int:
    """Return the number of nodes that run a program: the workers, and a coordinator if any."""
    return cluster.workers + int(algorithm.has_coordinator)


def choose_step(algorithm: DistributedAlgorithm, task: LocalTask, n_workers: int) -> None:
    """Set the first step of a task where it was not given."""
    if not math.isnan(task.step_size):
        return
    trial, first = algorithm.step_trial(task.n_samples, n_workers), algorithm.first_step(task.problem.loss)
    if first is not None:
        task.step_size = first
    elif algorithm.privacy is not None:
        raise ConfigError("privacy needs a step_size: the search for one looks at the rows, and would not be private")
    elif trial is None:
        task.step_size = algorithm.natural_step(task.problem)
    else:
        choose_steps(trial, [task])


def assignment(
    algorithm: DistributedAlgorithm, task: LocalTask, n_nodes: int, partition: Partition | str = "equal"
) -> RunSpec:
    """Deal the rows of a task out to the workers of a cluster.

    Parameters
    ----------
    algorithm : DistributedAlgorithm
    task : LocalTask
    n_nodes : int
        Number of nodes that run a program, including a coordinator.
    partition : Partition or "equal"

    Returns
    -------
    RunSpec
    """
    has_coordinator = int(algorithm.has_coordinator)
    problem = task.problem
    n_workers = n_nodes - has_coordinator
    n_clients = algorithm.n_clients(n_workers)
    rows, client_of = deal_to_clients(partition, problem, n_clients, n_workers, task.seed)
    max_clocks = algorithm.clocks(task.max_epochs, problem.matrix.n_rows, n_workers)
    return RunSpec(
        algorithm=algorithm,
        problem=problem,
        rows=[np.zeros(1, np.intp)] * has_coordinator + rows,
        partition=str(partition) if client_of is None else f"{partition} to {n_clients} clients",
        client_of=client_of,
        of_whole=problem.loss.of_whole(problem, task.objective),
        n_threads=task.n_threads,
        start=task.weights.copy(),
        max_clocks=max_clocks,
        passes_per_clock=task.max_epochs / max_clocks,
        schedule=task.schedule,
        step_size=task.step_size,
        seed=task.seed,
        n_total=problem.matrix.n_rows,
    )


class _Observer:
    """Makes a record of what the server held; a virtual clock stands still while it is evaluated."""

    def __init__(self, work: RunSpec, task: LocalTask, recorder: Recorder) -> None:
        self._work = work
        self._task = task
        self._recorder = recorder
        self._evaluating = 0.0
        self._watch = Watch([task])
        self._before = task.weights.copy()
        privacy = work.algorithm.privacy
        self._tells_objective = privacy is None or privacy.history == "public"
        differ = work.algorithm.held_out_curves and not task.problem.n_together
        self._held_out = recorder.held_out(task.problem, task.n_threads) if differ else None

    def __call__(self, state: ClusterRecord, weights: NDArray[Any]) -> bool:
        """Add a record; return whether the run is to end."""
        now, recorder, task = time.perf_counter(), self._recorder, self._task
        if not np.isfinite(weights).all():
            raise DivergedError(self._diverged(state, "the weights are not finite"))
        np.copyto(task.weights, weights)
        if task.problem.n_together:
            np.copyto(recorder.model.weights, task.problem.layout.unpack(weights))
        evaluates = recorder.every > 0
        objective = task.value() if evaluates and self._tells_objective else None
        finite = objective is None or math.isfinite(objective)
        if not finite or self._watch.exploded(objective, self._before[None]):
            raise DivergedError(self._diverged(state, f"the objective is {task.value():g}"))
        np.copyto(self._before, weights)
        epochs, passes = state.clock * self._work.passes_per_clock, state.samples / self._work.n_total
        objective = None if objective is None else objective / max(task.problem.n_together, 1)
        certificates, last = recorder.certificates, round(epochs) >= task.max_epochs
        ends = recorder.add(
            Record(
                epoch=max(1, round(epochs)),
                effective_passes=passes,
                seconds=(now - self._evaluating if state.moment is None else state.moment) - recorder.begin,
                step_size=task.step_size_at(max(round(epochs) - 1, 0)),
                objective=objective,
                score=recorder.score() if evaluates else None,
                gap=None if certificates is None else certificates.gap(passes, objective, last=last),
                virtual_seconds=state.virtual_seconds,
                clocks=state.clocks,
                waiting=state.waiting,
                staleness=state.staleness,
                bytes_sent=state.bytes_sent,
                bytes_received=state.bytes_received,
                counts=self._counts(state, evaluates) or None,
            )
        )
        self._evaluating += time.perf_counter() - now
        return ends

    def _counts(self, state: ClusterRecord, evaluates: bool) -> dict[str, tuple[float | None, ...]]:
        """Return the numbers that the nodes have observed, by name and rank, and their objectives on `eval_set`."""
        told = {rank: dict(observed.counts) for rank, observed in state.observed.items()}
        if self._held_out is not None and evaluates:
            for rank, observed in state.observed.items():
                told[rank]["held_out"] = self._held_out.value(observed.vector)
        names = dict.fromkeys(name for counts in told.values() for name in counts)
        return {name: tuple(told.get(rank, {}).get(name) for rank in range(len(state.clocks))) for name in names}

    def _diverged(self, state: ClusterRecord, what: str) -> str:
        return (
            f"{what} after clock {state.clock} with step size {self._task.step_size:g}: use a smaller step_size or "
            "scale the data"
        )


class ClusterFit(NamedTuple):
    """A fit on a cluster.

    Attributes
    ----------
    history : History
    stop_reason : str
    trace : Trace or None
        None if the cluster keeps no trace.
    averaging : Averaging or None
        What the nodes counted for in the last average of their models; None if the algorithm averages none.
    privacy : PrivacyLedger or None
        What was spent of the privacy of every client; None if the algorithm promises none.
    """

    history: History
    stop_reason: str
    trace: Trace | None
    averaging: Averaging | None
    privacy: PrivacyLedger | None


def train_on_cluster(
    algorithm: DistributedAlgorithm, cluster: Cluster, tasks: Sequence[LocalTask], recorder: Recorder
) -> ClusterFit:
    """Train a model on a cluster.

    Parameters
    ----------
    algorithm : DistributedAlgorithm
    cluster : Simulation or LocalCluster
    tasks : sequence of LocalTask
        One a row of the model's weights, which are trained in place. Several are trained together.
    recorder : Recorder
        Its `every` is the number of epochs between records; 0: one at the end, not evaluated.

    Returns
    -------
    ClusterFit

    Raises
    ------
    ConfigError
        If the checkpoint that the cluster goes on from is of another run.
    ClusterError
        If the run cannot go on, for example after a worker was lost with ``on_lost="fail"``.
    DivergedError
        If weights or objective are not finite, or explode.
    KeyboardInterrupt
        If the user interrupts the run before its first record. After it, the interrupt ends the
        run with a warning, and the model so far is returned.
    """
    nodes = n_nodes(algorithm, cluster)
    task = as_one_task(algorithm, tasks, recorder.model.weights)
    if isinstance(cluster, LocalCluster) and cluster.resume is not None:
        go_on_from(task, cluster.resume)
    n_workers = nodes - int(algorithm.has_coordinator)
    choose_step(algorithm, task, n_workers)
    algorithm = algorithm.prepared(task, n_workers)
    work = assignment(algorithm, task, nodes, cluster.partition)
    recorder.certificates = None if task.gap_tol is None else Certificates(algorithm, tasks)
    kind: Any = SimulatedRun if isinstance(cluster, Simulation) else LocalRun
    return run_on_cluster(functools.partial(kind, cluster), work, task, recorder)


def run_on_cluster(
    make: Callable[[RunSpec, OnClock, Sequence[int]], Run], work: RunSpec, task: LocalTask, recorder: Recorder
) -> ClusterFit:
    """Run what is ready to run, and record it.

    Parameters
    ----------
    make : callable
        Returns the run of a specification, from the observer of its records and the clocks after which there is one.
    work : RunSpec
    task : LocalTask
        Its objective may be one that asks the parts of the rows.
    recorder : Recorder

    Returns
    -------
    ClusterFit
    """
    account = None if work.algorithm.privacy is None else Account.of(work, work.algorithm.privacy)
    with recorder.showing(task.max_epochs), contextlib.nullcontext() if account is None else account.told():
        outcome = _run(make, work if account is None else account.work, task, recorder)
    recorder.finish()
    averaging = Averaging.of_reports(outcome.reports)
    if averaging is not None:
        _warn_of_averages(work.algorithm, averaging)
    privacy = None if account is None else account.ledger(outcome)
    return ClusterFit(recorder.history, recorder.reason or "max_epochs", outcome.trace, averaging, privacy)


def _warn_of_averages(algorithm: DistributedAlgorithm, averaging: Averaging) -> None:
    """Warn where the bounds of the last average promise nothing."""
    if averaging.condition < 0:
        warn(
            f"algo {algorithm.name!r}: the nodes lag so far behind that their average may be worse than the fastest "
            f"node alone: sum r^T_i is {-averaging.condition:.3g} below (k + sqrt(k)) / 2 (Eq. 6); leave out the "
            "slowest nodes, or average more often (averaging_span)"
        )
    on_the_way = isinstance(algorithm, ModelAveraging) and algorithm.averaging_span is not None
    if on_the_way and averaging.lags.any() and averaging.span_factor >= 1:
        warn(
            f"algo {algorithm.name!r}: between two averages the models contract less than the lags of nodes take away "
            f"(k q^s / sum q^T_i is {averaging.span_factor:.3g}, and below 1 training approaches the optimum for "
            "certain); use a larger averaging_span, step_size or alpha"
        )


def go_on_from(task: LocalTask, path: str | os.PathLike[str]) -> None:
    """Take the seed from the checkpoint to resume from, and the step size if none was given."""
    about = Checkpoint.load(path)[1]
    task.seed = about.seed
    if math.isnan(task.step_size):
        task.step_size = about.step_size


def _run(
    make: Callable[[RunSpec, OnClock, Sequence[int]], Run], work: RunSpec, task: LocalTask, recorder: Recorder
) -> Outcome:
    """Let the workers work; the last record is that of the weights that are left."""
    clocks = work.max_clocks
    every = recorder.every / work.passes_per_clock  # clocks between two records
    notices = [math.ceil(k * every - 1e-9) for k in range(1, math.ceil(clocks / every - 1e-9))] if every else []
    observer = _Observer(work, task, recorder)
    run = make(work, observer, [*notices, clocks])
    history = recorder.history
    try:
        outcome = run.run()
    except KeyboardInterrupt:
        if not history:
            raise
        recorder.reason = "interrupted"
        outcome = run.outcome()
        warn(f"interrupted in epoch {history[-1].epoch + 1}; the model so far is returned")
    if recorder.reason is None and (not history or not np.array_equal(task.weights, outcome.weights)):
        observer(outcome.record, outcome.weights)
    return outcome
