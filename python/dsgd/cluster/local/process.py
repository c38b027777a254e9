"""What every process of a local cluster does after its imports, and last."""

from __future__ import annotations

import logging
import socket
import sys
import traceback
from collections.abc import Callable

from dsgd.cluster.local.channel import Channel, ChannelMessage

__all__ = ["run_process"]

_LOG = logging.getLogger("dsgd")
_START_SECONDS = 60.0


def run_process(body: Callable[[Channel, ChannelMessage], None]) -> None:
    """Run a process: what it is told comes over a channel, what goes wrong goes back over it.

    Parameters
    ----------
    body : callable
        Given the channel and the first message of the parent.
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
        channel.send("error", error=type(error).__name__, message=str(error), traceback=traceback.format_exc())
        sys.exit(1)
    finally:
        channel.close()
