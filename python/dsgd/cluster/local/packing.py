"""Packs the data of a run once into files without a name, which its processes map into memory.

There is one file for the rows of each node, and one for the data that all nodes share. The format
is that of `dsgd.data.cache`. A file without a name exists as long as a process has it open, so that
no crash leaves a file behind.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.files import copied_descriptor, let_owner
from dsgd.algorithms import REGISTRY
from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.runtime.references import described, restored
from dsgd.cluster.runtime.run_spec import Plan, RunSpec
from dsgd.data.cache import Pieces, map_arrays, write_arrays_to
from dsgd.data.inputs import as_matrix, csr_in_place, stored_entries, take_rows
from dsgd.data.scale import Scale
from dsgd.errors import ClusterError
from dsgd.losses import LOSSES, Loss
from dsgd.problems.problem import Problem
from dsgd.schedules import SCHEDULES, Schedule

__all__ = ["Nameless", "PackedRun", "load_kernels", "load_run", "pack_part", "pack_run", "path_of"]

_LOG = logging.getLogger("dsgd")
# A folder whose files lie in memory.
_MEMORY = Path("/dev/shm")
# What the arrays of `Kernels.of_whole` are called in a file begins with this.
_OF_WHOLE = "whole/"
# Rows are copied and written so many bytes at a time, about.
_BLOCK_BYTES = 4_000_000
# The parameters of `_core.TableSpec`.
_OF_TABLE = ("name", "size", "dtype", "rule", "width", "step_size")


class Nameless:
    """A file without a name.

    Parameters
    ----------
    arrays, description
        See `dsgd.data.cache.write_arrays`.

    Attributes
    ----------
    size : int
        Bytes of the file.

    Raises
    ------
    ClusterError
        If no folder for temporary files has room for it.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any] | Pieces], description: object = None) -> None:
        self._file = _write_nameless(arrays, description)
        self.size = os.fstat(self.descriptor).st_size

    @property
    def descriptor(self) -> int:
        """The descriptor, open to read; a child that inherits it maps the file at its `path_of`."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def path_of(descriptor: int) -> str:
    """Return a path at which the process that holds a descriptor can open the file again."""
    return f"/proc/self/fd/{descriptor}"


def _write_nameless(arrays: Mapping[str, NDArray[Any] | Pieces], description: object) -> BinaryIO:
    """Return a new file of arrays, in the first folder that has room for it."""
    needed = sum(array.nbytes for array in arrays.values())
    folders: list[Path | None] = [_MEMORY, None] if _has_room(needed) else [None, _MEMORY]
    refusals = []
    for folder in folders:  # None: the folder that TMPDIR names
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                let_owner(file)
                write_arrays_to(file, arrays, description)
                file.flush()
                return os.fdopen(copied_descriptor(file), "rb")
        except OSError as error:
            refusals.append(f"{folder or _temporary_folder()}: {error.strerror or error}")
    raise ClusterError(
        f"the data of a run take {needed} bytes more, and no folder for temporary files takes them "
        f"({'; '.join(refusals)}): make room there, or set TMPDIR to a folder with room"
    )


def _has_room(size: int) -> bool:
    """Return whether /dev/shm has room for twice `size` bytes: other programs need memory, too."""
    try:
        return shutil.disk_usage(_MEMORY).free > 2 * size
    except OSError:
        return False


def _temporary_folder() -> str:
    """Return the folder that TMPDIR names, or the text TMPDIR if no folder can be written to."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "TMPDIR"


