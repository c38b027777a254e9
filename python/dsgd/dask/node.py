"""What runs in the processes of a Dask cluster: the task of a node, and a thread of the parameter server."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
from distributed.comm import get_address_host, resolve_address
from distributed.security import Security

from dsgd.cluster.remote.handshake import Certificates
from dsgd.cluster.remote.node import serve_node
from dsgd.cluster.remote.server_host import serve_shard
from dsgd.errors import ClusterError, ConfigError
from dsgd.fitting.worker_rows import WorkerRows

__all__ = ["certificates", "host_of", "serve_rows", "start_server"]


def serve_rows(
    rows: WorkerRows,
    eval_rows: WorkerRows | None,
    worker_address: str,
    gate: tuple[str, int],
    rank: int,
    token: bytes,
    index_base: str | None,
    n_threads: int | None,
    patience: float,
) -> None:
    """Serve the rows of one worker: a task that leaves its place among the worker's threads.

    Two fits could otherwise wait for each other's places for ever. Without `n_threads` it trains on as many threads as
    Dask gives the worker.
    """
    worker = distributed.get_worker()
    if worker.address != worker_address:
        raise ClusterError(f"the task of {worker_address} was started at {worker.address}")
    distributed.secede()
    with certificates(worker.security, "worker", worker.address) as tls:
        serve_node(
            gate,
            rows,
            rank=rank,
            token=token,
            eval_rows=eval_rows,
            index_base=index_base,
            tls=tls,
            n_threads=n_threads or max(1, worker.state.nthreads),
            patience=patience,
        )


def start_server(gate: tuple[str, int], shard: int, role: str, token: bytes, dask_worker: Any = None) -> None:
    """Start a shard in a thread of a process of Dask.

    Dask passes the worker; in a scheduler it passes the scheduler, under the same name. The shard listens at the
    address that the process has by its own account: a client may know the scheduler by the address of a proxy.
    """
    side = "scheduler" if isinstance(dask_worker, distributed.Scheduler) else "worker"

    def serve() -> None:
        with certificates(dask_worker.security, side, dask_worker.address) as tls:
            serve_shard(gate, shard, role, token=token, bind=host_of(dask_worker.address), tls=tls)

    threading.Thread(target=serve, name="dsgd-server", daemon=True).start()


@contextlib.contextmanager
def certificates(security: Security, role: str, address: str) -> Iterator[Certificates | None]:
    """Yield the certificates of this process of a Dask cluster with TLS; None for one without."""
    if not address.startswith("tls://"):
        yield None
        return
    told = security.get_tls_config_for_role(role)
    names = {"certificate": "cert", "key": "key", "authority": "ca_file"}
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Any] = {}
        for name, of_dask in names.items():
            value = told[of_dask]
            if value is None:
                raise ConfigError(f"the Security of this Dask {role} has no {of_dask}, which TLS needs on both sides")
            path = Path(value) if "\n" not in value else Path(folder, f"{name}.pem")
            if "\n" in value:  # the text of a file, as of `Security.temporary`
                path.touch(0o600)
                path.write_text(value)
            paths[name] = str(path)
        yield Certificates(**paths)


def host_of(address: str) -> str:
    """Return the numeric address of a worker or a scheduler of Dask; this host for one within this process."""
    return "127.0.0.1" if address.startswith("inproc://") else str(get_address_host(resolve_address(address)))
