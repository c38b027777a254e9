"""``dsgd convert``: from libsvm text to a cache file that is mapped, and back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dsgd._common.files import check_replaceable, own_descriptor
from dsgd.cli.options import summarise
from dsgd.data import Dataset, load, save_libsvm
from dsgd.data.cache import is_cache
from dsgd.data.dataset import errors_of
from dsgd.errors import ConfigError

__all__ = ["convert"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="libsvm text, plain or packed, or cache file")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="cache file if IN is text, else text, with another suffix than IN; replaced"
        ),
    ],
    float32: Annotated[bool, typer.Option("--float32", help="values in single precision")] = False,
    index_base: Annotated[
        str, typer.Option(help="what the text calls the first feature: zero, one, or auto (as IN says, else one)")
    ] = "auto",
    n_features: Annotated[int | None, typer.Option(help="columns; default: as many as IN needs")] = None,
    threads: Annotated[int | None, typer.Option(help="default: all that the process may use")] = None,
) -> None:
    """Convert libsvm text to a cache file, which is mapped instead of read, or a cache file to text.

    Files that are used together must number their features alike: convert them with the same --index-base.
    """
    if target.exists() and target.samefile(source):
        raise ConfigError(f"IN and OUT are both {source}; a file cannot be converted into itself")
    check_replaceable(target)
    begin = time.perf_counter()
    to_text = is_cache(source)
    if source.suffix and source.suffix == target.suffix:
        kinds = ("a cache file", "text") if to_text else ("text", "a cache file")
        raise ConfigError(f"IN is {kinds[0]}, so OUT would be {kinds[1]}: do not call both *{source.suffix}")
    data = load(
        source,
        n_features=n_features,
        dtype=np.float32 if float32 else None,
        index_base="auto" if to_text else index_base,
        n_threads=threads,
    )
    with errors_of(data.source):
        _write(data, target, index_base if to_text else None, threads)
    seconds = time.perf_counter() - begin
    before = source.stat().st_size
    after = "" if own_descriptor(target) is not None else f" to {target.stat().st_size}"
    summarise(
        f"{data.n_samples} rows, {data.n_features} features, {data.n_stored} non-zeros: {before} bytes{after} in "
        f"{seconds:.3f} s ({before / seconds / 1e6:.0f} MB/s)",
        target,
    )


def _write(data: Dataset, target: Path, index_base: str | None, threads: int | None) -> None:
    """Write a cache file if `index_base` is None, else text whose features count from it."""
    if index_base is None:
        data.save(target, n_threads=threads)
        return
    base = (data.index_base or "one") if index_base == "auto" else index_base
    save_libsvm(target, data.X, data.y, index_base=base, n_threads=threads)
