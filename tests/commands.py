"""The command line, run in this process.

A process of its own would take half a second to start.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

from dsgd.cli import main

__all__ = ["run_command", "run_process"]


def run_process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m dsgd`` in the folder `cwd`."""
    command = [sys.executable, "-m", "dsgd", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def _show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=sys.stderr)  # noqa: T201


def run_command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Return the result of `run_process` without another process.

    As there, warnings go to standard error.
    """
    words = ["dsgd", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        mock.patch.object(warnings, "showwarning", _show),
        mock.patch.object(sys, "argv", words),
        mock.patch.object(sys, "excepthook", sys.excepthook),  # Typer replaces it
    ):
        warnings.simplefilter("default")
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
