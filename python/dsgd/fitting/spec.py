"""The checked specification of a fit, and how it makes the tasks of an algorithm from data.

`dsgd.fit` and the estimators have different parameters. Both make a `FitSpec` of them, and from there
on they share all code.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checks import check_choice, check_real
from dsgd._common.threads import resolve_threads, worth_waking
from dsgd.algorithms import Algorithm, DistributedAlgorithm, Facts, on_clusters, on_one_machine
from dsgd.data.inputs import real_dtype
from dsgd.data.scale import Scale
from dsgd.data.summary import Summary
from dsgd.errors import ConfigError
from dsgd.fitting.step_search import choose_steps
from dsgd.fitting.targets import OneVsAll
from dsgd.losses import Loss
from dsgd.problems.problem import Problem, on_target
from dsgd.problems.task import LocalTask
from dsgd.schedules import Schedule, resolve_schedule

__all__ = ["FitSpec", "first_step_of", "penalty_strengths", "threads_of", "threads_over_problems"]

_LOG = logging.getLogger("dsgd")

# Passes of a usual fit. `max_epochs` is only the most that a fit with a stopping rule makes.
_PASSES = 20


@dataclass(frozen=True, kw_only=True)
class FitSpec:
    """Everything that defines a fit, except its data.

    Attributes
    ----------
    algorithm : Algorithm
    loss : Loss
    alphas : tuple of two floats
        Strengths of ||w||_1 and of ||w||^2 / 2.
    fit_intercept : bool
    schedule : Schedule
    step_size : float or None
        The first step. None: the schedule's own, or one found by trials.
    n_threads : int
        Of all problems together: where there are fewer problems than threads, several work on one.
    problems_at_once : int
        Problems of one-vs-all that may be trained at the same time.
    seed : int or None
        None: drawn from the system's source of random numbers.
    max_epochs : int
    start_epoch, offset : int
        Where a run that continues another one starts; see `LocalTask`.
    sum_loss : bool
        Whether the losses that an epoch's steps compute may stand for the losses at its end, whose
        evaluation costs more.
    threads_by_size : bool
        Whether nobody asked for `n_threads` threads, so that little data may have fewer; see `settle`.
    gap_tol : float or None
        The relative duality gap at which to stop.
    named_schedule : bool
        Whether the user chose the schedule.

    Raises
    ------
    ConfigError
        If the schedule does not work with the penalty, the loss or the algorithm, or if the algorithm
        does not work with the loss, the penalty, `gap_tol` or a step size.
    """

    algorithm: Algorithm
    loss: Loss
    alphas: tuple[float, float]
    fit_intercept: bool
    schedule: Schedule
    step_size: float | None
    n_threads: int
    seed: int | None
    max_epochs: int
    start_epoch: int = 0
    offset: int = 0
    problems_at_once: int = 1
    sum_loss: bool = False
    threads_by_size: bool = False
    gap_tol: float | None = None
    named_schedule: bool = False

    def __post_init__(self) -> None:
        if self.loss.model not in self.algorithm.capabilities.models:
            raise ConfigError(
                f"algo {self.algorithm.name!r} does not train loss {self.loss.name!r}; "
                f"{_trainers(self.algorithm, self.loss.model)}"
            )
        self._check_penalty(self.alphas)
        name, dual = self.algorithm.name, self.algorithm.capabilities.dual
        if dual and not self.algorithm.capabilities.stochastic and self._stepped:
            raise ConfigError(f"algo {name!r} has no step size; leave step_size and schedule out")
        if self.schedule.share != "whole" and not self.algorithm.capabilities.shares:
            raise ConfigError(
                f"schedule {self.schedule.name!r} needs algo 'sgd', on one thread{_alone(self.algorithm)}; algo is "
                f"{self.algorithm.name!r}"
            )

    def _check_penalty(self, alphas: tuple[float, float]) -> None:
        """Raise `ConfigError` if the algorithm or the schedule cannot work with these penalty strengths."""
        self.algorithm.check(self.loss, alphas)
        self.schedule.check(sum(alphas), self.loss)
        if self.gap_tol is not None:
            self._check_gap(alphas)

    def _check_gap(self, alphas: tuple[float, float]) -> None:
        """Raise `ConfigError` if no duality gap can be measured."""
        if self.algorithm.privacy is not None:
            raise ConfigError("gap_tol needs the rows as they are, which privacy hides; leave gap_tol or privacy out")
        if self.loss.model != "linear" or self.loss.scale_free:
            raise ConfigError(
                f"gap_tol needs a loss with a duality gap, such as 'hinge', and loss {self.loss.name!r} has none; use "
                "tol, or max_epochs alone"
            )
        if not sum(alphas) > 0:
            raise ConfigError(
                "gap_tol needs a penalty: without one no bound of the optimum is known; take alpha above 0, or use tol"
            )

    @property
    def _stepped(self) -> bool:
        return self.step_size is not None or self.named_schedule

    def settle(self, matrix: _core.Matrix, scale: Scale) -> FitSpec:
        """Return the spec with the algorithm that trains on this matrix: `Auto` is replaced by its choice.

        If `threads_by_size`, threads that would hardly be awake before the end of the fit are left out.
        """
        if self.threads_by_size:
            entries = round(scale.row_entries * matrix.n_rows) * min(self.max_epochs, _PASSES)
            most = worth_waking(self.n_threads, entries)
            at_once = worth_waking(self.problems_at_once, entries)
            fewer = dataclasses.replace(self, n_threads=most, problems_at_once=at_once, threads_by_size=False)
            return fewer.settle(matrix, scale)
        facts = Facts(
            n_samples=matrix.n_rows,
            n_features=matrix.n_features,
            n_entries=round(scale.row_entries * matrix.n_rows),
            mean_square=scale.mean,
            loss=self.loss,
            alphas=self.alphas,
            n_threads=self.n_threads,
            gap_tol=self.gap_tol,
            stepped=self._stepped,
        )
        algorithm, n_threads, why, step_size = self.algorithm.pick(facts)
        if algorithm is self.algorithm:
            return self
        _LOG.info("%s: picked %s: %s", self.algorithm.name, algorithm.name, why)
        own = None if self.named_schedule else algorithm.capabilities.schedule
        schedule = self.schedule if own is None else resolve_schedule(own)
        step_size = step_size if self.step_size is None else self.step_size
        return dataclasses.replace(
            self, algorithm=algorithm, n_threads=n_threads, schedule=schedule, step_size=step_size
        )

    def tasks(
        self,
        matrix: _core.Matrix,
        targets: NDArray[Any] | OneVsAll,
        sample_weight: NDArray[Any] | None,
        weights: NDArray[Any],
        *,
        n_classes: int,
        scale: Scale,
        fresh: bool,
        summary: Summary | None = None,
    ) -> list[Callable[[], LocalTask]]:
        """Return one function for each problem that makes its task.

        If `step_size` is None, the tasks have no step size yet (NaN); see `choose_steps`.

        Parameters
        ----------
        matrix : _core.Matrix
        targets : ndarray of shape (n_problems, n_samples), or OneVsAll
        sample_weight : ndarray of shape (n_samples,) or None
        weights : ndarray of shape (n_problems, n_parameters)
            The initial weights. The tasks train the rows in place.
        n_classes : int
            0 for regression.
        scale : Scale
            Of the matrix and the sample weights.
        fresh : bool
            Whether the user gave no weights, so that the loss sets the initial ones.
        summary : Summary or None
            The summary of all rows, if `matrix` has only the sample in it; see `dsgd.fitting.parts`.

        Returns
        -------
        list of callables
            Functions, because a task and its targets take memory once they are made.
        """
        dtype = real_dtype(matrix)
        # A strength that rounds to 0 in the dtype of X counts as no penalty, here and in the core.
        least = float(np.finfo(dtype).smallest_subnormal)
        alpha_l1, alpha_l2 = (alpha if alpha >= least else 0.0 for alpha in self.alphas)
        self._check_penalty((alpha_l1, alpha_l2))
        blind = self.algorithm.privacy is not None
        at_once = max(1, min(self.problems_at_once, len(targets)))
        shared = isinstance(targets, OneVsAll) and targets.shared
        if isinstance(targets, OneVsAll) and targets.shared:
            targets = targets.in_arrays(at_once)
        problem = Problem(
            matrix=matrix,
            target=targets[0],
            sample_weight=sample_weight,
            loss=self.loss,
            alphas=(alpha_l1, alpha_l2),
            fit_intercept=self.fit_intercept,
            scale=dataclasses.replace(scale, intercept_rate=1.0) if blind else scale,
            n_classes=n_classes,
            summary=summary,
            blind=blind,
        )
        objective = problem.objective(self.n_threads, None if summary is None else summary.inverse_frequency())
        task_of = functools.partial(
            LocalTask,
            schedule=self.schedule,
            step_size=self.step_size or math.nan,
            seed=int.from_bytes(os.urandom(8), "little") if self.seed is None else self.seed,
            n_threads=max(1, self.n_threads // at_once),
            max_epochs=self.max_epochs,
            start_epoch=self.start_epoch,
            offset=self.offset,
            sum_loss=self.sum_loss,
            gap_tol=self.gap_tol,
            unseen=problem.layout.of_features(_unseen(matrix, summary)) if weights.any() else np.empty(0, np.intp),
        )
        size = (problem.n_samples, matrix.n_features, len(targets), dtype, self.n_threads)
        _LOG.info("%s: %d rows, %d features, %d problem(s), %s, %d threads", self.algorithm.name, *size)

        def make(k: int) -> LocalTask:
            target = problem.target if k == 0 and not shared else targets[k]
            own = dataclasses.replace(problem, target=target)
            task = task_of(
                problem=own, objective=on_target(objective, own.target), weights=weights[k], lane=k % at_once
            )
            if shared:
                task.turn = functools.partial(targets.__getitem__, k)
            if fresh:
                self.loss.start(own, task.weights, task.seed)
            return task

        return [functools.partial(make, k) for k in range(len(targets))]

    def choose_steps(self, tasks: list[LocalTask]) -> None:
        """Set the first step of every task if the user gave none."""
        if self.step_size is None:
            choose_steps(self.algorithm, tasks)


def _trainers(algorithm: Algorithm, model: str) -> str:
    """Return what to use for a kind of model instead: algorithms that run where this one does, if there are any."""
    names = on_clusters(model) if isinstance(algorithm, DistributedAlgorithm) else on_one_machine(model)
    return f"use {names}"


def _alone(algorithm: Algorithm) -> str:
    """Return the hint to leave out the cluster, if `algorithm` needs one: another algorithm has none."""
    return " (without cluster and workers)" if isinstance(algorithm, DistributedAlgorithm) else ""


def _unseen(matrix: _core.Matrix, summary: Summary | None) -> NDArray[np.intp]:
    """Return the indices of features without an entry in a sparse matrix; none for a dense one."""
    if summary is not None:
        return np.empty(0, np.intp) if summary.stored is None else np.flatnonzero(summary.stored == 0)
    if not isinstance(matrix.arrays, tuple):
        return np.empty(0, np.intp)
    seen = np.zeros(matrix.n_features, bool)
    seen[matrix.arrays[1]] = True
    return np.flatnonzero(~seen)


def first_step_of(step_size: Any) -> float | None:
    """Return the step size; None if it is to be searched for."""
    if isinstance(step_size, str):
        if step_size != "auto":
            raise ConfigError(f"step_size must be 'auto' or a number above 0, not {step_size!r}")
        return None
    return check_real("step_size", step_size, 0, low_open=True)


def penalty_strengths(penalty: str, alpha: float, l1_ratio: float) -> tuple[float, float]:
    """Return the strengths of ||w||_1 and of ||w||^2 / 2."""
    check_choice("penalty", penalty, ("l2", "l1", "elasticnet", "none"))
    alpha = check_real("alpha", alpha, 0)
    l1_ratio = check_real("l1_ratio", l1_ratio, 0, 1)
    share = {"l2": 0.0, "l1": 1.0, "elasticnet": l1_ratio}
    return (0.0, 0.0) if penalty == "none" else (alpha * share[penalty], alpha * (1 - share[penalty]))


def threads_of(algorithm: Algorithm, n_threads: int | None) -> int:
    """Return the threads to use; `ConfigError` for several with an algorithm that runs on one."""
    if algorithm.capabilities.threads:
        return resolve_threads(n_threads)
    threads = resolve_threads(1 if n_threads is None else n_threads)
    if threads > 1:
        raise ConfigError(
            f"algo {algorithm.name!r} runs on one thread; n_threads={threads} needs another, such as 'hogwild'"
        )
    return threads


def threads_over_problems(
    algorithm: Algorithm, loss: Loss, n_threads: int | None, *, elsewhere: bool
) -> tuple[int, int]:
    """Return the threads of the problems of a fit, and the number of problems that may be trained at once.

    Problems of one-vs-all are spread over threads whatever the algorithm, if the fit runs in this process.
    """
    if elsewhere or loss.joint or not loss.classification:
        return threads_of(algorithm, n_threads), 1
    return threads_of(algorithm, n_threads if algorithm.capabilities.threads else None), resolve_threads(n_threads)
