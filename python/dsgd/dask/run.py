"""One run on the workers of a Dask cluster: the driver serves the parameters, and watches the training tasks."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from dsgd._common.warn import warn
from dsgd.cluster.local.channel import ChannelMessage
from dsgd.cluster.local.ledger import Ledger
from dsgd.cluster.local.server import StatusSender
from dsgd.cluster.program.groups import make_groups
from dsgd.cluster.runtime.observed import model_of
from dsgd.cluster.runtime.run_spec import OnClock, Outcome, Plan, RunSpec
from dsgd.cluster.tcp.server import ServerSpec, run_server
from dsgd.dask.placement import workers_of
from dsgd.dask.training import Job, read, train
from dsgd.errors import ClusterError, DeadlineError, WorkerLostError

__all__ = ["DaskRun", "Limits"]

_TICK = 0.25  # seconds between two looks at the workers
_SERVER = -1  # the rank under which messages of the server are queued


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a run waits, in seconds: as of `LocalCluster`."""

    heartbeat_deadline: float = 30.0
    join_deadline: float = 60.0
    stall_deadline: float = 3600.0


class _ClosedError(Exception):
    """Ends a server that nobody needs any longer."""


class DaskRun:
    """A run on workers of Dask, which `dsgd.cluster.fit.run_on_cluster` records.

    Parameters
    ----------
    client : distributed.Client
    rows : mapping of str to Future
        By address, in the order of the ranks: the `WorkerRows` that lie there.
    host : str
        Address of this host at which workers reach the server.
    job : mapping of str
        Parameters of `Job` that the run does not know: ``token``, ``terms``, ``topic``.
    limits : Limits
    work : RunSpec
    on_clock, notices
        See `LocalRun`.
    """

    def __init__(
        self,
        client: Any,
        rows: Mapping[str, Any],
        host: str,
        job: Mapping[str, Any],
        limits: Limits,
        work: RunSpec,
        on_clock: OnClock,
        notices: Sequence[int],
    ) -> None:
        self._client, self._work, self._rows, self._host = client, work, rows, host
        self._job, self._limits, self._on_clock, self._notices = job, limits, on_clock, notices
        self._groups = make_groups({}, work.n_nodes)
        self._ledger = Ledger(work.n_nodes, 1, notices, None)
        self._heard: queue.Queue[tuple[int, ChannelMessage | BaseException]] = queue.Queue()
        self._closed = threading.Event()
        self._tasks: list[Any] = []
        self._addresses = list(rows)
        self._done: set[int] = set()
        self._gone: set[int] = set()
        self._stopped = False
        # A worker that is lost in a barrier leaves the others waiting for rows that nobody has.
        self._may_lose = work.algorithm.clock_bound > 0
        self._began = time.monotonic()
        self._progress = (self._began, self._ledger.members)
        self._look_at = self._began

    def run(self) -> Outcome:
        """Run the workers until all of them have left, or the observer ends the run.

        Raises
        ------
        WorkerLostError, DeadlineError, ClusterError
            If the run cannot go on, or a deadline passes.
        Exception
            The error that a training task raised, with the traceback of the worker.
        """
        self._client.subscribe_topic(self._job["topic"], self._hear_event)
        server = threading.Thread(target=self._serve, name="dsgd-server", daemon=True)
        server.start()
        try:
            while not self._ended():
                self._take()
                self._look_at_tasks()
                self._check_deadlines()
                for record, weights in self._ledger.due(self._absent()):
                    if not self._stopped:
                        model = model_of(self._work.algorithm.observes, record.observed, weights, self._work.start)
                        self._stopped = self._on_clock(record, model)
            return self.outcome()
        finally:
            self._closed.set()
            self._client.unsubscribe_topic(self._job["topic"])
            self._client.cancel([task for task in self._tasks if not task.done()])
            server.join(self._limits.heartbeat_deadline)

    def outcome(self) -> Outcome:
        """Return the outcome with the tables, record and reports as they are now."""
        tables = self._ledger.tables[0] or {}
        record = self._ledger.last_record(time.perf_counter(), self._gone)
        weights = model_of(self._work.algorithm.observes, record.observed, tables.get("weights"), self._work.start)
        return Outcome(weights=weights, tables=tables, record=record, reports=self._ledger.reports, trace=None)

    def _ended(self) -> bool:
        if self._stopped:
            return True
        ended = self._ledger.tables[0] is not None and len(self._done | self._gone) == self._work.n_nodes
        if ended and not self._done:
            raise WorkerLostError("all workers were lost, so that nobody could go on")
        return ended

    def _absent(self) -> set[int]:
        lost = {rank for rank, (status, _) in enumerate(self._ledger.members) if status == "lost"}
        return self._done | self._gone | lost

    def _take(self) -> None:
        """Take the messages that have come; wait for the first one."""
        wait = _TICK
        while True:
            try:
                rank, message = self._heard.get(timeout=wait) if wait else self._heard.get_nowait()
            except queue.Empty:
                return
            wait = 0.0
            if isinstance(message, BaseException):
                raise message
            if rank != _SERVER:
                self._ledger.hear_worker(rank, message)
                if message.kind == "done":
                    self._done.add(rank)
            elif message.kind == "listening":
                self._start_tasks(message.fields["addresses"][0])
            elif message.kind != "checkpoint":
                self._ledger.hear_server(0, message)

    def _start_tasks(self, server: tuple[str, int]) -> None:
        """Start one training task on every worker, and allow it nowhere else."""
        heartbeat, join = self._limits.heartbeat_deadline, self._limits.join_deadline
        work = self._work
        names = ("name", "size", "dtype", "rule", "width", "step_size")
        tables = [{name: getattr(table, name) for name in names} for table in work.table_specs()]
        plan = _plan_of(work)
        for rank, (address, rows) in enumerate(self._rows.items()):
            job = Job(
                worker=address,
                rank=rank,
                plan=plan,
                groups=self._groups,
                notices=self._notices,
                client={"heartbeat_interval": heartbeat / 6, "deadline": heartbeat + join},
                tables=tables,
                server=(server[0], server[1]),
                of_whole=work.of_whole,
                start=work.start,
                **self._job,
            )
            task = self._client.submit(
                train, rows, job, workers=[address], allow_other_workers=False, pure=False, retries=0
            )
            self._tasks.append(task)

    def _look_at_tasks(self) -> None:
        """Raise the error of a task that failed; notice workers that have left."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _TICK
        for task in self._tasks:
            if task.status == "error":
                _raise_of(task)
        living = workers_of(self._client)
        for rank, address in enumerate(self._addresses):
            if address not in living and rank not in self._done | self._gone:
                self._lose(rank, f"worker {rank} at {address} has left the Dask cluster")
        for rank, (status, _) in enumerate(self._ledger.members):
            if status == "lost" and rank not in self._done | self._gone:
                self._lose(rank, f"the server has not heard of worker {rank} at {self._addresses[rank]} for too long")

    def _lose(self, rank: int, how: str) -> None:
        """Go on without a worker, if the algorithm can."""
        self._gone.add(rank)
        if not self._may_lose or len(self._gone) == self._work.n_nodes:
            raise WorkerLostError(how, worker=rank)
        warn(f"{how}; the others go on without its rows")

    def _check_deadlines(self) -> None:
        now, limits = time.monotonic(), self._limits
        if self._ledger.members != self._progress[1]:
            self._progress = (now, self._ledger.members)
        joined = any(status not in ("expected", "lost") for status, _ in self._ledger.members)
        if not joined and now > self._began + limits.join_deadline:
            raise ClusterError(
                f"no worker of {self._addresses} has reached the server at {self._host} within "
                f"{limits.join_deadline:g} s"
            )
        if now > self._progress[0] + limits.stall_deadline:
            raise DeadlineError(f"no worker finished a clock for {limits.stall_deadline:g} s; {self._ledger.members}")

    def _serve(self) -> None:
        """Serve the parameters, in a thread of this process."""
        limits, work = self._limits, self._work
        spec = ServerSpec(
            tables=work.table_specs(),
            start=work.start,
            staleness=work.algorithm.clock_bound,
            groups=self._groups,
            token=self._job["token"],
            bind=self._host,
            notices=self._notices,
            server={
                "join_deadline": limits.join_deadline,
                "heartbeat_deadline": limits.heartbeat_deadline,
                "on_lost": "continue",  # the driver decides, which knows the worker's address
            },
        )
        try:
            run_server(spec, StatusSender(self._hear_server, self._closed.wait))
        except _ClosedError:
            pass
        except BaseException as error:  # raised again in the thread of the driver
            self._heard.put((_SERVER, error))

    def _hear_server(self, kind: str, arrays: Mapping[str, Any] | None = None, **fields: Any) -> None:
        if self._closed.is_set():
            raise _ClosedError
        copies = {name: np.array(array) for name, array in (arrays or {}).items()}
        self._heard.put((_SERVER, ChannelMessage(kind, fields, copies)))

    def _hear_event(self, event: tuple[float, Mapping[str, Any]]) -> None:
        self._heard.put(read(event[1]))


def _plan_of(work: RunSpec) -> Plan:
    """Return the plan of a run without its data."""
    return Plan(**{each.name: getattr(work, each.name) for each in dataclasses.fields(Plan)})


def _raise_of(task: Any) -> NoReturn:
    """Raise the error of a task, with the traceback of the worker."""
    error = task.exception(timeout=5.0)
    raise error.with_traceback(task.traceback(timeout=5.0))
