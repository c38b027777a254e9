"""Step sizes over a run, as objects that `dsgd.fit` takes in place of a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from dsgd import _core
from dsgd.checks import check_real, shown, unknown_name
from dsgd.errors import ConfigError

__all__ = [
    "Constant",
    "EpochDecay",
    "InverseScaling",
    "InverseSqrt",
    "InverseTime",
    "Linear",
    "Optimal",
    "Run",
    "Schedule",
    "resolve_schedule",
]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a schedule may depend on.

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
    """What becomes of the first step size as the run goes on; t counts the samples of the whole run from 1."""

    name: ClassVar[str]

    @abstractmethod
    def core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""

    def check(self, alpha: float) -> None:  # noqa: B027
        """Refuse a strength of the penalty that this schedule cannot work with."""

    def start(self, run: Run) -> float | None:  # noqa: ARG002
        """Return the step to start from where nobody chose one; None: the schedule has no opinion."""
        return None


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """step_size at every step."""

    name = "constant"

    def core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size)


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """step_size * (1 - (t - 1) / (n_samples * max_epochs)): a straight line that reaches zero as the run ends.

    The last iterate of such a run is as good as an average, without an average's memory of the start (Defazio,
    Cutkosky, Mehta, Mishchenko 2023, "Optimal linear decay learning rate schedules and further refinements").
    """

    name = "linear"

    def core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, horizon=float(run.n_samples) * run.max_epochs)


@dataclass(frozen=True, kw_only=True)
class InverseScaling(Schedule):
    """step_size / t^power.

    Parameters
    ----------
    power : float, default=0.5
        In (0, 1].
    """

    name = "inverse-scaling"
    power: float = 0.5

    def __post_init__(self) -> None:
        check_real("power", self.power, 0, 1, low_open=True)

    def core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, power=self.power)


@dataclass(frozen=True, kw_only=True)
class InverseTime(Schedule):
    """step_size / (1 + (t - 1) / n_samples): 1/t, where t counts passes."""

    name = "inverse-time"

    def core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, rate=1 / run.n_samples, power=1.0)


@dataclass(frozen=True, kw_only=True)
class InverseSqrt(Schedule):
    """step_size / sqrt(1 + (t - 1) / n_samples): 1/sqrt(t), where t counts passes."""

    name = "inverse-sqrt"

    def core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, rate=1 / run.n_samples, power=0.5)


@dataclass(frozen=True, kw_only=True)
class Optimal(Schedule):
    """step_size / (1 + step_size * alpha * (t - 1)) = 1 / (alpha * (t0 + t - 1)), where t0 = 1 / (alpha * step_size).

    The schedule of Bottou's programs and, with ``step_size="auto"``, scikit-learn's ``learning_rate="optimal"``, which
    starts from alpha^(-1/4). Needs alpha above 0.
    """

    name = "optimal"

    def start(self, run: Run) -> float:
        """Return alpha^(-1/4), the norm that Bottou's heuristic expects of the weights."""
        return float(run.alpha**-0.25)

    def core(self, step_size: float, run: Run) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, rate=step_size * run.alpha, power=1.0)

    def check(self, alpha: float) -> None:
        """Refuse a problem without a penalty."""
        if alpha <= 0:
            raise ConfigError(
                "schedule 'optimal' is 1 / (alpha t) and needs a penalty with alpha above 0; choose another schedule"
            )


@dataclass(frozen=True, kw_only=True)
class EpochDecay(Schedule):
    """step_size * factor^epoch: constant within an epoch, then backed off.

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

    def core(self, step_size: float, run: Run) -> _core.Schedule:  # noqa: ARG002
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, decay=self.factor)


SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule
    for schedule in (Linear, Constant, InverseScaling, InverseTime, InverseSqrt, Optimal, EpochDecay)
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
