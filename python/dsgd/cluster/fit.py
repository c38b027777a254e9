"""`dsgd.fit` on a cluster: from a checked problem to the runs of a distributed algorithm, and their history."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_integer, shown
from dsgd._common.warn import warn
from dsgd.algorithms import on_one_machine
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.local.supervision import LocalRun
from dsgd.cluster.program.partition import deal
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import ClusterRecord, Outcome, RunSpec
from dsgd.cluster.runtime.trace import Trace
from dsgd.cluster.simulation.config import Simulation
from dsgd.cluster.simulation.run import SimulatedRun
from dsgd.errors import ConfigError, DivergedError
from dsgd.fitting.divergence import Watch
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.step_search import choose_steps
from dsgd.problems.task import LocalTask
from dsgd.results.history import History, Record

__all__ = ["assignment", "check_cluster", "choose_step", "train_on_cluster"]


Cluster = Simulation | LocalCluster


def check_cluster(algorithm: DistributedAlgorithm, cluster: Any, workers: Any) -> Cluster:
    """Return the cluster that an algorithm runs on; refuse what does not go together."""
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
    """Return how many nodes of a cluster have a program: those that train, and the coordinator."""
    return cluster.workers + int(algorithm.has_coordinator)


def choose_step(algorithm: DistributedAlgorithm, task: LocalTask, n_workers: int) -> None:
    """Set the first step of a task where it was not given."""
    trial = algorithm.step_trial(task.n_samples, n_workers)
    if not math.isnan(task.step_size):
        return
    if trial is None:
        task.step_size = algorithm.natural_step(task.problem)
    else:
        choose_steps(trial, [task])


def assignment(algorithm: DistributedAlgorithm, task: LocalTask, n_nodes: int) -> RunSpec:
    """Deal the rows of a task out to the workers of a cluster.

    Parameters
    ----------
    algorithm : DistributedAlgorithm
    task : LocalTask
    n_nodes : int
        With that of a coordinator, where there is one.

    Returns
    -------
    RunSpec
    """
    has_coordinator = int(algorithm.has_coordinator)
    problem = task.problem
    n_workers = n_nodes - has_coordinator
    rows = deal(problem.matrix.n_rows, n_workers, task.seed)
    max_clocks = algorithm.clocks(task.max_epochs, problem.matrix.n_rows, n_workers)
    return RunSpec(
        algorithm=algorithm,
        problem=problem,
        rows=[np.zeros(1, np.intp)] * has_coordinator + rows,
        inverse_frequency=task.linear.inverse_frequency,  # counted once, of the whole data
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

    def __call__(self, state: ClusterRecord, weights: NDArray[Any]) -> bool:
        """Add a record; return whether the run is to end."""
        now, recorder, task = time.perf_counter(), self._recorder, self._task
        if not np.isfinite(weights).all():
            raise DivergedError(self._diverged(state, "the weights are not finite"))
        np.copyto(task.weights, weights)
        evaluates = recorder.evaluate_every > 0
        objective = task.value() if evaluates else None
        finite = objective is None or math.isfinite(objective)
        if not finite or self._watch.exploded(objective, recorder.weights):
            raise DivergedError(self._diverged(state, f"the objective is {task.value():g}"))
        epochs = state.clock * self._work.passes_per_clock
        ends = recorder.add(
            Record(
                epoch=max(1, round(epochs)),
                effective_passes=state.samples / self._work.n_total,
                seconds=(now - self._evaluating if state.moment is None else state.moment) - recorder.begin,
                step_size=task.step_size_at(max(round(epochs) - 1, 0)),
                objective=objective,
                score=recorder.score() if evaluates else None,
                virtual_seconds=state.virtual_seconds,
                clocks=state.clocks,
                waiting=state.waiting,
                staleness=state.staleness,
                bytes_sent=state.bytes_sent,
                bytes_received=state.bytes_received,
            )
        )
        self._evaluating += time.perf_counter() - now
        return ends

    def _diverged(self, state: ClusterRecord, what: str) -> str:
        return (
            f"{what} after clock {state.clock} with step size {self._task.step_size:g}: use a smaller step_size or "
            "scale the data"
        )


def train_on_cluster(
    algorithm: DistributedAlgorithm, cluster: Cluster, tasks: Sequence[LocalTask], recorder: Recorder
) -> tuple[History, str, Trace | None]:
    """Train the binary problem, or the regression, of a model on a cluster.

    Parameters
    ----------
    algorithm : DistributedAlgorithm
    cluster : Simulation or LocalCluster
    tasks : sequence of LocalTask
        One, which trains the only row of the model's weights in place.
    recorder : Recorder
        Its `evaluate_every` is the number of epochs between records; 0: one at the end, not evaluated.

    Returns
    -------
    history : History
    stop_reason : str
    trace : Trace or None

    Raises
    ------
    ConfigError
        If there is more than one task, or what the cluster goes on from is of another run.
    ClusterError
        If the run could not go on, as with a worker lost and ``on_lost="fail"``.
    DivergedError
        If weights or objective are not finite, or explode.
    KeyboardInterrupt
        If there is no record yet.
    """
    if len(tasks) > 1:
        raise ConfigError(
            f"algo {algorithm.name!r} trains two classes or a regression, not {len(tasks)} classes, like all that run "
            f"on a cluster: train one against the rest, or use {on_one_machine('linear')}, without cluster and workers"
        )
    nodes = n_nodes(algorithm, cluster)
    if isinstance(cluster, LocalCluster) and cluster.resume is not None:
        _go_on(tasks[0], cluster.resume)
    choose_step(algorithm, tasks[0], nodes - int(algorithm.has_coordinator))
    work = assignment(algorithm, tasks[0], nodes)
    with recorder.showing(tasks[0].max_epochs):
        outcome = _run(cluster, work, tasks[0], recorder)
    recorder.finish()
    return recorder.history, recorder.reason or "max_epochs", outcome.trace


def _go_on(task: LocalTask, path: str | os.PathLike[str]) -> None:
    """Take what the run that left a checkpoint had drawn or found: the seed, and the step size unless there is one."""
    about = Checkpoint.load(path)[1]
    task.seed = about.seed
    if math.isnan(task.step_size):
        task.step_size = about.step_size


def _run(cluster: Cluster, work: RunSpec, task: LocalTask, recorder: Recorder) -> Outcome:
    """Let the workers work; the last record is that of the weights that are left."""
    clocks = work.max_clocks
    every = recorder.evaluate_every / work.passes_per_clock  # clocks between two records
    notices = [math.ceil(k * every - 1e-9) for k in range(1, math.ceil(clocks / every - 1e-9))] if every else []
    observer = _Observer(work, task, recorder)
    kind: Any = SimulatedRun if isinstance(cluster, Simulation) else LocalRun
    run: SimulatedRun | LocalRun = kind(cluster, work, observer, [*notices, clocks])
    history = recorder.history
    try:
        outcome = run.run()
    except KeyboardInterrupt:
        if not history:
            raise
        recorder.reason = "interrupted"
        outcome = run.outcome()
        warn(f"interrupted in epoch {history[-1].epoch + 1}; the model so far is returned")
    if recorder.reason is None and (not history or not np.array_equal(recorder.weights[0], outcome.weights)):
        observer(outcome.record, outcome.weights)
    return outcome
