"""A matrix with its targets, and what belongs to both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dsgd.errors import DataError

__all__ = ["Dataset"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Samples and their targets, as `dsgd.fit` takes them in place of X and y.

    Parameters
    ----------
    X : ndarray or scipy.sparse.csr_array of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Labels or real targets.
    feature_names : tuple of str, optional
        One a column.
    index_base : {"zero", "one"}, optional
        What the libsvm file that this was read from calls the first feature.

    Raises
    ------
    DataError
        If X, y and feature_names do not fit one another.
    """

    X: Any
    y: NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    index_base: str | None = None

    def __post_init__(self) -> None:
        if self.y.ndim != 1 or len(self.y) != self.n_samples:
            raise DataError(f"y has shape {self.y.shape}; X has {self.n_samples} rows")
        if self.feature_names is not None and len(self.feature_names) != self.n_features:
            raise DataError(f"{len(self.feature_names)} feature_names for the {self.n_features} columns of X")

    @property
    def n_samples(self) -> int:
        """Rows."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Columns."""
        return int(self.X.shape[1])
