"""``algo="auto"``: the algorithm that is expected to be fastest, picked when the data is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd.algorithms.base import Algorithm, Capabilities, Choice, Facts
from dsgd.algorithms.hogwild import Hogwild
from dsgd.algorithms.sdca import Sdca
from dsgd.algorithms.sgd import Sgd
from dsgd.errors import ConfigError
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Auto"]

# What decides, by measurement (docs/algorithms/auto.md): entries from which on a second thread pays, for steps of SGD
# and for those of dual coordinate ascent; and the average condition number from which on SGD is faster.
_SGD_ENTRIES, _SDCA_ENTRIES, _CONDITION = 2_000_000, 8_000_000, 400.0


@dataclass(frozen=True, kw_only=True)
class Auto(Algorithm):
    """Pick an algorithm by loss, penalty, size, threads and tolerance.

    Dual coordinate ascent (`Sdca`) where a dual and a duality gap exist, or are asked for by `gap_tol`; stochastic
    gradient descent (`Sgd`, on several threads `Hogwild`) for perceptron and softmax, for l1, without a penalty, with a
    step size or a schedule of one's own, and where many rows share few features: each dual variable then says so little
    of its own that thousands of them have to agree. Several threads only where there is enough for them to do. The
    logger ``dsgd`` says what was picked and why; `FitResult.algorithm` is what trained.
    """

    name = "auto"
    summary = "sdca, sgd or hogwild, whichever is expected to be fastest"
    capabilities = Capabilities(
        threads=True, deterministic=False, dual=True, models=Sgd.capabilities.models & Hogwild.capabilities.models
    )

    def pick(self, facts: Facts) -> Choice:
        """Return who is to train."""
        why = self._against_the_dual(facts)
        if why is None:
            threads = facts.n_threads if facts.n_entries >= _SDCA_ENTRIES else 1
            reason = "gap_tol needs a duality gap" if facts.gap_tol is not None else "its steps are exact"
            return Choice(Sdca(), threads, f"{reason}; {_size(facts, threads)}")
        if facts.n_threads > 1 and facts.n_entries >= _SGD_ENTRIES:
            return Choice(Hogwild(), facts.n_threads, f"{why}; {_size(facts, facts.n_threads)}")
        return Choice(Sgd(), 1, f"{why}; {_size(facts, 1)}")

    def _against_the_dual(self, facts: Facts) -> str | None:
        """Return what speaks against dual coordinate ascent, or None."""
        alpha_l1, alpha_l2 = facts.alphas
        if facts.gap_tol is not None:
            return None
        if facts.loss.scale_free or facts.loss.model not in Sdca.capabilities.models:
            return f"loss {facts.loss.name!r} has no dual"
        if alpha_l1 > 0 or alpha_l2 == 0:
            return "only l2 alone has a dual to ascend"
        if facts.stepped:
            return "a step size or a schedule was given"
        # The eigenvalues of X'X/n have the mean ||x||^2 / d; alpha is added to each of them.
        condition = facts.mean_square / (alpha_l2 * facts.n_features)
        if condition > _CONDITION:
            return f"the average condition number, {condition:.3g}, is above {_CONDITION:g}"
        return None

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:  # noqa: ARG002
        """Refuse to train: the estimators, which do not let it pick, have an ``algo="auto"`` of their own."""
        raise ConfigError("Auto() is for dsgd.fit; the estimators' algo='auto' is 'sgd', or 'hogwild' with n_jobs > 1")


def _size(facts: Facts, threads: int) -> str:
    return f"{facts.n_entries:,} entries on {threads} of {facts.n_threads} thread(s)"
