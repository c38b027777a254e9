"""A fit on rows that lie on nodes: nobody needs all of them in one place (`dsgd.fitting.parts`)."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.callbacks import Callback
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.driver.supervision import SupervisedRun
from dsgd.cluster.fit import choose_step, distributed_on, go_on_from, run_on_cluster
from dsgd.cluster.program.partition import Partition
from dsgd.cluster.remote.crew import RemoteCrew
from dsgd.cluster.remote.nodes import Nodes
from dsgd.cluster.remote.objective import NodesEvaluation, NodesObjective
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import OnClock, RunSpec
from dsgd.cluster.together import as_one_task
from dsgd.data.dataset import Dataset
from dsgd.data.feature_names import FeatureNames
from dsgd.data.inputs import match_features
from dsgd.data.statistics import ClassCounts
from dsgd.data.summary import Summary
from dsgd.errors import ConfigError, DataError
from dsgd.fitting.parts import tasks_of
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.spec import FitSpec
from dsgd.fitting.stopping import Stopping
from dsgd.fitting.targets import weights_of_classes
from dsgd.fitting.worker_rows import NodeFacts, Place, ProblemTerms
from dsgd.models import MODELS
from dsgd.problems.problem import Problem
from dsgd.problems.task import LocalTask
from dsgd.results.evaluation import evaluation_of
from dsgd.results.result import FitResult

__all__ = ["Given", "Rows", "fit_on_nodes"]

# Seconds that nodes may take to read their rows and to answer a question about them.
_DATA_DEADLINE = 3600.0


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What is known of the rows on the nodes.

    Attributes
    ----------
    placed : str
        How the rows came to the nodes, as a checkpoint names it.
    partition : Partition or "equal"
        How rows are dealt if every node has all of them.
    numbered : bool
        Whether the rows have their numbers already. If not, those of rank 0 come first, and so on.
    names : FeatureNames
        See `FitResult`.
    """

    placed: str
    partition: Partition | str = "equal"
    numbered: bool = False
    names: FeatureNames


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a user gives a fit apart from the rows and the `FitSpec`; see `dsgd.fit`."""

    class_weight: Any = None
    init: ArrayLike | FitResult | None = None
    eval_set: Any = None
    evaluates_on_nodes: bool = False
    stopping: Stopping
    look: tuple[int, Sequence[Callback], bool]


def fit_on_nodes(
    nodes: Nodes,
    options: RunOptions,
    rows: Rows,
    spec: FitSpec,
    given: Given,
    serve_at: Callable[[int, str], None] | None = None,
) -> FitResult:
    """Train a model on the rows of all nodes.

    Parameters
    ----------
    nodes : Nodes
        They have dialled already.
    options : RunOptions
    rows : Rows
    spec : FitSpec
    given : Given
    serve_at : callable, optional
        See `RemoteCrew`.

    Raises
    ------
    ConfigError, DataError, DivergedError
        As of `dsgd.fit`.
    ClusterError
        If the run cannot go on: `WorkerLostError` names a worker, `DeadlineError` what took too long.
    """
    begin = time.perf_counter()
    spec, algorithm, init = _settled(nodes, options, spec, given)
    front = _Front(nodes, rows, algorithm, spec.seed or 0)
    front.place()
    if given.class_weight is not None:
        front.weigh(spec, given.class_weight)
    summary = front.summarise(spec)
    tasks, weights = tasks_of(spec, summary, init)
    model = MODELS[spec.loss.model].untrained(weights, spec.loss, summary.classes, spec.fit_intercept)
    evaluation = _evaluation(nodes, rows, given, summary, front.index_base)
    recorder = Recorder(model, evaluation, given.stopping, *given.look, begin=begin)
    task = as_one_task(algorithm, tasks, model.weights)
    if options.resume is not None:
        go_on_from(task, options.resume)
    choose_step(algorithm, task, len(nodes))
    algorithm = algorithm.prepared(task, len(nodes))
    work = _work_of(algorithm, task, front)
    terms = _terms_of(task.problem, summary)
    if isinstance(evaluation, NodesEvaluation):
        evaluation.terms = terms
    objective = NodesObjective(nodes, task.problem, terms, summary.inverse_frequency(), _DATA_DEADLINE)
    task = dataclasses.replace(task, objective=objective)

    def make(work: RunSpec, on_clock: OnClock, notices: Sequence[int]) -> SupervisedRun:
        def make_crew() -> RemoteCrew:
            return RemoteCrew(options, work, notices, nodes, terms, front.again, serve_at)

        return SupervisedRun(options, work, make_crew, on_clock, notices)

    ended = run_on_cluster(make, work, task, recorder)
    return FitResult(
        model=model,
        history=ended.history,
        algorithm=algorithm,
        stop_reason=ended.stop_reason,
        index_base=front.index_base,
        feature_names=rows.names,
        trace=ended.trace,
        averaging=ended.averaging,
        privacy=ended.privacy,
    )


def _settled(
    nodes: Nodes, options: RunOptions, spec: FitSpec, given: Given
) -> tuple[FitSpec, DistributedAlgorithm, ArrayLike | None]:
    """Return what to fit, its algorithm, and initial weights; `ConfigError` for what does not work on nodes."""
    algorithm = distributed_on(spec.algorithm, len(nodes))
    if isinstance(given.init, FitResult):
        raise ConfigError("init must be an array where the rows are on other hosts, not a FitResult; give its weights")
    if algorithm.privacy is not None:
        raise ConfigError("privacy does not work where the rows are on other hosts: the driver sees a sample of them")
    seed = int.from_bytes(os.urandom(8), "little") if spec.seed is None else spec.seed
    if options.resume is not None:
        seed = Checkpoint.load(options.resume)[1].seed
    return dataclasses.replace(spec, algorithm=algorithm, seed=seed, n_threads=1), algorithm, given.init


@dataclass(frozen=True, kw_only=True)
class PlacedRun(RunSpec):
    """A run whose rows lie on nodes, which know what they are.

    Attributes
    ----------
    sizes : tuple of int
        The number of rows of every client.
    """

    sizes: tuple[int, ...]

    def client_sizes(self) -> list[int]:
        """Return the number of rows of every client."""
        return list(self.sizes)


class _Front:
    """What nodes are asked before a run, and what a node that is started again is told anew."""

    def __init__(self, nodes: Nodes, rows: Rows, algorithm: DistributedAlgorithm, seed: int) -> None:
        self._nodes, self._rows, self._algorithm, self._seed = nodes, rows, algorithm, seed
        self._places: dict[int, Place] = {}
        self._factors: tuple[Any, ...] | None = None
        self.n_workers = len(nodes)
        self.placed = ""
        self.index_base: str | None = None
        self.rows_of_nodes: list[int] = []
        self.sizes: list[int] = []  # rows of every client

    def place(self) -> None:
        """Find out which rows there are, and give them their numbers."""
        n = len(self._nodes)
        n_clients = self._algorithm.n_clients(n)
        facts = self._ask("facts", ())
        firsts = np.cumsum([0, *(facts[rank].n_rows for rank in range(n))])
        self._check_alike(facts)
        whole = facts[0].whole
        self.placed = str(self._rows.partition) if whole else self._rows.placed
        if n_clients != n:
            self.placed += f" to {n_clients} clients"
        self.index_base = facts[0].index_base
        n_features = max(each.n_features for each in facts.values())
        for rank in range(n):
            self._places[rank] = Place(
                n_features=n_features,
                first=None if self._rows.numbered else int(firsts[rank]),
                partition=self._rows.partition if whole else None,
                rank=rank,
                n_workers=n,
                n_clients=n_clients,
                seed=self._seed if whole else (self._seed + rank) % 2**64,
            )
        answers = self._nodes.ask("place", {rank: (at,) for rank, at in self._places.items()}, _DATA_DEADLINE)
        self.rows_of_nodes = [sum(answers[rank].values()) for rank in range(n)]
        sizes = {client: size for answer in answers.values() for client, size in answer.items()}
        self.sizes = [sizes.get(client, 0) for client in range(n_clients)]

    def _check_alike(self, facts: Mapping[int, NodeFacts]) -> None:
        """Raise `DataError` if the rows of some node do not fit those of node 0, or there are none."""
        first = facts[0]
        for rank, each in facts.items():
            if each.n_rows == 0:
                raise DataError(f"{self._nodes.name(rank)} has no rows")
            if each.whole != first.whole or (each.whole and each.n_rows != first.n_rows):
                told = [f"{'all' if it.whole else 'its own'} {it.n_rows} rows" for it in (first, each)]
                raise DataError(
                    f"{self._nodes.name(0)} has {told[0]}, and {self._nodes.name(rank)} has {told[1]}: give all nodes "
                    "the same whole data, or each a part of its own"
                )
            if each.index_base != first.index_base:
                raise DataError(
                    f"{self._nodes.name(0)} calls the first feature {first.index_base}, and {self._nodes.name(rank)} "
                    f"{each.index_base}: name the index_base"
                )

    def weigh(self, spec: FitSpec, class_weight: Any) -> None:
        """Let the nodes weigh their rows by class."""
        counts = self._ask("counts", (spec.loss,))
        told = functools.reduce(ClassCounts.__add__, counts.values()) if spec.loss.classification else None
        if told is None:
            raise ConfigError("class_weight needs classes; regression takes sample_weight")
        self._factors = (told.classes, weights_of_classes(class_weight, told.classes, told.counts))
        self._ask("weigh", self._factors)

    def summarise(self, spec: FitSpec) -> Summary:
        """Return the summary of all rows."""
        n_samples = sum(self.sizes)
        trial = self._algorithm.step_trial(n_samples, len(self._nodes))
        batch_rows = 1 if trial is None else trial.batch_rows
        told = dict(self._ask("summary", (spec.loss, n_samples, batch_rows, self._seed)))
        return Summary.merge(told.pop(rank) for rank in sorted(told))  # a sample may be large: none is kept twice

    def again(self, rank: int) -> None:
        """Tell a node that was started again what the one before had been told."""
        self._nodes.tell(rank, "place", (self._places[rank],))
        if self._factors is not None:
            self._nodes.tell(rank, "weigh", self._factors)

    def _ask(self, kind: str, told: tuple[Any, ...]) -> Mapping[int, Any]:
        return self._nodes.ask(kind, dict.fromkeys(range(len(self._nodes)), told), _DATA_DEADLINE)


def _evaluation(nodes: Nodes, rows: Rows, given: Given, summary: Summary, index_base: str | None) -> Any:
    """Return what scores the model; None if nothing does."""
    if given.evaluates_on_nodes:
        return NodesEvaluation(nodes, _DATA_DEADLINE)
    if given.eval_set is None:
        return None
    eval_set = given.eval_set
    if isinstance(eval_set, Dataset) and eval_set.index_base is not None:  # a file may lack rare features
        eval_set = dataclasses.replace(eval_set, X=match_features(eval_set.X, summary.n_features))
    return evaluation_of(eval_set, rows.names, index_base, summary.n_features, summary.classes, 1)


def _work_of(algorithm: DistributedAlgorithm, task: LocalTask, front: _Front) -> RunSpec:
    """Return what the run has to do; its problem has only the sample of the rows, whose numbers nobody needs here."""
    clocks = algorithm.clocks(task.max_epochs, task.n_samples, front.n_workers)
    nobody = np.intp(0)
    coordinators = [np.zeros(1, np.intp)] * int(algorithm.has_coordinator)
    return PlacedRun(
        algorithm=algorithm,
        problem=task.problem,
        rows=[*coordinators, *(np.broadcast_to(nobody, rows) for rows in front.rows_of_nodes)],
        partition=front.placed,
        of_whole=task.problem.loss.of_whole(task.problem, task.objective),
        n_threads=1,
        start=task.weights.copy(),
        max_clocks=clocks,
        passes_per_clock=task.max_epochs / clocks,
        schedule=task.schedule,
        step_size=task.step_size,
        seed=task.seed,
        n_total=task.n_samples,
        sizes=tuple(front.sizes),
    )


def _terms_of(problem: Problem, summary: Summary) -> ProblemTerms:
    """Return the problem without its rows."""
    names = [each.name for each in dataclasses.fields(ProblemTerms) if each.name not in ("classes", "dtype")]
    told = {name: getattr(problem, name) for name in names}
    return ProblemTerms(classes=summary.classes, dtype=summary.dtype, **told)
