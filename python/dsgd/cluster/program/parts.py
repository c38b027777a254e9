"""Parts of a parameter vector, of which messages between workers may carry some."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.program.commands import Message
from dsgd.models.kmeans import Centres
from dsgd.models.protocols import ParameterLayout

__all__ = ["Parts"]

# Blocks that the parameters of other models than k-means are cut into.
_BLOCKS = 16
# Numbers of messages are below it.
_MOST = 2.0**63


class Parts:
    """The parts of a parameter vector: the centres of k-means, and blocks of neighbours of other models.

    Attributes
    ----------
    n_parts : int
    part_of : ndarray of intp, shape (n_parameters,)
        The part of every parameter.
    window : ParzenWindow
        Looks at states by their parts.
    """

    def __init__(self, layout: ParameterLayout) -> None:
        places = np.arange(layout.size)
        if isinstance(layout, Centres):
            self.n_parts = layout.per_feature
            self.part_of = places % self.n_parts
        else:
            self.n_parts = min(_BLOCKS, layout.size)
            self.part_of = places * self.n_parts // layout.size
        self.window = _core.ParzenWindow(self.part_of, self.n_parts)

    def draw(self, random: np.random.Generator, share: float) -> NDArray[np.intp] | None:
        """Return the places of a random `share` of the parts, at least one, rising; None for all of them."""
        count = max(1, round(share * self.n_parts))
        if count >= self.n_parts:
            return None
        chosen = np.zeros(self.n_parts, bool)
        chosen[random.choice(self.n_parts, count, replace=False)] = True
        return np.flatnonzero(chosen[self.part_of])

    def packed(
        self, vector: NDArray[Any], places: NDArray[np.intp] | None, number: int
    ) -> tuple[NDArray[Any], NDArray[np.uint64] | None]:
        """Return the values and keys of a message: some places of a vector, and behind them a number."""
        values = np.empty((len(vector) if places is None else len(places)) + 1, vector.dtype)
        values[:-1] = vector if places is None else vector[places]
        values[-1] = number
        keys = None if places is None else np.append(places, len(vector)).astype(np.uint64)
        return values, keys

    def unpacked(self, message: Message) -> tuple[NDArray[np.uint64] | None, NDArray[Any], int] | None:
        """Return the places (None for all), the values and the number of a message that `packed` packed.

        None: the message is torn, and its lengths, keys or number are none that `packed` gives.
        """
        keys, size = message.keys, len(self.part_of)
        if keys is None:
            fits = len(message.value) == size + 1
        else:
            fits = len(message.value) == len(keys) > 0 and keys[-1] == size and bool((keys[:-1] < keys[1:]).all())
        if not fits or not 0 <= message.value[-1] < _MOST:
            return None
        return None if keys is None else keys[:-1], message.value[:-1], int(message.value[-1])
