"""What a `Dataset` takes, in which form it keeps it, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from problems import make_problem

from dsgd.data import Dataset
from dsgd.errors import ConfigError, DataError

X, Y = make_problem(60, 12, seed=0)
NAMES = tuple("abcdefghijkl")


def test_arrays_and_sparse_matrices_are_kept_as_they_are() -> None:
    for matrix in (X, X.toarray(), X.tocsc()):
        data = Dataset(X=matrix, y=Y, feature_names=NAMES)
        assert data.X is matrix
        assert data.y is Y
        assert data.feature_names is NAMES


def test_lists_and_frames_become_arrays(tmp_path: Path) -> None:
    frame = pd.DataFrame(X.toarray(), columns=list(NAMES))
    given: list[dict[str, Any]] = [
        {"X": X.toarray().tolist(), "y": Y.tolist(), "feature_names": list(NAMES)},
        {"X": frame, "y": pd.Series(Y), "feature_names": frame.columns},
    ]
    for parts in given:
        data = Dataset(**parts, index_base="zero")
        assert isinstance(data.X, np.ndarray)
        assert isinstance(data.y, np.ndarray)
        assert data.feature_names == NAMES
        assert (data.n_samples, data.n_features, data.n_stored) == (60, 12, 720)
        data.save(tmp_path / "data")
        again = Dataset.load(tmp_path / "data")
        assert (X.toarray() == again.X).all()
        assert (again.y == Y).all()
        assert (again.feature_names, again.index_base) == (NAMES, "zero")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"X": Y}, DataError, r"X must have two dimensions .*, not 1; X.reshape\(-1, 1\) is one feature"),
        ({"X": scipy.sparse.coo_array(Y)}, DataError, "X must have two dimensions .*, not 1"),
        ({"X": None}, DataError, "X must have two dimensions .*, not 0; it is of type NoneType"),
        ({"X": [[1, 2], [3]]}, DataError, "X cannot be read as an array"),
        ({"y": None}, DataError, r"y has shape \(\); X has 60 rows"),
        ({"y": Y[1:]}, DataError, r"y has shape \(59,\); X has 60 rows"),
        ({"y": ["a", 1] * 30}, DataError, "y mixes strings and other labels"),
        ({"feature_names": NAMES[1:]}, DataError, "11 feature_names for the 12 columns of X"),
        ({"feature_names": "abcdefghijkl"}, DataError, "feature_names must be strings in a tuple or list, not 'abc"),
        ({"feature_names": range(12)}, DataError, r"feature_names must be strings .*, not range\(0, 12\)"),
        ({"feature_names": 3}, DataError, "feature_names must be strings .*, not 3"),
        ({"index_base": "two"}, ConfigError, "unknown index_base 'two'; known: one, zero"),
        ({"index_base": 1}, ConfigError, "unknown index_base 1; known: one, zero"),
    ],
    ids=str,
)
def test_it_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Dataset(**{"X": X, "y": Y, **changes})
