from __future__ import annotations

import gzip
import logging
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsgd.data import Dataset, load_csv
from dsgd.errors import ConfigError, DataError

in_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

FLOWERS = """height,colour,width,kind
3,red,0.5,rose
9,yellow,2,sunflower
4, white ,1e-1,"rose"
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def test_numbers_make_a_dense_matrix_and_categories_a_sparse_one(write: Any) -> None:
    path = write(FLOWERS)
    dense = load_csv(path, target="kind", ignore=["colour"])
    assert dense.X.tolist() == [[3, 0.5], [9, 2], [4, 0.1]]
    assert dense.X.flags.c_contiguous  # else fit would copy it
    assert dense.feature_names == ("height", "width")
    assert dense.y.tolist() == ["rose", "sunflower", "rose"]
    sparse = load_csv(path, target="kind", categorical=["colour"], dtype=np.float32)
    assert isinstance(sparse.X, scipy.sparse.csr_array)
    assert sparse.X.dtype == np.float32
    assert sparse.feature_names == ("height", "colour=red", "colour=white", "colour=yellow", "width")
    np.testing.assert_allclose(sparse.X.toarray()[:, 1:4], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_allclose(sparse.X.toarray()[:, [0, 4]], dense.X, rtol=1e-7)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a,b,y\n1,2,3\n4,5,6\n", {"target": "y"}),
        ("a,b,y\n1,2,3\n4,5,6\n", {"target": -1}),
        ("1,2,3\n4,5,6", {"target": 2, "header": False}),
        ("1\t2\t3\n4\t5\t6\n", {"target": -1, "header": False, "delimiter": "\t"}),
        ("a;b;y\n1;2;3\n4;5;6\n", {"target": "y", "delimiter": ";"}),
        ("y,a,b\n3,1,2\n6,4,5\n", {"target": 0}),
        ('# "a","b","y"\r\n1, 2 ,3\r\n4,"5",6\r\n', {"target": "y"}),
        ("\ufeffa,b,y\n\n1,2,3\n  \n4,5,6\n\n", {"target": "y"}),
        ('"a\nlong",b,y\n1,2,3\n4,5,6\n', {"target": "y"}),
        ("a,id,b,y\n1,x1,2,3\n4,,5,6\n", {"target": "y", "ignore": ["id"]}),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_the_same_table_in_many_dresses(write: Any, content: str, options: dict[str, Any], pack: Any) -> None:
    data = load_csv(write(pack(content.encode())), **options)
    assert data.X.tolist() == [[1, 2], [4, 5]]
    assert data.y.tolist() == [3, 6]
    assert data.y.dtype == np.float64


def test_a_test_file_is_encoded_like_the_training_file(write: Any, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"target": "kind", "categorical": ["colour"]}
    train = load_csv(write(FLOWERS), **options)
    path = write("height,colour,width,kind\n1,white,2,rose\n1,blue,2,violet\n1,green,2,rose\n")
    with caplog.at_level(logging.WARNING, logger="dsgd"):
        test = load_csv(path, **options, like=train)
    assert test.feature_names == train.feature_names
    assert test.X.toarray()[:, 1:4].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert "2 rows have a value of column 'colour' that the training data has not, such as 'blue'" in caplog.text
    assert load_csv(path, **options).feature_names != train.feature_names
    with pytest.raises(DataError, match="has not the features of the data set given as like, such as 'width'"):
        load_csv(path, **options, like=train, ignore=["width"])
    swapped = write("width,colour,height,kind\n1,white,2,rose\n")
    with pytest.raises(DataError, match="in another order"):
        load_csv(swapped, **options, like=train)


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("a,b,y\n1,2,3\n1,,3\n", (3, 2), "no value in column 'b'; fill or remove missing values first"),
        ("a,b,y\n1,2,3\n\n1,?,3\n", (4, 2), r"'\?' is not a number up to .* in column 'b'; if it is a category"),
        ("a,b,y\nNaN,2,3\n", (2, 1), "'NaN' is not a number"),
        ("a,b,y\n1,inf,3\n", (2, 2), "'inf' is not a number"),
        ("a,b,y\n1,1e999,3\n", (2, 2), "'1e999' is not a number"),
        ("a,b,y\n1,2,\n", (2, 3), "no value in column 'y'"),
        ("a,b,y\n1,2,3\n1,2\n", (3, None), "2 fields, where the first line has 3"),
        ("a,b,y\n1,2,3,4\n", (2, None), "4 fields, where the first line has 3"),
        ("a,b,y\n1,2,3\n1,2,3,4\n", (3, None), "4 fields"),
        ("1,b,y\n1,2,3\n", (1, 1), "'1' is a number where a name is expected; header=False"),
        (b"a,b,y\n1,2,3\n1,\xff,3\n", (3, None), "convert the file to UTF-8"),
        ('a,b,y\n1,"2,3\n', (2, None), "unexpected end"),
    ],
)
def test_a_wrong_field_is_reported_with_its_place(
    write: Any, content: str | bytes, place: tuple[int, int | None], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_csv(write(content), target="y")
    assert (caught.value.line, caught.value.column) == place
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "table.csv is empty"),
        ("a,y\n", {}, "has no samples"),
        ("y\n1\n", {}, "has no column beside the target; delimiter=',' may be wrong"),
        ("a,a,y\n1,2,3\n", {}, "two features of the name 'a'"),
        ("a,y\n1,2\n1,3\n1,N/A\n", {}, "has the target 'N/A' among numbers"),
        ("a,c,y\n1,red,3\n1,,3\n", {"categorical": ["c"]}, "3:2: no value in column 'c'"),
        ("a,y\n1e300,3\n", {"dtype": "float32"}, "'1e300' is not a number up to 3.4e\\+38"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    write: Any, content: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_csv(write(content), target="y", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "kinds"}, "unknown column 'kinds'; did you mean 'kind'"),
        ({"target": 4}, "column 4 is not one of the 4 that delimiter=',' makes"),
        ({"target": True}, "column True is not one"),
        ({"target": "kind", "categorical": ["kind"]}, "'kind' is named twice: as target and as category"),
        ({"target": "kind", "categorical": "colour"}, r"categorical must be a list of columns; write \['colour'\]"),
        ({"target": "kind", "delimiter": "::"}, "delimiter must be one of"),
        ({"target": "kind", "like": "train.csv"}, "like must be what load_csv returned for the training file, not str"),
        ({"target": "kind", "header": 1}, "header must be True or False"),
        ({"target": "kind", "dtype": int}, "dtype must be float32 or float64"),
    ],
)
def test_impossible_options_are_refused(write: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_csv(write(FLOWERS), **options)


@given(content=st.one_of(st.binary(max_size=80), st.text('1.e-n_,";#\n\r \tax\0é', max_size=40)), header=st.booleans())
@in_tmp_path
def test_whatever_the_bytes_only_our_errors_come(tmp_path: Path, content: bytes | str, header: bool) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for options in ({}, {"categorical": [0]}):
        try:
            data = load_csv(path, target=-1, header=header, **options)  # type: ignore[arg-type]
        except (ConfigError, DataError):
            continue
        assert data.n_samples >= 1
        assert np.isfinite(data.X.sum())


@given(
    rows=st.lists(
        st.tuples(st.floats(-1e300, 1e300), st.sampled_from(['a"b', "c,d", "e", "=", "#f"]), st.sampled_from("xy")),
        min_size=1,
        max_size=8,
    )
)
@in_tmp_path
def test_reads_what_pandas_writes(tmp_path: Path, rows: list[tuple[float, str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["number", "category", "label"])
    frame.to_csv(tmp_path / "table.csv", index=False)
    data = load_csv(tmp_path / "table.csv", target="label", categorical=["category"])
    dummies = pd.get_dummies(frame[["number", "category"]], columns=["category"], prefix_sep="=")
    assert data.feature_names == tuple(dummies.columns)
    np.testing.assert_array_equal(data.X.toarray(), dummies.to_numpy(np.float64))
    assert data.y.tolist() == frame["label"].tolist()


@pytest.mark.parametrize(
    ("file", "options", "shape", "target"),
    [
        ("skin_nonskin.tsv.xz", {"target": -1, "header": False, "delimiter": "\t"}, (245_057, 3), 1.0),
        ("yearprediction_subset.csv.xz", {"target": 0, "header": False}, (6_719, 12), 1909.0),
        ("casp.csv.xz", {"target": "RMSD"}, (45_730, 9), 17.284),
        (
            "kddcup99_train.csv.gz",
            {"target": -1, "header": False, "categorical": [1, 2, 3], "dtype": np.float32},
            (494_021, 118),
            "normal.",
        ),
    ],
)
def test_reads_real_tables(real_file: Any, file: str, options: Any, shape: tuple[int, int], target: Any) -> None:
    data = load_csv(real_file(file), **options)
    assert data.X.shape == shape
    assert data.y[0] == target


def test_the_two_files_of_kddcup99_get_the_same_features(real_file: Any, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"target": -1, "header": False, "categorical": [1, 2, 3]}
    train = load_csv(real_file("kddcup99_train.csv.gz"), **options)
    with caplog.at_level(logging.WARNING, logger="dsgd"):
        test = load_csv(real_file("kddcup99_test.csv.gz"), **options, like=train)
    assert test.X.shape == (311_029, 118)
    assert "2 rows have a value of column '2' that the training data has not, such as 'icmp'" in caplog.text
    assert set(train.y) - set(test.y)
    protocols = [train.feature_names.index(f"1={name}") for name in ("icmp", "tcp", "udp")]  # type: ignore[union-attr]
    assert (train.X[:, protocols].sum(axis=1) == 1).all()


def test_like_needs_the_names_of_the_features(write: Any) -> None:
    nameless = Dataset(X=np.zeros((1, 2)), y=np.zeros(1))
    with pytest.raises(DataError, match="like has no feature_names"):
        load_csv(write(FLOWERS), target="kind", ignore=["colour"], like=nameless)


def test_targets_beyond_2_to_the_53_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    large = [2**53 + number for number in range(4)]
    path.write_text("a,y\n" + "".join(f"1,{label}\n" for label in large))
    y = load_csv(path, target="y").y
    assert y.dtype == np.int64
    assert y.tolist() == large
    for other in ("0.5", str(2**70)):
        path.write_text(f"a,y\n1,{2**53 + 1}\n2,{other}\n")
        with pytest.raises(DataError, match="has the target 9007199254740993, which float64 does not hold"):
            load_csv(path, target="y")
    path.write_text("a,y\n1,9007199254740992\n2,0.5\n3,1e300\n")
    assert load_csv(path, target="y").y.tolist() == [2.0**53, 0.5, 1e300]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_named(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b,y\n1,2,0\n3,4,1\n".replace(",", delimiter))
    with pytest.raises(ConfigError, match=r"makes one column of the first line; give delimiter=") as caught:
        load_csv(path, target="y")
    assert repr(delimiter) in str(caught.value)
    assert load_csv(path, target="y", delimiter=delimiter).X.tolist() == [[1, 2], [3, 4]]
