"""A shard of a simulated parameter server: a state machine, and its frames in virtual time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dsgd import _core
from dsgd.cluster.program.commands import EVERYONE
from dsgd.cluster.simulation.machine import Connection, Group, Machine
from dsgd.cluster.simulation.nodes import SpeedProfile

__all__ = ["SimulatedServer"]


class SimulatedServer:
    """A shard of a parameter server, through its crashes and restarts."""

    def __init__(self, run: Machine, group: Group, shard: int, endpoint: int, profile: SpeedProfile) -> None:
        self.endpoint = endpoint
        self._run = run
        self._queue = run.queue
        self._group = group
        self._shard = shard
        self._profile = profile
        self._incarnation = 1
        self._connections: dict[int, Connection] = {}
        self._armed = math.inf
        self.core: _core.Server | None = self._new(None)
        for spec in group.tables:
            if spec.name == "weights":
                begin, end = self.core.range(spec.name)
                self.core.assign(spec.name, np.ascontiguousarray(run.start[begin * spec.width : end * spec.width]))
        self._saved = self.core.checkpoint()
        self._next_checkpoint = run.config.checkpoint_every
        self._live = self.core.live
        self.notices_clocks = shard == 0 and group.name == EVERYONE

    def _new(self, checkpoint: dict[str, Any] | None) -> _core.Server:
        config = self._run.config
        return _core.Server(
            self._queue.now,
            self._group.tables,
            n_workers=len(self._group.members),
            staleness=self._run.staleness,
            shard=self._shard,
            n_shards=len(self._group.servers) if checkpoint is not None else self._run.shards_of(self._group),
            incarnation=self._incarnation,
            heartbeat_deadline=config.heartbeat_deadline,
            join_deadline=config.heartbeat_deadline,
            on_lost=config.on_lost,
            checkpoint=checkpoint,
        )

    def accept(self, connection: Connection) -> bool:
        """Accept a connection; return False if the server is down."""
        if self.core is None:
            return False
        self._connections[connection.number] = connection
        self._effects(self.core.connected(self._queue.now, connection.number))
        return True

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Receive a frame, at the end of a pause if the server stands still."""
        if not connection.open or self.core is None:
            return
        now = self._queue.now
        goes_on = self._profile.stopped_until(now)
        if goes_on > now:
            self._queue.at(goes_on, self.deliver, connection, frame)
            return
        effects = self.core.receive(now, connection.number, frame)
        # A checkpoint also when a worker leaves: it never connects again, so that a server that was
        # restarted from an older checkpoint would wait for it.
        if self.core.slowest >= self._next_checkpoint or self.core.live < self._live:
            self._saved = self.core.checkpoint()
            self._next_checkpoint = self.core.slowest + self._run.config.checkpoint_every
        self._live = self.core.live
        self._effects(effects)
        if self.notices_clocks:
            self._run.notice_clock(self.core.slowest)

    def lose(self, connection: Connection) -> None:
        """Learn that a connection is closed."""
        if self.core is not None and self._connections.pop(connection.number, None) is not None:
            self._effects(self.core.disconnected(self._queue.now, connection.number))

    def crash(self) -> None:
        """Forget everything but the last checkpoint."""
        self.core = None
        for connection in self._connections.values():
            connection.open = False
            delay = self._run.network.latency(self.endpoint, connection.worker.node)
            self._queue.at(self._queue.now + delay, connection.worker.lose, connection)
        self._connections.clear()

    def restart(self) -> None:
        """Go on from the last checkpoint."""
        self._incarnation += 1
        self.core = self._new(self._saved)
        self._next_checkpoint = self.core.slowest + self._run.config.checkpoint_every
        self._live = self.core.live
        self._arm()

    def _effects(self, effects: list[tuple[int, bytes | None]]) -> None:
        for number, frame in effects:
            connection = self._connections.get(number)
            if connection is None:
                continue
            worker = connection.worker
            if frame is not None:
                self._run.network.send(self.endpoint, worker.node, len(frame), worker.deliver, connection, frame)
            else:
                del self._connections[number]
                connection.open = False
                delay = self._run.network.latency(self.endpoint, worker.node)
                self._queue.at(self._queue.now + delay, worker.lose, connection)
        self._arm()

    def _arm(self) -> None:
        """Schedule `_tick` for the next deadline of the state machine."""
        if self.core is not None:
            deadline = self.core.next_deadline()
            if deadline < self._armed:
                self._armed = deadline
                self._queue.at(self._profile.stopped_until(deadline), self._tick, deadline)

    def _tick(self, armed: float) -> None:
        if armed != self._armed:
            return
        self._armed = math.inf
        if self.core is not None:
            self._effects(self.core.tick(self._queue.now))