class PackedRun:
    """The part of a run that all its processes share, as `pack_run` packed it.

    Attributes
    ----------
    plan : Plan
    tables : list of _core.TableSpec
    start : ndarray of shape (n_parameters,)
        Initial weights.
    options : dict
        Further options of the processes (`Crew`).
    inverse_frequency : ndarray of shape (n_features,) or None
        See `Kernels`.
    problem : dict
        Loss, penalty, intercept, scale and number of features, described as JSON can hold them.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], description: dict[str, Any]) -> None:
        terms = dict(description["plan"])
        terms["algorithm"] = restored(terms["algorithm"], REGISTRY, DistributedAlgorithm)
        terms["schedule"] = restored(terms["schedule"], SCHEDULES, Schedule)
        self.plan = Plan(**terms)
        self.start = arrays["start"]
        self.tables = [_core.TableSpec(**table) for table in description["tables"]]
        self.options: dict[str, Any] = description["options"]
        self.of_whole = {name.removeprefix(_OF_WHOLE): each for name, each in arrays.items() if name != "start"}
        self.problem = description["problem"]


def pack_run(assignment: RunSpec, options: dict[str, Any]) -> Nameless:
    """Pack the part of a run that all its processes share.

    Parameters
    ----------
    assignment : RunSpec
    options : dict
        Further options of the processes, which JSON can hold.

    Raises
    ------
    ConfigError
        If another process could not rebuild the algorithm, the schedule or the loss.
    """
    problem = assignment.problem
    plan = {
        "algorithm": described(assignment.algorithm, REGISTRY),
        "schedule": described(assignment.schedule, SCHEDULES),
        **{
            name: getattr(assignment, name)
            for name in ("max_clocks", "passes_per_clock", "step_size", "seed", "n_total")
        },
    }
    description = {
        "plan": plan,
        "problem": {
            "loss": described(problem.loss, LOSSES),
            "alphas": problem.alphas,
            "fit_intercept": problem.fit_intercept,
            "scale": asdict(problem.scale),
            "n_features": problem.matrix.n_features,
            "n_classes": problem.n_classes,
            "n_together": problem.n_together,
        },
        "tables": [{name: getattr(table, name) for name in _OF_TABLE} for table in assignment.table_specs()],
        "options": options,
    }
    of_whole = {_OF_WHOLE + name: np.asarray(array) for name, array in assignment.of_whole.items()}
    arrays = {"start": assignment.start, **of_whole}
    return Nameless(arrays, description)


def pack_part(assignment: RunSpec, node: int) -> Nameless:
    """Pack the rows of a node, piece by piece: this process never holds a copy of all of them."""
    problem, rows = assignment.problem, assignment.rows[node]
    arrays = _arrays_of(problem, rows)
    clients = assignment.clients(node)
    if clients is not None:
        arrays["client_of"] = clients
    file = Nameless(arrays)
    _LOG.info("worker %d: %d rows packed, %.1f MB", node, len(rows), file.size / 1e6)
    return file


def _arrays_of(problem: Problem, rows: NDArray[np.intp]) -> dict[str, NDArray[Any] | Pieces]:
    """Return the arrays of some rows of a problem; the matrix is copied while it is written."""
    stored, n = problem.matrix.arrays, len(rows)
    if n == problem.matrix.n_rows:  # of all rows, in their order
        names = ("indptr", "indices", "data")
        arrays: dict[str, NDArray[Any] | Pieces] = dict(zip(names, stored, strict=True)) if problem.sparse else {}
        arrays |= {} if problem.sparse else {"X": stored}
    elif isinstance(stored, tuple):
        indptr, indices, data = stored
        begins = np.concatenate([[0], np.cumsum(indptr[rows + 1] - indptr[rows])]).astype(indptr.dtype)
        size = (int(begins[-1]),)
        arrays = {
            "indptr": begins,
            "indices": Pieces(indices.dtype, size, lambda: (some.indices for some in _blocks(problem, rows))),
            "data": Pieces(data.dtype, size, lambda: (some.data for some in _blocks(problem, rows))),
        }
    else:
        arrays = {"X": Pieces(stored.dtype, (n, problem.matrix.n_features), lambda: _blocks(problem, rows))}
    arrays["target"] = problem.target[rows]
    if problem.sample_weight is not None:
        arrays["sample_weight"] = problem.sample_weight[rows]
    return arrays


def _blocks(problem: Problem, rows: NDArray[np.intp]) -> Iterator[Any]:
    """Yield copies of the rows, some at a time."""
    bytes_of_row = 16 * stored_entries(problem.matrix) // problem.matrix.n_rows + 1
    some = max(1, _BLOCK_BYTES // bytes_of_row)
    for begin in range(0, len(rows), some):
        yield take_rows(problem.matrix, rows[begin : begin + some])


def load_run(path: str) -> PackedRun:
    """Map the file that `pack_run` packed."""
    return PackedRun(*map_arrays(path))


def load_kernels(path: str, packed: PackedRun, n_threads: int) -> Kernels:
    """Map the file that `pack_part` packed, and return the kernels of a node on its rows."""
    arrays, _ = map_arrays(path)
    about = packed.problem
    X = arrays.get("X")
    if X is None:
        X = csr_in_place(arrays["indptr"], arrays["indices"], arrays["data"], about["n_features"])
    problem = Problem(
        matrix=as_matrix(X, n_threads),
        target=arrays["target"],
        sample_weight=arrays.get("sample_weight"),
        loss=restored(about["loss"], LOSSES, Loss),
        alphas=tuple(about["alphas"]),
        fit_intercept=about["fit_intercept"],
        scale=Scale(**about["scale"]),
        n_classes=about["n_classes"],
        n_together=about["n_together"],
    )
    return Kernels(problem, packed.of_whole, n_threads, packed.start, arrays.get("client_of"))
