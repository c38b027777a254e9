"""The script that every process of a local cluster runs first.

It runs before the imports, which take most of the start. Its arguments are the module whose `main`
it runs, the descriptor of the channel, and the id of the process that started it.
"""

import ctypes
import importlib
import os
import signal
import sys

# Option of prctl(2): the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def _main() -> None:
    # SIGINT during the imports ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The kernel kills this process when the thread that started it ends, whatever the cause, and
    # also while this process stands still after SIGSTOP.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[3]):  # the parent had ended before the call of prctl
        os._exit(1)
    importlib.import_module(sys.argv[1]).main()


if __name__ == "__main__":
    _main()
