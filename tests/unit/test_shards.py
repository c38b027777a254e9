from __future__ import annotations

import gzip
import pickle
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

from dsgd.data import Dataset, Shard, load_libsvm, read_libsvm_files, save_libsvm
from dsgd.errors import ConfigError, DataError

X, Y = make_problem(60, 12, seed=0)


def joined(shards: list[Shard], n_features: int) -> tuple[Any, list[float]]:
    """Return the dense rows and the labels of shards, one after the other."""
    parts = [shard.read(n_threads=1) for shard in shards]
    rows = np.zeros((sum(part.shape[0] for part, _ in parts), n_features))
    done = 0
    for part, _ in parts:
        rows[done : done + part.shape[0], : part.shape[1]] = part.toarray()
        done += part.shape[0]
    return rows, [label for _, y in parts for label in y]


# A line begins with a number of its own, so that order and repetition show.
LINES = st.sampled_from(["{i}", "{i} 1:{i}", "{i} 2:0.5 3:1", "  {i} 1:2 # 9:9", "# {i} 1:1", "", "  "])


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n"])), max_size=8))
    text = "".join(line.format(i=i) + end for i, (line, end) in enumerate(lines))
    return (text if draw(st.booleans()) else text.rstrip("\r\n")).encode()


@given(text=texts(), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranges_that_tile_a_file_give_every_row_once_and_in_order(tmp_path: Path, text: bytes, data: Any) -> None:
    path = tmp_path / "file.svm"
    path.write_bytes(text)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    ranges = pairwise([0, *cuts, len(text)])
    shards = [Shard(path, begin, end - begin, index_base="one", n_features=3) for begin, end in ranges]
    expected, labels = load_libsvm(path, index_base="one", n_features=3)
    rows, read = joined(shards, 3)
    assert read == labels.tolist()
    assert (rows == expected.toarray()).all()
    n_parts = data.draw(st.integers(1, 9))
    assert joined(read_libsvm_files([path], n_parts=n_parts, index_base="one"), 3)[1] == labels.tolist()


def test_a_line_belongs_to_the_range_in_which_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:1\n2 1:2\n3 1:3\n")  # lines of six bytes
    for offset, length, labels in (
        (0, 6, [1]),
        (0, 7, [1, 2]),  # one byte of the second line
        (1, 5, []),
        (1, 6, [2]),
        (6, 6, [2]),  # scikit-learn gives this line to the range before
        (7, None, [3]),
        (99, None, []),
        (6, 0, []),
    ):
        assert Shard(path, offset, length, index_base="one").read()[1].tolist() == labels
    path.write_text("1 1:1\n2 1:2\n3 x\n")
    with pytest.raises(DataError, match=r"file\.svm:3:3"):  # the line of the whole file
        Shard(path, 6, None, index_base="one").read()


def test_files_are_cut_in_proportion(tmp_path: Path) -> None:
    sizes = {"small": 10, "large": 50}
    for name, end in sizes.items():
        save_libsvm(tmp_path / name, X[:end], Y[:end])
    paths = [tmp_path / name for name in sizes]
    assert [(shard.path, shard.is_whole) for shard in read_libsvm_files(paths)] == [(path, True) for path in paths]
    assert len(read_libsvm_files(paths, n_parts=1)) == 2  # one a file at least
    shards = read_libsvm_files(paths, n_parts=7)
    assert len(shards) == 7
    assert [shard.path for shard in shards].count(paths[0]) in (1, 2)
    lengths = [shard.length for shard in shards if shard.length is not None]
    assert max(lengths) <= 2 * min(lengths)
    rows, labels = joined([pickle.loads(pickle.dumps(shard)) for shard in shards], 12)
    assert (rows == scipy.sparse.vstack([X[:10], X[:50]]).toarray()).all()
    assert labels == [*Y[:10], *Y[:50]]


def test_every_shard_is_read_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:0.1 2:1\n2 1:1\n")
    shards = read_libsvm_files([path], n_parts=2, n_features=5, dtype=np.float32)
    assert [shard.read()[0].shape[1] for shard in shards] == [5, 5]
    assert {shard.read()[0].dtype for shard in shards} == {np.dtype(np.float32)}
    assert [shard.read()[0].shape[1] for shard in read_libsvm_files([path], n_parts=2)] == [2, 1]
    zero = read_libsvm_files([path], n_parts=2, index_base="zero")
    assert [shard.read()[0].shape[1] for shard in zero] == [3, 2]


def test_the_index_0_of_any_file_counts_for_all(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_text("1 1:5\n")
    paths[1].write_text("2 0:1\n2 1:1\n")
    assert {shard.index_base for shard in read_libsvm_files(paths, n_parts=3)} == {"zero"}
    assert {shard.index_base for shard in read_libsvm_files(paths[:1])} == {"one"}


def test_an_index_0_that_was_not_looked_at_is_an_error_and_no_shift(tmp_path: Path) -> None:
    path = tmp_path / "file.svm"
    path.write_text("1 1:5\n" * 200_000 + "2 0:1\n")
    first, second = read_libsvm_files([path], n_parts=2)
    assert first.index_base == "one"
    assert first.read()[0].shape[1] == 1
    with pytest.raises(DataError, match="has index 0; read it with index_base='zero'"):
        second.read()


def test_files_that_need_not_exist_are_not_opened() -> None:
    [shard] = read_libsvm_files(["elsewhere.svm"], index_base="one")
    assert shard == Shard("elsewhere.svm", index_base="one")
    with pytest.raises(FileNotFoundError):
        read_libsvm_files(["elsewhere.svm"])


def test_packed_and_cache_files_are_read_whole_only(tmp_path: Path) -> None:
    save_libsvm(tmp_path / "plain", X, Y)
    text = (tmp_path / "plain").read_bytes()
    (tmp_path / "gz").write_bytes(gzip.compress(text))
    (tmp_path / "zst").write_bytes(zstandard.ZstdCompressor().compress(text))
    Dataset(X=X, y=Y).save(tmp_path / "cache")
    for name, kind in (("gz", "packed"), ("zst", "packed"), ("cache", "a cache file")):
        [shard] = read_libsvm_files([tmp_path / name], n_parts=4)
        rows, labels = joined([shard], 12)
        assert (rows == X.toarray()).all()
        assert labels == Y.tolist()
        with pytest.raises(DataError, match=f"{name} is {kind} and can only be read whole"):
            Shard(tmp_path / name, 10, index_base="one").read()
    mixed = read_libsvm_files([tmp_path / "gz", tmp_path / "plain"], n_parts=4)
    assert [Path(shard.path).name for shard in mixed] == ["gz", "plain", "plain", "plain"]


def test_impossible_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="index_base='auto' cannot be told from a part of a file"):
        Shard("file.svm", 10)
    with pytest.raises(ConfigError, match="offset must be an integer from 0"):
        Shard("file.svm", -1, index_base="one")
    with pytest.raises(ConfigError, match="unknown index_base 'two'"):
        read_libsvm_files([], index_base="two")
    with pytest.raises(ConfigError, match="n_parts must be an integer of at least 1, not 0"):
        read_libsvm_files(["file.svm"], n_parts=0)
    with pytest.raises(ConfigError, match=r"give \['file.svm'\]"):
        read_libsvm_files("file.svm")
    assert read_libsvm_files([]) == []
