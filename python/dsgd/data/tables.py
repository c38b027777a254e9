"""Tables as text (CSV, TSV): numbers, categories and a target in columns."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from dsgd._common.checks import check_flag, check_real_dtype, unknown_name
from dsgd.data.dataset import Dataset
from dsgd.data.text import read_text
from dsgd.errors import ConfigError, DataError

__all__ = ["load_csv"]

_LOG = logging.getLogger("dsgd")
_DELIMITERS = (",", "\t", ";", "|", " ")


def load_csv(
    path: str | os.PathLike[str],
    *,
    target: int | str,
    categorical: Sequence[int | str] = (),
    ignore: Sequence[int | str] = (),
    delimiter: str = ",",
    header: bool = True,
    like: Dataset | None = None,
    dtype: DTypeLike = np.float64,
) -> Dataset:
    r"""Read a table of one sample a line.

    Parameters
    ----------
    path : path-like
        UTF-8 text, plain or packed by gzip, xz, bzip2 or zstd (with the package zstandard). Fields
        may be quoted with ``"``. Blanks around a field and blank lines are ignored.
    target : int or str
        The column of y: its position, from 0 or (negative) from the end, or its name.
    categorical : sequence of int or str
        Columns to encode one-hot, a feature for each value that occurs. All others must be numbers.
    ignore : sequence of int or str
        Columns to leave out.
    delimiter : str, default=","
        One character between fields.
    header : bool, default=True
        Whether the first line has the names of the columns; a leading ``#`` is ignored. Without a
        header the name of a column is its position, ``"0"``, ``"1"``, ...
    like : Dataset, optional
        The data set that `load_csv` returned for the training file, with the same options. Its
        `feature_names` determine the categories, and so the features. A category that they lack
        becomes all zeros, with a warning in the log.
    dtype : {float32, float64}, default=float64
        Type of X.

    Returns
    -------
    Dataset
        X is dense, or a csr_array if there are categorical columns, whose features are mostly zero.
        `feature_names` has the names of the columns, and for categories ``column=value``, sorted by
        value. y is float64 if every target is a number, and holds strings if none is.

    Raises
    ------
    DataError
        If a field is missing, or is not a finite number where one is needed, or a line has another
        number of fields. The error has the file, the line and, as `column`, the number of the field
        from 1. Also if the table does not fit `like`.
    ConfigError
        If `target`, `categorical` or `ignore` name a column that the file does not have, or the same one twice, or for
        another option of the wrong kind.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from dsgd.data import load_csv
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = path.write_text("height,colour,kind\n3,red,rose\n9,yellow,sunflower\n4,white,rose\n")
    >>> data = load_csv(path, target="kind", categorical=["colour"])
    >>> data.feature_names
    ('height', 'colour=red', 'colour=white', 'colour=yellow')
    >>> data.X.toarray()
    array([[3., 1., 0., 0.],
           [9., 0., 0., 1.],
           [4., 0., 1., 0.]])
    >>> data.y
    array(['rose', 'sunflower', 'rose'], dtype='<U9')
    """
    real = check_real_dtype(dtype)
    check_flag("header", header)
    if like is not None and not isinstance(like, Dataset):
        raise ConfigError(f"like must be what load_csv returned for the training file, not {type(like).__name__}")
    if delimiter not in _DELIMITERS:
        raise ConfigError(f"delimiter must be one of {_DELIMITERS}, not {delimiter!r}")
    text = _Text(os.fsdecode(path), read_text(path), delimiter, header)
    columns, n_skipped = _columns(text, target, categorical, ignore)
    values = _parse(text, columns, n_skipped, float(np.finfo(real).max))
    features = [_encode(column, values, like) for column in columns if column.kind in ("number", "category")]
    names = tuple(name for block, _ in features for name in block)
    if like is not None and names != like.feature_names:
        raise DataError(_difference(text.name, names, like.feature_names))
    if not names:
        raise DataError(f"{text.name} has no column beside the target; delimiter={delimiter!r} may be wrong")
    if len(set(names)) < len(names):
        raise DataError(f"{text.name} has two features of the name {_first_twice(names)!r}; rename a column")
    if categorical:
        X = scipy.sparse.hstack([block for _, block in features], format="csr", dtype=real)
    else:
        numbers = [column.position for column in columns if column.kind == "number"]
        X = np.take(values, numbers, axis=1).astype(real, copy=False)  # in C order, which indexing does not give
    [goal] = [column for column in columns if column.kind == "target"]
    return Dataset(X=X, y=_targets(text, goal, values), feature_names=names, source=text.name)


@dataclass(frozen=True)
class _Text:
    """The file and how to read it."""

    name: str
    content: bytes | mmap.mmap
    delimiter: str
    header: bool

    def lines(self) -> Iterator[str]:
        """Yield every line; the byte order mark of the first is removed."""
        source = io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content
        source.seek(0)
        codec = "utf-8-sig"
        for number, line in enumerate(iter(source.readline, b""), 1):
            try:
                yield line.decode(codec)
            except UnicodeDecodeError as error:
                raise DataError(f"{error}; convert the file to UTF-8", file=self.name, line=number) from error
            codec = "utf-8"

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield every record, also the header: the number of its last line, and its fields."""
        reader = csv.reader(self.lines(), delimiter=self.delimiter, strict=True)
        try:
            for record in reader:
                if len(record) > 1 or (record and record[0].strip()):
                    yield reader.line_num, [text.strip() for text in record]
        except csv.Error as error:
            raise DataError(f"{error}", file=self.name, line=reader.line_num) from error


