"""`dsgd.fit` on a cluster: deals the rows, runs the algorithm and records the history."""

from __future__ import annotations

import contextlib
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
from dsgd.callbacks import Callback
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
from dsgd.fitting.step_search import choose_steps
from dsgd.fitting.stopping import Stopping
from dsgd.models.trained import Model
from dsgd.problems.task import LocalTask
from dsgd.results.history import History, Record
from dsgd.results.progress import ProgressReport
from dsgd.results.result import Evaluation

__all__ = ["assignment", "check_cluster", "choose_step", "train_on_cluster"]


Cluster = Simulation | LocalCluster


def check_cluster(algorithm: DistributedAlgorithm, cluster: Any, workers: Any) -> Cluster:
    """Return the cluster that an algorithm runs on.

    Parameters
    ----------
    algorithm : DistributedAlgorithm
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
    """Set the initial step size of a task, unless the caller gave one."""
    trial = algorithm.step_trial(n_workers)
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
        Number of nodes that run a program, including a coordinator.

    Returns
    -------
    RunSpec
    """
    has_coordinator = int(algorithm.has_coordinator)
    problem = task.problem
    rows = deal(problem.matrix.n_rows, n_nodes - has_coordinator, task.seed)
    max_clocks = algorithm.clocks(task.max_epochs, max(map(len, rows)))
    return RunSpec(
        algorithm=algorithm,
        problem=problem,
        rows=[np.zeros(1, np.intp)] * has_coordinator + rows,
        inverse_frequency=task.linear.inverse_frequency,  # counted on all rows: see `Kernels`
        n_threads=task.n_threads,
        start=task.weights.copy(),
        max_clocks=max_clocks,
        passes_per_clock=task.max_epochs / max_clocks,
        schedule=task.schedule,
        step_size=task.step_size,
        seed=task.seed,
        n_total=problem.matrix.n_rows,
    )


class _Recorder:
    """Adds records of the server's weights to the history, and decides whether the run ends.

    In a simulation the virtual clock stands still during a call.
    """

    def __init__(
        self,
        work: RunSpec,
        task: LocalTask,
        model: Model,
        evaluation: Evaluation | None,
        stopping: Stopping,
        callbacks: Sequence[Callback],
        report: ProgressReport | None,
        evaluates: bool,
        begin: float,
    ) -> None:
        self.history = History()
        self.reason: str | None = None
        self.best: NDArray[Any] | None = None
        self._work = work
        self._task = task
        self._model = model
        self._evaluation = evaluation
        self._stopping = stopping
        self._callbacks = callbacks
        self._report = report
        self._evaluates = evaluates
        self._begin = begin
        self._evaluating = 0.0
        self._watch = Watch([task])
        self._before = task.weights[None].copy()

    @property
    def weights(self) -> NDArray[Any]:
        """The weights of the last record."""
        mine: NDArray[Any] = self._model.weights[0]
        return mine

    def __call__(self, state: ClusterRecord, weights: NDArray[Any]) -> bool:
        """Add a record; return whether the run is to end.

        Raises
        ------
        DivergedError
            If weights or objective are not finite, or the objective explodes.
        """
        now = time.perf_counter()
        if not np.isfinite(weights).all():
            raise DivergedError(self._diverged(state, "the weights are not finite"))
        np.copyto(self._model.weights[0], weights)
        objective = self._task.value() if self._evaluates else None
        finite = objective is None or math.isfinite(objective)
        if not finite or self._watch.exploded(objective, self._before):
            raise DivergedError(self._diverged(state, f"the objective is {self._task.value():g}"))
        np.copyto(self._before, weights)
        score = self._evaluation.score(self._model) if self._evaluates and self._evaluation is not None else None
        epochs = state.clock * self._work.passes_per_clock
        self.history.append(
            Record(
                epoch=max(1, round(epochs)),
                effective_passes=state.samples / self._work.n_total,
                seconds=(now - self._evaluating if state.moment is None else state.moment) - self._begin,
                step_size=self._task.step_size_at(max(round(epochs) - 1, 0)),
                objective=objective,
                score=score,
                virtual_seconds=state.virtual_seconds,
                clocks=state.clocks,
                waiting=state.waiting,
                staleness=state.staleness,
                bytes_sent=state.bytes_sent,
                bytes_received=state.bytes_received,
            )
        )
        if self._stopping.is_best(self.history):
            self.best = self._model.weights.copy()
        if self._report is not None:
            self._report.show(self.history[-1])
        self.reason = self._stopping.reason(self.history, time.perf_counter() - self._begin)
        stop = [callback(self.history[-1], self._model) for callback in self._callbacks]
        if self.reason is None and any(stop):
            self.reason = "callback"
        self._evaluating += time.perf_counter() - now
        return self.reason is not None

    def _diverged(self, state: ClusterRecord, what: str) -> str:
        return (
            f"{what} after clock {state.clock} with step size {self._task.step_size:g}: use a smaller step_size or "
            "scale the data"
        )


