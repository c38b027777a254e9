"""The samples on which a model is evaluated."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from dsgd.data.dataset import Dataset, errors_of
from dsgd.data.feature_names import FeatureNames, column_names
from dsgd.data.inputs import as_matrix, as_real, check_features
from dsgd.data.labels import as_labels, check_same_kind
from dsgd.data.reading import common_base
from dsgd.errors import ConfigError, DataError
from dsgd.models.trained import Model

__all__ = ["Evaluation", "evaluation_of"]


class Evaluation:
    """Samples on which a model is scored repeatedly.

    A label that the training data lacks counts as an error.

    Parameters
    ----------
    eval_set : tuple (X, y)
    n_features : int
        Number of features of the training data.
    classes : ndarray or None
        Classes of the training data; None for regression.
    n_threads : int
    sample_weight : ndarray of shape (n_samples,), optional
        Weights of these samples.

    Attributes
    ----------
    matrix : _core.Matrix
    labels : ndarray of shape (n_samples,)

    Raises
    ------
    DataError
        If X and y do not fit each other or the training data.
    """

    def __init__(
        self,
        eval_set: tuple[Any, ArrayLike],
        n_features: int,
        classes: NDArray[Any] | None,
        n_threads: int,
        sample_weight: NDArray[Any] | None = None,
    ) -> None:
        if not isinstance(eval_set, tuple) or len(eval_set) != 2:
            raise ConfigError("eval_set must be a tuple (X, y) or a Dataset")
        try:
            self.matrix = as_matrix(eval_set[0], n_threads)
            check_features(self.matrix, n_features)
            self.labels = as_labels(eval_set[1], self.matrix.n_rows)
            if classes is None:
                self.labels = as_real(self.labels, "y")
            else:
                check_same_kind(self.labels, classes)
        except DataError as error:
            raise DataError(f"eval_set: {error}") from error
        if classes is None and len(self.labels) < 2:
            raise DataError("eval_set has one row; R2 needs at least two")
        self._n_threads = n_threads
        self._sample_weight = sample_weight

    def score(self, model: Model) -> float:
        """Return the accuracy or R2 of a model."""
        return model.score_of(model.decide(self.matrix, self._n_threads), self.labels, self._sample_weight)


def evaluation_of(
    eval_set: Any,
    names: FeatureNames,
    index_base: str | None,
    n_features: int,
    classes: NDArray[Any] | None,
    n_threads: int,
) -> Evaluation:
    """Return the evaluation of what a user gives; its features must have the numbers and names of the training data.

    Parameters
    ----------
    eval_set : tuple (X, y) or Dataset
    names, index_base
        Those of the training data; see `Dataset`.
    n_features, classes, n_threads
        See `Evaluation`.
    """
    source, columns = None, None
    if isinstance(eval_set, Dataset):
        common_base({"the training data": index_base, "eval_set": eval_set.index_base})
        source, columns, eval_set = eval_set.source, eval_set.feature_names, (eval_set.X, eval_set.y)
    elif isinstance(eval_set, tuple) and len(eval_set) == 2:
        columns = column_names(eval_set[0])
    with errors_of(source):
        try:
            names.check(columns)
        except DataError as error:
            raise DataError(f"eval_set: {error}") from error
        return Evaluation(eval_set, n_features, classes, n_threads)
