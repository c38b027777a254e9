"""The real data sets, where they are."""

from __future__ import annotations

import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from problems import ROOT

settings.register_profile("dsgd", deadline=None)  # examples write files; a disk may be slow
settings.load_profile("dsgd")


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Return a function from the name of a file of real data to its path."""
    source = Path(os.environ.get("DSGD_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (source / name).is_file():
            pytest.skip(f"{source / name} is not there; set DSGD_DATA to the folder of the real data sets")
        return source / name

    return find


@pytest.fixture(scope="session")
def real_data(real_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from the name of an .svm file to a decompressed copy of it."""
    target = tmp_path_factory.mktemp("data")

    def find(name: str) -> Path:
        packed, plain = real_file(f"{name}.xz"), target / name
        if not plain.is_file():
            plain.write_bytes(lzma.decompress(packed.read_bytes()))
        return plain

    return find
