"""What a fit must know of all rows before it starts, put together from parts of the rows.

Nobody then needs all rows in one place (docs/design/data.md, "Data in parts").
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.data.row_sample import SAMPLE_ROWS, RowSample
from dsgd.data.scale import RowSizes, Scale, mean_weight
from dsgd.data.statistics import ClassCounts, FeatureMoments, TargetMoments, entries_of_columns
from dsgd.data.totals import Average
from dsgd.errors import DataError

__all__ = ["Summary"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """A summary of some rows. ``a + b`` is that of the rows of both, in any order.

    Its size does not depend on the number of rows, except for `sample`, which has a hundredth of them if that is more
    than its size.

    Attributes
    ----------
    n_features : int
    mean_weight : float
        The mean of the weights of the samples; 1 without any.
    weights : Average
        From which that mean comes, if the sum of the weights is finite.
    sizes : RowSizes
    stored : ndarray of int64, shape (n_features,), or None
        Stored entries of every feature; None for dense data.
    features : FeatureMoments or None
        Only if `of` was asked for it.
    targets : ClassCounts, TargetMoments or None
        None without targets.
    sample : RowSample
    """

    n_features: int
    mean_weight: float
    weights: Average
    sizes: RowSizes
    stored: NDArray[np.int64] | None
    features: FeatureMoments | None
    targets: ClassCounts | TargetMoments | None
    sample: RowSample

    @classmethod
    def of(
        cls,
        matrix: _core.Matrix,
        labels: NDArray[Any] | None,
        sample_weight: NDArray[Any] | None,
        *,
        classification: bool,
        rows: NDArray[np.int64] | None = None,
        seed: int = 0,
        sample_rows: int = SAMPLE_ROWS,
        moments: bool = False,
        n_threads: int = 1,
    ) -> Summary:
        """Return the summary of the rows of one part.

        Parameters
        ----------
        matrix : _core.Matrix
        labels : ndarray of shape (n_samples,) or None
            Labels or targets that are checked, as by `as_labels` and `as_real`.
        sample_weight : ndarray of shape (n_samples,) or None
            At least 0. Weights of classes are in them already: what those are is known once the classes of all parts
            are counted (`ClassCounts`).
        classification : bool
            Whether `labels` are classes.
        rows : ndarray of int64, shape (n_samples,), or None
            The numbers of the rows among those of all parts; None: from 0 on. They decide the sample.
        seed : int
            In [0, 2^64). It decides the sample.
        sample_rows : int
            Rows of the sample.
        moments : bool
            Whether to measure ranges and moments of the features, which only networks need.
        n_threads : int
        """
        targets: ClassCounts | TargetMoments | None = None
        if labels is not None:
            targets = ClassCounts.of(labels) if classification else TargetMoments.of(labels, sample_weight)
        sparse = isinstance(matrix.arrays, tuple)
        return cls(
            n_features=matrix.n_features,
            mean_weight=1.0 if sample_weight is None else mean_weight(sample_weight),
            weights=Average.of_ones(matrix.n_rows) if sample_weight is None else Average.of(sample_weight),
            sizes=RowSizes.of(matrix, sample_weight, n_threads).compact(),
            stored=entries_of_columns(matrix) if sparse else None,
            features=FeatureMoments.of(matrix) if moments else None,
            targets=targets,
            sample=RowSample.draw(matrix, labels, sample_weight, rows=rows, size=sample_rows, seed=seed),
        )

    @classmethod
    def merge(cls, parts: Iterable[Summary]) -> Summary:
        """Return the summary of the rows of all parts. Of an iterator, two summaries at a time are in memory."""
        return functools.reduce(operator.add, parts)

    def __add__(self, other: Summary) -> Summary:
        """Return the summary of the rows of both.

        Raises
        ------
        DataError
            If the parts have different features, sparse and dense rows, or labels of different kinds.
        ConfigError
            If their samples were drawn in different ways, or two rows have the same number.
        """
        if self.n_features != other.n_features:
            raise DataError(f"parts of X have {self.n_features} and {other.n_features} features; give all the same")
        if self.sparse != other.sparse:
            raise DataError("some parts of X are sparse and some are dense; use one kind")
        n = self.n_samples + other.n_samples
        weights = self.weights + other.weights
        mean = weights.mean
        if not math.isfinite(mean):  # the sum overflows
            mean = self.mean_weight * (self.n_samples / n) + other.mean_weight * (other.n_samples / n)
        return Summary(
            n_features=self.n_features,
            mean_weight=mean,
            weights=weights,
            sizes=self.sizes + other.sizes,
            stored=_sum(self.stored, other.stored),
            features=_sum(self.features, other.features),
            targets=_sum(self.targets, other.targets),
            sample=self.sample + other.sample,
        )

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.sizes.n_rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of X: float32 or float64."""
        return self.sizes.dtype

    @property
    def sparse(self) -> bool:
        """Whether X is sparse."""
        return self.stored is not None

    @property
    def classes(self) -> NDArray[Any] | None:
        """The classes, sorted; None for regression and without targets."""
        return self.targets.classes if isinstance(self.targets, ClassCounts) else None

    def scale(self) -> Scale:
        """Return the scale of the rows; `DataError` if it leaves the range of the type of X."""
        return self.sizes.scale()

    def inverse_frequency(self) -> NDArray[Any] | None:
        """Return n / d_j of every feature, as the objectives of the core count it; None for dense data."""
        if self.stored is None:
            return None
        return np.asarray((self.n_samples / np.maximum(self.stored, 1)).astype(self.dtype))


def _sum(a: Any, b: Any) -> Any:
    """Return a + b, or None if neither part has it; `DataError` if one has."""
    if type(a) is not type(b):
        raise DataError("some parts have targets (or moments of features) that others lack; summarise all alike")
    return None if a is None else a + b
