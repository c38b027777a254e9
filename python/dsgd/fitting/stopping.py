"""Rules that end a fit before its last epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from dsgd._common.checks import check_flag, check_integer, check_real
from dsgd.errors import ConfigError
from dsgd.results.history import History

__all__ = ["STANDSTILLS", "Standstill", "Stopping", "StoppingRule"]


STANDSTILLS = ("tol", "early_stopping")
"""Reasons to stop that mean no progress. A schedule may answer them with a smaller step instead."""


class StoppingRule(Protocol):
    """The questions that the loop over epochs asks after every epoch."""

    def reason(self, history: History, wall_seconds: float, since: int = 0) -> str | None:
        """Return the name of the rule that ends the fit after the last record, or None.

        Parameters
        ----------
        history : History
        wall_seconds : float
            Since the work began.
        since : int
            Number of the first record that counts for a standstill. A smaller step has answered the
            standstill before it.

        Returns
        -------
        str or None
        """

    def is_best(self, history: History) -> bool:
        """Return whether the last record has the best model so far, which the fit keeps."""


class Standstill:
    """scikit-learn's rule: stop if `patience` epochs in a row do not improve the best value enough.

    An object keeps the state of one fit.

    Parameters
    ----------
    tol : float or None
        The least improvement, in units of the mean loss or of the score. None: the rule is off.
    share : float
        Further least improvement, as a share of the best value; it is added to `tol`.
    patience : int
    on_score : bool
        Whether the value is the score on the evaluation set. Otherwise it is the mean training loss,
        without the penalty.
    """

    def __init__(self, *, tol: float | None, patience: int, on_score: bool, share: float = 0.0) -> None:
        self._tol = tol
        self._share = share
        self._patience = patience
        self._on_score = on_score
        self._best = -math.inf
        self._waited = 0

    def reason(self, history: History, wall_seconds: float, since: int = 0) -> str | None:  # noqa: ARG002
        """Return ``"tol"`` or ``"early_stopping"`` if the fit stands still, else None."""
        value = history[-1].score if self._on_score else history[-1].loss
        if self._tol is None or value is None:
            return None
        if len(history) == since + 1:
            self._waited = 0
        gain = value if self._on_score else -value
        least = self._tol + self._share * abs(self._best) if math.isfinite(self._best) else 0.0
        self._waited = self._waited + 1 if gain < self._best + least else 0
        self._best = max(self._best, gain)
        if self._waited < self._patience:
            return None
        return "early_stopping" if self._on_score else "tol"

    def is_best(self, history: History) -> bool:  # noqa: ARG002
        """Return False: scikit-learn keeps the last model."""
        return False


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """The rules that end a fit early; all are off by default.

    Parameters
    ----------
    tol : float or None
        Stop when the objective of the history improved by less than ``tol * |objective|`` over `patience` evaluations.
    patience : int
        Evaluations without (enough) improvement after which the fit stops.
    early_stopping : bool
        Stop when the score on the evaluation set did not improve over `patience` evaluations.
    max_seconds : float or None
        Stop after the first epoch that ends later than this, in wall seconds since the work began,
        evaluations included.
    gap_tol : float or None
        Stop at a relative duality gap of no more than this.
    """

    tol: float | None = None
    patience: int = 5
    early_stopping: bool = False
    max_seconds: float | None = None
    gap_tol: float | None = None

    def __post_init__(self) -> None:
        if self.tol is not None:
            check_real("tol", self.tol, 0)
        object.__setattr__(self, "patience", check_integer("patience", self.patience, 1))  # -patience of a uint8 wraps
        check_flag("early_stopping", self.early_stopping)
        if self.max_seconds is not None:
            check_real("max_seconds", self.max_seconds, 0, low_open=True)
        if self.gap_tol is not None:
            object.__setattr__(self, "gap_tol", check_real("gap_tol", self.gap_tol, 0, low_open=True))

    @property
    def may_end_early(self) -> bool:
        """Whether any rule is on."""
        return self.early_stopping or any(limit is not None for limit in (self.tol, self.max_seconds, self.gap_tol))

    def check(self, evaluate_every: int | None, eval_set: Any) -> None:
        """Raise `ConfigError` for a rule that needs evaluations which never take place."""
        if self.tol is not None and evaluate_every == 0:
            raise ConfigError("tol needs the objective; evaluate_every=0 never evaluates it")
        if self.early_stopping and (evaluate_every == 0 or eval_set is None):
            raise ConfigError("early_stopping needs an eval_set, and evaluate_every of at least 1")

    def reason(self, history: History, wall_seconds: float, since: int = 0) -> str | None:
        """Return the rule that ends the fit after the last record, or None."""
        gap = history[-1].gap
        if self.gap_tol is not None and gap is not None and gap <= self.gap_tol:
            return "gap_tol"
        if self.tol is not None and self._objective_stands_still(history[since:], self.tol):
            return "tol"
        if self.early_stopping and self._score_stands_still(history[since:]):
            return "early_stopping"
        if self.max_seconds is not None and wall_seconds >= self.max_seconds:
            return "max_seconds"
        return None

    def is_best(self, history: History) -> bool:
        """Return whether the last record has the best score so far; of equal scores the first is the best."""
        if not self.early_stopping:
            return False
        scores = _scores(history)
        return history[-1].score is not None and all(history[-1].score > score for score in scores[:-1])

    def _objective_stands_still(self, history: History, tol: float) -> bool:
        values = [record.objective for record in history if record.objective is not None]
        if history[-1].objective is None or len(values) <= self.patience:
            return False
        before, now = min(values[: -self.patience]), min(values)
        return before - now < tol * abs(now)

    def _score_stands_still(self, history: History) -> bool:
        scores = _scores(history)
        if history[-1].score is None or len(scores) <= self.patience:
            return False
        return max(scores[-self.patience :]) <= max(scores[: -self.patience])


def _scores(history: History) -> list[float]:
    return [record.score for record in history if record.score is not None]