@dataclass(frozen=True)
class _Column:
    position: int
    name: str
    kind: str
    """"number", "category", "target" or "ignored"."""
    codes: dict[str, int] = field(default_factory=dict)
    """Codes of the texts of a category or target, from 0 in the order in which they occur."""

    def convert(self) -> Callable[[str], float]:
        """Return the function that turns a field into a number."""
        if self.kind == "ignored":
            return lambda _: 0.0
        codes = self.codes
        return lambda text: codes.setdefault(text.strip(), len(codes))


def _columns(
    text: _Text, target: int | str, categorical: Sequence[int | str], ignore: Sequence[int | str]
) -> tuple[list[_Column], int]:
    """Return name and use of every column, and the number of lines before the first sample."""
    for option, chosen in (("categorical", categorical), ("ignore", ignore)):
        if isinstance(chosen, str):
            raise ConfigError(f"{option} must be a list of columns; write [{chosen!r}]")
    line, first = next(text.records(), (1, []))
    if not first:
        raise DataError(f"{text.name} is empty")
    names = [str(position) for position in range(len(first))]
    if text.header:
        first[0] = first[0].removeprefix("#").strip().strip('"')
        for number, name in enumerate(first, 1):
            if _is_number(name):
                message = f"{name!r} is a number where a name is expected; header=False if there is no header"
                raise DataError(message, file=text.name, line=line, column=number)
        names = first
    kinds = ["number"] * len(names)
    for kind, chosen in (("target", [target]), ("category", categorical), ("ignored", ignore)):
        for column in chosen:
            position = _position(column, names, text.delimiter)
            if kinds[position] != "number":
                raise ConfigError(f"column {column!r} is named twice: as {kinds[position]} and as {kind}")
            kinds[position] = kind
    columns = [_Column(position, *pair) for position, pair in enumerate(zip(names, kinds, strict=True))]
    return columns, line if text.header else 0


def _position(column: int | str, names: list[str], delimiter: str) -> int:
    if isinstance(column, str):
        if column not in names:
            other = next((mark for mark in ";\t|" if mark in names[0]), None) if len(names) == 1 else None
            if other is not None:
                raise ConfigError(
                    f"delimiter={delimiter!r} makes one column of the first line; give delimiter={other!r}"
                )
            raise unknown_name("column", column, names)
        if names.count(column) > 1:
            raise ConfigError(f"{names.count(column)} columns are called {column!r}; give the position")
        return names.index(column)
    if isinstance(column, bool) or not isinstance(column, int) or not -len(names) <= column < len(names):
        raise ConfigError(
            f"column {column!r} is not one of the {len(names)} that delimiter={delimiter!r} makes of the first line"
        )
    return column % len(names)


def _parse(text: _Text, columns: list[_Column], n_skipped: int, largest: float) -> NDArray[np.float64]:
    """Return the table as numbers; categories and targets are codes.

    `DataError` for a number whose absolute value is above `largest`.
    """
    lines = itertools.islice(text.lines(), n_skipped, None)
    samples = (line for line in lines if line.strip(" \r\n"))
    first = next(samples, None)
    if first is None:
        raise DataError(f"{text.name} has no samples")
    try:
        # numpy's reader, because its C core is as fast as that of pandas, which would be another dependency.
        values = np.loadtxt(
            itertools.chain([first], samples),
            delimiter=text.delimiter,
            comments=None,
            quotechar='"',
            encoding=None,
            ndmin=2,
            converters={column.position: column.convert() for column in columns if column.kind != "number"},
        )
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        _report(text, columns, largest)
        raise DataError(f"{text.name} cannot be read as a table: {error}") from error
    numbers_fit = -largest <= values.min() and values.max() <= largest  # False for NaN too
    if values.shape[1] != len(columns) or not numbers_fit or any("" in column.codes for column in columns):
        _report(text, columns, largest)
        raise DataError(f"{text.name} cannot be read as a table of {len(columns)} columns")
    return values


