"""`DaskCluster`: the workers of a Dask cluster, which hold the rows."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import distributed
from dask.base import is_dask_collection
from dask.delayed import Delayed
from distributed.utils import get_ip

from dsgd._common.checks import check_flag, shown
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.engines import Elsewhere
from dsgd.cluster.fit import distributed_on
from dsgd.cluster.remote.fit import Given, Rows, fit_on_nodes
from dsgd.cluster.remote.gate import Gate
from dsgd.cluster.remote.hosts import check_port
from dsgd.cluster.remote.nodes import Nodes
from dsgd.cluster.tcp.connections import ALL_ADDRESSES
from dsgd.dask.chunks import living, tasks_of_chunks
from dsgd.dask.node import certificates, host_of, serve_rows, start_server
from dsgd.dask.placement import Share, join_shares, place
from dsgd.data.feature_names import FeatureNames, column_names
from dsgd.data.shards import Shard
from dsgd.errors import ClusterError, ConfigError, WorkerLostError
from dsgd.fitting.spec import FitSpec
from dsgd.results.result import FitResult

__all__ = ["DaskCluster"]

_LOG = logging.getLogger("dsgd")
_DATA_DEADLINE = 3600.0  # seconds that the chunks may take to be computed
_LOOK = 1.0  # seconds between two looks at the list of workers
_ENDING = 2.0  # seconds that tasks may take to end by themselves
_ANSWER = 30.0  # seconds within which Dask must start a thread
_TRY = 5.0  # seconds that one try at it may take: the scheduler may be dialling a worker that has died


@dataclass(frozen=True, kw_only=True)
class DaskCluster(RunOptions, Elsewhere):
    """The workers of a Dask cluster, each of which trains on the rows that it holds.

    ``dsgd.fit(X, y, cluster=client)`` is short for ``cluster=DaskCluster(client)``. X and y are dask arrays, dask data
    frames, or lists of delayed values, futures or shards. Rows go over Dask only; parameters go over connections of our
    own, which workers open to the parameter server.

    Parameters
    ----------
    client : distributed.Client
        Not an asynchronous one. If it has TLS in its `Security`, all connections of a fit have it too.
    server : str, default="worker"
        Where the parameter server runs: in the process of a ``"worker"``, of the ``"scheduler"``, of the ``"client"``,
        or of the worker with this address. With ``"client"`` workers need to reach one port only.
    order : bool, optional
        True: which rows a worker trains on depends on the order of the chunks alone, so that the bits of a run do not
        depend on where the chunks lie; some chunks may move. False: every chunk stays where it lies. By default True
        for algorithms whose workers wait for each other, and False for others.
    on_lost : {"auto", "continue", "fail"}, default="auto"
        What happens when a worker is lost that may not be started again. ``"continue"``: the others go on without its
        rows. ``"fail"``: `WorkerLostError`. ``"auto"``: the run fails if workers wait for each other, as the result
        would be another one, and goes on otherwise.
    bind, advertise : str, optional
        Numeric address of this host to listen at, and the address that workers dial. By default the address from which
        this process reaches the scheduler; workers dial it too where ``bind="0.0.0.0"`` listens at all addresses.
    port : int or tuple of two int, default=0
        Port to listen at, or the first and last one of a range; 0 is any free one.
    restart_workers : int, default=0
        How often the rows of each worker may go to another worker of the cluster, to which Dask brings them, or
        computes them again.
    servers : int, default=1
        Shards of the parameter server. Where a worker has it, they are spread over the workers.
    checkpoint_every, checkpoint, resume, restart_servers, heartbeat_deadline, join_deadline, stall_deadline
        As of `LocalCluster`. Files are those of the client.
    wire_dtype, payload_checksum, trace, record_answers
        As of `LocalCluster`. `tls` and `groups` are refused.

    Raises
    ------
    ConfigError
        For an impossible value.

    Notes
    -----
    `dsgd.fit` raises `WorkerLostError` if a worker leaves before the run, `ClusterError` if the cluster has no workers
    or its addresses cannot be reached, and the error of a task that computes rows, with its traceback. `privacy`,
    `workers`, and `init` with a `FitResult` are refused.
    """

    ways_on: ClassVar[tuple[str, ...]] = ("auto", "continue", "fail")

    client: Any = field(kw_only=False)
    on_lost: str = "auto"
    server: str = "worker"
    order: bool | None = None
    bind: str | None = None
    advertise: str | None = None
    port: int | tuple[int, int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.client, distributed.Client):
            raise ConfigError(f"client must be a distributed.Client, not {shown(self.client)}")
        check_port(self.port)
        if self.order is not None:
            check_flag("order", self.order)
        places = ("worker", "scheduler", "client")
        if not isinstance(self.server, str) or not (self.server in places or "://" in self.server):
            raise ConfigError(
                f"server must be 'worker', 'scheduler', 'client' or the address of a worker, not {shown(self.server)}"
            )
        if self.groups:
            raise ConfigError("groups name workers by number, and which ones a Dask cluster has is not known before")
        if self.tls:
            raise ConfigError("leave out tls: a client with TLS in its Security has it for these connections too")

    def fit(self, X: Any, y: Any, spec: FitSpec, **given: Any) -> FitResult:
        """Train on the rows where they lie; see `dsgd.fit`."""
        self.check_writable()
        sample_weight, eval_set, n_threads = (given.pop(name) for name in ("sample_weight", "eval_set", "n_threads"))
        waits = distributed_on(spec.algorithm, 1).clock_bound == 0
        order = waits if self.order is None else self.order
        on_lost = ("fail" if waits else "continue") if self.on_lost == "auto" else self.on_lost
        options = dataclasses.replace(self, on_lost=on_lost)
        with _out_of_the_pool():
            host = self._own_host(living(self.client))  # before workers that cannot reach each other try to
            data = (X, y if spec.loss.supervised else None, sample_weight)
            shares = place(self.client, *data, _DATA_DEADLINE, order=order)
            addresses = [share.worker for share in shares]
            on_nodes = isinstance(eval_set, tuple) and _is_collection(eval_set[0])
            evals = self._eval_shares(eval_set, addresses) if on_nodes else {}
            scheduler = self.client.scheduler.address
            with certificates(self.client.security, "client", scheduler) as tls:
                bind = self.bind or host
                advertise = self.advertise or (host if bind in ALL_ADDRESSES else None)
                gate = Gate(secrets.token_bytes(32), bind, self.port, advertise, tls, self.heartbeat_deadline)
                tasks = _Tasks(self, gate, data, shares, (*eval_set, None) if on_nodes else (), evals, n_threads)
                names = [f"worker {rank} at {address}" for rank, address in enumerate(addresses)]
                nodes = Nodes(gate, names, tasks.check, tasks.revive)
                with tasks.ended(), nodes.served():
                    tasks.start()
                    nodes.wait(_DATA_DEADLINE)
                    tasks.running = True
                    columns = column_names(getattr(X, "_meta", None))
                    rows = Rows(
                        placed="by the order of chunks" if order else "where the chunks lie",
                        numbered=True,
                        names=FeatureNames(columns, of_columns=columns is not None),
                    )
                    at = None if self.server == "client" else tasks.start_server
                    told = Given(eval_set=None if on_nodes else eval_set, evaluates_on_nodes=on_nodes, **given)
                    return fit_on_nodes(nodes, options, rows, spec, told, at)

    def _eval_shares(self, eval_set: Any, workers: Sequence[str]) -> dict[int, Share]:
        """Return the chunks to score on by rank; those that lie elsewhere are dealt to the workers that train."""
        dealt: dict[int, Share] = {}
        X, y = eval_set
        for k, share in enumerate(place(self.client, X, y, None, _DATA_DEADLINE, order=False)):
            worker = share.worker if share.worker in workers else workers[k % len(workers)]
            dealt.setdefault(workers.index(worker), Share(worker, [])).chunks.extend(share.chunks)
        return dealt

    def _own_host(self, workers: Sequence[str]) -> str:
        """Return the address of this host at which those who reach the scheduler reach it as well."""
        scheduler = host_of(self.client.scheduler.address)
        hosts = {"the scheduler": scheduler, **{f"the worker {each}": host_of(each) for each in workers}}
        own = {who: host for who, host in hosts.items() if host.startswith("127.")}
        others = {who: host for who, host in hosts.items() if who not in own}
        if own and others:
            (loop, at), (away, there) = next(iter(own.items())), next(iter(others.items()))
            raise ClusterError(
                f"{loop} is at {at}, which {away} at {there} cannot reach: give all of them addresses that all hosts "
                "reach"
            )
        return scheduler if own else str(get_ip(scheduler))


class _Tasks:
    """The tasks of the nodes, one for each worker that has rows."""

    def __init__(
        self,
        cluster: DaskCluster,
        gate: Gate,
        data: tuple[Any, Any, Any],
        shares: Sequence[Share],
        eval_data: tuple[Any, ...],
        evals: dict[int, Share],
        n_threads: int | None,
    ) -> None:
        self._cluster, self._client, self._gate = cluster, cluster.client, gate
        self._data, self._shares = data, list(shares)
        self._eval_data, self._evals, self._threads = eval_data, evals, n_threads
        parts = data[0] if isinstance(data[0], list) else []
        self._index_base = next((each.index_base for each in parts if isinstance(each, Shard)), None)
        self._rows: list[Any] = []
        self._eval_rows: dict[int, Any] = {}
        self._tasks: list[Any] = []
        self._moved: set[int] = set()
        self._look_at = 0.0
        self.running = False

    def start(self) -> None:
        """Start one task on every worker, and allow it nowhere else."""
        self._rows = join_shares(self._client, self._shares)
        self._eval_rows = dict(zip(self._evals, join_shares(self._client, list(self._evals.values())), strict=True))
        for rank in range(len(self._shares)):
            self._tasks.append(self._submit(rank))

    def check(self) -> None:
        """Raise the error of a task that could not begin, and `WorkerLostError` if a worker has left before the run."""
        if self._client.status != "running":
            raise ClusterError(f"the Dask client is {self._client.status}, and the fit cannot go on without it")
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK
        if self.running:
            for rank in self._moved:
                self._check_rows(self._rows[rank])
            return
        for future in (*self._rows, *self._eval_rows.values(), *self._tasks):
            self._check_rows(future)
        workers = living(self._client)
        for rank, share in enumerate(self._shares):
            if share.worker not in workers:
                raise WorkerLostError(f"worker {rank} at {share.worker} has left the Dask cluster", worker=rank)

    def revive(self, rank: int) -> None:
        """Start the node of a lost worker at another one, to which Dask brings its rows, or computes them again."""
        lost = self._shares[rank]
        workers = [each for each in living(self._client) if each != lost.worker]
        if not workers:
            raise WorkerLostError(f"no worker of Dask is left to take the rows of {lost.worker}", worker=rank)
        busy = Counter(share.worker for share in self._shares)
        worker = min(workers, key=lambda each: busy[each])
        self._shares[rank], self._rows[rank] = self._moved_to(worker, lost, self._data)
        if rank in self._evals:
            told = self._moved_to(worker, self._evals[rank], self._eval_data)
            self._evals[rank], self._eval_rows[rank] = told
        self._tasks[rank] = self._submit(rank)
        self._moved.add(rank)
        _LOG.warning("the rows of worker %d at %s go to %s", rank, lost.worker, worker)

    def _moved_to(self, worker: str, share: Share, data: tuple[Any, ...]) -> tuple[Share, Any]:
        """Have Dask bring the chunks of a share to a worker; return the share there, and the future of its rows."""
        tasks, _ = tasks_of_chunks(*data)
        wanted = [tasks[chunk.number] for chunk in share.chunks]
        futures = self._client.compute(wanted, workers=[worker], allow_other_workers=False)
        chunks = [chunk._replace(future=future) for chunk, future in zip(share.chunks, futures, strict=True)]
        moved = Share(worker, chunks)
        return moved, join_shares(self._client, [moved])[0]

    def _check_rows(self, future: Any) -> None:
        """Raise the error of a task, with the traceback of its worker."""
        if future.status == "error":
            raise future.exception(timeout=_ANSWER).with_traceback(future.traceback(timeout=_ANSWER))
        if future.status in ("cancelled", "lost") and not self.running:
            raise WorkerLostError(f"Dask has lost {future.key}: the worker that had it, or its rows, are gone")

    def start_server(self, shard: int, role: str) -> None:
        """Start a shard of the parameter server where it is to run."""
        told = (self._gate.address, shard, role, self._gate.token)
        if self._cluster.server == "scheduler":
            self._client.sync(self._client._run_on_scheduler, start_server, *told, callback_timeout=_ANSWER)
            return
        end = time.monotonic() + _ANSWER
        while True:  # the scheduler may not know yet that a worker has died
            address = self._server_address(shard)
            try:  # a second thread for the same role ends by itself: the gate refuses it
                self._client.sync(self._client._run, start_server, *told, workers=[address], callback_timeout=_TRY)
            except (OSError, TimeoutError) as error:
                if time.monotonic() > end:
                    raise ClusterError(f"no parameter server could be started at {address}: {error}") from error
                time.sleep(_LOOK / 4)
            else:
                return

    def _server_address(self, shard: int) -> str:
        """Return the address of the worker that is to have a shard."""
        workers, named = living(self._client), self._cluster.server
        if named == "worker":
            known = [share.worker for share in self._shares if share.worker in workers] or workers
            if known:
                return known[shard % len(known)]
        elif named in workers:
            return named
        where = "a worker" if named == "worker" else f"the worker {named}"
        raise WorkerLostError(f"{where}, which is to have the parameter server, is not there")

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """Let the tasks end at the end of the ``with`` block, and cancel what is left of them."""
        try:
            yield
        finally:
            end = time.monotonic() + _ENDING
            while any(task.status == "pending" for task in self._tasks) and time.monotonic() < end:
                time.sleep(0.02)
            if self._client.status == "running":
                self._client.cancel([*self._tasks, *self._rows, *self._eval_rows.values()])

    def _submit(self, rank: int) -> Any:
        gate, patience, address = self._gate, self._cluster.join_deadline, self._shares[rank].worker
        return self._client.submit(
            serve_rows,
            self._rows[rank],
            self._eval_rows.get(rank),
            address,
            gate.address,
            rank,
            gate.token,
            self._index_base,
            self._threads,
            patience,
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )


def _is_collection(X: Any) -> bool:
    """Return whether rows lie on the cluster, rather than in this process."""
    return is_dask_collection(X) or (isinstance(X, list) and bool(X) and isinstance(X[0], Delayed | distributed.Future))


@contextlib.contextmanager
def _out_of_the_pool() -> Iterator[None]:
    """Leave the place of the task in which this runs, if it runs in one, so that the cluster's threads are free."""
    try:
        distributed.get_worker()
        distributed.secede()
    except (ValueError, AttributeError):  # this is no task
        yield
        return
    try:
        yield
    finally:
        distributed.rejoin()
