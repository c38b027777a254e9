"""Imports point downwards, by folder, and make no circle; imports for type checking count as well."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

import dsgd.algorithms

ROOT = Path(dsgd.algorithms.__file__).parent.parent
# From the bottom to the top; what stands in one line knows nothing of its neighbours.
FLOORS = [
    {"errors"},
    {"_common"},
    {"data"},
    {"models"},
    {"losses"},
    {"schedules", "testing"},
    {"problems"},
    {"cluster.program"},
    {"privacy"},
    {"algorithms"},
    {"cluster.runtime"},
    {"cluster.simulation", "cluster.tcp"},
    {"cluster.driver"},
    {"cluster.local"},
    {"results"},
    {"callbacks"},
    {"fitting"},
    {"cluster"},
    {"cluster.remote"},
    {"dask"},
    {"api"},
    {"estimators", "cli"},
    {"dask.estimators"},
    {"__main__"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Return the modules of the package by name, such as ``cluster.local.child``."""
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in names.items() if name}


MODULES = modules()


def room_of(module: str) -> str:
    """Return the folder of a module, or itself where it lies beside them."""
    if MODULES[module].name == "__init__.py" or "." not in module:
        return module
    return module.rpartition(".")[0]


def imports_of(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            ours = [alias.name for alias in node.names if alias.name.split(".")[0] == "dsgd"]  # not dask of others
            found |= {name.removeprefix("dsgd.") for name in ours}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "dsgd":
            package = node.module.removeprefix("dsgd").removeprefix(".")
            names = [f"{package}.{alias.name}".removeprefix(".") for alias in node.names]
            found |= {name if name in MODULES else package for name in names}
    return found & MODULES.keys()


IMPORTS = {name: imports_of(path) - {name} for name, path in MODULES.items()}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downwards(module: str) -> None:
    height = FLOOR[room_of(module)]
    upwards = {
        other for other in IMPORTS[module] if room_of(other) != room_of(module) and FLOOR[room_of(other)] >= height
    }
    if MODULES[module].name == "__init__.py":  # a package exports what its own folders define
        upwards = {other for other in upwards if not other.startswith(f"{module}.")}
    assert not upwards


def test_imports_make_no_circle() -> None:
    list(graphlib.TopologicalSorter(IMPORTS).static_order())


def test_every_folder_says_what_it_is_for() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            assert len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") > 20, name


FORBIDDEN = {"asyncio", "concurrent", "multiprocessing", "selectors", "socket", "subprocess", "threading", "time"}


@pytest.mark.parametrize("path", sorted((ROOT / "algorithms").glob("*.py")), ids=lambda path: path.stem)
def test_no_algorithm_imports_sockets_threads_or_time(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert not {name.split(".")[0] for name in names} & FORBIDDEN


@pytest.mark.parametrize("name", ["ssp", "sync", "dissvrg"])
def test_a_distributed_algorithm_has_less_than_200_lines(name: str) -> None:
    assert len((ROOT / "algorithms" / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 200
