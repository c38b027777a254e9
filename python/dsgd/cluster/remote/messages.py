"""Questions of the driver to the nodes that hold rows, and their answers."""

from __future__ import annotations

from typing import Any

from dsgd.cluster.driver.channel import Channel, ChannelMessage
from dsgd.cluster.remote.codec import pack, unpack

__all__ = ["content_of", "send"]


def send(channel: Channel, kind: str, content: Any, **fields: Any) -> None:
    """Send any value that `pack` packs."""
    packed, arrays = pack(content)
    channel.send(kind, arrays, content=packed, **fields)


def content_of(message: ChannelMessage) -> Any:
    """Return the value that `send` sent."""
    return unpack(message.fields["content"], message.arrays)
