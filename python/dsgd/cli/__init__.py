"""The command line: ``dsgd fit``, ``predict``, ``simulate``, ``server``, ``worker`` and so on."""

from __future__ import annotations

import sys

import typer

from dsgd.cli.algorithms import algorithms
from dsgd.cli.convert import convert
from dsgd.cli.fit import fit
from dsgd.cli.launch import launch
from dsgd.cli.predict import predict
from dsgd.cli.server import server
from dsgd.cli.simulate import simulate
from dsgd.cli.streams import CLOSED_PIPE, one_line, one_line_warnings, report
from dsgd.cli.worker import worker
from dsgd.errors import DsgdError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train linear models by stochastic gradient descent.", no_args_is_help=True, add_completion=False
)
app.command()(fit)
app.command()(predict)
app.command()(simulate)
app.command()(convert)
app.command()(server)
app.command()(worker)
app.command()(launch)
app.command()(algorithms)


def main() -> None:
    """Run the command line; an error that a user can correct is one line on standard error."""
    with one_line_warnings():
        try:
            app(prog_name="dsgd")
        except KeyboardInterrupt:  # before a command handles it
            sys.exit(130)
        except BrokenPipeError:  # for example with --output /dev/stdout
            sys.exit(CLOSED_PIPE)
        except (DsgdError, OSError, MemoryError) as error:
            report(f"dsgd: error: {one_line(error) or 'out of memory'}")
            sys.exit(2)
