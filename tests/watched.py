"""Programs of workers whose commands a test looks at on their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsgd.cluster.program.commands import Command, Program

__all__ = ["watched"]


def _nothing(*_: Any) -> None:
    pass


def watched(
    program: Program,
    before: Callable[[Command], None] = _nothing,
    after: Callable[[Command, Any], None] = _nothing,
) -> Program:
    """Pass all commands of a program on; `before` each, and `after` it with its answer, a function is called."""
    answer = None
    while True:
        try:
            command = program.send(answer)
        except StopIteration:
            return
        before(command)
        answer = yield command
        after(command, answer)
