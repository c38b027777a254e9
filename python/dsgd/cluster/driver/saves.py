"""Keeps the checkpoints of a run: in memory, and in the file that was asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from typing import Any

from numpy.typing import NDArray

from dsgd._common.warn import warn
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.runtime.checkpoint import About, Checkpoint, check_same, lost_in

__all__ = ["Saves"]

_LOG = logging.getLogger("dsgd")

State = dict[str, NDArray[Any]]


class Saves:
    """The checkpoints of a run.

    A checkpoint is complete once all shards have taken theirs at the same clock. A further group
    takes checkpoints by its own clocks; its part is the last one of at most that clock. A run with
    further groups keeps no checkpoint without a worker that may be started again: its groups could be
    clocks behind the others.

    Parameters
    ----------
    config : RunOptions
    about : About

    Attributes
    ----------
    last : Checkpoint or None
        The last complete checkpoint, or the one to resume from.
    incarnation : int
        Number of the start of the servers that run now.
    """

    def __init__(self, config: RunOptions, about: About) -> None:
        self.last = _resumed(config, about)
        self.incarnation = 1 if self.last is None else self.last.incarnation + 1
        self._path = config.checkpoint
        self._about = about
        self._shards: dict[int, dict[int, State]] = {}  # by clock, by shard
        self._groups: list[dict[int, State]] = []  # by further group, by its clock
        self._forget()
        self._unsaved = False  # whether a warning has said that a checkpoint cannot be written

    def begin_again(self) -> None:
        """Count a new start of the servers; what the former ones have not completed is dropped."""
        self.incarnation += 1
        self._forget()

    def keep(self, shard: int, group: int, clock: int, state: State, gone: Collection[int]) -> None:
        """Keep the state of a server.

        Parameters
        ----------
        shard : int
            Shard whose process has sent it.
        group : int
            0: of the shard itself, otherwise of the further group with this number.
        clock : int
            Finished clocks of the slowest worker of that group.
        state : dict of str to ndarray
        gone : collection of int
            Nodes without which the run goes on.
        """
        if group > 0:
            self._groups[group - 1][clock] = state
            return
        if self._groups and lost_in(state).difference(gone):
            return
        parts = self._shards.setdefault(clock, {})
        parts[shard] = state
        if len(parts) == self._about.n_shards:
            self._complete(clock, [parts[index] for index in range(len(parts))])

    def _complete(self, clock: int, shards: list[State]) -> None:
        groups: list[State] = []
        for states in self._groups:
            last = max((at for at in states if at <= clock), default=None)
            groups.append({} if last is None else states[last])
            for old in [at for at in states if last is not None and at < last]:
                del states[old]
        self.last = Checkpoint(clock=clock, incarnation=self.incarnation, shards=shards + groups)
        for old in [old for old in self._shards if old <= clock]:
            del self._shards[old]
        if self._path is not None:
            self._save(self.last, self._path)

    def _forget(self) -> None:
        """Drop what is incomplete; further groups go on from their parts of the last checkpoint."""
        about = self._about
        self._shards = {}
        parts: list[State] = [{}] * about.n_servers if self.last is None else self.last.shards
        clock = 0 if self.last is None else self.last.clock
        self._groups = [{clock: part} if part else {} for part in parts[about.n_shards :]]

    def _save(self, checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint to its file. If that fails the run goes on, with one warning."""
        try:
            checkpoint.save(path, self._about)
        except OSError as error:
            reason = error.strerror or error
            if not self._unsaved:
                warn(
                    f"the checkpoint of clock {checkpoint.clock} cannot be written to {os.fspath(path)}: {reason}; the "
                    "run goes on, and tries again at every later one",
                )
            self._unsaved = True
            _LOG.info("checkpoint of clock %d not written: %s", checkpoint.clock, reason)


def _resumed(config: RunOptions, about: About) -> Checkpoint | None:
    if config.resume is None:
        return None
    checkpoint, saved = Checkpoint.load(config.resume)
    check_same(saved, about, config.resume)
    return checkpoint.with_everybody()
