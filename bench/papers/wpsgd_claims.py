"""The orderings that the text of WP-SGD states, compared with curves.

One curve is compared with another by how many times as many iterations, or as much time, it needs to
come to the same objective: the geometric mean over objectives that are equally spaced in logarithm,
from the start to the lowest that both reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from papers.wpsgd_cases import Curve

__all__ = ["BALANCED", "SPANS", "Claim", "claims_of", "needs", "zoom_claims"]

BALANCED = "SimuParallel, even nodes"
SPANS = "SimuParallel, spans of 1000"
TIE = 0.01  # what is as near as this counts as equal
CLOSE = 0.10  # "close", "almost the same"
_COMPARED = ("sequential", "mini-batch", "SimuParallel", "direct average", "WP-SGD", "D&M WP-SGD")
Curves = Mapping[str, Curve]


class Claim(NamedTuple):
    """A statement of the paper, where it is made, and by place whether it holds and what was measured."""

    text: str
    source: str
    holds: dict[str, bool]
    figures: dict[str, str]


def needs(slow: Curve, fast: Curve, axis: str) -> float:
    """Return how many times as many iterations (or seconds) one curve needs as another."""
    lowest = max(min(slow.objectives), min(fast.objectives)) * (1 + 1e-6)
    levels = np.geomspace(min(slow.objectives[0], fast.objectives[0]), lowest, 101)[1:]

    def where(curve: Curve) -> NDArray[np.float64]:
        best = np.log(np.minimum.accumulate(curve.objectives))
        at: NDArray[np.float64] = np.interp(-np.log(levels), -best, getattr(curve, axis))
        return at

    return float(np.exp(np.mean(np.log(where(slow) / where(fast)))))


def _all(places: Mapping[str, Curves], text: str, source: str, judge: Callable[[Curves], tuple[bool, str]]) -> Claim:
    found = {place: judge(curves) for place, curves in places.items()}
    return Claim(
        text, source, {place: holds for place, (holds, _) in found.items()}, {p: text for p, (_, text) in found.items()}
    )


def _list(found: Mapping[str, float]) -> str:
    """Return what others need, in words."""
    return ", ".join(f"{other} {factor:.3g}" for other, factor in found.items()) + " times as much"


def first(name: str, axis: str, others: tuple[str, ...] = _COMPARED) -> Callable[[Curves], tuple[bool, str]]:
    """Return a judge of whether nothing else comes down sooner."""

    def judge(curves: Curves) -> tuple[bool, str]:
        found = {other: needs(curves[other], curves[name], axis) for other in others if other != name}
        return all(factor > 1 - TIE for factor in found.values()), _list(found)

    return judge


def last(name: str, axis: str, others: tuple[str, ...] = _COMPARED) -> Callable[[Curves], tuple[bool, str]]:
    """Return a judge of whether nothing else comes down later."""

    def judge(curves: Curves) -> tuple[bool, str]:
        found = {other: needs(curves[other], curves[name], axis) for other in others if other != name}
        return all(factor < 1 + TIE for factor in found.values()), _list(found)

    return judge


def close(name: str, to: str, axis: str) -> Callable[[Curves], tuple[bool, str]]:
    """Return a judge of whether one curve needs at most a tenth more or less than another."""

    def judge(curves: Curves) -> tuple[bool, str]:
        factor = needs(curves[name], curves[to], axis)
        ends = curves[name].objectives[-1] / curves[to].objectives[-1]
        return bool(abs(np.log(factor)) < np.log(1 + CLOSE)), f"{factor:.3g} times as much; ends at {ends:.4g} times"

    return judge


def before(name: str, others: tuple[str, ...], axis: str) -> Callable[[Curves], tuple[bool, str]]:
    """Return a judge of whether all of some others come down later."""

    def judge(curves: Curves) -> tuple[bool, str]:
        found = {other: needs(curves[other], curves[name], axis) for other in others}
        return all(factor > 1 + TIE for factor in found.values()), _list(found)

    return judge


def claims_of(places: Mapping[str, Curves]) -> Iterator[Claim]:
    """Yield what sections 6.5.3 and 6.6.3 and the introduction state, of curves by place and algorithm."""
    figures, times = "6.5.3, 6.6.3, Fig. 7, 9", "6.5.3, 6.6.3, Fig. 6, 8"
    steps, time = "iterations", "seconds"
    wp, dm, simu, mini = "WP-SGD", "D&M WP-SGD", "SimuParallel", "mini-batch"
    three = ("sequential", simu, wp)
    yield _all(places, "by iterations mini-batch is the fastest", figures, first(mini, steps))
    yield _all(places, "by iterations D&M is close to mini-batch", figures, close(dm, mini, steps))
    yield _all(
        places, "by iterations sequential is almost as fast as SimuParallel", figures, close(three[0], simu, steps)
    )
    yield _all(places, "by iterations WP-SGD is almost as fast as sequential", figures, close(wp, three[0], steps))
    yield _all(places, "by iterations SimuParallel is the fastest of the three", figures, first(simu, steps, three))
    yield _all(places, "by iterations WP-SGD is close to SimuParallel", figures, close(wp, simu, steps))
    yield _all(places, "by iterations the direct average is the worst", figures, last("direct average", steps))
    yield _all(places, "by time D&M is the best", times, first(dm, time))
    yield _all(places, "by time mini-batch is the worst", times, last(mini, time))
    yield _all(places, "by time SimuParallel is worse than WP-SGD", times, before(wp, (simu,), time))
    yield _all(
        places,
        "by time, on uneven nodes, asynchronous algorithms (WP-SGD) are before synchronous ones",
        "6.5.3, 6.6.3, result 1",
        before(wp, (simu, mini), time),
    )
    yield _all(
        places,
        "... and so is D&M",
        "6.5.3, 6.6.3, result 1",
        before(dm, (simu, mini), time),
    )
    yield _all(
        places,
        "by time, on uneven nodes, an unsuited or synchronous algorithm is worse than one node",
        "conclusion 2; 6.5.3, 6.6.3, result 2",
        before("sequential", ("direct average", simu, mini), time),
    )
    yield _all(
        places,
        "WP-SGD on uneven nodes is close to SimuParallel on even ones",
        "conclusion 1",
        close(wp, BALANCED, time),
    )
    yield _all(
        places, "WP-SGD takes less time than SimuParallel on the same nodes", "conclusion 1", before(wp, (simu,), time)
    )
    yield _all(
        places,
        "synchronous algorithms, joined with WP-SGD, bear uneven nodes: D&M is before them",
        "conclusion 3",
        before(dm, (mini, SPANS), time),
    )


def zoom_claims(places: Mapping[str, Curves]) -> Iterator[Claim]:
    """Yield what section 6.6.4 states of figure 10."""
    source, four = "6.6.4, Fig. 10", ("sequential", "SimuParallel", "WP-SGD", "direct average")
    yield _all(
        places, "by time SimuParallel is the best (against 6.6.3)", source, first("SimuParallel", "seconds", four)
    )
    yield _all(
        places, "by time WP-SGD is close to SimuParallel on even nodes", source, close("WP-SGD", BALANCED, "seconds")
    )
    yield _all(places, "by time the direct average is the worst", source, last("direct average", "seconds", four))

    def nearest(curves: Curves) -> tuple[bool, str]:
        found = {
            name: needs(curves[name], curves["SimuParallel"], "iterations") for name in ("WP-SGD", "direct average")
        }
        return found["WP-SGD"] < found["direct average"], _list(found)

    yield _all(places, "by iterations WP-SGD is nearer to SimuParallel than the direct average is", source, nearest)
    yield _all(
        places,
        "by time WP-SGD is before SimuParallel on uneven nodes",
        source,
        before("WP-SGD", ("SimuParallel",), "seconds"),
    )
