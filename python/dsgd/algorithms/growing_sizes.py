"""Rounds of growing sizes: how many gradients each has, how old their weights may be, and how the step falls."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["falling_share", "first_break", "most_delay", "round_starts"]


def most_delay(gradients: float) -> float:
    """Return tau(t): how many gradients the weights of gradient number t may lack, sqrt(t (1 / ln t - 1 / ln^2 t)).

    References
    ----------
    Nguyen, Nguyen, van Dijk, Richtarik, Scheinberg, Takac (2018), "SGD and Hogwild! convergence without the bounded
    gradients assumption": with steps that fall as 1/t such delays do not change the order of convergence.
    """
    if gradients <= math.e:
        return 0.0
    log = math.log(gradients)
    return math.sqrt(gradients * (1 / log - 1 / log**2))


@functools.lru_cache(maxsize=16)
def round_starts(sizes: str, first_size: int, growth: float, delay: int, total: int) -> NDArray[np.int64]:
    """Return the gradients S_i that come before each round i of all clients; the last element is `total`.

    Parameters
    ----------
    sizes : {"theory", "linear", "constant"}
        ``"theory"``: a round has floor(tau(S_i) / (d + 1)) gradients, about i / (4 (d + 1)^2 ln i), and at least
        `first_size`. Sizes never fall, so that d + 1 rounds in a row have at most tau(S_i). ``"linear"``: it has
        `first_size` + floor(`growth` i). ``"constant"``: it has `first_size`.
    first_size : int
    growth : float
    delay : int
        d, in rounds.
    total : int
        Gradients of all rounds. The last round has what is left.
    """
    starts = [0]
    while starts[-1] < total:
        size = first_size
        if sizes == "theory":
            size = max(first_size, int(most_delay(starts[-1]) / (delay + 1)))
        elif sizes == "linear":
            size += int(growth * (len(starts) - 1))
        starts.append(min(starts[-1] + size, total))
    array = np.array(starts, np.int64)
    array.setflags(write=False)
    return array


def first_break(starts: NDArray[np.int64], delay: int) -> int | None:
    """Return the first round i with s_{i-d} + ... + s_i > tau(S_i), where d is `delay`; None if there is none.

    Rounds with tau(S_i) < d + 1 are passed over: there even one gradient a round is too many.
    """
    for index, start in enumerate(starts[:-1].tolist()):
        bound = most_delay(start)
        if bound >= delay + 1 and starts[index + 1] - starts[max(index - delay, 0)] > bound:
            return index
    return None


def falling_share(falling: str, fall: float, gradients: int) -> float:
    """Return the share of the first step that a round makes which begins after so many gradients.

    Parameters
    ----------
    falling : {"linear", "sqrt", "constant"}
        1 / (1 + `fall` S), 1 / (1 + `fall` sqrt(S)) or 1, where S is `gradients`.
    fall : float
    gradients : int
    """
    if falling == "constant":
        return 1.0
    return 1.0 / (1.0 + fall * (gradients if falling == "linear" else math.sqrt(gradients)))
