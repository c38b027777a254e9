"""The options of a run that do not depend on where its processes are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dsgd._common.checks import check_choice, check_flag, check_integer, check_real, shown
from dsgd._common.files import check_replaceable
from dsgd.errors import ConfigError

__all__ = ["RunOptions"]

_WIRE_DTYPES = ("float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run on real processes goes on when something fails, and what it keeps.

    `LocalCluster`, `Hosts` and `DaskCluster` have these options.

    Parameters
    ----------
    servers : int, default=1
        Shards of the parameter server.
    groups : mapping of str to sequence of sequences of int
        Further groups of nodes, as of `Simulation`: a coordinator, if the algorithm has one, is node 0,
        and the workers follow it. The process of the first shard also serves the further groups.
    checkpoint_every : int, optional
        Clocks of the slowest worker between checkpoints of the server. None: there are no
        checkpoints, and a server that is started again begins at clock 0.
    checkpoint : path-like, optional
        A safetensors file that always holds the last checkpoint; without it the last one is kept in
        memory. If the file cannot be written in the middle of a run there is a RuntimeWarning, and
        the run goes on.
    resume : path-like, optional
        A checkpoint from which the run goes on. Algorithm, data, workers, partition and servers must
        be those of the run that saved it. The random state is taken from that run, and so is the step size
        if none is given now.
    on_lost : {"continue", "fail"}, default="continue"
        ``"continue"``: after `heartbeat_deadline` the other workers go on without a lost worker and
        without its rows. ``"fail"``: the run fails.
    restart_workers, restart_servers : int, default=0, 1
        How often each worker, and the server, is started again after it was killed or does not
        answer. A worker goes on after the last clock that it finished, the server from its last
        checkpoint. With further groups all workers go on from the last checkpoint in both cases. An
        error of a program is raised, and then nothing is started again.
    heartbeat_deadline : float, default=30.0
        Seconds of silence after which a worker or a server counts as lost.
    join_deadline : float, default=60.0
        Seconds within which each process must have started, and within which a first worker must
        have reached the servers.
    stall_deadline : float, default=3600.0
        The run is given up if no worker finishes a clock for this many seconds.
    tls : bool, default=False
        Encrypt the TCP traffic (TLS 1.3, with a key from the token of the run).
    wire_dtype : {"float16", "bfloat16"}, optional
        Type in which values are sent, shorter than the type of the model.
    payload_checksum : bool, default=False
        Add a checksum of every payload; every header has one anyway.
    trace : bool, default=False
        Keep a trace of the run (`FitResult.trace`).
    record_answers : bool, default=False
        Keep the answers of all commands in the trace, so that the programs can be replayed. Needs
        `trace`.

    Attributes
    ----------
    ways_on : tuple of str
        What `on_lost` may be.

    Raises
    ------
    ConfigError
        For an impossible value or combination.
    """

    ways_on: ClassVar[tuple[str, ...]] = ("continue", "fail")

    servers: int = 1
    groups: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
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

    def __post_init__(self) -> None:
        for name, low, high in (("servers", 1, 64), ("restart_workers", 0, None), ("restart_servers", 0, None)):
            check_integer(name, getattr(self, name), low, high)
        for name in ("heartbeat_deadline", "join_deadline", "stall_deadline"):
            check_real(name, getattr(self, name), 0, low_open=True)
        for name in ("tls", "payload_checksum", "trace", "record_answers"):
            check_flag(name, getattr(self, name))
        check_choice("on_lost", self.on_lost, self.ways_on)
        if self.wire_dtype is not None:
            check_choice("wire_dtype", self.wire_dtype, _WIRE_DTYPES)
        if self.record_answers and not self.trace:
            raise ConfigError("record_answers needs trace=True")
        if self.checkpoint_every is not None:
            check_integer("checkpoint_every", self.checkpoint_every, 1)
        elif self.checkpoint is not None:
            raise ConfigError("checkpoint needs checkpoint_every, the clocks from one to the next")
        for name in ("checkpoint", "resume"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str | os.PathLike):
                raise ConfigError(f"{name} must be a path, not {shown(value)}")

    def written_files(self) -> dict[str, str | os.PathLike[str]]:
        """Return the files that a run writes, by the options that name them."""
        return {} if self.checkpoint is None else {"checkpoint": self.checkpoint}

    def check_writable(self) -> None:
        """Raise `ConfigError`, before a run, if a file of `written_files` could not be written."""
        for name, path in self.written_files().items():
            try:
                check_replaceable(path)
            except OSError as error:
                raise ConfigError(
                    f"{name} {os.fspath(getattr(self, name))} cannot be written ({error.strerror or error}): name one "
                    "in a folder that is there and may be written to"
                ) from error

    def wire(self) -> dict[str, Any]:
        """Return the options that servers and clients of the core share."""
        options: dict[str, Any] = {"payload_checksum": self.payload_checksum}
        return options if self.wire_dtype is None else {**options, "wire_dtype": self.wire_dtype}

    def of_server(self) -> dict[str, Any]:
        """Return the options of `_core.TcpServer`."""
        return {
            "heartbeat_deadline": self.heartbeat_deadline,
            "join_deadline": self.join_deadline,
            # If workers may be started again, the driver alone decides who is lost: a server that failed by
            # itself would leave no time for the restart.
            "on_lost": "continue" if self.restart_workers else self.on_lost,
            "checkpoint_every": self.checkpoint_every,
            **self.wire(),
        }

    def of_client(self) -> dict[str, Any]:
        """Return the options of `_core.TcpClient`."""
        return {
            "heartbeat_interval": self.heartbeat_deadline / 6,
            # Time enough to notice that a server stands still, and to start it again.
            "deadline": 2 * self.heartbeat_deadline + self.join_deadline,
            **self.wire(),
        }
