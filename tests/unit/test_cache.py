from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import make_problem

import dsgd
from dsgd.data import Dataset, save_libsvm
from dsgd.data.cache import map_arrays, write_arrays
from dsgd.data.libsvm import ReadOptions
from dsgd.data.reading import load_alike
from dsgd.errors import DataError

X, Y = make_problem(60, 12, seed=0)
SETTINGS: dict[str, Any] = {"algo": "sgd", "random_state": 0, "max_epochs": 3, "step_size": 0.2}


def with_types(real: Any, index: Any) -> Any:
    matrix = X.astype(real)
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(index)
    return matrix


def parts(X: Any) -> list[Any]:
    return [X.indptr, X.indices, X.data] if scipy.sparse.issparse(X) else [X]


def is_mapped(array: Any) -> bool:
    address = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(part, 16) for part in line.split()[0].split("-"))
        if begin <= address < end:
            return line.endswith(".cache")
    return False


def same(one: Dataset, other: Dataset) -> bool:
    arrays = zip([*parts(one.X), one.y], [*parts(other.X), other.y], strict=True)
    return (
        one.X.shape == other.X.shape
        and (one.feature_names, one.index_base) == (other.feature_names, other.index_base)
        and all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in arrays)
    )


@pytest.mark.parametrize(
    "matrix",
    [with_types(real, index) for real in (np.float32, np.float64) for index in (np.int32, np.int64)]
    + [X.toarray(), X.toarray().astype(np.float32)],
    ids=["f32-i32", "f32-i64", "f64-i32", "f64-i64", "dense-f64", "dense-f32"],
)
def test_what_is_loaded_is_mapped_and_trained_on_without_a_copy(
    tmp_path: Path, matrix: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Dataset(X=matrix, y=Y, index_base="one").save(tmp_path / "data.cache")
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="dsgd"):
        data = Dataset.load(tmp_path / "data.cache")
        result = dsgd.fit(data, eval_set=data, **SETTINGS)
    assert not [message for message in caplog.messages if "copy" in message]
    assert all(is_mapped(array) and not array.flags.writeable and array.flags.aligned for array in parts(data.X))
    narrow = with_types(matrix.dtype, np.int32) if scipy.sparse.issparse(matrix) else matrix
    assert same(data, Dataset(X=narrow, y=Y, index_base="one"))
    assert (result.coef_ == dsgd.fit(matrix, Y, **SETTINGS).coef_).all()
    assert result.index_base == "one"
    assert (result.predict(data.X) == result.predict(matrix)).all()


