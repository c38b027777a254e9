"""`serve_shard`: a shard of the parameter server in a process that the driver does not run in."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.driver.reports import StatusSender
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.remote.dial import dial
from dsgd.cluster.remote.endings import ends_with_the_process
from dsgd.cluster.remote.handshake import Certificates
from dsgd.cluster.remote.messages import content_of
from dsgd.cluster.tcp.server import ServerSpec, run_server
from dsgd.errors import DsgdError

__all__ = ["ServerOrders", "serve_shard"]

_LOG = logging.getLogger("dsgd")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerOrders:
    """What a shard is told of a run; see `ServerSpec`.

    Attributes
    ----------
    tables : list of dict
        The parameters of every `_core.TableSpec`.
    """

    tables: list[dict[str, Any]]
    start: NDArray[Any]
    staleness: float
    groups: list[GroupMembers]
    shard: int
    n_shards: int
    incarnation: int
    checkpoints: list[Mapping[str, NDArray[Any]] | None]
    notices: list[int]
    record_order: bool
    server: dict[str, Any]

    def spec(self, **of_host: Any) -> ServerSpec:
        """Return the specification of the shard at a host."""
        told = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "tables"}
        return ServerSpec(tables=[_core.TableSpec(**table) for table in self.tables], **told, **of_host)


def serve_shard(
    address: tuple[str, int], shard: int, role: str, *, token: bytes, bind: str, tls: Certificates | None = None
) -> None:
    """Serve a shard until the driver ends the run.

    Parameters
    ----------
    address : tuple (str, int)
        Host and port of the driver's gate.
    shard : int
    role : str
        What it calls itself at the gate.
    token : bytes
    bind : str
        The address of this host that workers reach.
    tls : Certificates, optional
    """
    channel = dial(address, role, shard, token, tls=tls).channel
    try:
        orders: ServerOrders = content_of(channel.receive(60.0))
        core = None if tls is None else tls.of_core()
        with ends_with_the_process(channel.close):
            run_server(orders.spec(token=token, tls=core, bind=bind), StatusSender(channel))
    except (EOFError, BrokenPipeError, ConnectionError):
        _LOG.info("the driver of server %d is gone, or needs it no longer", shard)
    except (DsgdError, OSError) as error:
        if channel.fileno() < 0:  # closed from here, since the process ends
            return
        _LOG.exception("server %d failed", shard)
        with contextlib.suppress(OSError):
            channel.send_error(error)
    finally:
        channel.close()
