"""The first and the last steps of every process of a local cluster, after its imports."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable

from dsgd.cluster.driver.channel import Channel, ChannelMessage

__all__ = ["run_process"]

_LOG = logging.getLogger("dsgd")
# Longest wait of a process for its first message, in seconds.
_START_SECONDS = 60.0


def run_process(body: Callable[[Channel, ChannelMessage], None]) -> None:
    """Run a process: receive its first message, call `body`, and report an error to the parent.

    Parameters
    ----------
    body : callable
        Called with the channel to the parent and its first message.
    """
    channel = Channel(socket.socket(fileno=int(sys.argv[2])))
    first = channel.receive(_START_SECONDS)
    name = first.fields["name"]
    logging.basicConfig(format=f"%(asctime)s {name} %(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        body(channel, first)
    except (EOFError, BrokenPipeError):
        sys.exit("whoever started this process is gone")
    except BaseException as error:
        _LOG.exception("failed")
        channel.send_error(error)
        sys.exit(1)
    finally:
        channel.close()
