from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from problems import make_problem
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

import dsgd
from dsgd.data import load_libsvm, save_libsvm
from dsgd.data.libsvm import ReadOptions, load_libsvm_alike
from dsgd.errors import ConfigError, DataError

X, Y = make_problem(80, 12, seed=0)


def test_reads_what_scikit_learn_writes_and_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    dump_svmlight_file(X, Y, str(path), zero_based=False)
    read, labels = load_libsvm(path)
    np.testing.assert_allclose(read.toarray(), X.toarray(), rtol=1e-15)
    assert (labels == Y).all()
    save_libsvm(path, X, Y)
    read, labels = load_svmlight_file(str(path), n_features=12, zero_based=False)
    assert (read.toarray() == X.toarray()).all()
    assert (labels == Y).all()


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Any, Any]:
    real = draw(st.sampled_from([np.float32, np.float64]))
    index = draw(st.sampled_from([np.int32, np.int64]))
    number = st.floats(allow_nan=False, allow_infinity=False, width=32 if real is np.float32 else 64)
    columns = st.lists(st.integers(0, 2**31 - 2), max_size=6, unique=True).map(sorted)
    rows = draw(st.lists(columns, min_size=1, max_size=6))
    indices = np.array([j for row in rows for j in row], index)
    data = np.array([draw(number) for _ in indices], real)
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(index)
    labels = [draw(st.floats(allow_nan=False, allow_infinity=False)) for _ in rows]
    return scipy.sparse.csr_array((data, indices, indptr), shape=(len(rows), 2**31 - 1)), np.array(labels)


