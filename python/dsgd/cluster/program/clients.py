"""Clients of federated algorithms: parts of the rows, of which a worker may hold many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.program.partition import Partition, deal, deal_problem
from dsgd.problems.problem import Problem

__all__ = ["deal_codes", "deal_to_clients", "rows_of_clients"]

Rows = NDArray[np.int64]


def deal_to_clients(
    partition: Partition | str, problem: Problem, n_clients: int, n_workers: int, seed: int
) -> tuple[list[NDArray[np.intp]], Rows | None]:
    """Deal the rows of a problem to clients, and the clients to workers: client k lives on worker k mod `n_workers`.

    Parameters
    ----------
    partition : Partition or "equal"
        Deals the rows to the clients. What it says of workers holds for clients.
    problem : Problem
    n_clients : int
        At least `n_workers`.
    n_workers : int
    seed : int

    Returns
    -------
    rows : list of ndarray of int
        Those of each worker, rising.
    client_of : ndarray of int64, shape (n_samples,), or None
        The client of every row. None: every worker is one client.
    """
    return _to_workers(deal_problem(partition, problem, n_clients, seed), problem.matrix.n_rows, n_workers)


def deal_codes(
    partition: Partition | str, codes: NDArray[Any], n_clients: int, n_workers: int, seed: int
) -> tuple[list[NDArray[np.intp]], Rows | None]:
    """Deal rows as `deal_to_clients` does, by the targets of a problem or any numbers in the same order."""
    parts = deal(len(codes), n_clients, seed) if isinstance(partition, str) else partition.deal(codes, n_clients, seed)
    return _to_workers(parts, len(codes), n_workers)


def _to_workers(
    parts: list[NDArray[np.intp]], n_samples: int, n_workers: int
) -> tuple[list[NDArray[np.intp]], Rows | None]:
    if len(parts) == n_workers:
        return parts, None
    client_of = np.empty(n_samples, np.int64)
    for client, rows in enumerate(parts):
        client_of[rows] = client
    worker_of = client_of % n_workers
    return [np.flatnonzero(worker_of == worker) for worker in range(n_workers)], client_of


def rows_of_clients(client_of: Rows) -> dict[int, Rows]:
    """Return the rows of every client that has some, rising, from the client of every row."""
    by_client = np.argsort(client_of, kind="stable")
    clients, begins = np.unique(client_of[by_client], return_index=True)
    return dict(zip(clients.tolist(), np.split(by_client, begins[1:]), strict=True))
