"""``dsgd algorithms``: the list of algorithms."""

from __future__ import annotations

import dataclasses

from rich.console import Console
from rich.table import Table

from dsgd.algorithms import REGISTRY
from dsgd.cli.streams import write_out

__all__ = ["algorithms"]


def algorithms() -> None:
    """List the algorithms, what they can do, and their options with defaults."""
    table = Table("algorithm", "threads", "reproducible", "options", "what it is")
    for name, algorithm in REGISTRY.items():
        options = "\n".join(f"{field.name}={field.default}" for field in dataclasses.fields(algorithm))
        threads = "any" if algorithm.capabilities.threads else "1"
        reproducible = "yes" if algorithm.capabilities.deterministic else "on 1 thread"
        table.add_row(name, threads, reproducible, options, algorithm.summary)
    console = Console()
    with console.capture() as printed:
        console.print(table)
    write_out(printed.get())