@given(problem=matrices(), base=st.sampled_from(["zero", "one"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip_is_exact(tmp_path: Path, problem: tuple[Any, Any], base: Any) -> None:
    X, y = problem
    save_libsvm(tmp_path / "file.svm", X, y, index_base=base, n_threads=2)
    read, labels = load_libsvm(
        tmp_path / "file.svm", n_features=X.shape[1], dtype=X.dtype, index_base=base, n_threads=2
    )
    assert read.shape == X.shape
    assert read.data.dtype == X.dtype
    assert (read.data == X.data).all()
    assert (read.indices == X.indices).all()
    assert (read.indptr == X.indptr).all()
    assert (labels == y).all()


def test_the_base_is_found_or_stated(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:5 3:7\n")
    assert load_libsvm(path)[0].toarray().tolist() == [[5, 0, 7]]
    assert load_libsvm(path, index_base="zero")[0].toarray().tolist() == [[0, 5, 0, 7]]
    path.write_text("1 0:5 2:7\n")
    assert load_libsvm(path)[0].toarray().tolist() == [[5, 0, 7]]
    with pytest.raises(DataError, match="has index 0; read it with index_base='zero'"):
        load_libsvm(path, index_base="one")


def test_the_number_of_features(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:5 3:7\n")
    assert load_libsvm(path, n_features=10)[0].shape == (1, 10)
    with pytest.raises(DataError, match="has 3 features; n_features=2 is too small"):
        load_libsvm(path, n_features=2)
    with pytest.raises(ConfigError, match="n_features must be an integer of at least 1"):
        load_libsvm(path, n_features=0)


def test_types(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:0.1\n")
    X, y = load_libsvm(path, dtype=np.float32)
    assert X.data.dtype == np.float32
    assert X.data[0] == np.float32(0.1)
    assert y.dtype == np.float64
    assert X.indices.dtype == np.int32
    with pytest.raises(ConfigError, match="dtype must be float32 or float64, not int64"):
        load_libsvm(path, dtype=np.int64)


def test_ids_beyond_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:1 2147483647:2\n")
    X, _ = load_libsvm(path)
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert X.indices.tolist() == [0, 2_147_483_646]
    path.write_text("1 1:1\n1 1:1 3000000000:2\n")
    with pytest.raises(DataError, match=r":2:7: index 3000000000 is 2\^31 or more.*number the features without gaps"):
        load_libsvm(path)


def test_where_no_pair_is_in_sight_the_error_asks_whether_it_is_a_table(tmp_path: Path) -> None:
    for text, asks in (("#a,b\n1,2\n", True), ("1\t2\t3\n", True), ("1 1:1\n1 1\n", False)):
        (tmp_path / "data").write_text(text)
        with pytest.raises(DataError) as caught:
            load_libsvm(tmp_path / "data")
        assert ("is this libsvm text?" in str(caught.value)) == asks


def test_errors_name_file_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:5\n-1 2:x\n")
    with pytest.raises(DataError) as caught:
        load_libsvm(path)
    assert str(caught.value) == f"{path}:2:6: expected a finite number as value, found 'x'"
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), 2, 6)


def test_bytes_that_are_not_text_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_bytes(b"1 1:\xff\x00\xc3\xa4a\n")
    with pytest.raises(DataError, match=r"found '\\xff\\x00\\xc3\\xa4a'"):
        load_libsvm(path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.svm")
    save_libsvm(path, X, Y)
    assert (load_libsvm(path)[1] == Y).all()
    with pytest.raises(FileNotFoundError) as caught:
        load_libsvm(path + "x")
    assert caught.value.filename == path + "x"


def test_files_read_together_number_their_features_alike(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1 0:5 2:7\n")
    (tmp_path / "b").write_text("1 1:5\n")
    for order in (["a", "b"], ["b", "a"]):
        files, base = load_libsvm_alike([tmp_path / name for name in order], ReadOptions())
        assert base == "zero"
        assert {file[0].indices[0] for file in files} == {0, 1}
    files, base = load_libsvm_alike([tmp_path / "b"], ReadOptions())
    assert base == "one"


@pytest.mark.parametrize("kind", ["gzip", "xz", "bz2", "zstd"])
def test_packed_files_are_recognised_by_their_bytes(tmp_path: Path, kind: str) -> None:
    pack: Any = {"gzip": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zstd": zstandard.compress}[kind]
    path = tmp_path / "file.svm"
    save_libsvm(path, X, Y)
    packed = pack(path.read_bytes())
    path.write_bytes(packed)
    read, labels = load_libsvm(path)
    assert (read.toarray() == X.toarray()).all()
    assert (labels == Y).all()
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"file\.svm is packed, and broken"):
        load_libsvm(path)


def test_without_zstandard_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.svm").write_bytes(zstandard.compress(b"1 1:1\n"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(DataError, match="compressed with zstd: pip install zstandard"):
        load_libsvm(tmp_path / "file.svm")


def test_shards_by_offset_and_length(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    save_libsvm(path, X, Y)
    size = path.stat().st_size
    cuts = [size * k // 3 for k in range(4)]
    parts = [
        load_libsvm(path, n_features=12, index_base="one", offset=begin, length=end - begin)
        for begin, end in pairwise(cuts)
    ]
    assert all(len(labels) > 0 for _, labels in parts)
    assert (scipy.sparse.vstack([part for part, _ in parts]).toarray() == X.toarray()).all()
    assert (np.concatenate([labels for _, labels in parts]) == Y).all()
    with pytest.raises(ConfigError, match="offset must be an integer from 0"):
        load_libsvm(path, offset=-1)
    with pytest.raises(ConfigError, match="length must be an integer from 0"):
        load_libsvm(path, length=-1)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_libsvm(tmp_path / "none.svm")
    assert caught.value.filename == str(tmp_path / "none.svm")
    with pytest.raises(IsADirectoryError):
        load_libsvm(tmp_path)
    (tmp_path / "empty.svm").write_text("# nothing\n")
    X, y = load_libsvm(tmp_path / "empty.svm")
    assert X.shape == (0, 1)
    assert y.shape == (0,)


def test_writing_checks_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the labels of a libsvm file are numbers, not strings such as 'ham'"):
        save_libsvm(tmp_path / "file.svm", X, np.full(80, "ham"))
    with pytest.raises(DataError, match=r"y has shape \(79,\); X has 80 rows"):
        save_libsvm(tmp_path / "file.svm", X, Y[1:])
    with pytest.raises(DataError, match=r"y\[0\] is not finite"):
        save_libsvm(tmp_path / "file.svm", X, Y * np.nan)
    with pytest.raises(DataError, match=r"X\[0, 0\] is nan"):
        save_libsvm(tmp_path / "file.svm", np.full((80, 1), np.nan), Y)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    save_libsvm(tmp_path / "dense.svm", np.array([[0.0, 2.0]]), [1])
    assert (tmp_path / "dense.svm").read_text() == "1 2:2\n"


@given(text=st.text(alphabet="01239:+-.e# \t\r\nnaifqd", max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
def test_no_text_crashes_the_reader(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fuzz.svm"
    path.write_bytes(text.encode())
    try:
        X, y = load_libsvm(path, n_threads=2)
    except DataError:
        return
    assert X.shape[0] == len(y)
    assert np.isfinite(X.data).all()
    X.check_format(full_check=True)


@pytest.mark.parametrize("label", [2**53 + 1, -(2**53) - 1, 2**60 + 1, 2**63 - 1, 2**64 - 1])
def test_a_label_that_float64_does_not_hold_is_refused_by_value(tmp_path: Path, label: int) -> None:
    path = tmp_path / "file.svm"
    y = np.array([0, label], np.int64 if label < 2**63 else np.uint64)
    with pytest.raises(DataError, match=f"the label of row 1 is {label}, but"):
        save_libsvm(path, np.eye(2), y)
    assert not path.exists()
    path.write_text(f"0 1:1\n{label} 2:1\n")
    with pytest.raises(DataError, match=rf"file.svm:2:1: label '{label}' is no number of float64"):
        load_libsvm(path)


@pytest.mark.parametrize("label", [2**53, -(2**53), 2**53 + 2, 2**62, -(2**63)])
def test_a_large_label_that_float64_holds_is_kept(tmp_path: Path, label: int) -> None:
    path = tmp_path / "file.svm"
    save_libsvm(path, np.eye(2), np.array([0, label]))
    assert load_libsvm(path)[1].tolist() == [0.0, float(label)]
    path.write_text(f"00{2**53} 1:1\n{2**80} 1:1\n-{2**1000} 1:1\n")
    assert load_libsvm(path)[1].tolist() == [2.0**53, 2.0**80, -(2.0**1000)]
    path.write_text(f"+{2**53}.0 1:1\n1e300 1:1\n{2**53 + 1}.0 1:1\n")  # numbers that say themselves they are real
    assert load_libsvm(path)[1].tolist() == [2.0**53, 1e300, 2.0**53]


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        (b"\xef\xbb\xbf1 1:2\n-1 1:3\n", "the file begins with the mark of UTF-8; save it without"),
        ("1 1:2\n-1 1:3\n".encode("utf-16"), "the file is UTF-16; convert it to UTF-8"),
        (b"cat 1:2\ndog 1:3\n", "labels are numbers; number the words"),
        (b"1,3 1:2\n2 1:3\n", "one label a row is read"),
        (b"1:2\n1:3\n", "every line begins with a label"),
        (b"1:0.5 1:2\n0:1 1:3\n", "weights of samples are given as sample_weight"),
        (b"1 1: 2\n-1 1: 3\n", "no blank may follow a colon"),
        (b"PK\x03\x04\x14\x00", "the file is a zip archive; unpack it first"),
    ],
)
def test_a_fault_that_is_often_made_names_its_cure(tmp_path: Path, text: bytes, cure: str) -> None:
    path = tmp_path / "file.svm"
    path.write_bytes(text)
    with pytest.raises(DataError, match=cure):
        load_libsvm(path)


def test_an_index_may_have_a_sign(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 +1:2 +3:4\n-1 1:3\n")
    assert load_libsvm(path)[0].toarray().tolist() == [[2, 0, 4], [3, 0, 0]]
    for wrong in ("+:2", "++1:2", "+-1:2", "+"):
        path.write_text(f"1 {wrong}\n")
        with pytest.raises(DataError, match="expected index:value"):
            load_libsvm(path)


def test_a_file_is_given_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    names: list[Any] = [os.fsencode(path), path, str(path)]
    save_libsvm(names[0], X, Y)
    for name in names:
        assert (load_libsvm(name)[0] != X).nnz == 0
        assert (dsgd.data.load(name).y == Y).all()
        assert dsgd.fit(name, algo="sgd", max_epochs=1).coef_.shape == (12,)
    readers: list[Any] = [load_libsvm, dsgd.data.load]
    for read in readers:
        with path.open("rb") as file, pytest.raises(ConfigError, match="a file is given by its path, not"):
            read(file)
