"""The connections of a node to the servers of its groups: one client for each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dsgd import _core
from dsgd.errors import ConfigError

__all__ = ["ALL_ADDRESSES", "Connections", "advertised"]

# Longest wait for the answers of one group while those of others may come, in seconds.
_GLANCE = 0.25
# Addresses that stand for all addresses of a host. Nobody can connect to them from another host.
ALL_ADDRESSES = ("0.0.0.0", "::")


def advertised(bind: str, advertise: str | None) -> str:
    """Return the address that others are told to connect to; `ConfigError` if `bind` says none."""
    if advertise is None and bind in ALL_ADDRESSES:
        raise ConfigError(f"bind={bind!r} is every address of this host: name in advertise the one to connect to")
    return bind if advertise is None else advertise


class Connections:
    """One client for each group of a node.

    Parameters
    ----------
    groups : sequence of str
        Names of the groups of the node.
    connect : callable
        Called with the name of a group; returns a client that is not started yet.

    Attributes
    ----------
    clients : mapping of str to _core.TcpClient
        By group.
    """

    def __init__(self, groups: Sequence[str], connect: Callable[[str], _core.TcpClient]) -> None:
        self.clients: Mapping[str, _core.TcpClient] = {}
        self._groups = groups
        self._connect = connect
        self._former = (0, 0)  # bytes of former clients: sent, received

    @property
    def bytes_sent(self) -> int:
        """Bytes that all clients have sent, the former ones too."""
        return self._former[0] + sum(client.bytes_sent for client in self.clients.values())

    @property
    def bytes_received(self) -> int:
        """Bytes that all clients have received, the former ones too."""
        return self._former[1] + sum(client.bytes_received for client in self.clients.values())

    def start(self) -> None:
        """Connect to the servers of all groups."""
        self.clients = {group: self._connect(group) for group in self._groups}
        for client in self.clients.values():
            client.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits, for at most `seconds` each, and close all connections."""
        for client in self.clients.values():
            client.stop(seconds)

    def start_again(self) -> None:
        """Replace all clients: the servers take the new ones for those of a new process."""
        self.stop(0.0)
        self._former = (self.bytes_sent, self.bytes_received)
        self.clients = {}
        self.start()

    def wait(self, group: str, seconds: float) -> list[tuple[str, _core.Answer]]:
        """Return the answers that have come, each with its group.

        Parameters
        ----------
        group : str
            The group that an answer is expected from.
        seconds : float
            Longest wait for it.
        """
        others = {name: client for name, client in self.clients.items() if name != group}
        found = [(name, answer) for name, client in others.items() for answer in client.wait(0.0)]
        patience = 0.0 if found else min(seconds, _GLANCE) if others else seconds
        return found + [(group, answer) for answer in self.clients[group].wait(patience)]
