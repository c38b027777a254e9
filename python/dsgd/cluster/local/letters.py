"""Memory in which the workers of a local run leave letters for each other.

It is a file without a name, like the data (packing.py). Only pages that a letter was written to
take memory. cpp/include/dsgd/server/shared_mailbox.hpp describes what is in it.
"""

from __future__ import annotations

import logging
import mmap
import os
from pathlib import Path
from typing import Any

from dsgd import _core
from dsgd._common.files import copied_descriptor
from dsgd.cluster.local.packing import path_of
from dsgd.cluster.runtime.run_spec import RunSpec

__all__ = ["LetterMemory", "letter_memory", "map_letters"]

_LOG = logging.getLogger("dsgd")
_KEY_BYTES = 8
# Numbers that a letter may hold beside a model, such as its age.
_MORE = 16


class LetterMemory:
    """The mailboxes of all nodes of a run, as the process that starts the nodes holds them.

    Parameters
    ----------
    n_ranks, slots, capacity : int
        Number of nodes, slots of each mailbox, and most bytes of the keys and values of a letter.
    accept_torn : bool
        Whether letters that are overwritten while they are read are taken as they are.

    Raises
    ------
    OSError
        If the system does not give so much address space.
    """

    def __init__(self, *, n_ranks: int, slots: int, capacity: int, accept_torn: bool = False) -> None:
        self._shape = {"n_ranks": n_ranks, "slots": slots, "capacity": capacity}
        self._accept_torn = accept_torn
        with os.fdopen(os.memfd_create("dsgd-letters"), "rb+") as file:
            os.ftruncate(file.fileno(), _core.SharedMailbox.bytes_for(**self._shape))
            self._memory = mmap.mmap(file.fileno(), 0)
            self._file = os.fdopen(copied_descriptor(file), "rb+")
        self._mailbox: _core.SharedMailbox | None = _core.SharedMailbox(self._memory, rank=0, **self._shape)

    @property
    def descriptor(self) -> int:
        """The descriptor of the file; a node inherits it."""
        return self._file.fileno()

    def told(self) -> dict[str, Any]:
        """Return what a node must be told: the arguments of `map_letters` but its rank."""
        return {"path": path_of(self.descriptor), **self._shape, "accept_torn": self._accept_torn}

    def end_life(self, rank: int) -> None:
        """Let others write where a process was writing when it ended."""
        if self._mailbox is not None:
            self._mailbox.end_life(rank)

    def close(self) -> None:
        """Close the file."""
        self._mailbox = None
        self._memory.close()
        self._file.close()


def letter_memory(assignment: RunSpec) -> LetterMemory | None:
    """Return memory for the letters of a run, or None if they must all go over TCP.

    A letter of as many rows as the model has and some more, with their keys, fits. Mailboxes that add up, or that
    keep every letter, need a process at the receiver's end.
    """
    mailbox = assignment.algorithm.mailbox
    if mailbox.slots is None or mailbox.on_full != "overwrite":
        return None
    start = assignment.start
    capacity = (len(start) + _MORE) * (_KEY_BYTES + start.itemsize)
    try:
        return LetterMemory(
            n_ranks=assignment.n_nodes,
            slots=mailbox.slots,
            capacity=capacity,
            accept_torn=mailbox.torn == "accept",
        )
    except OSError as error:
        _LOG.warning("letters go over TCP, for no memory can be shared: %s", error.strerror or error)
        return None


def map_letters(
    rank: int, *, path: str, n_ranks: int, slots: int, capacity: int, accept_torn: bool
) -> _core.SharedMailbox:
    """Map the memory of the letters, and return a node's view of it."""
    with Path(path).open("rb+") as file:
        memory = mmap.mmap(file.fileno(), 0)
    mailbox = _core.SharedMailbox(memory, rank=rank, n_ranks=n_ranks, slots=slots, capacity=capacity)
    if accept_torn:
        mailbox.accept_torn()
    return mailbox
