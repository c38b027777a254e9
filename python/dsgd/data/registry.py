"""The data sets of the papers, fetched from where they are published."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike

from dsgd._common.checks import check_choice, check_real, check_real_dtype
from dsgd.data.dataset import Dataset
from dsgd.data.idx import load_idx
from dsgd.data.libsvm import ReadOptions, load_libsvm_alike
from dsgd.data.text import read_text
from dsgd.errors import DataError

if TYPE_CHECKING:
    import pooch

__all__ = ["RemoteFile", "Source", "Split", "available", "fetch"]

_LOG = logging.getLogger("dsgd")


class Split(NamedTuple):
    """A data set in the parts in which it is published."""

    train: Dataset
    test: Dataset | None


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file to download.

    Parameters
    ----------
    url : str
    name : str
        Name of the file in the cache.
    checksum : str, optional
        ``"<algorithm>:<hexadecimal>"``, as the source publishes it.
    """

    url: str
    name: str
    checksum: str | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that `fetch` knows.

    Parameters
    ----------
    name : str
    task : {"classification", "regression"}
    n_samples, n_test : int
        Rows of the training part, and of the test part, 0 if there is none.
    n_features : int
    home : str
        The page that describes the set.
    files : tuple of RemoteFile
    read : callable
        Function of (source, paths of the files, dtype) that returns a `Split`.
    """

    name: str
    task: str
    n_samples: int
    n_test: int
    n_features: int
    home: str
    files: tuple[RemoteFile, ...]
    read: Callable[[Source, Sequence[Path], DTypeLike], Split]


def available() -> dict[str, Source]:
    """Return the data sets that `fetch` knows, by name.

    Returns
    -------
    dict of str to Source

    Examples
    --------
    >>> from dsgd.data import available
    >>> available()["a9a"].n_samples
    32561
    """
    return dict(_SOURCES)


def fetch(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    timeout: float = 30.0,
    dtype: DTypeLike = np.float32,
) -> Split:
    """Read a data set of the papers, downloading it first if it is not in the cache.

    Parameters
    ----------
    name : str
        One of `available`.
    cache_dir : path-like, optional
        Folder of the cache, with a subfolder for each data set. By default ``$DSGD_CACHE``, else
        the user's cache folder (``~/.cache/dsgd`` on Linux).
    timeout : float, default=30
        Seconds to wait for a connection, and for the next bytes of a download.
    dtype : {float32, float64}, default=float32
        Type of X.

    Returns
    -------
    Split
        Of `train` and `test` (None if the set is published as one).

    Raises
    ------
    ConfigError
        For an unknown name.
    DataError
        If a file cannot be downloaded (the message says where to put it by hand), does not have the
        published checksum, or has other content than the data set. No partial file is left.

    Notes
    -----
    A file without a published checksum is checked by its number of rows; its SHA-256 is logged when it is downloaded
    (logger ``dsgd``, level INFO).
    """
    check_choice("data set", name, tuple(_SOURCES))
    real, seconds = check_real_dtype(dtype), check_real("timeout", timeout, 0, low_open=True)
    return _load(_SOURCES[name], cache_dir, seconds, real)


def _load(source: Source, cache_dir: str | os.PathLike[str] | None, timeout: float, dtype: DTypeLike) -> Split:
    import pooch  # slow to import, and seldom needed

    cache = cache_dir or os.environ.get("DSGD_CACHE") or pooch.os_cache("dsgd")
    folder = Path(cache).expanduser() / source.name
    store = pooch.create(
        path=folder,
        base_url="",
        registry={file.name: file.checksum for file in source.files},
        urls={file.name: file.url for file in source.files},
    )
    paths = [_download(store, file, source.name, timeout) for file in source.files]
    try:
        split = source.read(source, paths, dtype)
        found = split.train.n_samples, split.test.n_samples if split.test else 0
        if found != (source.n_samples, source.n_test):
            raise DataError(
                f"{found} rows of training and test, where {(source.n_samples, source.n_test)} are published"
            )
    except DataError as error:
        raise DataError(f"data set {source.name!r}: {error}; delete {folder} and fetch it again") from error
    return split


def _download(store: pooch.Pooch, file: RemoteFile, set_name: str, timeout: float) -> Path:
    """Return the path of the file in the cache.

    pooch downloads into another file, checks it, and moves it there.
    """
    import pooch

    present = (store.abspath / file.name).is_file()
    downloader = pooch.HTTPDownloader(timeout=timeout, chunk_size=1 << 20, hooks={"response": _close_refused})
    try:
        path = Path(store.fetch(file.name, downloader=downloader))
    except (OSError, ValueError) as error:  # errors of requests are OSErrors, a wrong checksum is a ValueError
        raise DataError(
            f"data set {set_name!r}: {file.url} cannot be fetched ({error}). Try again later, or get the file by "
            f"other means and put it into {store.abspath} as {file.name}"
        ) from error
    if not present and file.checksum is None:
        _LOG.info("%s has sha256 %s; none is published to compare it with", path, pooch.file_hash(str(path)))
    return path


def _close_refused(response: Any, **_: Any) -> None:
    """Close the connection after an HTTP error; pooch would leave that to the garbage collector."""
    if not response.ok:
        response.close()


def _how(source: Source, dtype: DTypeLike) -> ReadOptions:
    """Return how to read text that counts features from 1."""
    return ReadOptions(n_features=source.n_features, dtype=dtype, index_base="one")


def _read_libsvm(source: Source, paths: Sequence[Path], dtype: DTypeLike) -> Split:
    """Read the files of a set of the LIBSVM pages."""
    parts, base = load_libsvm_alike(paths, _how(source, dtype))
    train, *test = (Dataset(X=X, y=y, index_base=base) for X, y in parts)
    return Split(train, test[0] if test else None)


def _read_dense_libsvm(source: Source, paths: Sequence[Path], dtype: DTypeLike) -> Split:
    train, test = _read_libsvm(source, paths, dtype)
    return Split(Dataset(X=train.X.toarray(), y=train.y), test and Dataset(X=test.X.toarray(), y=test.y))


def _read_mnist(source: Source, paths: Sequence[Path], dtype: DTypeLike) -> Split:  # noqa: ARG001
    return Split(load_idx(paths[0], paths[1], dtype=dtype), load_idx(paths[2], paths[3], dtype=dtype))


def _read_rcv1(source: Source, paths: Sequence[Path], dtype: DTypeLike) -> Split:
    """Read RCV1-v2 with topic CCAT as the positive class, its large part for training as in the Hogwild! paper."""
    *vectors, topics = paths
    lines = bytes(read_text(topics)).splitlines()
    try:
        positive = np.array([line.split()[1] for line in lines if line.startswith(b"CCAT ")], dtype=np.int64)
    except (IndexError, ValueError) as error:
        raise DataError(f"{topics} has a malformed line: {error}") from error
    parts, base = load_libsvm_alike(vectors, _how(source, dtype))
    # These files have the number of the document in the place of a label.
    sets = [(X, np.where(np.isin(document.astype(np.int64), positive), 1.0, -1.0)) for X, document in parts]
    *large, small = sets
    X = scipy.sparse.vstack([X for X, _ in large], format="csr")
    return Split(
        Dataset(X=X, y=np.concatenate([y for _, y in large]), index_base=base),
        Dataset(X=small[0], y=small[1], index_base=base),
    )


_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets"
_FIGSHARE = "https://ndownloader.figshare.com/files"


def _libsvm_set(
    name: str, rows: tuple[int, int], n_features: int, files: str, page: str = "binary", *, dense: bool = False
) -> Source:
    """Describe a set of the LIBSVM pages, which publish no checksums."""
    return Source(
        name=name,
        task="regression" if page == "regression" else "classification",
        n_samples=rows[0],
        n_test=rows[1],
        n_features=n_features,
        home=f"{_LIBSVM}/{page}.html",
        files=tuple(RemoteFile(url=f"{_LIBSVM}/{page}/{file}", name=file) for file in files.split()),
        read=_read_dense_libsvm if dense else _read_libsvm,
    )


_RCV1 = Source(
    name="rcv1",
    task="classification",
    n_samples=781_265,
    n_test=23_149,
    n_features=47_236,
    home="http://www.jmlr.org/papers/volume5/lewis04a/lyrl2004_rcv1v2_README.htm",
    # Addresses and sha256 as published in scikit-learn's sklearn/datasets/_rcv1.py.
    files=tuple(
        RemoteFile(url=f"{_FIGSHARE}/{number}", name=name, checksum=f"sha256:{checksum}")
        for number, name, checksum in (
            (
                5976069,
                "lyrl2004_vectors_test_pt0.dat.gz",
                "ed40f7e418d10484091b059703eeb95ae3199fe042891dcec4be6696b9968374",
            ),
            (
                5976066,
                "lyrl2004_vectors_test_pt1.dat.gz",
                "87700668ae45d45d5ca1ef6ae9bd81ab0f5ec88cc95dcef9ae7838f727a13aa6",
            ),
            (
                5976063,
                "lyrl2004_vectors_test_pt2.dat.gz",
                "48143ac703cbe33299f7ae9f4995db49a258690f60e5debbff8995c34841c7f5",
            ),
            (
                5976060,
                "lyrl2004_vectors_test_pt3.dat.gz",
                "dfcb0d658311481523c6e6ca0c3f5a3e1d3d12cde5d7a8ce629a9006ec7dbb39",
            ),
            (
                5976057,
                "lyrl2004_vectors_train.dat.gz",
                "5468f656d0ba7a83afc7ad44841cf9a53048a5c083eedc005dcdb5cc768924ae",
            ),
            (5976048, "rcv1v2.topics.qrels.gz", "2a98e5e5d8b770bded93afc8930d88299474317fe14181aee1466cc754d0d1c1"),
        )
    ),
    read=_read_rcv1,
)

_MNIST = Source(
    name="mnist",
    task="classification",
    n_samples=60_000,
    n_test=10_000,
    n_features=784,
    home="http://yann.lecun.com/exdb/mnist/",
    # Address and md5 as published in torchvision's torchvision/datasets/mnist.py.
    files=tuple(
        RemoteFile(url=f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}", name=name, checksum=f"md5:{checksum}")
        for name, checksum in (
            ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        )
    ),
    read=_read_mnist,
)

_SOURCES = {
    source.name: source
    for source in (
        _libsvm_set("a9a", (32_561, 16_281), 123, "a9a a9a.t"),
        _libsvm_set("covtype", (581_012, 0), 54, "covtype.libsvm.binary.scale.bz2"),
        _libsvm_set("kdda", (8_407_752, 510_302), 20_216_830, "kdda.bz2 kdda.t.bz2"),
        _MNIST,
        _libsvm_set("news20", (19_996, 0), 1_355_191, "news20.binary.bz2"),
        _libsvm_set("phishing", (11_055, 0), 68, "phishing"),
        _RCV1,
        _libsvm_set("real-sim", (72_309, 0), 20_958, "real-sim.bz2"),
        _libsvm_set(
            "yearprediction",
            (463_715, 51_630),
            90,
            "YearPredictionMSD.bz2 YearPredictionMSD.t.bz2",
            "regression",
            dense=True,
        ),
    )
}
