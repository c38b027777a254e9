"""The interface of all algorithms: what they can do, their options, and how they train."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from dsgd._common.checks import check_integer
from dsgd.errors import ConfigError
from dsgd.models.base import Loss
from dsgd.privacy.config import Privacy
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Algorithm", "Capabilities", "Choice", "Facts", "check_block_size"]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an algorithm can do. `dsgd.fit` refuses a request for anything else.

    Attributes
    ----------
    threads : bool
        Whether it runs on several threads.
    deterministic : bool
        Whether the same `random_state` and number of threads give the same bits.
    stochastic : bool
        Whether a step uses only some of the rows. The size of such steps has to be searched for.
    shares : bool
        Whether a sample may take a part of the scheduled step, as the passive-aggressive schedules
        need it.
    dual : bool
        Whether it has dual variables, and the duality gap from them: `gap_tol` needs no others beside the run. Such an
        algorithm has no step size.
    schedule : str or None
        The schedule that ``schedule="auto"`` stands for. None: that of stochastic gradient descent.
    distributed : bool
        Whether it runs on a cluster, and only there.
    one_vs_all : bool
        Whether it trains more than two classes with a loss of two.
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
    one_vs_all: bool = True
    models: frozenset[str] = frozenset({"linear"})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The problem and the request, as `Algorithm.pick` sees them.

    Attributes
    ----------
    n_samples, n_features, n_entries : int
        Rows, columns and non-zero entries of X.
    mean_square : float
        Mean of s_i ||x_i||^2.
    loss : Loss
    alphas : tuple of two floats
        Strengths of ||w||_1 and of ||w||^2 / 2.
    n_threads : int
        The most threads that may be used.
    gap_tol : float or None
        The relative duality gap at which to stop, if the user gave one.
    stepped : bool
        Whether the user gave a step size or a schedule.
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
    """Return a valid `block_size`, where None stands for `Problem.block_size`; raise `ConfigError` for others."""
    return None if block_size is None else check_integer("block_size", block_size, 1, 2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """The configuration of an algorithm: its options, and how it trains."""

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    @property
    def privacy(self) -> Privacy | None:
        """What it promises of the privacy of rows; None: nothing."""
        return None

    @property
    def batch_rows(self) -> int:
        """Number of rows whose gradients make one step, for a stochastic algorithm."""
        return 1

    def check(self, loss: Loss, alphas: tuple[float, float]) -> None:  # noqa: ARG002
        """Raise `ConfigError` if it cannot train this loss with this penalty.

        Parameters
        ----------
        loss : Loss
        alphas : tuple of two floats
            Strengths of ||w||_1 and of ||w||^2 / 2.
        """
        if self.privacy is not None and loss.model == "kmeans":
            raise ConfigError("k-means starts from rows and counts them, which privacy cannot hide; leave privacy out")

    def regularises_unseen(self, problem: Problem) -> bool:  # noqa: ARG002
        """Return whether an epoch also regularises the weights of features that occur in no row.

        If it does not, the loop over epochs does so afterwards (`LocalTask.shrink_unseen`).
        """
        return not self.capabilities.stochastic

    def pick(self, facts: Facts) -> Choice:
        """Return the algorithm to train with. This is the algorithm itself, except for `Auto`."""
        return Choice(self, facts.n_threads, "named")

    def on_share(self, share: float) -> Algorithm:  # noqa: ARG002
        """Return the algorithm for a `share` of the rows: options that count samples are multiplied by it."""
        return self

    def first_step(self, loss: Loss) -> float | None:
        """Return the step that a run with this loss starts from if the loss knows it; None: it is searched for."""
        return loss.first_step()

    @abstractmethod
    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""

    def to_dict(self) -> dict[str, Any]:
        """Return the name and the options, as JSON can hold them."""
        return {"name": self.name, **dataclasses.asdict(self)}


class Choice(NamedTuple):
    """The algorithm to train with, its number of threads, the reason, and its first step if that is known."""

    algorithm: Algorithm
    n_threads: int
    why: str
    step_size: float | None = None
