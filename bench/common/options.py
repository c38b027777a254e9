"""The command line of a benchmark that draws a figure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.machine import ROOT
from dsgd._common.files import check_replaceable

__all__ = ["figure_options"]


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
