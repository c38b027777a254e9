"""Servers and clients on loopback, in this process."""

from __future__ import annotations

import time
from typing import Any

from dsgd import _core

__all__ = ["TIMEOUT", "TOKEN", "Run", "table"]

TOKEN = b"0123456789abcdef0123456789abcdef"
TIMEOUT = 20.0


def table(name: str = "weights", size: int = 5, **options: Any) -> _core.TableSpec:
    return _core.TableSpec(name, size, **options)


class Run:
    """Servers and clients on loopback, all stopped at the end."""

    def __init__(self) -> None:
        self.servers: list[_core.TcpServer] = []
        self.clients: list[_core.TcpClient] = []
        self.kept: dict[int, list[_core.Answer]] = {}

    def server(self, tables: list[_core.TableSpec], *, start: bool = True, **options: Any) -> _core.TcpServer:
        given: dict[str, Any] = {"n_workers": 1, "token": TOKEN} | options
        server = _core.TcpServer(tables, **given)
        self.servers.append(server)
        if start:
            server.start()
        return server

    def client(
        self, worker: int, tables: list[_core.TableSpec], *, join: bool = True, **options: Any
    ) -> _core.TcpClient:
        shards = [(server.host, server.port) for server in self.servers]
        given: dict[str, Any] = {"shards": shards, "token": TOKEN} | options
        client = _core.TcpClient(worker, tables, **given)
        self.clients.append(client)
        client.start()
        if join:
            self.answer(client, "joined")
        return client

    def answer(self, client: _core.TcpClient, kind: str, request: int = 0) -> _core.Answer:
        """Return the next answer of a kind; keep other answers for later calls."""
        kept = self.kept.setdefault(id(client), [])
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            for k, answer in enumerate(kept):
                if answer.kind == kind and (request == 0 or answer.request == request):
                    return kept.pop(k)
            kept += client.wait(deadline - time.monotonic())
        raise AssertionError(f"no answer {kind} after {TIMEOUT} s; there are {[answer.kind for answer in kept]}")

    def pull(self, client: _core.TcpClient, name: str = "weights", keys: Any = None) -> _core.Answer:
        return self.answer(client, "pull", client.pull(time.monotonic(), client.own_clock, name, keys))

    def stop(self) -> None:
        for client in self.clients:
            client.stop()
        for server in self.servers:
            server.stop()
