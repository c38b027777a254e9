"""Federated averaging in plain numpy, one client after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dsgd.testing.loss_reference import Array

__all__ = ["drawn_clients", "federated_averaging", "local_batches"]


def drawn_clients(
    seed: int, n_rounds: int, n_clients: int, *, n_drawn: int, failing: float = 0.0
) -> list[tuple[list[int], list[int]]]:
    """Return for every round the clients that are drawn, and those of them that do not fail, by their numbers.

    Parameters
    ----------
    seed : int
    n_rounds, n_clients : int
    n_drawn : int
        Clients of a round.
    failing : float
        Chance that a client fails.
    """
    rounds = []
    for number in range(n_rounds):
        random = np.random.Generator(np.random.Philox(key=[seed, 2**62 + number]))
        drawn = random.choice(n_clients, n_drawn, replace=False).tolist()
        fates = random.random(n_drawn).tolist()
        arrived = [client for client, fate in zip(drawn, fates, strict=True) if fate >= failing]
        rounds.append((sorted(drawn), sorted(arrived)))
    return rounds


def local_batches(passes: Iterable[NDArray[np.int64]], batch_size: int) -> list[list[int]]:
    """Return the rows of every step of a client: each pass is cut into batches, whose last one may be shorter."""
    return [order[k : k + batch_size].tolist() for order in passes for k in range(0, len(order), batch_size)]


def federated_averaging(
    start: Array,
    sizes: Sequence[int],
    rounds: Iterable[Sequence[int]],
    update: Callable[[Array, int, int], Array],
) -> Array:
    """Return the weights after rounds in which some clients train, and their models are averaged by their rows.

    Parameters
    ----------
    start : ndarray of shape (n_parameters,)
    sizes : sequence of int
        The number of rows of every client.
    rounds : iterable of sequences of int
        For every round the clients whose models arrive. Without one the weights stay as they are.
    update : callable
        Returns the model of a client after its local epochs, from the weights that it starts from, its number and the
        number of the round.

    Returns
    -------
    ndarray of shape (n_parameters,)

    References
    ----------
    McMahan, Moore, Ramage, Hampson, Aguera y Arcas (2017), "Communication-efficient learning of deep networks from
    decentralized data", Algorithm 1, with weights that add up to 1 over the clients of a round.
    """
    weights = start
    for number, clients in enumerate(rounds):
        if not clients:
            continue
        total = sum(sizes[client] for client in clients)
        models = [update(weights, client, number) for client in clients]
        weights = np.zeros_like(start)
        for client, model in zip(clients, models, strict=True):
            weights += sizes[client] / total * model
    return weights
