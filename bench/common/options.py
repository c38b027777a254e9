"""The command lines that benchmarks have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.machine import ROOT
from common.rounds import positive
from dsgd._common.files import check_replaceable

__all__ = ["figure_options", "study_options"]


def figure_options(description: str | None, figure: str, quick: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Return ``quick`` and ``output``, a figure beside which there will be a JSON file.

    Parameters
    ----------
    description : str
        The docstring of the script.
    figure : str
        Name of the figure in docs/results.
    quick : str
        What the option ``--quick`` does.
    arguments : sequence of str

    Raises
    ------
    OSError
        If a file cannot be written there: before the work rather than after it.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results" / figure, help="the figure")
    parsed = parser.parse_args(arguments)
    for path in (parsed.output, parsed.output.with_suffix(".json")):
        check_replaceable(path)
    return parsed


def study_options(
    description: str | None, results: str, rounds: int, arguments: Sequence[str], *, rows: int | None = None
) -> argparse.Namespace:
    """Return ``rounds``, ``output``, a JSON file, and ``rows`` if there is a default of it.

    Parameters
    ----------
    description : str
        The docstring of the script.
    results : str
        Name of the JSON file in docs/results.
    rounds : int
        Fits of which a figure is the median, by default.
    arguments : sequence of str
    rows : int, optional
        Most rows of a data set, by default.

    Raises
    ------
    OSError
        If the file cannot be written there: before the work rather than after it.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=rounds, help="a figure is the median of so many")
    if rows is not None:
        parser.add_argument("--rows", type=positive, default=rows, help="most rows")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results" / results, help="the figures")
    parsed = parser.parse_args(arguments)
    check_replaceable(parsed.output)
    return parsed
