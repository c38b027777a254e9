"""One run on real processes: the driver starts, watches and ends all of them, wherever they are."""

from __future__ import annotations

import contextlib
import logging
import selectors
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from dsgd._common.warn import warn
from dsgd.cluster.driver.channel import error_of
from dsgd.cluster.driver.crew import Crew, Process
from dsgd.cluster.driver.ledger import Ledger
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.driver.saves import Saves
from dsgd.cluster.runtime.checkpoint import About
from dsgd.cluster.runtime.observed import model_of
from dsgd.cluster.runtime.run_spec import OnClock, Outcome, RunSpec
from dsgd.cluster.runtime.trace import Trace
from dsgd.errors import ClusterError, DeadlineError, DsgdError, WorkerLostError

__all__ = ["SupervisedRun"]

_LOG = logging.getLogger("dsgd")
# Longest wait for messages between two checks of the deadlines, in seconds.
_TICK = 0.25
# Likewise while processes are about to connect, which no selector hears.
_SOON = 0.005


class SupervisedRun:
    """A run on processes, from their start to their end.

    Parameters
    ----------
    config : RunOptions
    assignment : RunSpec
    make_crew : callable
        Returns the processes; called once it is known that the run can begin.
    on_clock : callable, optional
        Called with the state of the cluster and the weights of the model as they were when the
        slowest worker had finished one of the clocks in `notices`. The workers go on during the
        call. The run ends if it returns True.
    notices : sequence of int
        Clocks after which `on_clock` is called, increasing.
    """

    def __init__(
        self,
        config: RunOptions,
        assignment: RunSpec,
        make_crew: Callable[[], Crew],
        on_clock: OnClock | None = None,
        notices: Sequence[int] = (),
    ) -> None:
        n = assignment.n_nodes
        self._config = config
        self._start = assignment.start
        self._on_clock = on_clock
        self._observes = assignment.algorithm.observes
        self._coordinated = assignment.algorithm.has_coordinator
        self._saves = Saves(config, About.of(assignment, config.servers, config.groups))
        self._crew = make_crew()
        self._trace = Trace(self._crew.about(assignment.algorithm.clock_bound)) if config.trace else None
        self._ledger = Ledger(n, config.servers, notices, self._trace, one_clock=self._crew.one_clock)
        self._selector = selectors.DefaultSelector()
        # Processes that are started elsewhere, and have no connection yet.
        self._to_come: list[tuple[str, int, Process]] = []
        self._gone: set[int] = set()
        self._restarts: Counter[str] = Counter()
        self._stopped = False
        self._private = assignment.algorithm.privacy is not None
        self._taken_back: list[int] = []
        # Readings of the first server's messages; and their number when a worker ended, of those that did so since
        # servers were started again: such a worker may have left the servers before.
        self._readings = 0
        self._doubtful: dict[int, int] = {}
        self._finished: float | None = None
        self._looked = time.monotonic()
        self._progress = (self._looked, self._ledger.members)
        # Time from which on a first worker could join (`time.monotonic`); None: one has joined.
        self._join_since: float | None = None

    def run(self) -> Outcome:
        """Run the workers until all of them have left, or `on_clock` ends the run.

        Returns
        -------
        Outcome

        Raises
        ------
        WorkerLostError, DeadlineError, ClusterError
            If workers or servers are lost, or a deadline passes, and the configuration does not let
            the run go on.
        DsgdError
            The error that the program of a worker raised.
        """
        try:
            self._crew.check()
            self._start_servers()
            self._crew.start_workers()
            self._join_since = time.monotonic()
            for rank in range(len(self._crew.workers)):
                self._listen_to("worker", rank)
            while not self._ended():
                self._look()
                for key, _ in self._selector.select(_SOON if self._to_come else _TICK):
                    self._hear(*key.data)
                self._check_deadlines()
                self._show_records()
            if self._stopped:
                self._close_books()
            return self.outcome()
        except KeyboardInterrupt:  # the caller may ask for the outcome so far
            self._close_books()
            raise
        finally:
            self._selector.close()
            self._crew.end()

    def outcome(self) -> Outcome:
        """Return the outcome with the tables, record and reports as they are now."""
        ledger, tables = self._ledger, {}
        if self._trace is not None:
            self._trace.sort()
        parts = [part for part in ledger.tables if part is not None]
        if len(parts) == len(ledger.tables):
            tables = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        record = ledger.last_record(time.perf_counter(), self._gone)
        return Outcome(
            weights=model_of(self._observes, record.observed, tables.get("weights"), self._start),
            tables=tables,
            record=record,
            reports=ledger.reports,
            trace=self._trace,
            taken_back=tuple(self._taken_back),
        )

    def _close_books(self) -> None:
        """End the workers of a private run, and hear of all that they have entered before.

        A shard tells its reports several times a second: the second time from now on it has read all frames.
        """
        if not self._private:
            return
        for child in self._crew.workers:
            if child is not None:
                child.kill()
        server, told, deadline = self._crew.servers[0], 0, time.monotonic() + self._config.heartbeat_deadline
        with contextlib.suppress(EOFError):
            while server is not None and told < 2 and time.monotonic() < deadline:
                for key, _ in self._selector.select(_TICK):
                    if key.data[2] is server:
                        for message in server.arrived():
                            self._ledger.hear_server(0, message)
                            told += 2 if message.kind == "finished" else message.kind == "alive"
                    else:
                        self._selector.unregister(key.fileobj)
        if told < 2:
            self._taken_back.append(0)

    def _ended(self) -> bool:
        if self._stopped:
            return True
        if None in self._ledger.tables:
            self._finished = None
            return False
        now = time.monotonic()
        self._finished = self._finished or now
        # A worker may stand still after it has left the servers: its report is waited for, but not
        # longer than `heartbeat_deadline`.
        if len(self._absent()) < len(self._crew.workers) and now < self._finished + self._config.heartbeat_deadline:
            return False
        if not any(child is not None and child.done for child in self._crew.workers):
            raise WorkerLostError("all workers were lost, so that nobody could go on; see restart_workers")
        return True

    def _show_records(self) -> None:
        for record, weights in self._ledger.due(self._absent()):
            if self._on_clock is not None and not self._stopped:
                self._stopped = self._on_clock(record, model_of(self._observes, record.observed, weights, self._start))

    def _absent(self) -> set[int]:
        """Return the ranks of which no further report will come."""
        done = {rank for rank, child in enumerate(self._crew.workers) if child is not None and child.done}
        return done | self._gone | {rank for rank, (status, _) in enumerate(self._ledger.members) if status == "lost"}

    def _listen_to(self, kind: str, number: int) -> None:
        child = (self._crew.servers if kind == "server" else self._crew.workers)[number]
        assert child is not None
        if child.fileno() < 0:
            self._to_come.append((kind, number, child))
        else:
            self._selector.register(child, selectors.EVENT_READ, (kind, number, child))

    def _look(self) -> None:
        """Listen to processes that can be heard by now."""
        self._crew.look()
        waiting, self._to_come = self._to_come, []
        for kind, number, child in waiting:
            if any(child is other for other in self._crew.children()):
                self._listen_to(kind, number)

    def _hear(self, kind: str, number: int, child: Process) -> None:
        """Take the messages of a process, or notice its end."""
        if all(child is not other for other in self._crew.children()):  # it has just been replaced
            return
        try:
            messages = child.arrived()
        except EOFError:
            self._selector.unregister(child)
            if not child.done:
                how = f"{child.name} {child.how_it_ended()}"
                if kind == "server":
                    self._lose_server(how)
                else:
                    self._crew.end_life(number)
                    self._lose_worker(number, how)
            return
        self._readings += kind == "server" and number == 0
        for message in messages:
            if message.kind == "error":
                raise self._named(error_of(child.name, message))
            if kind == "worker":
                child.done = message.kind == "done"
                if child.done and self._taken_back:
                    self._doubtful[number] = self._readings
                if message.kind != "ready":
                    self._ledger.hear_worker(number, message)
            elif message.kind == "listening":
                for rank in self._crew.listens(number, message.fields["addresses"]):
                    self._start_worker(rank)
            elif message.kind == "checkpoint":
                told = message.fields
                self._saves.keep(number, told["group"], told["clock"], message.arrays, self._gone)
            else:
                child.done = message.kind == "finished"
                self._ledger.hear_server(number, message)

    def _named(self, error: DsgdError) -> DsgdError:
        """Return an error with the name of the worker that it says is lost; servers know a number only."""
        rank = error.worker if isinstance(error, WorkerLostError) else None
        if rank is None or self._crew.name(rank) in str(error):
            return error
        named = WorkerLostError(f"{self._crew.name(rank)} is lost ({error})", worker=rank)
        for note in error.__notes__:
            named.add_note(note)
        return named

    def _check_deadlines(self) -> None:
        now, config = time.monotonic(), self._config
        away, self._looked = now - self._looked, now
        # This process was busy in a callback, or the whole machine stood still: all deadlines are
        # moved by that time.
        if away > 4 * _TICK:
            for child in self._crew.children():
                child.heard = min(child.heard + away, now)
            self._progress = (self._progress[0] + away, self._progress[1])
            self._join_since = None if self._join_since is None else self._join_since + away
        for server in self._crew.servers:
            if server is not None and not server.done:
                limit = config.heartbeat_deadline if server.spoke else config.join_deadline
                if now > server.heard + limit:
                    self._lose_server(f"{server.name} said nothing for {limit:g} s")
                    break
        self._check_doubtful()
        self._check_joined(now)
        lost = {rank for rank, (status, _) in enumerate(self._ledger.members) if status == "lost"}
        for rank in sorted(lost - self._gone):
            worker = self._crew.workers[rank]
            # A worker that was started again counts as lost until it has joined.
            limit = config.heartbeat_deadline if worker is None or worker.spoke else config.join_deadline
            if worker is None or now > worker.heard + limit:
                how = f"the server has not heard of {self._crew.name(rank)} for too long"
                self._lose_worker(rank, how, silent=True)
        if self._ledger.members != self._progress[1]:
            self._progress = (now, self._ledger.members)
        if now > self._progress[0] + config.stall_deadline:
            raise DeadlineError(
                f"no worker finished a clock for {config.stall_deadline:g} s; they are {self._ledger.members}"
            )

    def _check_doubtful(self) -> None:
        """Start workers again that have left the servers before these, of which they knew no more than their end.

        The second reading after a worker's last message has what the server told later than the worker.
        """
        for rank, reading in list(self._doubtful.items()):
            if self._readings >= reading + 2:
                del self._doubtful[rank]
                if self._ledger.members[rank][0] in ("expected", "lost"):
                    self._start_worker(rank)

    def _check_joined(self, now: float) -> None:
        """Raise `ClusterError` if no worker at all has reached the servers in time.

        The cause is then not in one of the workers, and no restart would help.
        """
        if any(status not in ("expected", "lost") for status, _ in self._ledger.members):
            self._join_since = None
        if self._join_since is not None and now > self._join_since + self._config.join_deadline:
            through = self._crew.through
            raise ClusterError(
                f"no worker has reached the servers{through} within {self._config.join_deadline:g} s; a larger "
                "join_deadline gives a slow machine more time"
            )

    def _lose_worker(self, rank: int, how: str, *, silent: bool = False) -> None:
        """Start a worker again, go on without it, or give up, as configured."""
        config, name = self._config, self._crew.name(rank)
        if self._restarts[name] < config.restart_workers:
            self._restarts[name] += 1
            _LOG.warning("%s; it is started again", how)
            self._start_worker(rank, silent=silent)
            if config.groups:
                # Other workers may be past an all-reduce of a further group that this worker, which
                # begins its clock anew, will wait for. No group knows the clocks of the others.
                self._go_back()
        elif config.on_lost == "fail" or (self._coordinated and rank == 0):
            raise WorkerLostError(how, worker=rank)
        else:
            self._gone.add(rank)
            self._crew.give_up(rank)
            # No report can come any more: there is no need to wait for a deadline.
            if len(self._gone) == len(self._crew.workers):
                raise WorkerLostError(f"all workers were lost, the last one as {how}; see restart_workers")
            if config.groups:  # it could come back in the middle of a clock, as above
                self._forget(self._crew.workers[rank])
                self._crew.drop_worker(rank)
            message = f"{how}; the others go on without its rows"
            warn(message)

    def _lose_server(self, how: str) -> None:
        """Start all shards again from one checkpoint, or give up."""
        if self._restarts["server"] >= self._config.restart_servers:
            raise ClusterError(f"{how}, and restart_servers={self._config.restart_servers} does not allow another")
        self._restarts["server"] += 1
        _LOG.warning("%s", how)
        self._go_back()

    def _go_back(self) -> None:
        """Start all shards again from the last checkpoint; the workers go on from there."""
        last = self._saves.last
        self._taken_back.append(0 if last is None else last.clock)
        _LOG.warning("the run goes on from clock %d", 0 if last is None else last.clock)
        for child in self._crew.servers:
            self._forget(child)
        self._saves.begin_again()
        if self._join_since is not None:  # no worker could join while the servers were down
            self._join_since = time.monotonic()
        self._ledger.restart()
        self._start_servers()
        for rank, child in enumerate(self._crew.workers):
            if child is not None and child.done:  # the new servers do not know that it has left
                self._start_worker(rank)

    def _start_worker(self, rank: int, *, silent: bool = False) -> None:
        """Start the process of a node again."""
        self._doubtful.pop(rank, None)
        self._forget(self._crew.workers[rank])
        self._crew.start_worker(rank, silent=silent)
        self._listen_to("worker", rank)

    def _start_servers(self) -> None:
        self._crew.start_servers(self._saves.last, self._saves.incarnation)
        for shard in range(len(self._crew.servers)):
            self._listen_to("server", shard)

    def _forget(self, child: Process | None) -> None:
        """Stop listening to a process."""
        if child is not None:
            with contextlib.suppress(KeyError, ValueError):  # it never was heard
                self._selector.unregister(child)
