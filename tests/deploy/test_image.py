"""deploy/Dockerfile and .dockerignore: what is in the image, and who runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from problems import ROOT

TEXT = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of every stage, as a name and the rest."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


BUILD, IMAGE = stages()


def of(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).parent
    hadolint = shutil.which("hadolint", path=str(beside)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, ROOT / "deploy/Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_the_wheel_and_no_compiler() -> None:
    assert not of(IMAGE, "COPY")
    assert not of(IMAGE, "ADD")
    installed = " ".join(of(IMAGE, "RUN"))
    assert "--mount=type=bind,from=build,source=/wheels" in installed
    assert "--only-binary=:all:" in installed
    assert not re.search(r"g\+\+|gcc|clang|make|-dev\b", installed)


def test_the_runtime_libraries_of_the_core_are_installed() -> None:
    import dsgd._core

    linked = subprocess.run(["ldd", dsgd._core.__file__], capture_output=True, text=True, check=True).stdout
    packages = {
        "libgomp.so.1": "libgomp1",
        "libssl.so.3": "libssl3",
        "libcrypto.so.3": "libssl3",
        "libstdc++.so.6": "libstdc++6",
    }
    of_the_system = {"linux-vdso.so.1", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "libpthread.so.0"}
    needed = {line.split()[0] for line in linked.splitlines() if "ld-linux" not in line}
    assert needed <= packages.keys() | of_the_system
    for library in needed & packages.keys():
        assert packages[library] in " ".join(of(IMAGE, "RUN")).split()


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    user, group = of(IMAGE, "USER")[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert of(IMAGE, "ENTRYPOINT") == ['["dsgd"]']


def test_nothing_is_fetched_but_from_the_registries_of_the_tools() -> None:
    assert "://" not in TEXT
    assert not re.search(r"--(extra-)?index-url|--trusted-host|curl|wget", TEXT)
    bases = [base.split()[0] for stage in (BUILD, IMAGE) for base in of(stage, "FROM")]
    assert len(set(bases)) == 1  # the wheel runs on what it was built on
    assert ":" in bases[0]


def test_the_build_installs_what_the_tree_says_that_it_needs() -> None:
    said = (ROOT / ".ci/system-packages").read_text(encoding="utf-8")
    of_python = {"python3-venv", "python3-dev"}  # the base image has its own Python
    of_tests = {"doctest-dev", "clang", "libclang-rt-dev"}
    needed = (
        {word for each in re.findall(r"missing\+=\(([^)]*)\)", said) for word in each.split()} - of_python - of_tests
    )
    assert needed <= set(" ".join(of(BUILD, "RUN")).split())


def test_the_build_sees_what_the_wheel_is_made_of_and_nothing_else() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    seen = {line[1:] for line in lines if line.startswith("!")}
    assert seen == {"CMakeLists.txt", "LICENSE", "README.md", "bindings", "cmake", "cpp", "pyproject.toml", "python"}
    assert all((ROOT / name).exists() for name in seen)
