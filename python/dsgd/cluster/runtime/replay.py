"""Programs run again on the answers that a trace has kept: the same commands must come out, to the last bit."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.program.commands import Clock, Clocks, Command, Message, Poll, Program, Pull, Receive, Signals, Ticket
from dsgd.cluster.runtime.program_run import Observer
from dsgd.cluster.runtime.trace import Trace
from dsgd.errors import ClusterError

__all__ = ["answer_of", "recorder_of_answers", "replay", "start_of_life", "summary_of"]

Start = Callable[[int, int, bytes], Program]


def start_of_life(clock: int, state: bytes) -> tuple[str, NDArray[Any]]:
    """Return what a trace keeps of the beginning of a program's life."""
    return f"start:{clock}", np.frombuffer(state, np.uint8)


def summary_of(command: Command, answer: Any) -> tuple[str, NDArray[Any]]:
    """Return what a trace keeps of a command and its answer: its name, a digest of its fields, and numbers."""
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
    """Return what adds every command of a node, and its answer, to a trace; parts of that may be taken meanwhile."""

    def observe(command: Command, answer: Any) -> None:
        trace.answers.setdefault(node, []).append(summary_of(command, answer))

    return observe


def answer_of(command: Command, name: str, numbers: NDArray[Any]) -> Any:
    """Return the answer that a trace keeps for a command."""
    if isinstance(command, Pull) and command.ahead:
        return Ticket(int(numbers[0]), command.group)
    if isinstance(command, Clock):
        return Clocks(*numbers.tolist())
    if isinstance(command, Poll):
        return Signals(*numbers.tolist())
    if isinstance(command, Receive):
        messages, at = [], 0
        for sender, text, number, length, n_keys in json.loads(name.split(":", 2)[2]):
            value, keys = np.split(numbers[at : at + length + n_keys], [length])
            messages.append(Message(sender, value, keys.astype(np.uint64) if n_keys else None, text, number))
            at += length + n_keys
        return messages
    return numbers.copy() if len(numbers) else None


def replay(trace: Trace, start: Start) -> int:
    """Run all programs of a trace again.

    Parameters
    ----------
    trace : Trace
        With answers, as of a simulation with ``record_answers=True``.
    start : callable
        Given a node, the clock to start from and the saved state, returns its program.

    Returns
    -------
    int
        Commands that were compared.

    Raises
    ------
    ClusterError
        If a program yields another command than in the run. It names the first.
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
