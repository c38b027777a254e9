"""Which worker a process is, of how many, and the token that it shares with its run."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dsgd._common.checks import check_integer
from dsgd._common.files import as_path
from dsgd.errors import ConfigError

__all__ = ["TOKEN_VARIABLE", "rank_and_world", "read_token", "write_token"]


class _Number(NamedTuple):
    """A number and where it was found, for messages."""

    value: int
    source: str


# The variables of a rank and of the number of workers, from the innermost launcher to the outermost: `mpirun` within a
# job of Slurm gives every process a rank of its own, while SLURM_PROCID is the number of the daemon that started it.
_LAUNCHERS = (
    ("DSGD_RANK", "DSGD_WORLD"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # Hydra of MPICH and Intel MPI
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("JOB_COMPLETION_INDEX", "REPLICAS"),  # an indexed Job of Kubernetes
    ("POD_INDEX", "REPLICAS"),  # the label apps.kubernetes.io/pod-index of a StatefulSet's pod, by the downward API
)
# Variables with the name of a StatefulSet's pod, which ends in its ordinal. POD_NAME is set by the downward API.
_POD_NAMES = ("POD_NAME", "HOSTNAME")
# Kubernetes sets this variable in every pod. Elsewhere a host may be called gpu-3 without being worker 3.
_IN_A_POD = "KUBERNETES_SERVICE_HOST"


def rank_and_world(rank: int | None, world: int | None, environ: Mapping[str, str]) -> tuple[int, int]:
    """Return the rank of this process and the number of workers.

    What is given wins; what is None is looked for in the environment. The rank is that of the first launcher that sets
    its variable: dsgd itself (``DSGD_RANK``), Open MPI (``OMPI_COMM_WORLD_RANK``), MPICH and Intel MPI (``PMI_RANK``),
    Slurm (``SLURM_PROCID``), an indexed Job of Kubernetes (``JOB_COMPLETION_INDEX``), a StatefulSet (``POD_INDEX``, or
    the ordinal at the end of ``POD_NAME`` and, within a pod, of ``HOSTNAME``). The number of workers is ``DSGD_WORLD``,
    or what the same launcher says (``OMPI_COMM_WORLD_SIZE``, ``PMI_SIZE``, ``SLURM_NTASKS``, ``REPLICAS``). If dsgd was
    told the rank, any launcher may say the number. An empty variable counts as not set.

    Parameters
    ----------
    rank, world : int or None
        As a person gave them.
    environ : mapping of str to str
        The environment, `os.environ` for example.

    Returns
    -------
    rank, world : int
        With ``0 <= rank < world``.

    Raises
    ------
    ConfigError
        If nothing says a number; if a value is no number; if Open MPI and PMI name different ranks; or if the rank is
        not below the number of workers. The message names the variables.
    """
    own, launcher_world = _rank(rank, environ)
    total = _world(world, launcher_world, own, environ)
    if own.value >= total.value:
        raise ConfigError(
            f"{own.source} is {own.value}, but {total.source} says {total.value} workers; ranks count from 0 to "
            f"{total.value - 1}"
        )
    return own.value, total.value


def _rank(rank: int | None, environ: Mapping[str, str]) -> tuple[_Number, str | None]:
    """Return the rank, and the variable in which its launcher says the number of workers (None: any)."""
    if rank is not None:
        return _Number(check_integer("rank", rank, 0), "rank"), None
    found = {of_rank: number for of_rank, _ in _LAUNCHERS if (number := _read(of_rank, environ, 0)) is not None}
    for of_rank, of_world in _LAUNCHERS:
        if of_rank in found:
            _check_mpi(of_rank, found)
            return found[of_rank], None if of_rank == "DSGD_RANK" else of_world
    for name in _POD_NAMES:
        if (ordinal := _ordinal(name, environ)) is not None:
            return ordinal, "REPLICAS"
    names = [of_rank for of_rank, _ in _LAUNCHERS] + list(_POD_NAMES)
    raise ConfigError(
        f"no rank: give --rank, or set one of the variables {', '.join(names)} (the last within a pod of Kubernetes)"
    )


def _check_mpi(chosen: str, found: dict[str, _Number]) -> None:
    """Refuse ranks of two MPI launchers that differ: which of them is the inner one cannot be told."""
    open_mpi, pmi = "OMPI_COMM_WORLD_RANK", "PMI_RANK"
    if chosen == open_mpi and pmi in found and found[pmi].value != found[open_mpi].value:
        raise ConfigError(
            f"{open_mpi} is {found[open_mpi].value} and {pmi} is {found[pmi].value}; give --rank, or unset one of them"
        )


def _ordinal(name: str, environ: Mapping[str, str]) -> _Number | None:
    text = environ.get(name, "")
    if not text or (name == "HOSTNAME" and not environ.get(_IN_A_POD)):
        return None
    if match := re.search(r"-([0-9]+)$", text.partition(".")[0]):
        return _Number(int(match[1]), name)
    if name == "HOSTNAME":  # the pod of a Deployment
        return None
    raise ConfigError(f"{name} must end in the ordinal of the pod, as dsgd-worker-3 does, not be {text!r}")


def _world(world: int | None, launcher: str | None, rank: _Number, environ: Mapping[str, str]) -> _Number:
    if world is not None:
        return _Number(check_integer("world", world, 1), "world")
    names = ["DSGD_WORLD"] + (
        list(dict.fromkeys(name for _, name in _LAUNCHERS[1:])) if launcher is None else [launcher]
    )
    for name in names:
        if (number := _read(name, environ, 1)) is not None:
            return number
    raise ConfigError(
        f"{rank.source} says that this is worker {rank.value}, but nothing says of how many: give --world, or set "
        f"{' or '.join(names)}"
    )


def _read(name: str, environ: Mapping[str, str], low: int) -> _Number | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < low:
        raise ConfigError(f"the variable {name} must be an integer of at least {low}, not {text!r}")
    return _Number(int(text), name)


TOKEN_VARIABLE = "DSGD_TOKEN"
"""The variable of the environment that may hold the token."""

_MIN_BYTES = 16  # 128 random bits cannot be guessed
_MAX_BYTES = 1024  # what is longer is another file
_MAX_TEXT = 2 * _MAX_BYTES + len("\r\n")


def read_token(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> bytes:
    """Return the secret that all processes of a run share.

    Parameters
    ----------
    path : path-like or None
        A file that holds an even number of hexadecimal digits, 32 or more, or at least 16 other bytes; no more than
        1024 bytes. One newline at the end does not count. ``"-"`` is the first line of standard input. None is the
        variable ``DSGD_TOKEN``.
    environ : mapping of str to str
        The environment.

    Returns
    -------
    bytes
        What the digits say, or the bytes themselves.

    Raises
    ------
    ConfigError
        If there is no token, it is too short, or others can read the file.
    OSError
        If the file cannot be read.

    Notes
    -----
    The file must be readable by its owner only (mode 0600 or 0400). A file of root may also be readable by its group
    (0640 or 0440): so Kubernetes mounts a secret for a pod with an `fsGroup`, whatever `defaultMode` says; give
    ``defaultMode: 0400``, since its default, 0644, is refused. PostgreSQL has the same rule for private keys. The mode
    is that of the file to which symbolic links lead, as those of a mounted secret.
    """
    if path is None:
        text = environ.get(TOKEN_VARIABLE, "")
        if not text:
            raise ConfigError(f"no token: give --token-file, or set the variable {TOKEN_VARIABLE}")
        return _token(os.fsencode(text), f"the variable {TOKEN_VARIABLE}")
    name = os.fsdecode(as_path(path))
    if name == "-":
        return _token(_first_line(), "standard input")
    with Path(name).open("rb") as file:
        status = os.fstat(file.fileno())
        _check_mode(name, stat.S_IMODE(status.st_mode), status.st_uid)
        return _token(file.read(_MAX_TEXT + 1), name)


def write_token(path: str | os.PathLike[str]) -> None:
    """Write a fresh token of 32 random bytes, in hexadecimal digits, to a new file with mode 0600.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    ConfigError
        If there is a file, or a link, with this name: other processes may hold its token.
    OSError
        If the file cannot be written.
    """
    target = as_path(path)
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise ConfigError(f"{target} exists; remove it first if no process needs its token") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        file.write(f"{secrets.token_hex(32)}\n")


def _first_line() -> bytes:
    if sys.stdin is None:
        raise ConfigError("no token: standard input is closed")
    return sys.stdin.buffer.readline(_MAX_TEXT + 1)


def _check_mode(name: str, mode: int, owner: int) -> None:
    """Refuse a file that another user may read or change; the group of a file of root may read it."""
    allowed = 0o740 if owner == 0 else 0o700
    if mode & ~allowed & 0o777:
        raise ConfigError(f"{name} has mode {mode:04o}, so that others can read or change the token; chmod 600 {name}")


def _token(content: bytes, source: str) -> bytes:
    text = content.removesuffix(b"\n").removesuffix(b"\r")
    token = bytes.fromhex(text.decode("ascii")) if re.fullmatch(rb"([0-9a-fA-F]{2})+", text) else text
    if len(token) > _MAX_BYTES:
        raise ConfigError(f"{source} holds more than {_MAX_BYTES} bytes and is no token")
    if len(token) < _MIN_BYTES:
        raise ConfigError(
            f"the token of {source} has {len(token)} bytes; it needs {_MIN_BYTES}, in hexadecimal digits "
            f"{2 * _MIN_BYTES}"
        )
    return token
