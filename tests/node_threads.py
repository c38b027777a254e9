"""Fits on nodes that are threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import dsgd
from dsgd.cluster.remote.node import serve_node
from dsgd.errors import ClusterError
from dsgd.fitting.worker_rows import WorkerRows

__all__ = ["fit_on_threads"]

TOKEN = b"0123456789abcdef"


def fit_on_threads(
    rows: Sequence[WorkerRows], told: Sequence[dict[str, Any]] = ({}, {}), *, of_cluster: Any = (), **options: Any
) -> Any:
    """Train on nodes with these rows; return the result, and what ended each node, None for a good end."""
    nodes: list[threading.Thread] = []
    ends: list[Exception | None] = [None] * len(rows)

    def serve(rank: int, host: str, port: int) -> None:
        try:
            serve_node((host, port), rows[rank], rank=rank, token=TOKEN, **told[rank])
        except ClusterError as error:
            ends[rank] = error

    def start(host: str, port: int) -> None:
        nodes.extend(threading.Thread(target=serve, args=(rank, host, port)) for rank in range(len(rows)))
        for node in nodes:
            node.start()

    try:
        cluster = dsgd.Hosts(workers=len(rows), token=TOKEN, on_listen=start, **dict(of_cluster))
        return dsgd.fit(None, cluster=cluster, **options), ends
    finally:
        for node in nodes:
            node.join(60.0)
            assert not node.is_alive()
