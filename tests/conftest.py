"""What all tests share: generated problems, and the real data sets where they are."""

from __future__ import annotations

import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from the name of an .svm file to a decompressed copy of it."""
    source = Path(os.environ.get("DSGD_DATA", ROOT.parent / "shared" / "data"))
    target = tmp_path_factory.mktemp("data")

    def find(name: str) -> Path:
        packed, plain = source / f"{name}.xz", target / name
        if not packed.is_file():
            pytest.skip(f"{packed} is not there; set DSGD_DATA to the folder of the real data sets")
        if not plain.is_file():
            plain.write_bytes(lzma.decompress(packed.read_bytes()))
        return plain

    return find


@pytest.fixture
def sparse_problem() -> tuple[scipy.sparse.csr_array, NDArray[np.float64]]:
    """300 rows of 40 features with frequencies from 1 % to 60 %, labels -1 and +1 that follow a linear rule."""
    return make_problem(300, 40, seed=0)


def make_problem(n_rows: int, n_features: int, seed: int) -> tuple[Any, NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    frequency = np.geomspace(0.6, 0.01, n_features)
    dense = random.standard_normal((n_rows, n_features)) * (random.random((n_rows, n_features)) < frequency)
    y = np.where(dense @ random.standard_normal(n_features) > 0, 1.0, -1.0)
    return scipy.sparse.csr_array(dense), y
