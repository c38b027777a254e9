"""Random rows of data, and how they are divided into parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from dsgd import losses
from dsgd.algorithms import resolve_algorithm
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.data.summary import Summary
from dsgd.fitting.parts import summarise
from dsgd.fitting.spec import FitSpec
from dsgd.fitting.targets import as_initial_weights, as_sample_weight, as_targets
from dsgd.losses import Loss
from dsgd.problems.task import LocalTask
from dsgd.schedules import resolve_schedule

__all__ = ["LABELS", "Data", "dense", "divide", "draw_data", "machine_tasks", "spec_of"]

LABELS: dict[str, Any] = {
    "numbers": np.array([3, 5, 8]),
    "words": np.array(["a", "bb", "a longer one"]),
    "truths": np.array([False, True]),
    "floats": np.array([-1.0, 0.0, 2.0]),
}


@dataclasses.dataclass
class Data:
    """Rows, and how they are divided into parts."""

    X: Any
    y: NDArray[Any]
    weight: NDArray[Any] | None
    parts: list[NDArray[np.int64]]
    loss: Loss

    def whole(self, **options: Any) -> Summary:
        return summarise(self.X, self.y, self.weight, self.loss, **options)

    def split(self, **options: Any) -> Iterator[Summary]:
        for rows in self.parts:
            weight = None if self.weight is None else self.weight[rows]
            yield summarise(self.X[rows], self.y[rows], weight, self.loss, rows=rows, **options)

    def merged(self, **options: Any) -> Summary:
        return Summary.merge(self.split(**options))


def divide(random: np.random.Generator, n_rows: int, n_parts: int) -> list[NDArray[np.int64]]:
    """Return the rows of parts: any rows in any order, and none of the parts empty."""
    owner = np.concatenate([np.arange(n_parts), random.integers(0, n_parts, n_rows - n_parts)])
    random.shuffle(owner)
    return [random.permutation(np.flatnonzero(owner == part)).astype(np.int64) for part in random.permutation(n_parts)]


def draw_data(
    seed: int,
    *,
    n_rows: int = 60,
    n_features: int = 7,
    loss: Loss | None = None,
    kind: str = "numbers",
    unlike: int = 3,
) -> Data:
    """Return random rows; the unit of a column is a power of ten between -`unlike` and `unlike`."""
    random = np.random.default_rng(seed)
    loss = loss or losses.Hinge()
    X: Any = random.normal(size=(n_rows, n_features)) * (random.random((n_rows, n_features)) < 0.4)
    X *= 10.0 ** random.integers(-unlike, unlike + 1, n_features)
    X = X.astype(random.choice(["f4", "f8"]))
    if random.random() < 0.5:
        X = scipy.sparse.csr_array(X)
    names = LABELS[kind]
    y = names[random.integers(0, len(names), n_rows)] if loss.classification else random.normal(5, 2, n_rows)
    y[: len(names)] = names if loss.classification else 0.0
    weight = [None, random.random(n_rows), random.integers(0, 3, n_rows).astype(float)][random.integers(3)]
    if weight is not None:
        weight[0] = 1.0
    return Data(X, y, weight, divide(random, n_rows, int(random.integers(1, 9))), loss)


def dense(X: Any) -> NDArray[Any]:
    return X if isinstance(X, np.ndarray) else X.toarray()


def spec_of(loss: Loss, algo: str = "minibatch") -> FitSpec:
    return FitSpec(
        algorithm=resolve_algorithm(algo, {}),
        loss=loss,
        alphas=(0.0, 0.0 if loss.model == "kmeans" else 1e-3),
        fit_intercept=loss.model != "kmeans",
        schedule=resolve_schedule("constant"),
        step_size=None,
        n_threads=1,
        seed=4,
        max_epochs=3,
    )


def machine_tasks(X: Any, y: Any, weight: Any, loss: Loss) -> list[LocalTask]:
    """Return the tasks of `dsgd.fit` on all rows."""
    spec, matrix = spec_of(loss), as_matrix(X, 1)
    dtype = np.dtype(X.dtype)
    targets, classes = as_targets(y, loss, matrix.n_rows, dtype)
    weight = as_sample_weight(weight, None, None, None, matrix.n_rows, dtype)
    n_classes = 0 if classes is None else len(classes)
    layout = loss.layout(matrix.n_features, n_classes, spec.fit_intercept)
    weights = as_initial_weights(None, len(targets), layout, dtype)
    scale = measure(matrix, weight, 1)
    makers = spec.tasks(matrix, targets, weight, weights, n_classes=n_classes, scale=scale, fresh=True)
    return [make() for make in makers]
