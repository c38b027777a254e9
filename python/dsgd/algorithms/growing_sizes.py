"""Rounds of growing sizes: how many gradients each has, how old their weights may be, and how the step falls."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["falling_share", "first_break", "most_delay", "round_starts", "starts_of_rounds"]


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
    sizes, first_size, growth, delay
        As of `starts_of_rounds`.
    total : int
        Gradients of all rounds. The last round has what is left.
    """
    starts = itertools.takewhile(lambda start: start < total, starts_of_rounds(sizes, first_size, growth, delay))
    array = np.array([*starts, total], np.int64)
    array.setflags(write=False)
    return array


def starts_of_rounds(sizes: str, first_size: int, growth: float, delay: int) -> Iterator[int]:
    """Yield the gradients S_i that come before round i of all clients, without end.

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
    """
    start = 0
    for index in itertools.count():
        yield start
        size = first_size
        if sizes == "theory":
            size = max(first_size, int(most_delay(start) / (delay + 1)))
        elif sizes == "linear":
            size += int(growth * index)
        start += size


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
