"""The script that a process of a local cluster begins with, before the imports, which take most of its start.

Its arguments are the module whose `main` it runs, the descriptor of the channel, and the process that started it.
"""

import ctypes
import importlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _main() -> None:
    # A process that is interrupted while it imports ends like one that is killed, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # It is killed when the thread that started it ends, by whatever cause, also while it stands still.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[3]):  # which has ended before
        os._exit(1)
    importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    _main()
