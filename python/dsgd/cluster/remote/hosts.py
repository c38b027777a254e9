"""`dsgd.Hosts`: workers that somebody starts on any hosts, by hand or by a scheduler of jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dsgd._common.checks import check_integer, shown
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.engines import Elsewhere
from dsgd.cluster.program.groups import check_groups
from dsgd.cluster.program.partition import Partition, check_partition
from dsgd.cluster.remote.fit import Given, Rows, fit_on_nodes
from dsgd.cluster.remote.gate import Gate
from dsgd.cluster.remote.handshake import Certificates
from dsgd.cluster.remote.nodes import Nodes
from dsgd.data.feature_names import FeatureNames
from dsgd.errors import ConfigError
from dsgd.fitting.spec import FitSpec
from dsgd.results.result import FitResult

__all__ = ["Hosts", "check_port"]

_LOG = logging.getLogger("dsgd")
_LEAST_TOKEN = 16  # bytes, as the core demands


@dataclass(frozen=True, kw_only=True)
class Hosts(RunOptions, Elsewhere):
    """Workers on other hosts, which dial out to this process and bring their rows (``dsgd worker``).

    ``dsgd.fit(None, cluster=Hosts(...))`` waits for them, and is what ``dsgd server`` runs. This process has the
    parameter server, the records and the checkpoints. All workers reach it at one port.

    Parameters
    ----------
    workers : int
        How many workers there will be, at most 1024.
    token : bytes
        The secret that this process and all workers share, at least 16 random bytes.
    bind : str, default="127.0.0.1"
        Numeric address of this host to listen at; ``"0.0.0.0"`` is all of them.
    port : int or tuple of two int, default=0
        The port, or the first and last one of a range of which the first free one is taken. 0: any free port. Further
        shards (`servers`) listen at free ports of their own.
    advertise : str, optional
        Address that workers are told, if it is another one than `bind`. With ``bind="0.0.0.0"`` it is by default the
        one that each worker has dialled.
    certificates : Certificates, optional
        TLS for all connections.
    partition : "equal" or Partition, default="equal"
        How rows are dealt to workers that have all of them; see `LocalCluster`. Workers with parts keep theirs.
    on_listen : callable, optional
        Called with the host and the port that workers dial, once they can. The host is ``""`` if it is the one that
        each worker has dialled.
    join_deadline : float, default=60.0
        Seconds within which all workers must have dialled, and within which one that was lost must have come back.
    restart_workers : int, default=0
        How often each worker may come back: whoever started it starts it again, with the same rank.
    servers, groups, checkpoint_every, checkpoint, resume, on_lost, restart_servers, heartbeat_deadline
        As of `LocalCluster`.
    stall_deadline, wire_dtype, payload_checksum, trace, record_answers
        As of `LocalCluster`. ``tls=True`` is refused: give `certificates`.

    Raises
    ------
    ConfigError
        For an impossible value.

    Notes
    -----
    `dsgd.fit` raises `DeadlineError` if workers have not come within `join_deadline`, `DataError` if the rows of some
    do not fit those of the others, and `ClusterError` if no port can be listened at. `privacy`, and `init` with a
    `FitResult`, are refused.

    Examples
    --------
    >>> import secrets, dsgd
    >>> cluster = dsgd.Hosts(workers=2, token=secrets.token_bytes(32), bind="0.0.0.0", port=7077)
    >>> result = dsgd.fit(None, algo="ssp", loss="logistic", cluster=cluster)  # doctest: +SKIP
    """

    workers: int
    token: bytes = field(repr=False)
    bind: str = "127.0.0.1"
    port: int | tuple[int, int] = 0
    advertise: str | None = None
    certificates: Certificates | None = None
    partition: Partition | str = "equal"
    on_listen: Callable[[str, int], None] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("workers", self.workers, 1, 1024)
        if not isinstance(self.token, bytes) or len(self.token) < _LEAST_TOKEN:
            raise ConfigError(f"token must be {_LEAST_TOKEN} random bytes or more")
        check_port(self.port)
        check_partition(self.partition)
        check_groups(self.groups, self.workers)
        if self.tls:
            raise ConfigError("tls=True works on one machine only; on several hosts give certificates")

    def check_workers(self, workers: Any) -> None:
        """Raise `ConfigError` if another number of workers is asked for than this cluster has."""
        if workers is not None and workers != self.workers:
            raise ConfigError(f"workers={workers!r}, but the cluster has {self.workers}; leave out workers")

    def fit(self, X: Any, y: Any, spec: FitSpec, **given: Any) -> FitResult:
        """Wait for the workers, and train a model on their rows; X and y must be None."""
        if X is not None or y is not None or given.pop("sample_weight") is not None:
            raise ConfigError("the workers of Hosts bring their own rows: X must be None, and y and sample_weight too")
        if given.pop("n_threads") is not None:
            raise ConfigError("n_threads must be left out with Hosts: every worker has its own (dsgd worker --threads)")
        self.check_writable()
        gate = Gate(
            self.token,
            self.bind,
            self.port,
            self.advertise,
            self.certificates,
            self.heartbeat_deadline,
            n_nodes=self.workers,
        )
        nodes = Nodes(gate, [f"worker {rank}" for rank in range(self.workers)])
        with nodes.served():
            if self.on_listen is not None:
                self.on_listen(*gate.address)
            nodes.wait(self.join_deadline)
            _LOG.info("all %d workers are there", self.workers)
            rows = Rows(placed="the parts of the workers", partition=self.partition, names=FeatureNames(None))
            return fit_on_nodes(nodes, self, rows, spec, Given(**given))


def check_port(port: Any) -> None:
    """Raise `ConfigError` if `port` is neither a port nor the first and last one of a range."""
    ports = port if isinstance(port, tuple) else (port,)
    if len(ports) > 2 or any(not isinstance(each, int) or isinstance(each, bool) for each in ports):
        raise ConfigError(f"port must be a number or the first and last one of a range, not {shown(port)}")
    for each in ports:
        check_integer("port", each, 0, 65535)
    if ports[0] > ports[-1]:
        raise ConfigError(f"the range of ports {ports} is empty; name the first one and the last one")
