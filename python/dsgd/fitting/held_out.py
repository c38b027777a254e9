"""The objective on the samples of `eval_set`, for weights that no model has."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.data.inputs import real_dtype
from dsgd.fitting.targets import targets_of
from dsgd.problems.problem import Problem
from dsgd.results.evaluation import Evaluation

__all__ = ["HeldOut"]


class HeldOut:
    """The objective of a problem, with the mean loss taken over the samples of an evaluation.

    Parameters
    ----------
    problem : Problem
    evaluation : Evaluation
        Samples whose labels the training data lacks are left out.
    classes : ndarray or None
        Those of the training data; None for regression.
    n_threads : int
    """

    def __init__(self, problem: Problem, evaluation: Evaluation, classes: NDArray[Any] | None, n_threads: int) -> None:
        self._threads, self._dtype, self._problem = n_threads, real_dtype(evaluation.matrix), problem
        labels, weight = evaluation.labels, None
        if classes is None:
            target = labels.astype(self._dtype)
        else:
            known = np.isin(labels, classes)
            target = targets_of(np.where(known, labels, classes[0]), classes, problem.loss, self._dtype)[0]
            if not known.all():
                weight = (known * (len(known) / max(known.sum(), 1))).astype(self._dtype)
        samples = dataclasses.replace(problem, matrix=evaluation.matrix, target=target, sample_weight=weight)
        self._objective = samples.objective(n_threads)

    def value(self, weights: NDArray[Any]) -> float:
        """Return the mean loss of these samples, with the penalty."""
        loss = self._objective.mean_loss(weights.astype(self._dtype), self._threads)
        return loss + self._problem.penalty(self._problem.layout.regularised(weights))