@pytest.mark.parametrize(
    "labels",
    [
        np.where(Y > 0, "späm", 'h"a\nm'),
        np.array(["a", "b", "cc"] * 20, object),
        (Y > 0).astype(np.uint8),
        Y > 0,
        Y.astype(np.float16),
        Y.astype(">i4"),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_of_every_kind_come_back(tmp_path: Path, labels: Any) -> None:
    names = tuple(f"word {j} \u00fc\n" for j in range(12))
    Dataset(X=X, y=labels, feature_names=names).save(tmp_path / "data.cache")
    data = Dataset.load(tmp_path / "data.cache")
    assert (data.y == labels).all()
    assert data.y.dtype.kind == ("U" if labels.dtype.kind == "O" else labels.dtype.kind)
    assert data.feature_names == names
    assert data.index_base is None


def test_the_library_of_safetensors_reads_the_file(tmp_path: Path) -> None:
    for odd in (b"", b"x", b"xyz"):  # arrays of odd lengths come last, so that all are aligned
        data: dict[str, Any] = {
            "b": np.frombuffer(odd, np.uint8),
            "i": np.arange(3, dtype=np.int32),
            "f": np.arange(5.0),
        }
        write_arrays(tmp_path / "data.cache", data, "anything")
        with safetensors.safe_open(tmp_path / "data.cache", framework="numpy") as file:
            assert {name: file.get_tensor(name).tolist() for name in file.keys()} == {  # noqa: SIM118
                name: array.tolist() for name, array in data.items()
            }
        arrays, description = map_arrays(tmp_path / "data.cache")
        assert description == "anything"
        assert all(array.ctypes.data % array.itemsize == 0 for array in arrays.values())
        assert arrays["f"].ctypes.data % 64 == 0


def test_untidy_rows_are_tidied_once_when_they_are_saved(tmp_path: Path) -> None:
    untidy = scipy.sparse.csr_array(([1.0, 2, 3, 4], [2, 0, 2, 1], [0, 3, 4]), shape=(2, 3))
    roomy = X.copy()
    roomy.data, roomy.indices = np.append(roomy.data, np.nan), np.append(roomy.indices, np.int32(99))
    for name, matrix in (("untidy", untidy), ("roomy", roomy)):
        Dataset(X=matrix, y=np.arange(matrix.shape[0])).save(tmp_path / name)
    assert Dataset.load(tmp_path / "untidy").X.indices.tolist() == [0, 2, 1]
    assert same(Dataset.load(tmp_path / "roomy"), Dataset(X=X, y=np.arange(60)))


def test_an_array_that_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a has dtype complex128; a cache file holds native bools"):
        write_arrays(tmp_path / "data.cache", {"a": np.zeros(2, complex)}, "anything")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("matrix", "y", "names", "message"),
    [
        (X * np.inf, Y, None, r"X\[0, \d+\] is -?(nan|inf)"),
        (X[:0], Y[:0], None, "must not be empty"),
        (X, Y * np.nan, None, r"y\[0\] is not finite"),
        (X, Y, ("x" * 10_000_000,) * 12, "names and labels take 120 MB; a cache file holds 100: leave out"),
    ],
    ids=["infinite", "empty", "nan-label", "long-names"],
)
def test_what_cannot_be_trained_on_is_not_written(
    tmp_path: Path, matrix: Any, y: Any, names: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Dataset(X=matrix, y=y, feature_names=names).save(tmp_path / "data.cache")
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def rewritten(path: Path, **changes: Any) -> None:
    """Write the file at `path` anew, with changes of its arrays and, by other names, of its description."""
    mapped, description = map_arrays(path)
    arrays = {name: array.copy() for name, array in mapped.items()}
    for name, value in changes.items():
        (arrays if isinstance(value, np.ndarray) else description)[name] = value
    write_arrays(path, {name: array for name, array in arrays.items() if description.get(name) != "gone"}, description)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dsgd-linear-model-1"}, "its format is 'dsgd-linear-model-1', not 'dsgd-dataset'"),
        ({"version": 2}, "its version is 2, and this dsgd reads up to 1: upgrade dsgd"),
        ({"version": True}, "its version is True"),
        ({"n_features": 2**63}, "n_features is 9223372036854775808"),
        ({"n_features": None}, "n_features is None"),
        ({"index_base": "two"}, "unknown index_base 'two'; known: one, zero"),
        ({"feature_names": ["a"]}, "1 feature_names for the 12 columns"),
        ({"feature_names": "abc"}, "feature_names must be strings in a tuple or list, not 'abc'"),
        ({"labels": ["a"]}, "its labels are not strings"),
        ({"labels": ["a"], "y": np.ones(60, int)}, "codes from 1 to 1; there are 1 strings"),
        ({"labels": ["a"], "y": -np.ones(60, int)}, "codes from -1 to -1"),
        ({"labels": [["a"]], "y": np.zeros(60, int)}, "its labels are not strings"),
        ({"y": np.ones((60, 2))}, r"y has shape \(60, 2\); X has 60 rows"),
        ({"y": np.ones(59)}, r"y has shape \(59,\); X has 60 rows"),
        ({"y": "gone"}, "it lacks 'y'"),
        ({"indices": "gone"}, "it lacks 'indices'"),
        ({"indices": np.zeros(3, np.int32)}, "the arrays have shapes"),
        ({"indptr": np.zeros(0, np.int32)}, "the arrays have shapes"),
        ({"indptr": np.zeros(61)}, "the arrays have dtypes float64, int32 and float64"),
        ({"indptr": np.zeros(61, np.int32)}, r"indptr goes from 0 to 0, not from 0 to \d+"),
        ({"X": np.ones((60, 11))}, "X has 11 columns; n_features is 12"),
        ({"X": np.ones((60, 12), int)}, "dtype int64"),
    ],
    ids=str,
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "data.cache"
    Dataset(X=X, y=Y).save(path)
    rewritten(path, **changes)
    with pytest.raises(DataError, match=rf"data\.cache cannot be used as data: .*{message}.*; write it again"):
        Dataset.load(path)


def container(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


META = {"__metadata__": {"dsgd": "{}"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "may be truncated"),
        (b"1234567", "may be truncated"),
        (container(META, length=2**63), "a header of 9223372036854775808 bytes does not fit"),
        (container(META, length=10**6), "may be truncated"),
        (container(b"{\xff}"), "'utf-8' codec can't decode"),
        (container(b"{"), "Expecting property name"),
        (container(b"{" + b"[" * 100_000), "is not a cache file of dsgd"),
        (container([]), "is not a cache file of dsgd"),
        (container({}), "it lacks '__metadata__'"),
        (container({"__metadata__": {}}), "it lacks 'dsgd'"),
        (container({"__metadata__": {"dsgd": "what"}}), "Expecting value"),
        (container({**META, "y": 1}), "is not a cache file of dsgd"),
        (container({**META, "y": {}}), "it lacks 'dtype'"),
        (container({**META, "y": {"dtype": "F12", "shape": [], "data_offsets": [0, 0]}}), "it lacks 'F12'"),
        (container({**META, "y": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}), "may be truncated"),
        (
            container({**META, "y": {"dtype": "U8", "shape": [2], "data_offsets": [0, 1]}}, b"xx"),
            "cannot be bytes 0 to 1",
        ),
        (container({**META, "y": {"dtype": "U8", "shape": [-1], "data_offsets": [1, 0]}}, b"xx"), "has shape"),
        (container({**META, "y": {"dtype": "U8", "shape": [1.0], "data_offsets": [0, 1]}}, b"xx"), "has shape"),
        (container({**META, "y": {"dtype": "U8", "shape": [1] * 40, "data_offsets": [0, 1]}}, b"xx"), "has shape"),
        (container({**META, "y": {"dtype": "U16", "shape": [1], "data_offsets": [1, 3]}}, b"xxx"), "begins at byte 1"),
        (container({**META, "y": {"dtype": "U8", "shape": [2**62, 2**62], "data_offsets": [0, 0]}}), "cannot be bytes"),
        (container({**META, "y": {"dtype": "U8", "shape": [2**62, 0], "data_offsets": [0, 0, 0]}}), "too many values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_container_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "data.cache").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Dataset.load(tmp_path / "data.cache")
    assert str(tmp_path / "data.cache") in str(caught.value)
    assert "write it again" in str(caught.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.cache"
    Dataset(X=X[:5], y=Y[:5]).save(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"data\.cache is not a cache file of dsgd: .*write it again"):
            Dataset.load(path)


@pytest.mark.filterwarnings("ignore:epoch 1 diverged:RuntimeWarning")  # changed numbers may be large
@given(data=st.data(), kind=st.sampled_from(["sparse", "dense", "words"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_no_bytes_crash_the_reader_or_the_fit(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    """Changed bytes of the header or the arrays give a DataError, or data that is trained on or refused."""
    path = tmp_path / "fuzz.cache"
    y = np.where(Y > 0, "spam", "ham") if kind == "words" else Y
    Dataset(X=X.toarray() if kind == "dense" else X, y=y, feature_names=tuple("abcdefghijkl")).save(path)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, header - 1) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.sampled_from(b'{}[]",:0123456789 \x00\xff') | st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = Dataset.load(path)
        result = dsgd.fit(loaded, **(SETTINGS | {"max_epochs": 1, "evaluate_every": 0}))
    except (DataError, dsgd.errors.DivergedError):
        return
    assert loaded.n_samples == 60
    assert np.isfinite(result.coef_).all()


def test_a_file_that_is_replaced_stays_readable_for_who_mapped_it(tmp_path: Path) -> None:
    path = tmp_path / "data.cache"
    Dataset(X=X, y=Y).save(path)
    before = Dataset.load(path)
    before.save(path)  # onto itself
    Dataset(X=X[:5], y=Y[:5]).save(path)
    assert same(before, Dataset(X=X, y=Y))
    assert Dataset.load(path).n_samples == 5


def test_pipes_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe or device"):
        dsgd.data.load(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        dsgd.data.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        Dataset.load(tmp_path / "none")


def test_load_finds_the_kind_by_content(tmp_path: Path) -> None:
    Dataset(X=X, y=Y).save(tmp_path / "data.svm")
    save_libsvm(tmp_path / "data.cache", X, Y)
    for name, base in (("data.svm", None), ("data.cache", "one")):
        data = dsgd.data.load(tmp_path / name)
        assert same(data, Dataset(X=X, y=Y, index_base=base))
        result = dsgd.fit(tmp_path / name, **SETTINGS)
        assert (result.coef_ == dsgd.fit(X, Y, **SETTINGS).coef_).all()
        assert result.index_base == base
        assert dsgd.data.load(tmp_path / name, n_features=20).X.shape == (60, 20)
        assert dsgd.data.load(tmp_path / name, dtype=np.float32).X.dtype == np.float32
        with pytest.raises(DataError, match="has 12 features; n_features=11 is too small"):
            dsgd.data.load(tmp_path / name, n_features=11)
    Dataset(X=X.toarray(), y=Y).save(tmp_path / "dense")
    with pytest.raises(DataError, match="is dense and has 12 features; n_features=13 is too large"):
        dsgd.data.load(tmp_path / "dense", n_features=13)


def test_text_beside_a_cache_file_is_numbered_as_that(tmp_path: Path) -> None:
    save_libsvm(tmp_path / "rest.svm", X[:, 1:], Y)  # without the first feature: by itself it would be numbered from 1
    for base, first in (("zero", 1), ("one", 0)):
        Dataset(X=X, y=Y, index_base=base).save(tmp_path / "train.cache")
        _, rest = load_alike([tmp_path / "train.cache", tmp_path / "rest.svm"], ReadOptions())
        assert rest.index_base == base
        assert rest.X.shape[1] == 11 + first
    Dataset(X=X, y=Y, index_base="zero").save(tmp_path / "other.cache")
    with pytest.raises(DataError, match=r"is called one by .*train\.cache and zero by .*other\.cache"):
        load_alike([tmp_path / "train.cache", tmp_path / "other.cache"], ReadOptions())
    with pytest.raises(DataError, match=r"is called zero by index_base and one by .*train\.cache"):
        dsgd.data.load(tmp_path / "train.cache", index_base="zero")
    Dataset(X=X, y=Y).save(tmp_path / "arrays.cache")  # does not know, and so does not contradict
    assert dsgd.data.load(tmp_path / "arrays.cache", index_base="zero").index_base == "zero"


def test_an_eval_set_that_numbers_its_features_otherwise_is_refused() -> None:
    train, test = Dataset(X=X, y=Y, index_base="one"), Dataset(X=X, y=Y, index_base="zero")
    with pytest.raises(DataError, match="is called one by the training data and zero by eval_set"):
        dsgd.fit(train, eval_set=test, **SETTINGS)
    history = dsgd.fit(X, Y, eval_set=test, **SETTINGS).history
    assert [record.score for record in history] == [
        record.score for record in dsgd.fit(train, eval_set=(X, Y), **SETTINGS).history
    ]
