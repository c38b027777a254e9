"""Fixtures of the real data sets, and settings of threads and of hypothesis."""

from __future__ import annotations

import functools
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

# To be set before the libraries are loaded. A thread that waits in a loop takes the time of a
# thread that has no processor. Beside other tests, tests on two threads took up to seventy times as
# long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from common.real_sets import FOLDER, SETS, Parts

# No deadline: examples write files and fit models, and a machine may be slow, or busy with other
# tests.
settings.register_profile("dsgd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dsgd")


def _skip(missing: object) -> NoReturn:
    pytest.skip(f"{missing} is not there; set DSGD_DATA to the folder of the real data sets")


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Return a function from the name of a file of real data to its path."""

    def find(name: str) -> Path:
        if not (FOLDER / name).is_file():
            _skip(FOLDER / name)
        return FOLDER / name

    return find


@pytest.fixture(scope="session")
def real_set() -> Callable[[str], Parts]:
    """Return a function from a name of `SETS` to the data set, which no test may write to."""

    @functools.cache
    def read(name: str) -> Parts:
        try:
            return SETS[name]()
        except FileNotFoundError as error:
            _skip(error.filename)

    return read


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