def train_on_cluster(
    algorithm: DistributedAlgorithm,
    cluster: Cluster,
    tasks: Sequence[LocalTask],
    model: Model,
    evaluation: Evaluation | None,
    stopping: Stopping,
    evaluate_every: int,
    callbacks: Sequence[Callback],
    progress: bool,
    begin: float,
) -> tuple[History, str, Trace | None]:
    """Train a model of two classes, or a regression, on a cluster.

    Parameters
    ----------
    algorithm : DistributedAlgorithm
    cluster : Simulation or LocalCluster
    tasks : sequence of LocalTask
        Exactly one task. Its weights are trained in place.
    model : Model
        The model of the task. Its array `weights` has one row, the weights of the task.
    evaluation : Evaluation or None
    stopping : Stopping
    evaluate_every : int
        Epochs between two records. 0: a single record at the end, without objective and score.
    callbacks : sequence of Callback
    progress : bool
        Whether to show every record.
    begin : float
        When the fit began, in seconds of `time.perf_counter`.

    Returns
    -------
    history : History
    stop_reason : str
    trace : Trace or None
        None if the cluster keeps no trace.

    Raises
    ------
    ConfigError
        If there is more than one task, or if the checkpoint to resume from is of another run.
    ClusterError
        If the run cannot go on, for example after a worker was lost with ``on_lost="fail"``.
    DivergedError
        If weights or objective are not finite, or explode.
    KeyboardInterrupt
        If the user interrupts the run before its first record. After it, the interrupt ends the
        run with a warning, and the model so far is returned.
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
    with ProgressReport(tasks[0].max_epochs) if progress else contextlib.nullcontext() as report:
        recorder = _Recorder(work, tasks[0], model, evaluation, stopping, callbacks, report, evaluate_every > 0, begin)
        outcome = _run(cluster, work, recorder, evaluate_every)
    if recorder.best is not None:
        np.copyto(model.weights, recorder.best)
    return recorder.history, recorder.reason or "max_epochs", outcome.trace


def _go_on(task: LocalTask, path: str | os.PathLike[str]) -> None:
    """Take the seed from the checkpoint to resume from, and the step size if none was given."""
    about = Checkpoint.load(path)[1]
    task.seed = about.seed
    if math.isnan(task.step_size):
        task.step_size = about.step_size


def _run(cluster: Cluster, work: RunSpec, recorder: _Recorder, evaluate_every: int) -> Outcome:
    """Run the cluster until it ends; the last record is made of the final weights."""
    clocks = work.max_clocks
    every = evaluate_every / work.passes_per_clock  # clocks between two records
    # 1e-9 clocks: rounding errors of `every` must not move a record to the next clock.
    notices = [math.ceil(k * every - 1e-9) for k in range(1, math.ceil(clocks / every - 1e-9))] if every else []
    kind: Any = SimulatedRun if isinstance(cluster, Simulation) else LocalRun
    run: SimulatedRun | LocalRun = kind(cluster, work, recorder, [*notices, clocks])
    history = recorder.history
    try:
        outcome = run.run()
    except KeyboardInterrupt:
        if not history:
            raise
        recorder.reason = "interrupted"
        outcome = run.outcome()
        warn(f"interrupted in epoch {history[-1].epoch + 1}; the model so far is returned")
    if recorder.reason is None and (not history or not np.array_equal(recorder.weights, outcome.weights)):
        recorder(outcome.record, outcome.weights)
    return outcome
