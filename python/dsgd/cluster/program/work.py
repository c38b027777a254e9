"""How much a worker has computed, counted by its kernels: what the simulation takes time from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["CLIP", "FETCHED_LATE", "STEP", "Work", "far_lines"]

# Share of the cache lines from memory that a kernel waits for when it visits rows in the order of
# memory; the others are prefetched. Measured by bench/studies/kernel_cost.py.
FETCHED_LATE = 0.15
# Time of a step on an entry of a sparse row (a dot product, then a weight that is read, changed and
# written), in units of the time of an entry in a full gradient. Measured by
# bench/studies/kernel_cost.py.
STEP = 1.85
# Likewise of an entry of a clipped gradient (a dot product, a norm, an addition).
CLIP = 2.1

# Size of the data, in bytes, of which half the cache lines come from memory when rows are visited
# in random order. Of data s times as large the share is s^3 / (1 + s^3): the cache is shared with
# other programs, so the share rises smoothly (docs/design/simulation.md).
_CACHE = 22e6
# Size of a cache line of the processor, in bytes.
_LINE = 64


@dataclass
class Work:
    """Counts of the data that kernels have touched so far.

    Attributes
    ----------
    entries : int
        Entries of sparse rows. An entry counts once for a dot product and an addition.
    far_lines : float
        Estimated number of cache lines of rows that come from memory. Small data lie in a cache and
        have few.
    elements : int
        Elements of dense rows, which count twice, and elements of vectors, which count once for two
        or three passes of vector instructions.
    calls : int
        Calls of kernels.
    samples : int
        Gradients of single samples that were evaluated.
    """

    entries: int = 0
    far_lines: float = 0.0
    elements: int = 0
    calls: int = 0
    samples: int = 0

    def since(self, before: Work) -> Work:
        """Return the work since `before`, an earlier copy."""
        return Work(
            self.entries - before.entries,
            self.far_lines - before.far_lines,
            self.elements - before.elements,
            self.calls - before.calls,
            self.samples - before.samples,
        )

    def copy(self) -> Work:
        """Return a copy of the counts."""
        return Work(self.entries, self.far_lines, self.elements, self.calls, self.samples)


def far_lines(arrays: NDArray[Any] | tuple[NDArray[Any], ...]) -> float:
    """Return the estimated number of cache lines of a matrix that come from memory in a pass over its rows."""
    n_bytes = sum(array.nbytes for array in arrays) if isinstance(arrays, tuple) else arrays.nbytes
    size = n_bytes / _CACHE
    return n_bytes / _LINE * size**3 / (1 + size**3)
