"""What every algorithm of shared memory is."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from dsgd._common.checks import check_integer
from dsgd.models.base import Loss
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Algorithm", "Capabilities", "Choice", "Facts", "check_block_size"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an algorithm can do; `dsgd.fit` refuses the rest.

    Attributes
    ----------
    threads : bool
        Runs on several threads.
    deterministic : bool
        The same `random_state` and number of threads give the same bits.
    stochastic : bool
        Steps on some of the rows, whose size has to be searched for.
    shares : bool
        A sample may take a share of its step, as the passive-aggressive schedules want it.
    dual : bool
        Has a duality gap, which `gap_tol` needs; and no step size.
    schedule : str or None
        What ``schedule="auto"`` is for it; None: what is best for stochastic gradient descent.
    distributed : bool
        Runs on a cluster, and nowhere else.
    models : frozenset of str
        The kinds of models it trains; see `dsgd.losses.Loss.model`.
    """

    threads: bool
    deterministic: bool
    stochastic: bool = True
    shares: bool = False
    dual: bool = False
    schedule: str | None = None
    distributed: bool = False
    models: frozenset[str] = frozenset({"linear"})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What an algorithm may be picked by.

    Attributes
    ----------
    n_samples, n_features, n_entries : int
        The size of X; entries that are stored.
    mean_square : float
        Mean of s_i ||x_i||^2.
    loss : Loss
    alphas : tuple of two floats
        Strengths of ||w||_1 and of ||w||^2 / 2.
    n_threads : int
        To be used at most.
    gap_tol : float or None
        The relative duality gap that is asked for.
    stepped : bool
        Whether a step size or a schedule was given.
    """

    n_samples: int
    n_features: int
    n_entries: int
    mean_square: float
    loss: Loss
    alphas: tuple[float, float]
    n_threads: int
    gap_tol: float | None
    stepped: bool


def check_block_size(block_size: Any) -> int | None:
    """Return how many neighbouring rows are visited together, None for `Problem.block_size`; refuse anything else."""
    return None if block_size is None else check_integer("block_size", block_size, 1, 2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """The configuration of an algorithm: its options, and how it trains."""

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @property
    def batch_rows(self) -> int:
        """Rows whose gradients make one step of a stochastic algorithm."""
        return 1

    def check(self, loss: Loss, alphas: tuple[float, float]) -> None:  # noqa: B027
        """Raise `ConfigError` for a loss, or strengths of ||w||_1 and ||w||^2 / 2, that it cannot train with."""

    def regularises_unseen(self, problem: Problem) -> bool:  # noqa: ARG002
        """Return whether an epoch regularises what no row holds as well, rather than have it done afterwards."""
        return not self.capabilities.stochastic

    def pick(self, facts: Facts) -> Choice:
        """Return who is to train: the algorithm itself, but for `Auto`."""
        return Choice(self, facts.n_threads, "named")

    def on_share(self, share: float) -> Algorithm:  # noqa: ARG002
        """Return the algorithm for a share of the rows: numbers of samples among its options shrink with it."""
        return self

    @abstractmethod
    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the options, as JSON can hold them."""
        return {"name": self.name, **dataclasses.asdict(self)}


class Choice(NamedTuple):
    """Who is to train, on how many threads, and why."""

    algorithm: Algorithm
    n_threads: int
    why: str
