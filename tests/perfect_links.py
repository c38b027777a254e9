"""The state machines of servers and workers, joined by calls in place of a network."""

from __future__ import annotations

from typing import Any

from dsgd import _core

__all__ = ["Cluster"]


class Cluster:
    """Servers and clients joined by links that lose nothing and take no time."""

    def __init__(self, tables: list[_core.TableSpec], n_workers: int, n_shards: int = 1, **options: Any) -> None:
        self.tables, self.n_shards, self.now = tables, n_shards, 0.0
        self.options = {"n_workers": n_workers, "n_shards": n_shards, **options}
        self.servers = [_core.Server(0.0, tables, shard=s, **self.options) for s in range(n_shards)]
        self.clients = [_core.Client(0.0, w, tables, n_shards=n_shards) for w in range(n_workers)]
        self.ids: dict[tuple[int, int], int] = {}
        self.next_id = 0
        self.answers: list[list[_core.Answer]] = [[] for _ in range(n_workers)]

    def connect(self, worker: int) -> None:
        for shard, server in enumerate(self.servers):
            self.ids[worker, shard] = self.next_id
            self.next_id += 1
            assert server.connected(self.now, self.ids[worker, shard]) == []
            self.clients[worker].connected(self.now, shard)

    def connect_all(self) -> Cluster:
        for worker in range(len(self.clients)):
            self.connect(worker)
        self.run()
        return self

    def deliver(self, shard: int, effects: list[tuple[int, bytes | None]]) -> None:
        at = {number: worker for (worker, s), number in self.ids.items() if s == shard}
        for connection, frame in effects:
            if connection not in at:
                continue
            if frame is None:
                self.clients[at[connection]].disconnected(self.now, shard)
            else:
                self.clients[at[connection]].receive(self.now, shard, frame)

    def run(self) -> None:
        moved = True
        while moved:
            moved = False
            for worker, client in enumerate(self.clients):
                self.answers[worker] += client.take_answers()
                for shard, frame in client.take_frames():
                    moved = True
                    assert frame is not None
                    self.deliver(shard, self.servers[shard].receive(self.now, self.ids[worker, shard], frame))

    def taken(self, worker: int, kind: str) -> list[_core.Answer]:
        found = [answer for answer in self.answers[worker] if answer.kind == kind]
        self.answers[worker] = [answer for answer in self.answers[worker] if answer.kind != kind]
        return found

    def pull(self, worker: int, table: str = "w", keys: Any = None) -> _core.Answer:
        client = self.clients[worker]
        request = client.pull(self.now, client.own_clock, table, keys)
        self.run()
        (answer,) = self.taken(worker, "pull")
        assert answer.request == request
        return answer
