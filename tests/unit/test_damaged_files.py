"""Files of every kind with flipped, missing and additional bytes: an error of dsgd that names the file, or success."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse
import zstandard
from commands import run_command

import dsgd
from dsgd.cluster import Trace
from dsgd.cluster.simulation.description import load_simulation
from dsgd.data import Dataset, load, load_csv, load_idx, read_idx, save_libsvm
from dsgd.errors import ConfigError, DataError, DsgdError

X = np.random.default_rng(0).normal(size=(40, 5))
SPARSE = scipy.sparse.random(40, 30, 0.2, format="csr", random_state=0)
Y = np.where(X[:, 0] > 0, 1.0, -1.0)
CSV = "a,b,c,t\n" + "".join(f"{a},{b},w{round(c)},{t}\n" for (a, b, c, *_), t in zip(X, Y, strict=True))
TOML = 'workers = 4\nbandwidth = 1.25e8\n[[failures]]\nkind = "crash"\nnode = 1\nat = 0.5\nrestart_after = 0.2\n'
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


def idx(code: int, values: np.ndarray) -> bytes:
    """Return the content of an IDX file."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, code, values.ndim]) + sizes + values.tobytes()


def train(path: Path) -> dsgd.FitResult:
    return dsgd.fit(path, algo="sgd", max_epochs=1, step_size=0.1)


def metadata_of(path: Path) -> dict[str, str]:
    """Return the texts of a safetensors file."""
    content = path.read_bytes()
    texts: dict[str, str] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return texts


def write_bare(path: Path, source: Path, metadata: dict[str, str]) -> None:
    """Write a file without its checksum, as before there were any."""
    tensors = safetensors.numpy.load(source.read_bytes())
    del tensors["crc32"]
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def check_trace(path: Path) -> None:
    trace = Trace.load(path)
    assert trace.about["nodes"] >= 0
    try:
        trace.check()
    except DsgdError as error:  # of a run that is damaged, not of a file
        raise DataError(f"{path.name}: {error}") from error


READERS: dict[str, Callable[[Path], Any]] = {
    "text.svm": load,
    **{f"text.{suffix}": load for suffix in PACKERS},
    "sparse.cache": train,
    "dense.cache": train,
    "words.cache": load,
    "table.csv": lambda path: load_csv(path, target=3, categorical=[2]),
    **{f"table.{suffix}": lambda path: load_csv(path, target=3, categorical=[2]) for suffix in PACKERS},
    "pixels": lambda path: load_idx(path, path.with_name("labels")),
    "labels": lambda path: load_idx(path.with_name("pixels"), path),
    "reals": lambda path: load_idx(path, path.with_name("labels")),
    "doubles": read_idx,
    "model": dsgd.load,
    "history.json": dsgd.History.from_json,
    "trace": check_trace,
    "bare-model": dsgd.load,
    "bare-trace": check_trace,
    "cluster.toml": load_simulation,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a whole file of every kind."""
    place = tmp_path_factory.mktemp("files")
    random_state = np.random.default_rng(1)
    save_libsvm(place / "text.svm", SPARSE, Y)
    (place / "table.csv").write_text(CSV)
    for suffix, pack in PACKERS.items():
        (place / f"text.{suffix}").write_bytes(pack((place / "text.svm").read_bytes()))
        (place / f"table.{suffix}").write_bytes(pack(CSV.encode()))
    Dataset(X=SPARSE, y=Y).save(place / "sparse.cache")
    Dataset(X=X, y=Y).save(place / "dense.cache")
    Dataset(X=X, y=np.where(Y > 0, "spam", "ham"), feature_names=tuple("abcde")).save(place / "words.cache")
    (place / "pixels").write_bytes(idx(0x08, random_state.integers(0, 256, (40, 3, 3)).astype("u1")))
    (place / "labels").write_bytes(idx(0x08, random_state.integers(0, 5, 40).astype("u1")))
    (place / "reals").write_bytes(idx(0x0D, X.astype(">f4")))
    (place / "doubles").write_bytes(idx(0x0E, X.astype(">f8")))
    cluster = dsgd.Simulation(workers=2, trace=True)
    result = dsgd.fit(SPARSE, Y, algo="ssp", loss="logistic", max_epochs=2, cluster=cluster)
    result.save(place / "model")
    result.history.to_json(place / "history.json")
    assert result.trace is not None
    result.trace.save(place / "trace")
    for name in ("model", "trace"):  # what a checksum would find
        write_bare(place / f"bare-{name}", place / name, metadata_of(place / name))
    (place / "cluster.toml").write_text(TOML)
    return place


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return the content with an end that is missing, or bytes that are more, fewer or others."""
    place, some = chance.randrange(len(content)), chance.randint(1, 8)
    kind = chance.randrange(6)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content + chance.randbytes(some)
    if kind == 2:
        return content[:place] + content[place + some :]
    if kind == 3:
        return content[:place] + chance.randbytes(some) + content[place:]
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 20))):
        begin = chance.randrange(len(changed) if kind == 4 else min(len(changed), 80))  # headers have most to go wrong
        changed[begin] = chance.choice((chance.randrange(256), 0, 255, 0x7F, *b"05-\n"))
    return bytes(changed)


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_an_error_that_names_it_or_is_read(name: str, folder: Path) -> None:
    chance, content = random.Random(0), (folder / name).read_bytes()
    file = folder / f"damaged-{name}"
    READERS[name](folder / name)
    nameless: list[DsgdError] = []
    for _ in range(150):
        file.write_bytes(damaged(content, chance))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read = READERS[name](file)
            except DsgdError as error:
                # Where a table has fewer columns the number that was asked for is wrong.
                if file.name not in str(error) and not (isinstance(error, ConfigError) and name.startswith("table")):
                    nameless.append(error)
                continue
        if isinstance(read, Dataset):
            assert np.isfinite(read.X.data if scipy.sparse.issparse(read.X) else read.X).all()
    assert nameless == []


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("of", ["text", "table"])
def test_broken_packed_text_names_its_file(suffix: str, of: str, folder: Path) -> None:
    content = bytearray((folder / f"{of}.{suffix}").read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    file = folder / f"broken-{of}.{suffix}"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"broken-{of}.{suffix} is packed, and broken: "):
        READERS[f"{of}.{suffix}"](file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("code", "dtype"), [(0x0D, ">f4"), (0x0E, ">f8")])
