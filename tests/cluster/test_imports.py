"""An algorithm is a program: it reaches the world through its commands and its task only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dsgd.algorithms

FOLDER = Path(dsgd.algorithms.__file__).parent
DRIVERS = {
    *("description", "events", "links", "run", "simulated_server", "simulated_worker", "simulation", "training"),
    *("channel", "checkpoint", "child", "crew", "ledger", "local", "network", "packing", "process", "server"),
    *("assignment", "start", "supervision", "worker"),
}
FORBIDDEN = {"asyncio", "concurrent", "multiprocessing", "selectors", "socket", "subprocess", "threading", "time"}


def imported(path: Path) -> set[str]:
    """Return the names of the modules that a file imports when it runs, with all their parts."""
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_no_algorithm_imports_sockets_threads_time_or_drivers(path: Path) -> None:
    modules = imported(path)
    assert not {module for module in modules if module.split(".")[0] in FORBIDDEN}
    assert not {module for module in modules if module.startswith("dsgd.cluster.") and module.split(".")[2] in DRIVERS}


@pytest.mark.parametrize("name", ["ssp", "sync", "dissvrg"])
def test_a_distributed_algorithm_has_less_than_200_lines(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 200
