"""The options that several commands share."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsgd._common.checks import unknown_name
from dsgd._common.files import check_replaceable, own_descriptor
from dsgd.cli.streams import report, write_out
from dsgd.cluster.program.partition import PARTITIONS, Partition
from dsgd.errors import ConfigError
from dsgd.results.result import FitResult

__all__ = ["averages_of", "check_outputs", "options_of", "partition_of", "save_outputs", "step_size_of", "summarise"]


def check_outputs(inputs: Mapping[str, Path | None], **outputs: Path | None) -> None:
    """Refuse, before the work begins, outputs that cannot be written or would replace another file.

    Parameters
    ----------
    inputs : mapping of str to Path or None
        The files that the command reads, by the names of its arguments.
    **outputs : Path or None
        The files that it writes, by the names of its options.

    Raises
    ------
    ConfigError
        If an output is the same file as an input, by any name or link, or as another output.
    OSError
        If an output cannot be written.
    """
    seen: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        for name, source in inputs.items():
            if source is not None and path.exists() and source.exists() and path.samefile(source):
                raise ConfigError(
                    f"--{option} {path} is the file that {name} reads, and would replace it; name another"
                )
        check_replaceable(path)
        if (other := seen.setdefault(path.resolve(), option)) != option:
            raise ConfigError(f"--{other} and --{option} both name {path}")


def summarise(text: str, *outputs: Path | None) -> None:
    """Write the summary of a run; to standard error if an output is written to standard output."""
    if any(path is not None and own_descriptor(path) == 1 for path in outputs):
        report(text)
    elif sys.stdout is not None:  # None in a daemon
        write_out(f"{text}\n")


def averages_of(result: FitResult) -> str:
    """Return a line on what the nodes of a cluster counted for, to end a summary; empty if no models were averaged."""
    averaging = result.averaging
    if averaging is None:
        return ""
    return (
        f"\nnodes count for {averaging.weights.min():.1%} to {averaging.weights.max():.1%} of the last average, and "
        f"lag up to {averaging.lags.max()} steps; margin of Eq. (6) {averaging.condition:.3g}"
    )


def save_outputs(result: FitResult, model: Path | None, history: Path | None) -> None:
    """Write the model and the history to the files that were named."""
    if model is not None:
        result.save(model)
    if history is not None:
        result.history.to_json(history)


def step_size_of(text: str) -> float | str:
    """Return a number as a float; any other text as it is, for `dsgd.fit` to check."""
    try:
        return float(text)
    except ValueError:
        return text


def options_of(pairs: list[str]) -> dict[str, Any]:
    """Return the options of texts KEY=VALUE; a value that is not a Python literal is a string."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise ConfigError(f"--option takes KEY=VALUE, not {pair!r}")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # all errors that it documents
            options[key] = value
    return options


def partition_of(text: str) -> Partition | str:
    """Return the partition of a name with or without a value, such as ``dirichlet=0.3``."""
    name, has_value, _ = text.partition("=")
    if text == "equal":
        return text
    if name not in PARTITIONS:
        raise unknown_name("partition", name, ["equal", *PARTITIONS])
    try:
        return PARTITIONS[name](*(options_of([text]).values() if has_value else ()))
    except TypeError as error:  # there is no default
        raise ConfigError(f"--partition {name} takes a value, such as {name}=2,1,1") from error
