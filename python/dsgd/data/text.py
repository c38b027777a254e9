"""Reading of text files: plain files are mapped into memory, packed files are unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from dsgd._common.files import as_path, open_regular
from dsgd.errors import DataError

__all__ = ["is_packed", "read_text"]


def _read_zstd(path: Path) -> bytes:
    try:
        import zstandard
    except ImportError as error:
        raise DataError(f"{path} is compressed with zstd: pip install zstandard to read it") from error
    packed, plain = path.read_bytes(), []
    while packed:  # frame by frame, because a stream reader would not notice a missing end
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            plain.append(frame.decompress(packed))
        except zstandard.ZstdError as error:
            raise ValueError(error) from error
        if not frame.eof:
            raise EOFError("the end of the file is missing")
        packed = frame.unused_data
    return b"".join(plain)


def _read_with(opener: Callable[..., gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File]) -> Callable[[Path], bytes]:
    def read(path: Path) -> bytes:
        with opener(path) as file:
            return file.read()

    return read


# The first bytes of each format.
_PACKED: dict[bytes, Callable[[Path], bytes]] = {
    b"\x1f\x8b": _read_with(gzip.open),
    b"\xfd7zXZ": _read_with(lzma.open),
    b"BZh": _read_with(bz2.open),
    b"\x28\xb5\x2f\xfd": _read_zstd,
}


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Return whether a file begins as one that `read_text` unpacks."""
    with open_regular(path) as file:
        head = file.read(6)
    return any(head.startswith(magic) for magic in _PACKED)


def read_text(path: str | os.PathLike[str]) -> bytes | mmap.mmap:
    """Return the bytes of a file.

    Parameters
    ----------
    path : path-like
        Plain text, which is mapped and must not shrink while it is used, or text packed by gzip, xz, bzip2 or zstd
        (with the package zstandard), which is recognised by its first bytes and unpacked in memory.

    Returns
    -------
    bytes or mmap.mmap

    Raises
    ------
    OSError
        If it cannot be read, or is not a regular file.
    DataError
        If a packed file is damaged.
    """
    file_path = as_path(path)
    with open_regular(file_path) as file:
        head = file.read(6)
        for magic, read in _PACKED.items():
            if head.startswith(magic):
                return _unpack(file_path, read)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if head else b""


def _unpack(path: Path, read: Callable[[Path], bytes]) -> bytes:
    try:
        return read(path)
    except (EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is packed, and broken: {error or 'it asks for more memory than there is'}") from error
    except OSError as error:
        if error.errno is not None:  # of the file system; bz2 raises OSError without a number for damaged content
            raise
        raise DataError(f"{path} is packed, and broken: {error}") from error
