"""What rounds on Poisson samples with Gaussian noise cost, by dp-accounting, and the noise for a given cost."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dsgd.errors import ConfigError

__all__ = ["ACCOUNTANTS", "check_installed", "epsilon_of", "noise_for"]

ACCOUNTANTS = ("rdp", "pld")
# The noise that is found is at most this share above the least one.
_PRECISION = 1e-3
_MOST_NOISE = 1e6


def check_installed() -> Any:
    """Return the module dp_accounting; an `ImportError` that says how to get it if it is missing."""
    try:
        import dp_accounting
    except ImportError as error:
        raise ImportError("privacy is accounted for by dp-accounting: pip install 'dsgd[privacy]'") from error
    return dp_accounting


def epsilon_of(rounds: Iterable[tuple[float, float]], delta: float, accountant: str = "rdp") -> float:
    """Return the epsilon, at `delta`, of rounds that follow one another on the same rows.

    Parameters
    ----------
    rounds : iterable of tuple (rate, noise multiplier)
        The chance of a row to be in the sample of the round, and the deviation of its noise in units of the clip norm.
    delta : float
    accountant : {"rdp", "pld"}
        Renyi differential privacy, or privacy loss distributions: tighter, and slow for rounds of many rates.

    Returns
    -------
    float
        For data sets that differ by one row that is added or removed. 0 without rounds; infinity without noise.
    """
    counts = Counter((rate, noise) for rate, noise in rounds if rate > 0)
    if not counts:
        return 0.0
    if any(noise == 0 for _, noise in counts):
        return math.inf
    events = check_installed()
    if accountant == "rdp":
        from dp_accounting.rdp import rdp_privacy_accountant

        total: Any = rdp_privacy_accountant.RdpAccountant()
    else:
        from dp_accounting.pld import pld_privacy_accountant

        total = pld_privacy_accountant.PLDAccountant()
    with _quiet():
        for (rate, noise), times in sorted(counts.items()):
            sampled = events.PoissonSampledDpEvent(rate, events.GaussianDpEvent(noise))
            total.compose(events.SelfComposedDpEvent(sampled, times))
        return float(total.get_epsilon(delta))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log of dp-accounting: it tells of every order of Renyi's divergence that it leaves out, soundly."""
    logger = logging.getLogger("absl")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled


def noise_for(plans: Iterable[Iterable[float]], target: float, delta: float, accountant: str = "rdp") -> float:
    """Return the noise multiplier with which no plan costs more than `target`: the least one but for 0.1 %.

    Parameters
    ----------
    plans : iterable of iterable of float
        The rates of the rounds of every client.
    target : float
    delta, accountant
        As of `epsilon_of`.

    Raises
    ------
    ConfigError
        If no noise is enough: some `delta` and `target` are out of reach.
    """
    distinct = {frozenset(Counter(rate for rate in plan if rate > 0).items()) for plan in plans}
    counts = [Counter(dict(plan)) for plan in distinct]
    # What is enough for a plan is enough for a part of it, and what is for a long one is for most others.
    whole = [plan for plan in counts if plan and not any(plan < other for other in counts)]
    noise = 0.0
    for plan in sorted(whole, key=lambda plan: -sum(times * rate for rate, times in plan.items())):
        if not (noise and _costs(plan, noise, delta, accountant) <= target):
            noise = _least_noise(plan, target, delta, accountant)
    return noise


def _costs(plan: Mapping[float, int], noise: float, delta: float, accountant: str) -> float:
    rounds = [(rate, noise) for rate, times in plan.items() for _ in range(times)]
    return epsilon_of(rounds, delta, accountant)


def _least_noise(plan: Mapping[float, int], target: float, delta: float, accountant: str) -> float:
    """Return the least noise for one plan, by bisection; it is reached from below `target`."""
    low, high = 0.5, 1.0
    while _costs(plan, high, delta, accountant) > target:
        low, high = high, 2 * high
        if high > _MOST_NOISE:
            raise ConfigError(
                f"target_epsilon={target:g} at delta={delta:g} is out of reach with any noise; ask for a larger one"
            )
    while low > 1e-2 and _costs(plan, low, delta, accountant) <= target:
        low, high = low / 2, low
    while high > (1 + _PRECISION) * low:
        middle = math.sqrt(low * high)
        if _costs(plan, middle, delta, accountant) > target:
            low = middle
        else:
            high = middle
    return high
