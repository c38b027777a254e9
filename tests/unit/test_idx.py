from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsgd.data import load_idx, read_idx
from dsgd.errors import ConfigError, DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
in_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_idx(array: Any) -> bytes:
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())


def pair(folder: Path, images: Any, labels: Any) -> tuple[Path, Path]:
    paths = folder / "images", folder / "labels"
    for path, array in zip(paths, (images, labels), strict=True):
        path.write_bytes(as_idx(np.asarray(array)))
    return paths


@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(
            code,
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
            elements=hnp.from_dtype(np.dtype(code), allow_nan=False, allow_infinity=False),  # what is not is refused
        )
    ),
    packed=st.booleans(),
)
@in_tmp_path
def test_every_type_and_shape_is_read_as_written(tmp_path: Path, array: Any, packed: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(as_idx(array)) if packed else as_idx(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.builds(
            lambda code, sizes, rest: bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + rest,
            st.sampled_from(sorted(CODES.values())),
            st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)), max_size=40),
            st.binary(max_size=40),
        ),
    )
)
@in_tmp_path
def test_whatever_the_bytes_only_data_errors_come_and_the_shape_fits_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        read = read_idx(path)
    except DataError:
        pass
    else:
        assert 4 + 4 * read.ndim + read.nbytes == len(content)


GOOD = as_idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with b'', so it is not IDX"),
        (b"1 1:2\n", "so it is not IDX; load_libsvm and load_csv read text"),
        (b"\0\0\x0a\x01\0\0\0\1\0", "not IDX"),
        (GOOD[:7], "ends within its header; get it again"),
        (GOOD[:-1], r"is cut off: 17 bytes where shape \(2, 3\) needs 18"),
        (GOOD + b"\0", "is too long: 19 bytes where"),
        (b"\0\0\x08\xff" + b"\0" * 1020, "claims 255 dimensions"),
        (b"\0\0\x0e\x03" + b"\xff" * 12, "is cut off"),
        (b"\0\0\x0e\x04" + b"\0\0\0\0" + b"\xff" * 12, "has the impossible shape"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_the_cure(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"broken.idx.*{message}"):
        read_idx(path)


def test_pixels_lie_from_0_to_1_unless_another_scale_is_asked_for(tmp_path: Path) -> None:
    paths = pair(tmp_path, np.array([[[0, 255], [51, 102]]] * 2, np.uint8), np.array([7, 9], np.uint8))
    data = load_idx(*paths)
    assert data.X.dtype == np.float32
    np.testing.assert_allclose(data.X, [[0, 1, 0.2, 0.4]] * 2, rtol=1e-6)
    assert data.y.tolist() == [7, 9]
    assert (data.y - 8).tolist() == [-1, 1]  # not bytes, which would wrap around
    assert load_idx(*paths, scale=1.0).X.tolist() == [[0, 255, 51, 102]] * 2
    assert load_idx(*paths, dtype="float64").X.dtype == np.float64
    floats = pair(tmp_path, np.array([[0.5, 3.0]], np.float32), np.array([1], np.int32))
    assert load_idx(*floats).X.tolist() == [[0.5, 3.0]]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros(3, np.uint8), r"has shape \(2, 3\) and .*labels 3 labels"),
        (np.zeros(2, np.uint8), np.zeros((2, 3), np.uint8), "Are the two files swapped"),
        (np.zeros((2, 3), np.uint8), np.zeros(2, np.float32), "labels are whole numbers"),
        (np.zeros(2, np.uint8), np.zeros(2, np.uint8), r"has shape \(2,\)"),
    ],
)
def test_files_that_are_no_pair_are_refused(tmp_path: Path, images: Any, labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_idx(*pair(tmp_path, images, labels))


@pytest.mark.parametrize("options", [{"dtype": np.int32}, {"dtype": "colour"}, {"scale": math.nan}])
def test_impossible_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    paths = pair(tmp_path, np.zeros((2, 3), np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(ConfigError, match=next(iter(options))):
        load_idx(*paths, **options)


def test_reads_mnist(real_file: Callable[[str], Path]) -> None:
    data = load_idx(real_file("train-images-idx3-ubyte.gz"), real_file("train-labels-idx1-ubyte.gz"))
    assert data.X.shape == (60_000, 784)
    assert np.count_nonzero(data.X) == 8_994_156
    assert data.X.max() == 1
    assert np.bincount(data.y)[:3].tolist() == [5923, 6742, 5958]  # the first images are 5, 0, 4
    assert data.y[:3].tolist() == [5, 0, 4]
