"""`dsgd.fit` with a client of Dask."""

from __future__ import annotations

import dataclasses
import functools
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from distributed.utils import get_ip
from numpy.typing import NDArray

from dsgd._common.checks import shown
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.cluster.fit import choose_step, run_on_cluster
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.cluster.together import as_one_task
from dsgd.dask.placement import check_living, deal_chunks, place, results, workers_of
from dsgd.dask.run import DaskRun, Limits
from dsgd.dask.training import check_reach, host_of
from dsgd.data.feature_names import FeatureNames, column_names
from dsgd.data.summary import Summary
from dsgd.errors import ClusterError, ConfigError, WorkerLostError
from dsgd.fitting.parts import tasks_of
from dsgd.fitting.recorder import Recorder
from dsgd.fitting.spec import FitSpec
from dsgd.fitting.stopping import Stopping
from dsgd.fitting.worker_rows import ProblemTerms, WorkerRows, join
from dsgd.models import MODELS
from dsgd.problems.parts import PartLoss
from dsgd.problems.problem import Problem
from dsgd.problems.task import LocalTask
from dsgd.results.evaluation import Evaluation
from dsgd.results.result import FitResult

__all__ = ["fit_on_dask"]

_DATA_DEADLINE = 3600.0  # seconds that the chunks may take to be computed and summarised


def fit_on_dask(
    client: Any,
    X: Any,
    y: Any,
    spec: FitSpec,
    *,
    sample_weight: Any,
    class_weight: Any,
    init: Any,
    eval_set: Any,
    stopping: Stopping,
    look: Sequence[Any],
) -> FitResult:
    """Train a model on rows that lie on the workers of a Dask cluster; for the parameters see `dsgd.fit`.

    Raises
    ------
    ConfigError
        For what does not work with Dask.
    WorkerLostError
        If a worker has left that the fit cannot do without. The message names it.
    DeadlineError
        If something takes longer than its deadline.
    """
    algorithm, loss = spec.algorithm, spec.loss
    _check(algorithm, class_weight, init, client)
    assert isinstance(algorithm, DistributedAlgorithm)
    spec = dataclasses.replace(
        spec, seed=int.from_bytes(os.urandom(8), "little") if spec.seed is None else spec.seed, n_threads=1
    )
    begin = time.perf_counter()
    rows, numbers = _rows_of_workers(client, X, y if loss.supervised else None, sample_weight)
    ranks = {address: rank for rank, address in enumerate(rows)}
    n_samples, n_workers = sum(map(len, numbers)), len(rows)
    if algorithm.n_clients(n_workers) != n_workers:
        raise ConfigError(f"algo {algorithm.name!r} with several clients a worker does not run on Dask yet")
    trial = algorithm.step_trial(n_samples, n_workers)
    batch_rows = 1 if trial is None else trial.batch_rows
    told = [
        _submit(client, WorkerRows.summary, address, own, loss, n_samples, batch_rows, spec.seed)
        for address, own in rows.items()
    ]
    summary = Summary.merge(results(client, told, _DATA_DEADLINE, ranks))
    tasks, weights = tasks_of(spec, summary, init)
    model = MODELS[loss.model].untrained(weights, loss, summary.classes, spec.fit_intercept)
    evaluation = None if eval_set is None else Evaluation(eval_set, summary.n_features, summary.classes, 1)
    recorder = Recorder(model, evaluation, stopping, *look, begin)
    task = as_one_task(algorithm, tasks, model.weights)
    choose_step(algorithm, task, n_workers)
    algorithm = algorithm.prepared(task, n_workers)
    work = _work_of(algorithm, task, numbers)
    terms = _terms_of(task.problem, summary)
    task = dataclasses.replace(
        task, objective=_PartsObjective(client, rows, terms, task.problem, summary.inverse_frequency())
    )
    host = _own_host(client)
    check_reach(host, list(rows))
    job = {"token": secrets.token_bytes(32), "terms": terms, "topic": f"dsgd-{secrets.token_hex(8)}"}
    make = functools.partial(DaskRun, client, rows, host, job, Limits())
    ended = run_on_cluster(make, work, task, recorder)
    columns = column_names(getattr(X, "_meta", None))
    return FitResult(
        model=model,
        history=ended.history,
        algorithm=algorithm,
        stop_reason=ended.stop_reason,
        index_base=None,
        feature_names=FeatureNames(columns, of_columns=columns is not None),
        trace=ended.trace,
        averaging=ended.averaging,
    )


