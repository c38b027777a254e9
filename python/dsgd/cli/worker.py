"""``dsgd worker``: one worker of a run, on any host, with rows of its own."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dsgd._common.threads import resolve_threads
from dsgd.cli import fit_options as of
from dsgd.cli.labels import against_the_rest
from dsgd.cli.server import Authority, Certificate, Key, TokenFile, certificates_of
from dsgd.cluster.remote.node import serve_node
from dsgd.cluster.remote.ranks import rank_and_world, read_token
from dsgd.data.dataset import Dataset
from dsgd.data.libsvm import ReadOptions
from dsgd.data.reading import joined, load_alike
from dsgd.errors import ConfigError
from dsgd.fitting.worker_rows import WorkerRows

__all__ = ["worker"]


def worker(
    train: Annotated[list[Path], typer.Argument(metavar="TRAIN...", help="libsvm text or cache files")],
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="where `dsgd server` waits")],
    rank: Annotated[int | None, typer.Option(help="default: from Slurm, MPI or Kubernetes")] = None,
    world: Annotated[int | None, typer.Option(help="number of workers; default: likewise")] = None,
    token_file: TokenFile = None,
    certificate: Certificate = None,
    key: Key = None,
    authority: Authority = None,
    bytes_: Annotated[
        str | None,
        typer.Option(
            "--bytes", metavar="BEGIN:END", help="only lines that begin in these bytes; auto: the rank's part"
        ),
    ] = None,
    shards: Annotated[bool, typer.Option("--shards", help="TRAIN is a text file that lists files, one a line")] = False,
    n_features: Annotated[
        int | None, typer.Option(help="features of the whole data, if this part may lack some")
    ] = None,
    positive: of.Positive = None,
    index_base: of.IndexBase = "auto",
    float32: of.Float32 = False,
    threads: Annotated[int | None, typer.Option(help="default: all that the process may use")] = None,
    join_deadline: Annotated[float, typer.Option(help="seconds to wait for the server")] = 300.0,
) -> None:
    """Train on TRAIN for `dsgd server`.

    One file is the whole data, of which the server deals each worker its rows. Several files, or those that a list
    names, are dealt by rank: file i belongs to rank i mod WORLD.
    """
    number, size = rank_and_world(rank, world, os.environ)
    address = _address_of(server)
    token, certificates = read_token(token_file, os.environ), certificates_of(certificate, key, authority)
    how = ReadOptions(
        n_features=n_features, dtype=np.float32 if float32 else None, index_base=index_base, n_threads=threads
    )
    paths = _listed(train) if shards else train
    data = _read(paths, bytes_, number, size, how)
    serve_node(
        address,
        WorkerRows(data.X, against_the_rest(data.y, positive or [], part=True), None),
        rank=number,
        token=token,
        whole=len(paths) == 1 and bytes_ is None,
        index_base=data.index_base,
        tls=certificates,
        n_threads=resolve_threads(threads),
        patience=join_deadline,
    )


def _read(paths: list[Path], span: str | None, rank: int, world: int, how: ReadOptions) -> Dataset:
    """Return the rows that this worker reads: a whole file, a part of its bytes, or the files of its rank."""
    if len(paths) == 1:
        if span is not None:
            offset, length = _span_of(span, paths[0], rank, world)
            how = dataclasses.replace(how, offset=offset, length=length)
        return load_alike(paths, how)[0]
    if span is not None:
        raise ConfigError(f"--bytes is for one file, and there are {len(paths)}: leave it out, files are dealt by rank")
    own = paths[rank::world]
    if not own:
        raise ConfigError(
            f"there are {len(paths)} files for {world} workers, and none for rank {rank}; give more files"
        )
    return joined(load_alike(own, how))


def _span_of(text: str, path: Path, rank: int, world: int) -> tuple[int, int]:
    """Return offset and length of a part of a file."""
    if text == "auto":
        size = path.stat().st_size
        begin, end = size * rank // world, size * (rank + 1) // world
    else:
        parts = text.split(":")
        if len(parts) != 2 or not all(each.isdecimal() for each in parts) or int(parts[0]) > int(parts[1]):
            raise ConfigError(f"--bytes takes BEGIN:END, such as 0:1000000, or auto, not {text!r}")
        begin, end = map(int, parts)
    return begin, end - begin


def _listed(lists: list[Path]) -> list[Path]:
    """Return the files that lists name, one a line."""
    lines = [line.strip() for each in lists for line in each.read_text(encoding="utf-8").splitlines()]
    paths = [Path(line) for line in lines if line and not line.startswith("#")]
    if not paths:
        raise ConfigError(f"{lists[0]} lists no files; write one a line")
    return paths


def _address_of(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--server takes HOST:PORT, such as 10.0.0.1:7000, not {text!r}")
    return host.strip("[]"), int(port)
