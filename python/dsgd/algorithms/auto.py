"""``algo="auto"``: picks the algorithm that is expected to be fastest, once the data is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from dsgd.algorithms.base import Algorithm, Capabilities, Choice, Facts
from dsgd.algorithms.hogwild import Hogwild
from dsgd.algorithms.sdca import Sdca
from dsgd.algorithms.sgd import Sgd
from dsgd.algorithms.svrg import Svrg
from dsgd.algorithms.variance_reduction import safe_step
from dsgd.errors import ConfigError
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Auto"]

# The three thresholds are measured; see docs/algorithms/auto.md.
#
# Non-zero entries of X from which on several threads are faster than one, for SGD.
_SGD_ENTRIES = 2_000_000
# Non-zero entries of X from which on several threads are faster than one, for dual coordinate ascent.
_SDCA_ENTRIES = 8_000_000
# Average condition number, mean ||x||^2 / (alpha d), above which SGD is faster than dual coordinate ascent.
_CONDITION = 400.0


@dataclass(frozen=True, kw_only=True)
class Auto(Algorithm):
    """Pick an algorithm by loss, penalty, data size, number of threads and tolerance.

    The first rule that applies decides:

    1. The loss is the perceptron or the softmax, the penalty is not l2 alone, or the user gave a
       step size or a schedule: stochastic gradient descent (`Sgd`, on several threads `Hogwild`).
    2. `gap_tol` is given and the loss has kinks: dual coordinate ascent (`Sdca`).
    3. The average condition number, mean ||x||^2 / (alpha d), is above 400: stochastic gradient
       descent. Many rows share few features there. One dual variable then carries little
       information, and thousands of them have to agree.
    4. Otherwise: dual coordinate ascent.

    With `gap_tol` and a smooth loss, variance reduction (`Svrg`) takes the place of stochastic gradient
    descent, which gets near the optimum too slowly, unless the user gave a step size or a schedule. Its
    steps are then those that are safe for a mean row, 0.9 / (4 L), if the condition number is above 400.

    Several threads are used only if X has enough entries. The logger ``dsgd`` reports the choice and
    its reason. `FitResult.algorithm` is the algorithm that trained.
    """

    name = "auto"
    summary = "sdca, sgd, hogwild or svrg, whichever is expected to be fastest"
    capabilities = Capabilities(
        threads=True, deterministic=False, dual=True, models=Sgd.capabilities.models & Hogwild.capabilities.models
    )

    def pick(self, facts: Facts) -> Choice:
        """Return the algorithm to train with, its number of threads, and the reason."""
        why = self._against_the_dual(facts)
        if why is None:
            threads = facts.n_threads if facts.n_entries >= _SDCA_ENTRIES else 1
            reason = "gap_tol needs a duality gap" if facts.gap_tol is not None else "its steps are exact"
            return Choice(Sdca(), threads, f"{reason}; {_size(facts, threads)}")
        if facts.gap_tol is not None and facts.loss.smooth and not facts.stepped:
            threads = facts.n_threads if facts.n_entries >= _SGD_ENTRIES else 1
            # The step that is good for a first pass of SGD is too long where many rows share few features.
            step = safe_step(facts.loss, facts.mean_square, facts.alphas[1]) if _condition(facts) > _CONDITION else None
            return Choice(Svrg(), threads, f"gap_tol of a smooth loss: {why}; {_size(facts, threads)}", step)
        if facts.n_threads > 1 and facts.n_entries >= _SGD_ENTRIES:
            return Choice(Hogwild(), facts.n_threads, f"{why}; {_size(facts, facts.n_threads)}")
        return Choice(Sgd(), 1, f"{why}; {_size(facts, 1)}")

    def _against_the_dual(self, facts: Facts) -> str | None:
        """Return the reason not to use dual coordinate ascent, or None if there is none."""
        alpha_l1, alpha_l2 = facts.alphas
        if facts.loss.scale_free or facts.loss.model not in Sdca.capabilities.models:
            return f"loss {facts.loss.name!r} has no dual"
        if alpha_l1 > 0 or alpha_l2 == 0:
            return "only l2 alone has a dual to ascend"
        if facts.stepped:
            return "a step size or a schedule was given"
        condition = _condition(facts)
        if condition > _CONDITION and (facts.gap_tol is None or facts.loss.smooth):
            return f"the average condition number, {condition:.3g}, is above {_CONDITION:g}"
        return None

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:  # noqa: ARG002
        """Raise `ConfigError`: only `dsgd.fit` replaces an `Auto`; estimators have an ``algo="auto"`` of their own."""
        raise ConfigError("Auto() is for dsgd.fit; the estimators' algo='auto' is 'sgd', or 'hogwild' with n_jobs > 1")


def _condition(facts: Facts) -> float:
    """Return the average condition number.

    The eigenvalues of X'X/n have the mean (mean ||x||^2) / d. L2 adds alpha to each of them, so alpha bounds the least
    eigenvalue from below.
    """
    alpha_l2 = facts.alphas[1]
    return facts.mean_square / (alpha_l2 * facts.n_features) if alpha_l2 > 0 else math.inf


def _size(facts: Facts, threads: int) -> str:
    return f"{facts.n_entries:,} entries on {threads} of {facts.n_threads} thread(s)"
