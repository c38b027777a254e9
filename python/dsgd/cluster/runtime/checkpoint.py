"""Checkpoints of a parameter server in one file: the tables of every shard, and what they belong to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from dsgd._common.checksum import checked, with_checksum
from dsgd._common.files import open_regular, replacing
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.errors import ConfigError, DataError

__all__ = ["About", "Checkpoint", "check_same"]

_MAX_SHARDS = 1024
_LIVE, _LEFT = 2, 4  # the first number of a worker in a shard: its status (net/messages.hpp)


@dataclass(frozen=True, kw_only=True)
class About:
    """What a checkpoint belongs to, which is the same for a run that goes on from it.

    Attributes
    ----------
    algorithm : str
    loss : str
        With its parameters.
    alpha_l1, alpha_l2 : float
        Strengths of ||w||_1 and of ||w||^2 / 2.
    n_nodes, n_shards, n_samples, n_parameters : int
    dtype : str
    seed : int
        By which the rows were dealt; a run that goes on takes it.
    step_size : float
        Taken likewise where no other is given.
    partition : str
        How the rows were dealt. All were equal parts before there was a choice.
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

    @classmethod
    def of(cls, assignment: RunSpec, n_shards: int) -> About:
        """Return what the checkpoints of a run belong to."""
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
        )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of all shards at the end of one clock.

    Attributes
    ----------
    clock : int
    incarnation : int
        Of the servers that took it.
    shards : list of dict of str to ndarray
    """

    clock: int
    incarnation: int
    shards: list[dict[str, NDArray[Any]]]

    def save(self, path: str | os.PathLike[str], about: About) -> None:
        """Write a safetensors file (beside it, then renamed)."""
        tensors = {f"{i}/{name}": array for i, shard in enumerate(self.shards) for name, array in shard.items()}
        text = json.dumps({"clock": self.clock, "incarnation": self.incarnation, "about": asdict(about)})
        metadata = {"dsgd-checkpoint": text}
        with replacing(path) as beside:
            beside.write_bytes(safetensors.numpy.save(with_checksum(tensors, metadata), metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple[Checkpoint, About]:
        """Read what `save` wrote; `DataError` for another file or a damaged one, `OSError` for none."""
        open_regular(path).close()  # safetensors calls whatever it cannot open a file that is not there
        try:
            with safetensors.safe_open(os.fspath(path), framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
            tensors = checked(tensors, metadata)
            told = json.loads(metadata["dsgd-checkpoint"])
            about = About(**told["about"])
            if not 1 <= about.n_shards <= _MAX_SHARDS:
                raise DataError(f"it has {about.n_shards} shards")
            shards: list[dict[str, NDArray[Any]]] = [{} for _ in range(about.n_shards)]
            for key, tensor in tensors.items():
                shard, _, name = key.partition("/")
                shards[int(shard)][name] = tensor
            clock, incarnation = int(told["clock"]), int(told["incarnation"])
        except (safetensors.SafetensorError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
            raise DataError(f"{os.fspath(path)} is not a checkpoint of dsgd: {error}") from error
        return cls(clock=clock, incarnation=incarnation, shards=shards), about

    def with_everybody(self) -> Checkpoint:
        """Return the checkpoint for a run that goes on: workers that had left are waited for like the others.

        One that ended early may have left before the last clock was saved. A barrier would not wait for it.
        """
        shards = []
        for shard in self.shards:
            workers = {f"worker/{rank}": shard[f"worker/{rank}"] for rank in shard["workers"]}
            back = {name: np.append(_LIVE, worker[1:]) for name, worker in workers.items() if worker[0] == _LEFT}
            shards.append({**shard, **{name: worker.astype(np.uint64) for name, worker in back.items()}})
        return Checkpoint(clock=self.clock, incarnation=self.incarnation, shards=shards)


def check_same(saved: About, run: About, path: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint of another run, naming what differs."""
    for name, value in asdict(saved).items():
        if name != "step_size" and value != getattr(run, name):
            raise ConfigError(
                f"{os.fspath(path)} is a checkpoint of a run with {name}={value!r}; this one has {getattr(run, name)!r}"
            )