def test_numbers_of_idx_are_finite(value: float, code: int, dtype: str, folder: Path) -> None:
    values = X.astype(dtype)
    values[7, 3] = value
    (folder / "odd").write_bytes(idx(code, values))
    for read in (read_idx, lambda path: load_idx(path, folder / "labels")):
        with pytest.raises(DataError, match=f"odd has the number {value}; get it again"):
            read(folder / "odd")


def test_numbers_of_idx_fit_the_type_of_the_result(folder: Path) -> None:
    (folder / "large").write_bytes(idx(0x0E, np.full((40, 2), 1e300, ">f8")))
    assert load_idx(folder / "large", folder / "labels", dtype=np.float64).X.max() == 1e300
    with pytest.raises(DataError, match="large has the number inf in float32"):
        load_idx(folder / "large", folder / "labels")
    with pytest.raises(DataError, match="large has the number inf in float64"):
        load_idx(folder / "large", folder / "labels", dtype=np.float64, scale=1e10)


def test_a_history_is_read_from_its_file(folder: Path) -> None:
    file = folder / "history.json"
    history = dsgd.load(folder / "model").history
    assert dsgd.History.from_json(file) == dsgd.History.from_json(file.read_bytes()) == history
    (folder / "latin.json").write_bytes(b'[{"epoch": "\xfc"}]')
    with pytest.raises(DataError, match=r"latin.json: not a history of dsgd: 'utf-8' codec can't decode"):
        dsgd.History.from_json(folder / "latin.json")
    with pytest.raises(FileNotFoundError):
        dsgd.History.from_json(folder / "none.json")


@pytest.mark.parametrize("key", ["nodes", "servers", "staleness", "answers", "shards"])
def test_a_trace_that_lacks_something_names_it_and_its_file(key: str, folder: Path) -> None:
    metadata = metadata_of(folder / "trace")
    about = json.loads(metadata["dsgd-trace"])
    del about[key]
    write_bare(folder / "part", folder / "trace", {"dsgd-trace": json.dumps(about)})
    with pytest.raises(DataError, match=f"part: not a trace of dsgd: it lacks '{key}'"):
        Trace.load(folder / "part")


def test_the_command_line_names_a_damaged_cache_file(folder: Path) -> None:
    content = (folder / "sparse.cache").read_bytes()
    (folder / "bent.cache").write_bytes(content.replace(SPARSE.indices.tobytes(), b"\x7f" * SPARSE.indices.nbytes))
    commands = [
        ("fit", "bent.cache"),
        ("fit", "sparse.cache", "--test", "bent.cache", "--max-epochs", 1),
        ("predict", "model", "bent.cache"),
        ("convert", "bent.cache", "new.svm"),
        ("simulate", "bent.cache"),
    ]
    for command in commands:
        done = run_command(*command, cwd=folder)
        assert done.returncode == 2
        assert "bent.cache: " in done.stderr.splitlines()[-1]