def _check(algorithm: Any, class_weight: Any, init: Any, client: Any) -> None:
    """Refuse what does not work with Dask."""
    if client.status != "running":
        raise ClusterError(f"the Dask client is {client.status}; give one that is connected")
    if not isinstance(algorithm, DistributedAlgorithm):
        raise ConfigError(f"algo {algorithm.name!r} does not run on Dask; use 'ssp' or 'sync', for example")
    if algorithm.has_coordinator:
        raise ConfigError(f"algo {algorithm.name!r} has a coordinator, and does not run on Dask yet; use 'ssp'")
    if class_weight is not None:
        raise ConfigError(f"class_weight={shown(class_weight)} does not work with Dask yet; give sample_weight")
    if isinstance(init, FitResult):
        raise ConfigError("init must be an array with Dask, not a FitResult; give its weights")


def _rows_of_workers(client: Any, X: Any, y: Any, sample_weight: Any) -> tuple[dict[str, Any], list[NDArray[np.int64]]]:
    """Return the rows of every worker that has some, by address and rank, and the numbers of these rows."""
    workers = workers_of(client)
    if not workers:
        raise ClusterError("the Dask cluster has no workers; start some, or wait with client.wait_for_workers")
    dealt = deal_chunks(place(client, X, y, sample_weight, _DATA_DEADLINE), workers)
    rows, numbers = {}, []
    for address, chunks in dealt.items():
        spans = [np.arange(chunk.first_row, chunk.first_row + chunk.facts.n_rows) for chunk in chunks]
        numbers.append(np.concatenate(spans).astype(np.int64))
        rows[address] = _submit(client, join, address, [chunk.future for chunk in chunks], numbers[-1])
    check_living(client, {address: rank for rank, address in enumerate(rows)})
    return rows, numbers


def _submit(client: Any, function: Any, address: str, *args: Any) -> Any:
    """Run a function on one worker, and nowhere else."""
    return client.submit(function, *args, workers=[address], allow_other_workers=False, pure=False)


def _work_of(algorithm: DistributedAlgorithm, task: LocalTask, numbers: list[NDArray[np.int64]]) -> RunSpec:
    """Return what the run has to do; its problem has only the sample of the rows."""
    problem, n_samples = task.problem, task.n_samples
    clocks = algorithm.clocks(task.max_epochs, n_samples, len(numbers))
    return RunSpec(
        algorithm=algorithm,
        problem=problem,
        rows=[each.astype(np.intp) for each in numbers],
        partition="where the chunks lie",
        of_whole=problem.loss.of_whole(problem, task.objective),
        n_threads=1,
        start=task.weights.copy(),
        max_clocks=clocks,
        passes_per_clock=task.max_epochs / clocks,
        schedule=task.schedule,
        step_size=task.step_size,
        seed=task.seed,
        n_total=n_samples,
    )


def _terms_of(problem: Problem, summary: Summary) -> ProblemTerms:
    """Return the problem without its rows."""
    names = [each.name for each in dataclasses.fields(ProblemTerms) if each.name not in ("classes", "dtype")]
    told = {name: getattr(problem, name) for name in names}
    return ProblemTerms(classes=summary.classes, dtype=summary.dtype, **told)


def _own_host(client: Any) -> str:
    """Return the address of this host at which those who reach the scheduler reach it as well."""
    scheduler = host_of(client.scheduler.address)
    return scheduler if scheduler.startswith("127.") else str(get_ip(scheduler))


class _PartsObjective:
    """The objective of all rows: a sum over the workers, each of which computes it of its own rows.

    Rows of workers that have left do not count, as in the training.
    """

    def __init__(
        self,
        client: Any,
        rows: Mapping[str, Any],
        terms: ProblemTerms,
        problem: Problem,
        inverse: NDArray[Any] | None,
    ) -> None:
        self._client, self._rows, self._terms, self._problem, self._inverse = client, rows, terms, problem, inverse

    def value(self, weights: NDArray[Any], n_threads: int) -> float:  # noqa: ARG002
        """Return the mean loss of all rows, with the penalty."""
        return self._part(weights).objective(self._problem, weights)

    def mean_loss(self, weights: NDArray[Any], n_threads: int) -> float:  # noqa: ARG002
        """Return the mean loss of all rows."""
        return self._part(weights).mean

    def _part(self, weights: NDArray[Any]) -> PartLoss:
        living = workers_of(self._client)
        ranks = {address: rank for rank, address in enumerate(self._rows) if address in living}
        if not ranks:
            raise WorkerLostError("all workers that held rows have left the Dask cluster")
        asked = [
            _submit(self._client, WorkerRows.loss, address, self._rows[address], self._terms, weights, self._inverse)
            for address in ranks
        ]
        return functools.reduce(PartLoss.__add__, results(self._client, asked, _DATA_DEADLINE, ranks))
