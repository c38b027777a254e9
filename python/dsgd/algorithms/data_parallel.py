"""The distributed algorithm that makes the steps of an algorithm of one machine."""

from __future__ import annotations

from dsgd.algorithms.base import Algorithm
from dsgd.algorithms.batch import Batch
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.algorithms.map_reduce import MapReduce
from dsgd.algorithms.minibatch import Minibatch
from dsgd.algorithms.ssp import Ssp
from dsgd.errors import ConfigError

__all__ = ["data_parallel"]


def data_parallel(algorithm: Algorithm, n_workers: int) -> DistributedAlgorithm | None:
    """Return the algorithm whose workers together make the steps of `algorithm`; None if there is none.

    A step of `minibatch` is one of all workers: each steps on its part of the batch from the same weights, and the
    weights are averaged at every step. `batch` becomes `map-reduce`.

    Raises
    ------
    ConfigError
        For options that it does not have on several workers, and for batches of fewer rows than workers.
    """
    if isinstance(algorithm, DistributedAlgorithm):
        return algorithm
    if isinstance(algorithm, Batch):
        return MapReduce()
    if not isinstance(algorithm, Minibatch):
        return None
    if algorithm.average is not False or algorithm.momentum is not None or algorithm.block_size is not None:
        raise ConfigError("algo 'minibatch' on a cluster has no average, momentum and block_size; leave them out")
    if algorithm.batch_size < n_workers:
        raise ConfigError(f"batch_size={algorithm.batch_size} on {n_workers} workers: each needs a row of every batch")
    return Ssp(staleness=0, batch_size=round(algorithm.batch_size / n_workers))
