"""Starts, restarts and ends the processes of a local run, and keeps their files."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsgd.cluster.driver.crew import Crew
from dsgd.cluster.local.child import Child
from dsgd.cluster.local.config import LocalCluster
from dsgd.cluster.local.letters import letter_memory
from dsgd.cluster.local.packing import Nameless, pack_part, pack_run, path_of
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.errors import ClusterError

__all__ = ["LocalCrew", "check_loopback"]

_HOST = "127.0.0.1"


def check_loopback(seconds: float) -> None:
    """Raise `ClusterError` if no TCP connection can be made on this machine within `seconds`."""
    try:
        with socket.create_server((_HOST, 0)) as server, socket.create_connection(server.getsockname(), seconds):
            pass
    except OSError as error:
        raise ClusterError(
            f"the processes of a run reach each other over the loopback interface, at {_HOST}, and no connection can "
            f"be made there: {error.strerror or error}; bring it up, as by `ip link set lo up`"
        ) from error


class LocalCrew(Crew):
    """All processes of a run on this machine.

    Parameters
    ----------
    config : LocalCluster
    assignment : RunSpec
    notices : sequence of int
        Clocks of the slowest worker after which records are made, increasing.
    """

    def __init__(self, config: LocalCluster, assignment: RunSpec, notices: Sequence[int]) -> None:
        super().__init__(config, assignment, config.worker_speeds())
        self._config = config
        self._assignment = assignment
        self._n_threads = max(1, assignment.n_threads // config.workers)
        self._token = secrets.token_bytes(32).hex()
        self._parts: list[Nameless] = []
        self._run = pack_run(assignment, self._options(notices))
        self._letters = letter_memory(assignment)
        if config.proxy is not None:
            self.through = " through the proxy"

    def check(self) -> None:
        """Raise `ClusterError` if no connection can be made on this machine."""
        check_loopback(self._config.join_deadline)

    def start_servers(self, checkpoint: Checkpoint | None, incarnation: int) -> None:
        """Start all shards; shards that are started again keep their ports."""
        for shard, old in enumerate(self.servers):
            if old is not None:
                old.end()
            states = self._states_of(shard, checkpoint)
            saved: list[Nameless | None] = []
            try:
                saved += (Nameless(state) if state else None for state in states)
                self.servers[shard] = self._start(
                    "server",
                    shard,
                    [file.descriptor for file in saved if file is not None],
                    shard=shard,
                    ports=[port for _, port in self._addresses[shard]] or [0] * len(states),
                    incarnation=incarnation,
                    checkpoints=[None if file is None else path_of(file.descriptor) for file in saved],
                )
            finally:
                for file in saved:
                    if file is not None:
                        file.close()  # the child has a descriptor of its own

    def start_workers(self) -> None:
        """Pack the rows of every node and start its process."""
        for rank in range(len(self.workers)):
            self._parts.append(pack_part(self._assignment, rank))
            self.start_worker(rank)

    def start_worker(self, rank: int, *, silent: bool = False) -> Child:  # noqa: ARG002
        """Start the process of a node; if the node had a process, end that one first."""
        old = self.workers[rank]
        if old is not None:
            old.end()
            self.end_life(rank)
        part, letters = self._parts[rank].descriptor, self._letters
        child = self._start(
            "worker",
            rank,
            [part] if letters is None else [part, letters.descriptor],
            rank=rank,
            speed=self._speeds[rank],
            part=path_of(part),
            letters=None if letters is None else letters.told(),
        )
        self.workers[rank] = child
        self._introduce(rank, child)
        return child

    def drop_worker(self, rank: int) -> None:
        """End the process of a node for good."""
        old = self.workers[rank]
        if old is not None:
            old.end()
        self.workers[rank] = None

    def end_life(self, rank: int) -> None:
        """Let other nodes write letters where a node was writing when its process ended."""
        child = self.workers[rank]
        if self._letters is not None and child is not None and child.ended:
            self._letters.end_life(rank)

    def end(self) -> None:
        """End all processes and close all files."""
        for child in self.children():  # kill all before any wait: a second Ctrl-C may end the wait
            child.kill()
        for child in self.children():
            child.end()
        for file in [self._run, *self._parts]:
            file.close()
        if self._letters is not None:
            self._letters.close()

    def _front(self, host: str, port: int) -> tuple[str, int]:
        """Return the address to which workers connect to reach a shard."""
        proxy = self._config.proxy
        return (host, port) if proxy is None else proxy.front(host, port)

    def _start(self, kind: str, number: int, descriptors: list[int], **told: Any) -> Child:
        folder = self._config.log_dir
        name = self.name(number) if kind == "worker" else f"server {number}"
        return Child(
            f"dsgd.cluster.local.{kind}",
            name,
            self._n_threads if kind == "worker" else 1,
            [self._run.descriptor, *descriptors],
            None if folder is None else Path(folder, f"{name.replace(' ', '-')}.log"),
            {"run": path_of(self._run.descriptor), "token": self._token, **told},
        )

    def _options(self, notices: Sequence[int]) -> dict[str, Any]:
        """Return the options that all processes get in addition to the algorithm."""
        config = self._config
        return {
            "groups": self._groups,
            "n_shards": config.servers,
            "n_threads": self._n_threads,
            "notices": list(notices),
            "trace": config.trace,
            "record_answers": config.record_answers,
            "join_deadline": config.join_deadline,
            "tls": config.tls,
            "server": config.of_server(),
            "client": config.of_client(),
        }
