"""The front half of a fit whose rows lie in parts: nobody needs all of them in one place.

Every part is summarised where it lies (`summarise`), the summaries are added up, and `tasks_of` makes the tasks that
`dsgd.fit` would make of all rows. These tasks have only a sample of the rows, and what follows from all rows they take
from the summary. Step search, starting weights and the watch for divergence work on them as on any task. The objective
and the score of all rows are sums over the parts (`dsgd.problems.parts`, `dsgd.models.scores`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd.data.inputs import as_matrix, as_real, real_dtype
from dsgd.data.labels import as_dtype, as_labels
from dsgd.data.summary import Summary
from dsgd.fitting.spec import FitSpec
from dsgd.fitting.step_search import trial_rows
from dsgd.fitting.targets import (
    OneVsAll,
    as_initial_weights,
    as_sample_weight,
    check_classes,
    check_some_weight,
    targets_of,
)
from dsgd.losses import Loss
from dsgd.problems.task import LocalTask

__all__ = ["summarise", "tasks_of"]


def summarise(
    X: Any,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    loss: Loss,
    *,
    rows: NDArray[np.int64] | None = None,
    n_samples: int = 0,
    batch_rows: int = 1,
    seed: int = 0,
    n_threads: int = 1,
) -> Summary:
    """Return the summary of one part of the data, for a fit with this loss.

    Parameters
    ----------
    X, y, sample_weight
        The rows of the part, as `dsgd.fit` takes them. Weights of classes are in `sample_weight` already.
    loss : Loss
    rows : ndarray of int64, or None
        The numbers of the rows among those of all parts; None: from 0 on.
    n_samples : int
        Rows of all parts, if they are known and `batch_rows` is above 1.
    batch_rows : int
        Rows of a batch of the algorithm: trials of steps have several batches.
    seed : int
        The same for all parts.
    n_threads : int

    Returns
    -------
    Summary

    Raises
    ------
    DataError
        If the rows are not those of a fit. The message names rows by their place in the part.
    """
    matrix = as_matrix(X, n_threads)
    dtype = real_dtype(matrix)
    labels = as_labels(y, matrix.n_rows) if loss.supervised else None
    if labels is not None and not loss.classification:
        labels = as_dtype(as_real(labels, "y"), dtype, "y")
    return Summary.of(
        matrix,
        labels,
        as_sample_weight(sample_weight, None, y, None, matrix.n_rows, dtype, part=True),
        classification=loss.classification,
        rows=rows,
        seed=seed,
        sample_rows=max(loss.start_rows, trial_rows(n_samples, batch_rows)),
        moments=loss.starts_from_moments,
        n_threads=n_threads,
    )


def tasks_of(
    spec: FitSpec, summary: Summary, init: ArrayLike | None = None
) -> tuple[list[LocalTask], NDArray[np.floating[Any]]]:
    """Return the tasks of a fit, of which each has the sample of the rows, and their weights.

    Parameters
    ----------
    spec : FitSpec
    summary : Summary
        Of all parts, made for the loss of `spec`.
    init : array-like, optional
        Initial weights; by default the loss sets them.

    Returns
    -------
    tasks : list of LocalTask
        `problem.summary` is the summary.
    weights : ndarray of shape (n_problems, n_parameters)
        The initial weights: row k is the `weights` of task k.

    Raises
    ------
    DataError
        If nothing can be learnt from the rows: all weights are 0, there is one class, or squares leave the range of
        the type of X.
    """
    sample, loss, classes = summary.sample, spec.loss, summary.classes
    check_some_weight(np.array([summary.mean_weight]))
    matrix = as_matrix(sample.X, 1)
    dtype = real_dtype(matrix)
    targets: NDArray[Any] | OneVsAll
    if sample.labels is None:
        targets = np.zeros((1, matrix.n_rows), dtype)
    elif classes is None:
        targets = np.asarray(sample.labels, dtype)[None]
    else:
        check_classes(classes, summary.n_samples, loss)
        targets = targets_of(sample.labels, classes, loss, dtype)
    weight = sample.sample_weight
    if weight is not None:  # rows that weigh nothing are not in the sample, but they count in the mean of the losses
        weight = np.asarray(weight * (sample.n_counted / summary.n_samples), dtype)
    n_classes = 0 if classes is None else len(classes)
    layout = loss.layout(summary.n_features, n_classes, spec.fit_intercept)
    weights = as_initial_weights(init, len(targets), layout, dtype)
    makers = spec.tasks(
        matrix,
        targets,
        weight,
        weights,
        n_classes=n_classes,
        scale=summary.scale(),
        fresh=init is None,
        summary=summary,
    )
    return [make() for make in makers], weights