def _report(text: _Text, columns: list[_Column], largest: float) -> None:
    """Raise the error of the first wrong field, with its place; slow, so only after an error."""
    records = text.records()
    if text.header:
        next(records)
    for line, record in records:
        if len(record) != len(columns):
            message = f"{len(record)} fields, where the first line has {len(columns)}"
            raise DataError(message, file=text.name, line=line)
        for column, content in zip(columns, record, strict=True):
            if column.kind == "ignored" or (content and column.kind != "number") or _is_number(content, largest):
                continue
            what = f"{content!r} is not a number up to {largest:.2g}" if content else "no value"
            cure = "; if it is a category, name the column in categorical" if content else ""
            message = f"{what} in column {column.name!r}{cure}; fill or remove missing values first"
            raise DataError(message, file=text.name, line=line, column=column.position + 1)


def _is_number(text: str, largest: float = sys.float_info.max) -> bool:
    try:
        return abs(float(text)) <= largest and "_" not in text
    except ValueError:
        return False


def _encode(column: _Column, values: NDArray[np.float64], like: Dataset | None) -> tuple[list[str], Any]:
    """Return the names of the features of a column, and the features."""
    if column.kind == "number":
        return [column.name], values[:, [column.position]]
    prefix = f"{column.name}="
    categories = sorted(column.codes)
    if like is not None:
        known = like.feature_names or ()
        categories = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
    place = {category: index for index, category in enumerate(categories)}
    feature_of = np.array([place.get(category, -1) for category in column.codes], dtype=np.int32)
    features = feature_of[values[:, column.position].astype(np.int64)]
    rows = np.flatnonzero(features >= 0)
    if len(rows) < len(features):
        unknown = [category for category in column.codes if category not in place]
        _LOG.warning(
            "%d rows have a value of column %r that the training data has not, such as %r; they get zeros",
            len(features) - len(rows),
            column.name,
            unknown[0],
        )
    shape = (len(features), len(categories))
    one_hot = scipy.sparse.csr_array((np.ones(len(rows)), (rows, features[rows])), shape=shape)
    return [prefix + category for category in categories], one_hot


def _targets(text: _Text, column: _Column, values: NDArray[np.float64]) -> NDArray[Any]:
    numbers = [_is_number(label) for label in column.codes]
    if any(numbers) and not all(numbers):
        odd = next(label for label, number in zip(column.codes, numbers, strict=True) if not number)
        raise DataError(
            f"{text.name} has the target {odd!r} among numbers; correct or remove those lines, or give all labels names"
        )
    labels = _numeric_labels(text, list(column.codes)) if any(numbers) else np.array(list(column.codes))
    return labels[values[:, column.position].astype(np.int64)]


def _numeric_labels(text: _Text, words: list[str]) -> NDArray[Any]:
    """Return labels as float64, or as int64 if they are integers that float64 would round."""
    labels = np.array([float(word) for word in words])
    whole = {word: int(word) for word in words if word.lstrip("+-").isdecimal()}
    inexact = [word for word, number in whole.items() if int(float(word)) != number]
    if not inexact:
        return labels
    if len(whole) < len(words) or max(map(abs, whole.values())) > np.iinfo(np.int64).max:
        raise DataError(
            f"{text.name} has the target {inexact[0]}, which float64 does not hold; give labels names, as a{inexact[0]}"
        )
    return np.array(list(whole.values()), np.int64)


def _difference(file: str, names: tuple[str, ...], expected: tuple[str, ...] | None) -> str:
    if expected is None:
        return "like has no feature_names; give what load_csv returned for the training file"
    odd = sorted(set(names) ^ set(expected))
    what = f"such as {odd[0]!r}" if odd else "in another order"
    return f"{file} has not the features of the data set given as like, {what}; use the same options and columns"


def _first_twice(names: tuple[str, ...]) -> str:
    return next(name for index, name in enumerate(names) if name in names[:index])
