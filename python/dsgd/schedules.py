"""Step sizes over a run, as objects that `dsgd.fit` takes in place of a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from dsgd import _core
from dsgd.checks import check_real, shown, unknown_name
from dsgd.errors import ConfigError

__all__ = ["Constant", "EpochDecay", "InverseScaling", "Schedule", "resolve_schedule"]


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """What becomes of the first step size as the run goes on."""

    name: ClassVar[str]

    @abstractmethod
    def core(self, step_size: float) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """step_size at every step."""

    name = "constant"

    def core(self, step_size: float) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, decay=1.0, power=0.0)


@dataclass(frozen=True, kw_only=True)
class InverseScaling(Schedule):
    """step_size / t^power, where t counts the samples of the whole run from 1.

    Parameters
    ----------
    power : float, default=0.5
        In (0, 1].
    """

    name = "inverse-scaling"
    power: float = 0.5

    def __post_init__(self) -> None:
        check_real("power", self.power, 0, 1, low_open=True)

    def core(self, step_size: float) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, decay=1.0, power=self.power)


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

    def core(self, step_size: float) -> _core.Schedule:
        """Return the schedule that starts at `step_size`, for the core."""
        return _core.Schedule(step_size=step_size, decay=self.factor, power=0.0)


SCHEDULES: dict[str, type[Schedule]] = {schedule.name: schedule for schedule in (Constant, InverseScaling, EpochDecay)}


def resolve_schedule(schedule: Any) -> Schedule:
    """Return the schedule of that name, or the object itself; `ConfigError` for anything else."""
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str):
        raise ConfigError(f"schedule must be a name or an object of dsgd.schedules, not {shown(schedule)}")
    if schedule not in SCHEDULES:
        raise unknown_name("schedule", schedule, SCHEDULES)
    return SCHEDULES[schedule]()
