"""The objective and the score of rows that lie on nodes: sums of what each node computes of its own rows."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.remote.nodes import Nodes
from dsgd.errors import ConfigError, WorkerLostError
from dsgd.fitting.worker_rows import ProblemTerms
from dsgd.models.trained import Model
from dsgd.problems.parts import PartLoss
from dsgd.problems.problem import Problem

__all__ = ["NodesEvaluation", "NodesObjective"]


class NodesObjective:
    """The objective of the rows of all nodes.

    Rows of nodes that are gone do not count, as in the training.

    Parameters
    ----------
    nodes : Nodes
    problem : Problem
        On a sample of the rows.
    terms : ProblemTerms
    inverse : ndarray or None
        `Summary.inverse_frequency` of all rows.
    deadline : float
        Seconds within which every node must answer.
    """

    def __init__(
        self, nodes: Nodes, problem: Problem, terms: ProblemTerms, inverse: NDArray[Any] | None, deadline: float
    ) -> None:
        self._nodes, self._problem, self._told, self._deadline = nodes, problem, (terms, inverse), deadline

    def value(self, weights: NDArray[Any], n_threads: int) -> float:  # noqa: ARG002
        """Return the mean loss of all rows, with the penalty."""
        return self._part(weights).objective(self._problem, weights)

    def mean_loss(self, weights: NDArray[Any], n_threads: int) -> float:  # noqa: ARG002
        """Return the mean loss of all rows."""
        return self._part(weights).mean

    def loss_gradient(  # of the protocol
        self,
        weights: NDArray[Any],  # noqa: ARG002
        out: NDArray[np.float64],  # noqa: ARG002
        n_threads: int,  # noqa: ARG002
    ) -> None:
        """Refuse: only algorithms of one machine take steps along it."""
        raise ConfigError("no gradient over all rows is computed where the rows are on other hosts; use 'map-reduce'")

    def _part(self, weights: NDArray[Any]) -> PartLoss:
        terms, inverse = self._told
        told = {rank: (terms, weights, inverse) for rank in range(len(self._nodes)) if self._nodes.alive(rank)}
        answers = self._nodes.ask_living("loss", told, self._deadline)
        if not answers:
            raise WorkerLostError("all nodes that held rows are gone")
        parts: list[PartLoss] = [answers[rank] for rank in sorted(answers)]
        return functools.reduce(PartLoss.__add__, parts)


class NodesEvaluation:
    """The score of a model on rows that lie on nodes."""

    def __init__(self, nodes: Nodes, deadline: float) -> None:
        self._nodes, self._deadline = nodes, deadline
        self.terms: ProblemTerms | None = None

    def score(self, model: Model) -> float:
        """Return the accuracy or R2 of a model; NaN once all nodes with such rows are gone."""
        told = {rank: (self.terms, model.weights) for rank in range(len(self._nodes)) if self._nodes.alive(rank)}
        answers = self._nodes.ask_living("score", told, self._deadline)
        scores = [answers[rank] for rank in sorted(answers) if answers[rank] is not None]
        return functools.reduce(operator.add, scores).value if scores else math.nan
