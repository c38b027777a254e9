"""Schedules of the step size, as objects that `dsgd.fit` accepts in place of a name."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dsgd import _core
from dsgd._common.checks import check_real, shown, unknown_name
from dsgd.errors import ConfigError
from dsgd.losses import Loss

__all__ = [
    "Adaptive",
    "Constant",
    "EpochDecay",
    "InverseScaling",
    "InverseSqrt",
    "InverseTime",
    "Linear",
    "Optimal",
    "PassiveAggressive1",
    "PassiveAggressive2",
    "Run",
    "Schedule",
    "resolve_schedule",
]


Share = Literal["whole", "pa1", "pa2"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The properties of a run on which a schedule may depend.

    Parameters
    ----------
    n_samples : int
        Samples of a pass.
    max_epochs : int
    alpha : float
        Strength of the penalty.
    """

    n_samples: int
    max_epochs: int
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """How the step size changes during a run.

    In the formulas t is the number of the current sample, counted from 1 over the whole run.
    """

    name: ClassVar[str]
    share: ClassVar[Share] = "whole"
    """The share of its step that a sample takes: all, or as in PA-I or PA-II; see schedule.hpp."""

    @abstractmethod
    def to_core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""

    def check(self, alpha: float, loss: Loss) -> None:  # noqa: B027
        """Refuse a strength of the penalty, or a loss, that this schedule cannot work with."""

    def start(self, run: Run) -> float | None:  # noqa: ARG002
        """Return the first step size if the user named none; None if the schedule has none."""
        return None

    def after_standstill(self, step_size: float) -> float | None:  # noqa: ARG002
        """Return the step size to continue with when progress has ended; None to end the fit."""
        return None


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """step_size at every step."""

    name = "constant"

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size)


@dataclass(frozen=True, kw_only=True)
class Adaptive(Constant):
    """step_size, multiplied by `factor` each time progress has ended.

    `tol` or `early_stopping` says when progress has ended. Without them the step size is constant.
    It is scikit-learn's ``learning_rate="adaptive"``.

    Parameters
    ----------
    factor : float, default=0.2
        Factor of the step size, in (0, 0.99].
    least : float, default=1e-6
        A step size of at most `least` is not reduced any more: the fit ends.
    """

    name = "adaptive"
    factor: float = 0.2
    least: float = 1e-6

    def __post_init__(self) -> None:
        check_real("factor", self.factor, 0, 0.99, low_open=True)
        check_real("least", self.least, 0, low_open=True)

    def after_standstill(self, step_size: float) -> float | None:
        """Return the step size to continue with when progress has ended; None to end the fit."""
        return step_size * self.factor if step_size > self.least else None


@dataclass(frozen=True, kw_only=True)
class PassiveAggressive1(Schedule):
    """PA-I: for each sample the step min(step_size, loss / ||x||^2).

    A step of loss / ||x||^2 makes the loss of the sample 0. The losses are hinge and
    epsilon_insensitive, the algorithm is ``"sgd"``. `step_size` is the C of the paper (Crammer,
    Dekel, Keshet, Shalev-Shwartz, Singer 2006, "Online passive-aggressive algorithms"), 1 by
    default.
    """

    name = "pa1"
    share: ClassVar[Share] = "pa1"

    def check(self, alpha: float, loss: Loss) -> None:  # noqa: ARG002
        """Refuse a loss other than hinge and epsilon_insensitive, whose slopes are 0, 1 or -1."""
        if loss.name not in ("hinge", "epsilon_insensitive"):
            raise ConfigError(
                f"schedule {self.name!r} works with the losses 'hinge' and 'epsilon_insensitive', not {loss.name!r}"
            )

    def start(self, run: Run) -> float:  # noqa: ARG002
        """Return 1."""
        return 1.0

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, share=self.share)


