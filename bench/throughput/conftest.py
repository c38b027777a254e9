"""Prints what the benchmarks report beside the time."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print a line for each benchmark: median, throughput, objective."""
    session = getattr(config, "_benchmarksession", None)
    for bench in session.benchmarks if session else ():
        terminalreporter.write_line(
            f"{bench['name']:60} median {bench['median']:8.3f} s  "
            + "  ".join(f"{key} {value:.6g}" for key, value in bench["extra_info"].items())
        )
