"""The task that trains on one worker of Dask, and how its messages travel to the driver."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import distributed
import numpy as np
from distributed.comm import get_address_host
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.local.channel import ChannelMessage
from dsgd.cluster.local.worker import TallySender
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.runtime.run_spec import Plan
from dsgd.cluster.tcp.worker import WorkerSpec, run_worker
from dsgd.errors import ClusterError
from dsgd.fitting.worker_rows import ProblemTerms, WorkerRows

__all__ = ["Job", "check_reach", "host_of", "read", "train"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a training task is told, apart from its rows.

    Attributes
    ----------
    worker : str
        Address of the worker of Dask for which the job is meant.
    rank : int
        The node that it is in the run.
    plan, groups, notices, client, token
        See `WorkerSpec`.
    tables : sequence of mapping
        The parameters of every `_core.TableSpec`.
    server : tuple (str, int)
        Host and port of the parameter server.
    terms : ProblemTerms
    of_whole : mapping of str to ndarray
    start : ndarray
        See `Kernels`.
    topic : str
        The topic of Dask's events under which the driver listens.
    """

    worker: str
    rank: int
    plan: Plan
    groups: Sequence[GroupMembers]
    notices: Sequence[int]
    client: Mapping[str, Any]
    token: bytes
    tables: Sequence[Mapping[str, Any]]
    server: tuple[str, int]
    terms: ProblemTerms
    of_whole: Mapping[str, NDArray[Any]]
    start: NDArray[Any]
    topic: str


def train(rows: WorkerRows, job: Job) -> int:
    """Run one node on the rows of this worker; return its rank.

    The task leaves its place among the worker's threads, so that tasks which evaluate the model on the same rows
    can run beside it.
    """
    worker = distributed.get_worker()
    if worker.address != job.worker:
        raise ClusterError(f"the task of {job.worker} was started at {worker.address}")
    distributed.secede()
    n_threads = max(1, worker.state.nthreads)
    kernels = Kernels(rows.problem(job.terms, n_threads), job.of_whole, n_threads, job.start)
    host = host_of(worker.address)
    spec = WorkerSpec(
        plan=job.plan,
        tables=[_core.TableSpec(**table) for table in job.tables],
        node=job.rank,
        groups=job.groups,
        addresses={job.groups[0].name: [job.server]},
        token=job.token,
        bind=host,
        notices=job.notices,
        client=job.client,
    )

    def send(kind: str, arrays: Mapping[str, NDArray[Any]], **fields: Any) -> None:
        worker.log_event(job.topic, _written(job.rank, kind, arrays, fields))

    run_worker(spec, kernels, TallySender(send))
    return job.rank


def host_of(address: str) -> str:
    """Return the host at which a worker or a scheduler of Dask is reached; this host for one of this process."""
    return "127.0.0.1" if address.startswith("inproc://") else str(get_address_host(address))


def check_reach(server: str, workers: Sequence[str]) -> None:
    """Raise `ClusterError` if the server is reached at this host only, and a worker is at another one."""
    for address in workers:
        away = not host_of(address).startswith("127.")
        if server.startswith("127.") and away:
            raise ClusterError(
                f"the parameter server would be at {server}, which the worker at {address} cannot reach: start the "
                "scheduler with an address that all hosts reach"
            )


def _written(rank: int, kind: str, arrays: Mapping[str, NDArray[Any]], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as Dask's events can carry it."""
    packed = {name: [array.dtype.str, list(array.shape), array.tobytes()] for name, array in arrays.items()}
    return {"rank": rank, "kind": kind, "fields": json.dumps(fields), "arrays": packed}


def read(event: Mapping[str, Any]) -> tuple[int, ChannelMessage]:
    """Return the rank that wrote an event, and its message."""
    arrays = {
        name: np.frombuffer(data, np.dtype(dtype)).reshape(shape)
        for name, (dtype, shape, data) in event["arrays"].items()
    }
    return event["rank"], ChannelMessage(event["kind"], json.loads(event["fields"]), arrays)
