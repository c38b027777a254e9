"""`dsgd.LocalCluster`: processes of this machine, and a parameter server of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dsgd._common.checks import check_choice, check_flag, check_integer, check_real, shown
from dsgd._common.files import check_replaceable
from dsgd.cluster.program.partition import Partition, check_partition
from dsgd.errors import ConfigError

__all__ = ["LocalCluster"]

_WIRE_DTYPES = ("float16", "bfloat16")


class Front(Protocol):
    """What stands between workers and servers, as `dsgd.testing.Proxy` does."""

    def front(self, host: str, port: int, /) -> tuple[str, int]:
        """Return where to connect instead of connecting to a server."""


@dataclass(frozen=True, kw_only=True)
class LocalCluster:
    """Worker processes on this machine that train over TCP on the loopback device.

    Every worker is a process of its own, and every shard of the parameter server another. The rows are packed once, by
    `fit`, and mapped by the workers. Nothing of a run is left when it ends, however it ends: no process, no socket, no
    file but a checkpoint and logs that were asked for. It works from a script without a main guard, from a REPL and
    from a notebook.

    Parameters
    ----------
    workers : int, default=4
        That train. An algorithm with a coordinator has a process more for it.
    servers : int, default=1
        Shards of the parameter server.
    speeds : float or sequence of float or mapping of int to float, default=1.0
        Of all workers, of each, or of those that are named, by number: below 1 a worker sleeps after each kernel, as
        long as if its processor were so much slower.
    partition : "equal" or Partition, default="equal"
        How the rows are dealt to the workers, by the `random_state` of the fit. ``"equal"``: at random, as many for
        each as for any other. `Shares`, `ByLabel`, `Dirichlet` and `Given` of `dsgd.cluster` deal otherwise.
    checkpoint_every : int, optional
        Clocks of the slowest worker between checkpoints of the server. None: there are none, and a server that is
        started again begins at clock 0.
    checkpoint : path-like, optional
        A safetensors file that always holds the last checkpoint; without it the last one is kept in memory. One that
        can no longer be written in the middle of a run is a RuntimeWarning, and the run goes on.
    resume : path-like, optional
        A checkpoint to go on from. Algorithm, data, workers, partition and servers must be the same; the random state
        is that of the run that was saved, and so is a step size that was chosen then and is not given now.
    on_lost : {"continue", "fail"}, default="continue"
        Whether the others go on without a worker that is lost, after `heartbeat_deadline`, and without its rows.
    restart_workers, restart_servers : int, default=0, 1
        How often each worker, and the server, is started again when it was killed or does not answer: a worker where it
        was, the server from its last checkpoint. An error of a program is raised, and nothing started again.
    heartbeat_deadline : float, default=30.0
        Seconds of silence after which a worker or a server counts as lost.
    join_deadline : float, default=60.0
        Seconds in which a process must have started, and in which a first worker must have reached the servers.
    stall_deadline : float, default=3600.0
        Seconds in which no worker finishes a clock after which the run is given up.
    tls : bool, default=False
        Encrypt what goes over TCP (TLS 1.3, the key from the token of the run).
    wire_dtype : {"float16", "bfloat16"}, optional
        Type of the values on the wire, shorter than those of the model.
    payload_checksum : bool, default=False
        A checksum of every payload, beside that of every header.
    trace : bool, default=False
        Keep what happened (`FitResult.trace`).
    record_answers : bool, default=False
        Keep what every command was answered, too, so that the programs can be replayed; needs `trace`.
    log_dir : path-like, optional
        A folder for the log of every process, ``worker-0.log`` and so on.
    proxy : dsgd.testing.Proxy, optional
        Stands between the workers and the servers, to test how a run gets on with a bad network; or any object whose
        method ``front(host, port)`` returns the host and port to connect to instead. Letters from worker to worker do
        not pass it.
    """

    workers: int = 4
    servers: int = 1
    speeds: float | Sequence[float] | Mapping[int, float] = 1.0
    partition: Partition | str = "equal"
    checkpoint_every: int | None = None
    checkpoint: str | os.PathLike[str] | None = None
    resume: str | os.PathLike[str] | None = None
    on_lost: str = "continue"
    restart_workers: int = 0
    restart_servers: int = 1
    heartbeat_deadline: float = 30.0
    join_deadline: float = 60.0
    stall_deadline: float = 3600.0
    tls: bool = False
    wire_dtype: str | None = None
    payload_checksum: bool = False
    trace: bool = False
    record_answers: bool = False
    log_dir: str | os.PathLike[str] | None = None
    proxy: Front | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("workers", 1, 1024),
            ("servers", 1, 64),
            ("restart_workers", 0, None),
            ("restart_servers", 0, None),
        ):
            check_integer(name, getattr(self, name), low, high)
        for name in ("heartbeat_deadline", "join_deadline", "stall_deadline"):
            check_real(name, getattr(self, name), 0, low_open=True)
        for name in ("tls", "payload_checksum", "trace", "record_answers"):
            check_flag(name, getattr(self, name))
        check_choice("on_lost", self.on_lost, ("continue", "fail"))
        if self.wire_dtype is not None:
            check_choice("wire_dtype", self.wire_dtype, _WIRE_DTYPES)
        if self.record_answers and not self.trace:
            raise ConfigError("record_answers needs trace=True")
        if self.checkpoint_every is not None:
            check_integer("checkpoint_every", self.checkpoint_every, 1)
        elif self.checkpoint is not None:
            raise ConfigError("checkpoint needs checkpoint_every, the clocks from one to the next")
        for name in ("checkpoint", "resume", "log_dir"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | os.PathLike):
                raise ConfigError(f"{name} must be a path, not {shown(value)}")
        if self.log_dir is not None and not Path(self.log_dir).is_dir():
            raise ConfigError(f"log_dir {os.fspath(self.log_dir)} is not a folder; make it first")
        if self.proxy is not None and not callable(getattr(self.proxy, "front", None)):
            raise ConfigError(f"proxy must be a dsgd.testing.Proxy, not {shown(self.proxy)}")
        check_partition(self.partition, self.workers)
        self.worker_speeds()

    def check_writable(self) -> None:
        """Refuse, before a run, a checkpoint or logs that it could not write."""
        files = {
            "checkpoint": self.checkpoint,
            "log_dir": None if self.log_dir is None else Path(self.log_dir, "worker-0.log"),
        }
        for name, path in files.items():
            if path is None:
                continue
            try:
                check_replaceable(path)
            except OSError as error:
                raise ConfigError(
                    f"{name} {os.fspath(getattr(self, name))} cannot be written ({error.strerror or error}): name one "
                    "in a folder that is there and may be written to"
                ) from error

    def worker_speeds(self) -> list[float]:
        """Return the speed of every worker."""
        given: Any = self.speeds
        if isinstance(given, Mapping):
            unknown = [worker for worker in given if worker not in range(self.workers)]
            if unknown:
                raise ConfigError(f"speeds names worker {shown(unknown[0])}; there are 0 to {self.workers - 1}")
            values = [given.get(worker, 1.0) for worker in range(self.workers)]
        elif isinstance(given, Sequence) and not isinstance(given, str):
            if len(given) != self.workers:
                raise ConfigError(f"speeds has {len(given)} elements for {self.workers} workers")
            values = list(given)
        else:
            values = [given] * self.workers
        return [check_real("speeds", value, 0, 1, low_open=True) for value in values]

    def about(self, n_nodes: int, staleness: float) -> dict[str, Any]:
        """Return what a trace says of its run."""
        return {
            "nodes": n_nodes,
            "servers": self.servers,
            "staleness": None if staleness == math.inf else staleness,
            "speeds": self.worker_speeds(),
        }
