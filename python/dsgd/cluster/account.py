"""The account of a private run: it solves for the noise before the run, and closes the ledger after it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from dsgd._common.warn import warn
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.runtime.run_spec import Outcome, RunSpec
from dsgd.errors import ConfigError
from dsgd.privacy.accounting import check_installed
from dsgd.privacy.config import Plan, Privacy
from dsgd.privacy.ledger import PrivacyLedger

__all__ = ["Account", "check_private"]

# Share by which the epsilon of a run may be above its target before a warning says so.
_ROUNDING = 1e-9


def check_private(privacy: Privacy | None, cluster: Any, *, tol: float | None, class_weight: Any) -> None:
    """Raise `ConfigError` for options of a fit that would tell of private rows, or of a part of what is spent."""
    if privacy is None:
        return
    if tol is not None and privacy.history == "private":
        raise ConfigError(
            "tol looks at the objective of the training rows, which privacy keeps from you; leave it out, stop by "
            "eval_set with early_stopping=True, or give the Privacy history='public'"
        )
    if isinstance(class_weight, str):
        raise ConfigError(
            f"class_weight={class_weight!r} counts the rows of the classes, which are private; give numbers"
        )
    if isinstance(cluster, LocalCluster) and cluster.resume is not None:
        raise ConfigError("resume with privacy: the checkpoint does not know what was spent before it; leave it out")


@dataclasses.dataclass(frozen=True)
class Account:
    """What a run on private rows may spend.

    Attributes
    ----------
    work : RunSpec
        The run, whose privacy has its noise multiplier.
    plan : Plan
    privacy : Privacy
        As the user gave it.
    """

    work: RunSpec
    plan: Plan
    privacy: Privacy

    @classmethod
    def of(cls, work: RunSpec, privacy: Privacy) -> Account:
        """Return the account of a run; dp-accounting must be there before it begins."""
        check_installed()
        algorithm = work.algorithm
        plan = algorithm.private_plan(work.client_sizes(), work.max_clocks, work.seed)
        solved: Any = dataclasses.replace(algorithm, privacy=privacy.solved(plan))  # type: ignore[call-arg]
        return cls(dataclasses.replace(work, algorithm=solved), plan, privacy)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Note at an error what the run may have spent by then, as it returns no ledger."""
        try:
            yield
        except BaseException as error:
            privacy = self._solved
            whole = PrivacyLedger.of_run(privacy, self.plan, (), (0,))
            error.add_note(
                f"Privacy was spent before this error: count the whole run, epsilon {whole.epsilon:.4g} at delta "
                f"{privacy.delta:g}."
            )
            raise

    def ledger(self, outcome: Outcome) -> PrivacyLedger:
        """Return the ledger of the run, and warn if it has spent more than it was to."""
        ledger = PrivacyLedger.of_run(self._solved, self.plan, outcome.reports, outcome.taken_back)
        target = self.privacy.target_epsilon
        if target is not None and ledger.epsilon > target * (1 + _ROUNDING):
            warn(
                f"privacy: epsilon is {ledger.epsilon:.4g}, above target_epsilon={target:g}: workers or servers were "
                "started again, and have summed some rounds twice"
            )
        return dataclasses.replace(ledger, target_epsilon=target)

    @property
    def _solved(self) -> Privacy:
        privacy = self.work.algorithm.privacy
        assert privacy is not None
        return privacy
