"""`dsgd.LocalCluster`: processes of this machine, and a parameter server of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dsgd._common.checks import check_integer, check_real, shown
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.program.groups import check_groups
from dsgd.cluster.program.partition import Partition, check_partition
from dsgd.errors import ConfigError

__all__ = ["LocalCluster"]


class Front(Protocol):
    """A proxy between workers and servers, such as `dsgd.testing.Proxy`."""

    def front(self, host: str, port: int, /) -> tuple[str, int]:
        """Return the address to connect to in place of the address of a server."""


@dataclass(frozen=True, kw_only=True)
class LocalCluster(RunOptions):
    """Worker processes on this machine that train over TCP on the loopback device.

    Every worker is a process of its own, and so is every shard of the parameter server. `fit`
    writes the rows once to files without names, and the workers map these files into memory.
    However a run ends, it leaves no process, no socket, and no file but the checkpoint and the logs
    that were asked for. It works from a script without a main guard, from a REPL and from a
    notebook.

    Parameters
    ----------
    workers : int, default=4
        Number of workers that train. A coordinator, if the algorithm has one, is a further process.
    speeds : float or sequence of float or mapping of int to float, default=1.0
        Speed of all workers, of each, or of some by their numbers (the others have 1); at most 1. A
        worker of speed s sleeps after each kernel, so that kernel and sleep together take 1 / s
        times the time of the kernel.
    partition : "equal" or Partition, default="equal"
        How the rows are dealt to the workers, by the `random_state` of the fit. ``"equal"``: at random,
        the same number to each. `Shares`, `ByLabel`, `Dirichlet` and `Given` of `dsgd.cluster` deal
        otherwise. The clients of ``algo="fedavg"`` take the place of the workers.
    log_dir : path-like, optional
        A folder for the log of every process, ``worker-0.log`` and so on.
    proxy : dsgd.testing.Proxy, optional
        A proxy between the workers and the servers, to test a run on a bad network; or any object
        whose method ``front(host, port)`` returns the host and port to connect to in place of the
        server's. Messages from worker to worker do not pass through it.
    servers, groups, checkpoint_every, checkpoint, resume, on_lost, restart_workers, restart_servers
    heartbeat_deadline, join_deadline, stall_deadline, tls, wire_dtype, payload_checksum, trace, record_answers
        How a run goes on when something fails, and what it keeps; see `dsgd.cluster.RunOptions`.

    Notes
    -----
    Messages from worker to worker go through shared memory if the algorithm's mailbox has slots and
    overwrites (`dsgd.algorithms.distributed.Mailbox`). `bytes_sent` and `bytes_received` do not count
    them.
    """

    workers: int = 4
    speeds: float | Sequence[float] | Mapping[int, float] = 1.0
    partition: Partition | str = "equal"
    log_dir: str | os.PathLike[str] | None = None
    proxy: Front | None = None

    def __post_init__(self) -> None:
        check_integer("workers", self.workers, 1, 1024)
        super().__post_init__()
        if self.log_dir is not None and not isinstance(self.log_dir, str | os.PathLike):
            raise ConfigError(f"log_dir must be a path, not {shown(self.log_dir)}")
        if self.log_dir is not None and not Path(self.log_dir).is_dir():
            raise ConfigError(f"log_dir {os.fspath(self.log_dir)} is not a folder; make it first")
        if self.proxy is not None and not callable(getattr(self.proxy, "front", None)):
            raise ConfigError(f"proxy must be a dsgd.testing.Proxy, not {shown(self.proxy)}")
        check_partition(self.partition)
        check_groups(self.groups, self.workers)
        self.worker_speeds()

    def written_files(self) -> dict[str, str | os.PathLike[str]]:
        """Return the files that a run writes, by the options that name them."""
        logs = {} if self.log_dir is None else {"log_dir": Path(self.log_dir, "worker-0.log")}
        return {**super().written_files(), **logs}

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
