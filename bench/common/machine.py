"""The facts to be kept with a figure: the machine, the versions, and the command that made it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsgd._common.files import replacing
from dsgd._common.threads import default_threads

__all__ = ["ROOT", "about", "command", "keep", "machine", "save"]

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "dsgd",
    "numpy",
    "scipy",
    "scikit-learn",
    "snapml",
    "liblinear-multicore",
    "cyanure",
    "xgboost-cpu",
    "xgboost",
    "skglm",
    "vowpalwabbit",
    "matplotlib",
)


def machine() -> dict[str, Any]:
    """Return processor, cores, system and versions."""
    return {
        "processor": _processor(),
        "cores": default_threads(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def command(script: str, arguments: Sequence[str]) -> str:
    """Return the command line of a script of this tree, as it is typed in its root."""
    return shlex.join(["python", str(Path(script).resolve().relative_to(ROOT)), *arguments])


def about(script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Return what is kept with every result: the command line and the machine."""
    return {"command": command(script, arguments), "machine": machine()}


def save(path: Path, content: Any) -> None:
    """Write JSON to a file, atomically."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def keep(path: Path, key: str, script: str, arguments: Sequence[str], content: Any) -> None:
    """Write a result beside those of other scripts that the file has."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    save(path, {**known, key: {**about(script, arguments), "results": content}})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