@dataclass(frozen=True, kw_only=True)
class PassiveAggressive2(PassiveAggressive1):
    """PA-II: the step loss / (||x||^2 + 1 / (2 step_size)); else like `PassiveAggressive1`."""

    name = "pa2"
    share = "pa2"


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """step_size * (1 - (t - 1) / (n_samples * max_epochs)): a straight line that reaches zero as the run ends.

    The last iterate of such a run is as accurate as an average of the iterates, and does not
    contain the first ones as an average does (Defazio, Cutkosky, Mehta, Mishchenko 2023, "Optimal
    linear decay learning rate schedules and further refinements").
    """

    name = "linear"

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, horizon=float(run.n_samples) * run.max_epochs)


@dataclass(frozen=True, kw_only=True)
class InverseScaling(Schedule):
    """step_size / t^power.

    Parameters
    ----------
    power : float, default=0.5
        Above 0.
    """

    name = "inverse-scaling"
    power: float = 0.5

    def __post_init__(self) -> None:
        check_real("power", self.power, 0, low_open=True)

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, power=self.power)


@dataclass(frozen=True, kw_only=True)
class InverseTime(Schedule):
    """step_size / (1 + (t - 1) / n_samples), or step_size / (1 + passes)."""

    name = "inverse-time"

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, rate=1 / run.n_samples, power=1.0)


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(Schedule):
    """step_size / sqrt(1 + (t - 1) / n_samples), or step_size / sqrt(1 + passes)."""

    name = "inverse-sqrt"

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, rate=1 / run.n_samples, power=0.5)


@dataclass(frozen=True, kw_only=True)
class Optimal(Schedule):
    """step_size / (1 + step_size * alpha * (t - 1)) = 1 / (alpha * (t0 + t - 1)), where t0 = 1 / (alpha * step_size).

    The schedule of Bottou's SGD programs. With ``step_size="auto"`` it starts from alpha^(-1/4), as
    scikit-learn's ``learning_rate="optimal"`` does. alpha must be above 0.

    Parameters
    ----------
    alpha : float, optional
        By default the strength of the penalty.
    """

    name = "optimal"
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None:
            check_real("alpha", self.alpha, 0, low_open=True)

    def start(self, run: Run) -> float:
        """Return alpha^(-1/4), the typical norm of the weights in Bottou's heuristic."""
        return float(self._alpha(run.alpha) ** -0.25)

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        rate = min(step_size * self._alpha(run.alpha), sys.float_info.max)  # inf * 0 is NaN at t = 1
        return _core.Schedule(step_size=step_size, rate=rate, power=1.0)

    def _alpha(self, of_penalty: float) -> float:
        return of_penalty if self.alpha is None else self.alpha

    def check(self, alpha: float, loss: Loss) -> None:  # noqa: ARG002
        """Refuse a problem without a penalty."""
        if self._alpha(alpha) <= 0:
            raise ConfigError(
                "schedule 'optimal' is 1 / (alpha t) and needs a penalty with alpha above 0; choose another schedule"
            )


@dataclass(frozen=True, kw_only=True)
class EpochDecay(Schedule):
    """step_size * factor^epoch: constant within an epoch, then multiplied by `factor`.

    The schedule of Hogwild! (Niu, Recht, Re, Wright 2011, section 5).

    Parameters
    ----------
    factor : float, default=0.8
        In (0, 1].
    """

    name = "epoch-decay"
    factor: float = 0.8

    def __post_init__(self) -> None:
        check_real("factor", self.factor, 0, 1, low_open=True)

    def to_core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, decay=self.factor)


SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule
    for schedule in (
        Linear,
        Constant,
        InverseScaling,
        InverseTime,
        InverseSqrt,
        Optimal,
        EpochDecay,
        Adaptive,
        PassiveAggressive1,
        PassiveAggressive2,
    )
}


def resolve_schedule(schedule: Any) -> Schedule:
    """Return the schedule of that name, or the object itself; `ConfigError` for anything else."""
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str):
        raise ConfigError(f"schedule must be a name or an object of dsgd.schedules, not {shown(schedule)}")
    if schedule not in SCHEDULES:
        raise unknown_name("schedule", schedule, SCHEDULES)
    return SCHEDULES[schedule]()
