"""The installed package: away from the source tree, typed, complete, and as its documents say."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from problems import ROOT

import dsgd


def test_the_package_runs_away_from_the_source_tree(tmp_path: Path) -> None:
    script = "import dsgd, numpy; print(dsgd.__file__); dsgd.fit(numpy.eye(2), [0, 1], algo='hogwild')"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "python")


def test_the_wheel_holds_what_it_should() -> None:
    files = {str(path) for path in importlib.metadata.files("dsgd") or []}
    for needed in ("dsgd/py.typed", "dsgd/_core.pyi", "dsgd/testing/reference.py"):
        assert needed in files
    assert any(name.startswith("dsgd/_core.") and name.endswith(".so") for name in files)
    assert not [name for name in files if name.endswith((".cpp", ".hpp"))]
    sources = {str(path.relative_to(ROOT / "python")) for path in (ROOT / "python").rglob("*.py")}
    assert sources <= files


def test_versions_agree() -> None:
    assert dsgd.__version__ == importlib.metadata.version("dsgd")
    assert f"## {dsgd.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "name", sorted(m.name for m in pkgutil.walk_packages(dsgd.__path__, "dsgd.") if m.name != "dsgd.__main__")
)
def test_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public)


def test_importing_starts_no_thread_and_no_heavy_library() -> None:
    script = """
import os, sys
import numpy, rich.progress, safetensors.numpy, scipy.optimize, scipy.sparse
before = len(os.listdir("/proc/self/task"))
import dsgd
print(len(os.listdir("/proc/self/task")) - before, "sklearn" in sys.modules)
dsgd.fit, dsgd.KMeans
print("dask" in sys.modules, "distributed" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False", "False", "False"]


@pytest.mark.parametrize("page", ["README.md", "docs/from-scikit-learn.md"])
def test_the_python_of_the_documentation_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        if "__main__" not in block:
            exec(compile(block, page, "exec"), {})


def test_the_script_of_the_readme_trains_on_a_dask_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (script,) = [block for block in blocks if "__main__" in block]
    (tmp_path / "on_dask.py").write_text(script)
    # Another cluster of this machine may have the port of the dashboard.
    words = [sys.executable, "-W", "error", "-W", "ignore:Port 8787", "on_dask.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    objective, score, labels = [line.split() for line in done.stdout.splitlines()]
    assert float(objective[0]) < 0.1
    assert score[0].startswith("dask.array<")
    assert float(score[-1]) > 0.99
    assert labels[-1].removesuffix("]") in ("True", "False")
