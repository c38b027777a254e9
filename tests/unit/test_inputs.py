from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem

import dsgd
from dsgd.data.inputs import as_matrix, match_features
from dsgd.errors import DataError

X, Y = make_problem(60, 12, seed=0)
DENSE = X.toarray()


def with_types(sparse: Any, real: Any, index: Any) -> Any:
    """Return the matrix with arrays of these types (the constructors of scipy would choose their own)."""
    matrix = sparse(X.astype(real))
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    return matrix


@pytest.mark.parametrize("sparse", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_csr_is_taken_where_it_lies(sparse: Any, real: Any, index: Any, caplog: pytest.LogCaptureFixture) -> None:
    matrix = with_types(sparse, real, index)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    with caplog.at_level(logging.INFO, logger="dsgd"):
        taken = as_matrix(matrix, 2)
    assert caplog.messages == []
    for mine, theirs in zip(taken.arrays, (matrix.indptr, matrix.indices, matrix.data), strict=True):
        assert mine.ctypes.data == theirs.ctypes.data
    result = dsgd.fit(matrix, Y, algo="sgd", random_state=0)
    assert result.coef_.dtype == real
    expected = dsgd.fit(X, Y, algo="sgd", random_state=0)
    np.testing.assert_allclose(result.coef_, expected.coef_, rtol=1e-4 if real is np.float32 else 0, atol=1e-5)


@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_dense_is_taken_where_it_lies(real: Any, caplog: pytest.LogCaptureFixture) -> None:
    dense = DENSE.astype(real)
    dense.flags.writeable = False
    with caplog.at_level(logging.INFO, logger="dsgd"):
        taken = as_matrix(dense, 1)
    assert caplog.messages == []
    assert taken.arrays.ctypes.data == dense.ctypes.data
    assert dsgd.fit(dense, Y, algo="hogwild").coef_.dtype == real


def test_memory_maps_are_taken_where_they_lie(tmp_path: Path) -> None:
    np.save(tmp_path / "dense.npy", DENSE)
    dense = np.load(tmp_path / "dense.npy", mmap_mode="r")
    assert as_matrix(dense, 1).arrays.ctypes.data == dense.ctypes.data
    parts = []
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(X, name))
        parts.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    sparse = scipy.sparse.csr_array(tuple(parts), shape=X.shape)
    assert as_matrix(sparse, 1).arrays[2].ctypes.data == parts[0].ctypes.data


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (X.tocsc(), "X converted from csc to csr"),
        (X.tocoo(), "X converted from coo to csr"),
        (X.astype(np.int64), "the data of X converted from int64 to float64"),
        (np.asfortranarray(DENSE), "X copied into C order"),
        (DENSE[:, ::-1], "X copied into C order"),
        (DENSE.astype(">f8"), "X converted from >f8 to float64"),
        (DENSE.astype(np.float16), "X converted from float16 to float64"),
        (DENSE.astype(object), "X converted from object to float64"),
        (DENSE > 0, "X converted from bool to float64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_converted_once_and_the_log_says_so(
    given: Any, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dsgd"):
        as_matrix(given, 1)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{note}: one copy of ")


def test_duplicate_columns_are_added_up_in_a_copy() -> None:
    indptr, indices, data = np.array([0, 3, 4]), np.array([2, 0, 2, 1]), np.array([1.0, 2.0, 3.0, 4.0])
    untidy = scipy.sparse.csr_array((data, indices, indptr), shape=(2, 3))
    tidy = scipy.sparse.csr_array(np.array([[2.0, 0, 4], [0, 4, 0]]))
    settings: dict[str, Any] = {"algo": "hogwild", "write": "locked", "random_state": 0, "n_threads": 1}
    expected = dsgd.fit(tidy, [0, 1], **settings).coef_
    assert (dsgd.fit(untidy, [0, 1], **settings).coef_ == expected).all()
    assert untidy.indices.tolist() == [2, 0, 2, 1]


def test_a_negative_indptr_at_the_border_of_two_blocks_is_refused() -> None:
    big = scipy.sparse.csr_array(np.ones((40_000, 1)))
    big.indptr[16_384] = -(2**31)
    with pytest.raises(DataError, match="indptr goes from"):
        dsgd.fit(big, np.arange(40_000) % 2, algo="hogwild", n_threads=2)


def test_mixed_index_types_are_widened_not_narrowed() -> None:
    indices = np.array([0, 2**32 + 1], np.int64)
    broken = scipy.sparse.csr_array(np.ones((2, 2)))[:, :1].tocsr()
    broken.indptr, broken.indices, broken.data = np.array([0, 1, 2], np.int32), indices, np.ones(2)
    with pytest.raises(DataError, match=r"has column 4294967297, outside \[0, 1\)"):
        dsgd.fit(broken, [0, 1], algo="sgd")


def test_features_are_matched(caplog: pytest.LogCaptureFixture) -> None:
    assert match_features(X, 12) is X
    wider = match_features(X, 15)
    assert wider.shape == (60, 15)
    assert (wider.toarray()[:, :12] == DENSE).all()
    narrower = match_features(X, 10)
    assert (narrower.toarray() == DENSE[:, :10]).all()
    assert caplog.messages == ["left out 2 features that the model does not have"]
