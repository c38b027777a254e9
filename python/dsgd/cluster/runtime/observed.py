"""The model of a run whose weights live on the workers: the vectors that their programs observe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from dsgd._common.checks import check_choice
from dsgd.algorithms.distributed import Observes

__all__ = ["Observation", "Observed", "model_of"]


class Observation(NamedTuple):
    """What a program observed: a vector, the logarithm of what it counts for in a mean, and further numbers."""

    vector: NDArray[Any]
    log_weight: float
    counts: Mapping[str, float] = MappingProxyType({})


class Observed:
    """The vectors that one node has observed (command `Observe`), through all its lives.

    Parameters
    ----------
    notices : sequence of int
        The clocks at whose end records are made. A node may be clocks ahead of the slowest one, so
        that its vectors of these clocks are kept until the records are made.

    Attributes
    ----------
    latest : Observation or None
        The last one of the present life; None: there is none yet.
    """

    def __init__(self, notices: Sequence[int] = ()) -> None:
        self.latest: Observation | None = None
        self._notices = frozenset(notices)
        self._clock = 0
        self._kept: dict[int, Observation | None] = {}

    def begin(self, clock: int) -> None:
        """Begin a life after `clock` finished clocks; what was observed after them is void."""
        self._clock, self.latest = clock, None
        self._kept = {own: vector for own, vector in self._kept.items() if own <= clock}

    def take(
        self, vector: NDArray[Any], log_weight: float = 0.0, counts: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        """Take a copy of the vector that the node observes now."""
        self.latest = Observation(np.array(vector), log_weight, dict(counts))

    def finish_clock(self) -> None:
        """Keep the latest vector, if a record is made at the end of this clock."""
        self._clock += 1
        if self._clock in self._notices:
            self._kept[self._clock] = self.latest

    def at(self, clock: float) -> Observation | None:
        """Return what was observed in a clock, the latest if nothing was kept from there on; forget earlier ones."""
        self._kept = {own: vector for own, vector in self._kept.items() if own >= clock}
        return self._kept[min(self._kept)] if self._kept else self.latest


def model_of(
    observes: Observes, observed: Mapping[int, Observation], served: NDArray[Any] | None, start: NDArray[Any]
) -> NDArray[Any]:
    """Return the weights that a record or the result of a run is made of.

    Parameters
    ----------
    observes : {"server", "first", "mean"}
        See `DistributedAlgorithm.observes`.
    observed : mapping of int to Observation
        By rank: of each node that has one and is not lost.
    served : ndarray of shape (n_parameters,) or None
        The table ``"weights"`` of the server, if it has one.
    start : ndarray of shape (n_parameters,)
        The initial weights, which are the model while there is nothing else.
    """
    check_choice("observes", observes, get_args(Observes))
    if observes == "server" and served is not None:
        return served
    if observes == "server" or not observed:
        return start
    ranks = sorted(observed)
    first = np.asarray(observed[ranks[0]].vector, np.float64)
    if observes == "first":
        return first.astype(start.dtype)
    logs = np.array([observed[rank].log_weight for rank in ranks])
    weights = np.exp(logs - logs.max())
    # The mean of equal vectors is then that vector, to the bit.
    away = np.zeros_like(first)
    for rank, weight in zip(ranks[1:], weights[1:], strict=True):
        away += weight * (observed[rank].vector - first)
    return np.asarray(first + away / weights.sum(), start.dtype)
