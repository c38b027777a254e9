"""Replay of a trace: programs run again on recorded answers, and must yield the same commands.

Commands are compared by a checksum of all their bits.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.program.commands import (
    Clock,
    Clocks,
    Command,
    Message,
    Poll,
    Program,
    Pull,
    Receive,
    Send,
    Signals,
    Ticket,
)
from dsgd.cluster.runtime.program_run import Observer
from dsgd.cluster.runtime.trace import Trace
from dsgd.errors import ClusterError

__all__ = ["answer_of", "recorder_of_answers", "replay", "start_of_life", "summary_of"]

Start = Callable[[int, int, bytes], Program]


def start_of_life(clock: int, state: bytes) -> tuple[str, NDArray[Any]]:
    """Return the entry of `Trace.answers` for the start of a program: clock and saved state."""
    return f"start:{clock}", np.frombuffer(state, np.uint8)


def summary_of(command: Command, answer: Any) -> tuple[str, NDArray[Any]]:
    """Return the entry of `Trace.answers` for a command and its answer.

    Returns
    -------
    name : str
        The name of the command and the CRC-32 of its fields. For a `Receive` also sender, name,
        number and lengths of every message, in JSON.
    numbers : ndarray
        The numbers of the answer.
    """
    digest = 0
    for value in vars(command).values():
        data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        digest = zlib.crc32(data, digest)
    name = f"{type(command).__name__}:{digest:08x}"
    if isinstance(answer, np.ndarray):
        return name, answer
    if isinstance(command, Receive):
        about = [[m.sender, m.name, m.number, len(m.value), 0 if m.keys is None else len(m.keys)] for m in answer]
        parts = [part for m in answer for part in (m.value, m.keys if m.keys is not None else np.empty(0))]
        return f"{name}:{json.dumps(about)}", np.concatenate([np.empty(0), *parts])
    if isinstance(answer, Ticket):
        return name, np.array([answer.number])
    return name, np.empty(0) if answer is None else np.array(answer, np.int64)


def recorder_of_answers(trace: Trace, node: int) -> Observer:
    """Return an observer that adds every command of a node, with its answer, to a trace.

    `Trace.drain` may take the entries out of the trace between two calls of the observer.
    """

    def observe(command: Command, answer: Any) -> None:
        trace.answers.setdefault(node, []).append(summary_of(command, answer))

    return observe


def answer_of(command: Command, name: str, numbers: NDArray[Any]) -> Any:
    """Return the answer of a command from its entry (name, numbers) of `Trace.answers`."""
    if isinstance(command, Pull) and command.ahead:
        return Ticket(int(numbers[0]), command.group)
    if isinstance(command, Clock):
        return Clocks(*numbers.tolist())
    if isinstance(command, Poll):
        return Signals(*numbers.tolist())
    if isinstance(command, Send):
        return int(numbers)
    if isinstance(command, Receive):
        messages, at = [], 0
        for sender, text, number, length, n_keys in json.loads(name.split(":", 2)[2]):
            value, keys = np.split(numbers[at : at + length + n_keys], [length])
            messages.append(Message(sender, value, keys.astype(np.uint64) if n_keys else None, text, number))
            at += length + n_keys
        return messages
    return numbers.copy() if len(numbers) else None


def replay(trace: Trace, start: Start) -> int:
    """Run all programs of a trace again on their recorded answers, and compare their commands.

    Parameters
    ----------
    trace : Trace
        A trace with answers, as of a simulation with ``record_answers=True``.
    start : callable
        Called with a node, the clock to start from and the saved state; returns the program of the
        node.

    Returns
    -------
    int
        Number of commands that were compared.

    Raises
    ------
    ClusterError
        If a program yields another command than in the run; the message names the first one. Also
        if the recorded commands of a node do not begin with the start of a program.
    """
    compared = 0
    for node, answers in sorted(trace.answers.items()):
        program: Program | None = None
        given: Any = None
        for index, (name, numbers) in enumerate(answers):
            if name.startswith("start:"):
                program, given = start(node, int(name.split(":")[1]), numbers.tobytes()), None
                continue
            if program is None:
                raise ClusterError(f"the trace of worker {node} does not begin with the start of a program")
            try:
                command = program.send(given)
            except StopIteration:
                raise ClusterError(f"the program of worker {node} ends before command {index}, {name}") from None
            given = answer_of(command, name, numbers)
            got = summary_of(command, given)[0]
            if got != name:
                raise ClusterError(f"command {index} of worker {node} is {got}; in the run it was {name}")
            compared += 1
    return compared
