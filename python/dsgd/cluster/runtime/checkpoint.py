"""Checkpoints of a parameter server in one file: the state of every shard, and facts of the run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.checksum import checked, with_checksum
from dsgd._common.files import open_regular, replacing
from dsgd.cluster.program.groups import described_groups
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.errors import ConfigError, DataError

__all__ = ["About", "Checkpoint", "check_same", "lost_in"]

# Largest number of shards that a checkpoint file may state.
_MAX_SHARDS = 1024
# Status of a worker: the first number of its entry in the state of a shard (net/messages.hpp).
_LIVE, _LOST, _LEFT = 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class About:
    """Facts of the run that saved a checkpoint.

    A run that resumes from the checkpoint must agree with all of them but the step size.

    Attributes
    ----------
    algorithm : str
    loss : str
        The `repr` of the loss, with its parameters.
    alpha_l1, alpha_l2 : float
        Strengths of ||w||_1 and of ||w||^2 / 2.
    n_nodes, n_shards, n_samples, n_parameters : int
    dtype : str
        Type of the weights.
    seed : int
        Seed by which the rows were dealt. A run that resumes takes it over.
    step_size : float
        A run that resumes takes it over if it was given none.
    partition : str
        How the rows were dealt. A checkpoint without it has equal parts.
    tables : str
        Name, rule, rows and width of every table, and the step size where the rule has one. A
        checkpoint from before may lack it.
    groups : dict of str to list of lists of int
        The further groups of nodes.
    """

    algorithm: str
    loss: str
    alpha_l1: float
    alpha_l2: float
    n_nodes: int
    n_shards: int
    n_samples: int
    n_parameters: int
    dtype: str
    seed: int
    step_size: float
    partition: str = "equal"
    tables: str = ""
    groups: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, assignment: RunSpec, n_shards: int, groups: Mapping[str, Sequence[Sequence[int]]]) -> About:
        """Return the facts of a run for its checkpoints."""
        return cls(
            algorithm=assignment.algorithm.name,
            loss=repr(assignment.problem.loss),
            alpha_l1=assignment.problem.alphas[0],
            alpha_l2=assignment.problem.alphas[1],
            n_nodes=assignment.n_nodes,
            n_shards=n_shards,
            n_samples=assignment.n_total,
            n_parameters=len(assignment.start),
            dtype=str(assignment.start.dtype),
            seed=assignment.seed,
            step_size=assignment.step_size,
            partition=assignment.partition,
            tables=", ".join(map(_told, assignment.table_specs())),
            groups=described_groups(groups),
        )

    @property
    def n_servers(self) -> int:
        """Number of shards, and of servers of further groups."""
        return self.n_shards + sum(len(parts) for parts in self.groups.values())


def _told(table: _core.TableSpec) -> str:
    step = f" of step {table.step_size!r}" if table.rule == "adagrad" else ""
    return f"{table.name}: {table.rule}{step}, {table.size} x {table.width}"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of all servers at the end of one clock of the group of all nodes.

    Attributes
    ----------
    clock : int
    incarnation : int
        Number of the start of the servers that took the checkpoint, counted from 1.
    shards : list of dict of str to ndarray
        The state of each shard, as of `_core.Server.checkpoint`, and after them that of the server of
        each further group. It is empty for a group that has had no checkpoint of its own.
    """

    clock: int
    incarnation: int
    shards: list[dict[str, NDArray[Any]]]

    def save(self, path: str | os.PathLike[str], about: About) -> None:
        """Write a safetensors file: under another name beside `path`, which is then renamed."""
        tensors = {f"{i}/{name}": array for i, shard in enumerate(self.shards) for name, array in shard.items()}
        text = json.dumps({"clock": self.clock, "incarnation": self.incarnation, "about": asdict(about)})
        metadata = {"dsgd-checkpoint": text}
        with replacing(path) as beside:
            beside.write_bytes(safetensors.numpy.save(with_checksum(tensors, metadata), metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[Checkpoint, About]:
        """Read a file that `save` wrote.

        Raises
        ------
        DataError
            If it is another kind of file, or damaged.
        OSError
            If it cannot be opened.
        """
        # If safetensors cannot open a file it says that there is none; this names the true cause.
        open_regular(path).close()
        try:
            with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            tensors = checked(tensors, metadata)
            told = json.loads(metadata["dsgd-checkpoint"])
            about = About(**told["about"])
            if not 1 <= about.n_shards <= _MAX_SHARDS:
                raise DataError(f"it has {about.n_shards} shards")
            shards: list[dict[str, NDArray[Any]]] = [{} for _ in range(about.n_servers)]
            for key, tensor in tensors.items():
                shard, _, name = key.partition("/")
                shards[int(shard)][name] = tensor
            clock, incarnation = int(told["clock"]), int(told["incarnation"])
        except (
            AttributeError,
            IndexError,
            KeyError,
            OSError,
            TypeError,
            ValueError,
            safetensors.SafetensorError,
        ) as error:
            raise DataError(f"{os.fspath(path)} is not a checkpoint of dsgd: {error}") from error
        return cls(clock=clock, incarnation=incarnation, shards=shards), about

    def with_everybody(self) -> Checkpoint:
        """Return a copy for a run that resumes, in which workers that had left count as live.

        A worker that ended early may have left before the last clock was saved. Without this, a
        barrier of the run that resumes would not wait for it.
        """
        shards = []
        for shard in self.shards:
            workers = {f"worker/{rank}": shard[f"worker/{rank}"] for rank in shard.get("workers", ())}
            back = {name: np.append(_LIVE, worker[1:]) for name, worker in workers.items() if worker[0] == _LEFT}
            shards.append({**shard, **{name: worker.astype(np.uint64) for name, worker in back.items()}})
        return Checkpoint(clock=self.clock, incarnation=self.incarnation, shards=shards)


def check_same(saved: About, run: About, path: str | os.PathLike[str]) -> None:
    """Raise `ConfigError` for a checkpoint of another run; the message names the difference."""
    for name, value in asdict(saved).items():
        told = name != "step_size" and (name != "tables" or value)
        if told and value != getattr(run, name):
            raise ConfigError(
                f"{os.fspath(path)} is a checkpoint of a run with {name}={value!r}; this one has {getattr(run, name)!r}"
            )


def lost_in(state: Mapping[str, NDArray[Any]]) -> set[int]:
    """Return the ranks of the workers that are lost in the state of a shard."""
    return {int(rank) for rank in state["workers"] if state[f"worker/{rank}"][0] == _LOST}
