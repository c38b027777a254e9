"""Scores of predictions. Those of several parts of the rows add up to the score of all rows."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from dsgd.errors import DataError

__all__ = ["R2", "Accuracy", "Inertia", "Score"]


# Absolute value above which R2 scales its numbers down, so that no difference overflows float64 (at most 1.8e308).
_LARGE = 1e307

# A weighted sum of squares, in units of the square of the largest number, and that number.
_Sum = tuple[float, float]
_NOTHING: _Sum = (0.0, 0.0)


class Score(Protocol):
    """The score of some rows; ``a + b`` is that of the rows of both."""

    @property
    def value(self) -> float:
        """The score."""

    def __add__(self, other: Self) -> Self:
        """Return the score of the rows of both."""


@dataclass(frozen=True)
class Accuracy:
    """The share of rows whose class was predicted.

    Attributes
    ----------
    hits, weight : float
        Weight of these rows, and of all rows.
    """

    hits: float
    weight: float

    @classmethod
    def of(cls, right: NDArray[np.bool_], sample_weight: NDArray[Any] | None) -> Accuracy:
        """Return the accuracy of predictions of which `right` says whether they are right."""
        if sample_weight is None:
            return cls(float(np.count_nonzero(right)), float(len(right)))
        weight = sample_weight.astype(np.float64)
        return cls(float((right * weight).sum()), float(weight.sum()))

    @property
    def value(self) -> float:
        """The accuracy."""
        return self.hits / self.weight

    def __add__(self, other: Accuracy) -> Accuracy:
        """Return the accuracy over the rows of both."""
        return Accuracy(self.hits + other.hits, self.weight + other.weight)


@dataclass(frozen=True)
class Inertia:
    """The sum of squared distances of rows from the nearest centres, weighted; its score is minus that."""

    total: float

    @property
    def value(self) -> float:
        """Minus the inertia."""
        return -self.total

    def __add__(self, other: Inertia) -> Inertia:
        """Return the inertia of the rows of both."""
        return Inertia(self.total + other.total)


@dataclass(frozen=True, kw_only=True)
class R2:
    """R2 = 1 - sum s (y - z)^2 / sum s (y - mean)^2, always finite, because JSON has no infinity.

    Each of the two sums is computed in its own unit. In a common unit, such as the largest prediction
    of a model that exploded, all targets would round to 0, and R2 would be that of a constant.

    Attributes
    ----------
    n_rows : int
    weight : float
        Of all rows.
    low, high, mean : float
        Of the targets of rows with a weight.
    errors, spread : tuple of two floats
        The two sums: each in units of the square of its largest number, and that number; (0, 0) if all are 0.
    quartered : bool
        Whether all numbers are a quarter of what they were, so that no difference overflows.
    """

    n_rows: int
    weight: float
    low: float
    high: float
    mean: float
    errors: _Sum
    spread: _Sum
    quartered: bool

    @classmethod
    def of(cls, target: NDArray[np.float64], decision: NDArray[np.float64], sample_weight: NDArray[Any] | None) -> R2:
        """Return R2 of decision values; `DataError` if one is not finite."""
        if not np.isfinite(decision).all():
            raise DataError(
                f"the prediction of row {int(np.argmin(np.isfinite(decision)))} is not finite: scale the data"
            )
        weight = np.ones(len(target)) if sample_weight is None else sample_weight.astype(np.float64)
        quartered = bool(max(np.abs(target).max(), np.abs(decision).max()) > _LARGE)
        if quartered:  # differences would overflow
            target, decision = target / 4, decision / 4
        counted = target[weight > 0]
        if len(counted) == 0:
            none = {"weight": 0.0, "low": 0.0, "high": 0.0, "mean": 0.0}
            return cls(n_rows=len(target), **none, errors=_NOTHING, spread=_NOTHING, quartered=False)
        away, total = np.average(target - counted[0], weights=weight, returned=True)
        middle = counted[0] + away
        return cls(
            n_rows=len(target),
            weight=float(total),
            low=float(counted.min()),
            high=float(counted.max()),
            mean=float(middle),
            errors=_in_unit(target - decision, weight),
            spread=_in_unit(target - middle, weight),
            quartered=quartered,
        )

    @property
    def value(self) -> float:
        """R2; `DataError` for a single row."""
        if self.n_rows < 2:
            raise DataError("R2 needs at least two rows")
        if self.weight == 0:
            raise DataError("all sample weights are 0; R2 needs rows with a weight")
        if self.low == self.high:  # constant: its computed mean may differ by rounding
            return 1.0 if self.errors == _NOTHING else 0.0
        (errors, error_unit), (spread, spread_unit) = self.errors, self.spread
        with np.errstate(over="ignore"):
            ratio = np.float64(error_unit) / spread_unit
            r2 = 1 - (errors / spread) * ratio * ratio
        return float(max(r2, -sys.float_info.max))

    def __add__(self, other: R2) -> R2:
        """Return R2 over the rows of both."""
        if self.weight == 0 or other.weight == 0:
            some = other if self.weight == 0 else self
            return dataclasses.replace(some, n_rows=self.n_rows + other.n_rows)
        if self.quartered != other.quartered:
            return self._quarter() + other._quarter()
        weight = self.weight + other.weight
        away = other.mean - self.mean
        between = (self.weight * (other.weight / weight), abs(away)) if away else _NOTHING
        return R2(
            n_rows=self.n_rows + other.n_rows,
            weight=weight,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            mean=self.mean + away * (other.weight / weight),
            errors=_sum(self.errors, other.errors),
            spread=_sum(self.spread, other.spread, between),
            quartered=self.quartered,
        )

    def _quarter(self) -> R2:
        """Return the same R2 with `quartered` True."""
        if self.quartered:
            return self
        return dataclasses.replace(
            self,
            low=self.low / 4,
            high=self.high / 4,
            mean=self.mean / 4,
            errors=(self.errors[0], self.errors[1] / 4),
            spread=(self.spread[0], self.spread[1] / 4),
            quartered=True,
        )


def _in_unit(differences: NDArray[np.float64], weight: NDArray[np.float64]) -> _Sum:
    """Return the weighted sum of squares, in units of the largest difference, and that unit; (0, 0) if all are 0."""
    unit = float(np.abs(differences[weight > 0]).max())
    return (float(weight @ np.square(differences / unit)), unit) if unit > 0 else _NOTHING


def _sum(*sums: _Sum) -> _Sum:
    """Return the sum of sums in units of their own."""
    largest = max(unit for _, unit in sums)
    return (sum(total * (unit / largest) ** 2 for total, unit in sums), largest) if largest > 0 else _NOTHING
