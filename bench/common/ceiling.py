"""The upper bound of the speed of a pass: numpy reads the arrays of the data on some threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from common.workloads import Workload

__all__ = ["read"]


def read(data: Workload, threads: int, passes: int) -> int:
    """Read the arrays as integers of 8 bytes, `passes` times; return their sum modulo 2^64.

    A sum of integers is one pass of vector instructions without a conversion, and numpy releases
    the GIL for it. It is limited by memory: an or, a maximum and smaller slices are not faster.
    Each thread reads a part of its own.
    """
    words = [array.reshape(-1).view(np.uint8)[: array.nbytes // 8 * 8].view(np.uint64) for array in data.arrays]
    shares = [[np.array_split(array, threads)[thread] for array in words] for thread in range(threads)]

    def work(share: list[NDArray[np.uint64]]) -> int:
        return sum(int(np.add.reduce(array)) for _ in range(passes) for array in share)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, shares)) % 2**64
