"""Distributed SVRG with asynchronous communication: DisSVRG."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dsgd._common.checks import check_choice, check_flag, check_integer, check_real
from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.distributed import Program, StaleSynchronousAlgorithm, Table
from dsgd.algorithms.svrg import Svrg
from dsgd.algorithms.variance_reduction import WINDOW, AcceleratedFactor, gradient_norm, longest_safe_step, stands_still
from dsgd.cluster.program.commands import AllReduce, Clock, Clocks, Command, Pull, Push
from dsgd.cluster.program.task import State, WorkerTask
from dsgd.problems.problem import Problem

__all__ = ["DisSvrg"]

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class DisSvrg(StaleSynchronousAlgorithm):
    """Distributed SVRG on a parameter server; workers may be up to `staleness` clocks apart.

    An epoch is one clock of every worker. In a clock, a worker pulls the weights (the anchor) and
    computes the gradient of all its rows there. Then it makes `inner_steps` variance-reduced steps
    and pushes their sum.

    Parameters
    ----------
    staleness : int or inf, default=3
        How many clocks a worker may be ahead of the slowest one. 0 is bulk synchronous (BSP),
        ``math.inf`` is asynchronous.
    gradient : {"global", "exact", "local"}, default="global"
        The mean gradient mu of the inner steps. ``"global"``: the worker's own, plus
        the mean of all workers' gradients of the clock before (or as old as the gate allows), less its
        own of then. ``"exact"``: the mean of the gradients
        of all workers at this clock, which needs a barrier. ``"local"``: the gradient of the worker's
        own rows, as in the paper. The limit is then biased towards the average of the workers' own
        optima; the bias grows with the length of the inner loop.
    inner_steps : int, optional
        Inner steps in a worker's first clock. By default the number of its rows.
    inner_steps_increment : int, optional
        Inner steps that a worker adds after a clock in which another worker lags; 0: none. By default
        a tenth of its rows.
    max_inner_steps : int, optional
        Most inner steps in a clock. By default five times the worker's rows.
    decay : bool, default=False
        Whether to take the increment away again after `staleness` clocks without a lag, down to the
        number of the first clock.
    window : bool, default=False
        Whether an inner loop ends early when the loss on a fixed sample of rows no longer falls. The
        next inner loop then has as many steps as this one made.
    max_sigma : float, default=0.0
        The largest sigma of the accelerated factor (section 5.1): steps are 1 + sigma times as long,
        with sigma = min(max_sigma, ||mu|| / ||mu of the first clock||). 0: no factor. The paper's
        is 1.
    safe : bool, default=False
        Whether to keep steps at or below 0.9 / (4 L), where L = c max ||x||^2 + alpha and c is the
        curvature of the loss, and to begin with the longest such step. Beyond 1 / (4 L) the theory
        promises nothing. By default the first step is found by trials of `Svrg`.

    Notes
    -----
    The paper's steps are constant: ``safe=True`` with ``schedule="constant"``. The default,
    ``"linear"``, ends nearer to the optimum where a few rows are much longer than the mean: steps
    found by trials may be too long for those.

    References
    ----------
    Ming, Zhao, Guo, Yin, "Accelerate distributed stochastic gradient descent with asynchronous communication protocol",
    Algorithms 1 to 3; docs/algorithms/dissvrg.md lists the corrections of their listings.
    Karimireddy, Kale, Mohri, Reddi, Stich, Suresh (2020), "SCAFFOLD: stochastic controlled averaging
    for federated learning" (the correction of ``"global"``).
    """

    name = "dissvrg"
    summary = "variance-reduced SGD on a parameter server, workers a few clocks apart"
    capabilities = Capabilities(
        threads=True, deterministic=True, distributed=True, schedule="linear", models=frozenset({"linear", "softmax"})
    )

    staleness: float = 3
    gradient: str = "global"
    inner_steps: int | None = None
    inner_steps_increment: int | None = None
    max_inner_steps: int | None = None
    decay: bool = False
    window: bool = False
    max_sigma: float = 0.0
    safe: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("gradient", self.gradient, ("global", "exact", "local"))
        for option, least in (("inner_steps", 1), ("inner_steps_increment", 0), ("max_inner_steps", 1)):
            if getattr(self, option) is not None:
                object.__setattr__(self, option, check_integer(option, getattr(self, option), least))
        check_real("max_sigma", self.max_sigma, 0)
        for option in ("decay", "window", "safe"):
            check_flag(option, getattr(self, option))

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights, and a table whose value is the mean of every worker's latest gradient."""
        return (*super().tables, Table(name="gradient", rule="replace_mean"))

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker, the trainer of Algorithm 3."""
        state = task.state(inner_steps=self.inner_steps or task.n_samples, first_norm=0.0, calm=0)
        for clock in range(task.start_clock, task.max_clocks):
            anchor = yield Pull(clock)  # answered when clock - slowest <= staleness
            mean = yield from self._mean_gradient(task, state, clock, task.take_anchor(anchor))
            step = self._step(task, state, clock, anchor, mean)
            weights = self._inner_loop(task, state, clock, anchor, mean, step)
            yield self.push(task, anchor, weights)  # the server divides by the number of live workers
            if self.gradient == "global":
                yield Push(state.own, table="gradient", weight=task.n_samples)  # in place of this worker's last one
            clocks = yield Clock()
            self._adapt(state, clocks, task.n_samples)

    def _mean_gradient(self, task: WorkerTask, state: State, clock: int, own: Array) -> Generator[Command, Any, Array]:
        """Return mu, the mean gradient of the inner steps; `own` is the gradient of this worker's rows."""
        if self.gradient == "exact":
            mean: Array = yield AllReduce(own, mean=True, weight=task.n_samples)
            return mean
        if self.gradient == "local":
            return own
        latest: Array = yield Pull(clock, table="gradient")
        # The rows of the others are taken to have changed their gradients since then as those of this worker have.
        mean = own + (latest - state.own) if clock > 0 else own
        state.own = own
        return mean

    def _step(self, task: WorkerTask, state: State, clock: int, anchor: Array, mean: Array) -> float:
        """Return the step size of a clock, with the accelerated factor (section 5.1)."""
        step = task.step_size_at(clock)
        if self.max_sigma > 0:
            factor = AcceleratedFactor(self.max_sigma, state.first_norm)
            step *= factor.at(gradient_norm(task.kernels.problem, anchor, mean, step))
            state.first_norm = factor.first_norm
        return min(step, longest_safe_step(task.kernels.problem)) if self.safe else step

    def _inner_loop(self, task: WorkerTask, state: State, clock: int, anchor: Array, mean: Array, step: float) -> Array:
        """Return the weights after the inner steps (Algorithm 1, corrected as in docs/algorithms/dissvrg.md)."""
        rows = task.sample(clock, state.inner_steps)
        piece = max(task.n_samples // WINDOW, 1) if self.window else len(rows)
        weights, done = anchor, 0
        losses: list[float] = []
        while done < len(rows):
            for part in task.chunks(rows[done : done + piece]):
                weights = task.svrg_steps(weights, mean, part, step, local=self.gradient == "local")
                done += len(part)
            if self.window:
                losses = [*losses[1 - WINDOW :], task.sample_loss(weights)]
                if stands_still(losses):
                    break
        state.inner_steps = done
        return weights

    def _adapt(self, state: State, clocks: Clocks, n_rows: int) -> None:
        """Adapt the number of inner steps: more while another worker lags, with `decay` fewer again afterwards."""
        first = self.inner_steps or n_rows
        increment = -(-n_rows // 10) if self.inner_steps_increment is None else self.inner_steps_increment
        if clocks.slowest < clocks.own - max(self.staleness / 2, 1):
            most = max(self.max_inner_steps or 5 * n_rows, first)
            state.inner_steps = min(state.inner_steps + increment, most)
            state.calm = 0
            return
        state.calm += 1
        if self.decay and state.calm >= max(self.staleness, 1):
            state.inner_steps = max(first, state.inner_steps - increment)

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:  # noqa: ARG002
        """Return the number of clocks in a run of `max_epochs`: one an epoch, whatever the number of rows."""
        return max_epochs

    def step_trial(self, n_samples: int, n_workers: int) -> Svrg | None:
        """Return `svrg` with as many passes between two anchors as a worker makes; None where `safe` says the step."""
        if self.safe:
            return None
        steps = n_samples if self.inner_steps is None else n_workers * self.inner_steps
        factor: dict[str, Any] = {"accelerated": "anchor", "max_sigma": self.max_sigma} if self.max_sigma > 0 else {}
        return Svrg(sgd_first=False, inner_steps=steps, safe=False, **factor)

    def natural_step(self, problem: Problem) -> float:
        """Return the step size where nobody chose one and none is tried: the longest that is safe with any factor."""
        return longest_safe_step(problem) / (1 + self.max_sigma)
