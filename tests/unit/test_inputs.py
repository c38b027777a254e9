from __future__ import annotations

import logging
from functools import partial
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
@pytest.mark.parametrize("pointer", [np.int32, np.int64])
def test_csr_is_taken_where_it_lies(sparse: Any, real: Any, pointer: Any, caplog: pytest.LogCaptureFixture) -> None:
    matrix = with_types(sparse, real, np.int32)
    matrix.indptr = matrix.indptr.astype(pointer)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.flags.writeable = False
    with caplog.at_level(logging.INFO, logger="dsgd"):
        taken = as_matrix(matrix, 2)
    assert caplog.messages == []
    indptr, indices, data = taken.arrays
    assert indices.ctypes.data == matrix.indices.ctypes.data
    assert data.ctypes.data == matrix.data.ctypes.data
    assert (indptr.ctypes.data == matrix.indptr.ctypes.data) == (pointer is np.int64)  # else a copy, 8 bytes a row
    result = dsgd.fit(matrix, Y, algo="sgd", random_state=0)
    assert result.coef_.dtype == real
    expected = dsgd.fit(X, Y, algo="sgd", random_state=0)
    np.testing.assert_allclose(result.coef_, expected.coef_, rtol=1e-4 if real is np.float32 else 0, atol=1e-5)


@pytest.mark.parametrize("algo", ["sgd", "sdca", "hogwild", "svrg", "minibatch", "batch"])
def test_columns_of_64_bits_are_narrowed_once(algo: str, caplog: pytest.LogCaptureFixture) -> None:
    wide = with_types(scipy.sparse.csr_array, np.float64, np.int64)
    settings: dict[str, Any] = {"algo": algo, "random_state": 0, "max_epochs": 3, "n_threads": 1}
    with caplog.at_level(logging.INFO, logger="dsgd"):
        result = dsgd.fit(wide, Y, **settings)
    (note,) = (message for message in caplog.messages if "narrowed" in message)
    assert note == f"columns of X narrowed from int64 to int32: one copy of {4 * X.nnz / 1e6:.1f} MB"
    assert wide.indices.dtype == np.int64
    assert (result.coef_ == dsgd.fit(X, Y, **settings).coef_).all()


def test_a_column_that_32_bits_do_not_hold_is_named_with_the_cure() -> None:
    matrix = scipy.sparse.csr_array((4, 2**40))
    matrix.indptr = np.array([0, 1, 3, 3, 4])
    matrix.indices, matrix.data = np.array([7, 2, 2**31, 2**31 - 1]), np.ones(4)
    for call in (partial(dsgd.fit, algo="sgd"), dsgd.SGDClassifier().fit):
        with pytest.raises(DataError, match=r"row 1 of X has column 2147483648; .*numpy.unique\(X.indices"):
            call(matrix, [0, 1, 0, 1])
    matrix.indices = np.unique(matrix.indices, return_inverse=True)[1]
    cured = scipy.sparse.csr_array((matrix.data, matrix.indices, matrix.indptr))
    assert dsgd.fit(cured, [0, 1, 0, 1], algo="sgd").coef_.shape == (4,)


def test_what_lies_beyond_the_last_row_is_no_column() -> None:
    matrix = with_types(scipy.sparse.csr_array, np.float64, np.int64)
    matrix.indices = np.append(matrix.indices, 2**40)
    matrix.data = np.append(matrix.data, 0.0)
    assert as_matrix(matrix, 1).n_features == 12


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


def test_a_wrong_column_does_not_pass_for_a_right_one_when_it_is_narrowed() -> None:
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
