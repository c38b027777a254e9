"""Names of features: reading them from X, and comparing them with those of the training data.

Errors and warnings have scikit-learn's words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from dsgd._common.warn import warn
from dsgd.errors import DataError

__all__ = ["FeatureNames", "column_names"]

_SHOWN = 5  # names that a message lists


def column_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a data frame; None if X has no names, or no strings.

    Parameters
    ----------
    X : object
        A frame of pandas or polars, a table of pyarrow; anything else has no names.

    Returns
    -------
    tuple of str or None

    Raises
    ------
    DataError
        If some names are strings and others are not. scikit-learn refuses these too, because they
        could not be compared.
    """
    if isinstance(X, np.ndarray | list | tuple) or scipy.sparse.issparse(X):
        return None
    names = getattr(X, "column_names", None)  # of pyarrow, where `columns` holds the values
    names = getattr(X, "columns", None) if names is None else names
    if not isinstance(names, Iterable) or isinstance(names, str):
        return None
    listed = tuple(names)
    kinds = sorted({type(name).__qualname__ for name in listed})
    if kinds == ["str"]:
        return listed
    if "str" in kinds:
        raise DataError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types. Convert them, for example by X.columns = "
            "X.columns.astype(str)"
        )
    return None


@dataclass(frozen=True)
class FeatureNames:
    """The names of the features that a model was trained on.

    Attributes
    ----------
    names : tuple of str or None
        None where the training data had no names.
    of_columns : bool
        Whether the names are those of the columns of a data frame. If they are, an X without names
        causes a warning, as in scikit-learn. If they are those of a `Dataset`, it causes none,
        because the matrix of a `Dataset` never has names of its own.
    """

    names: tuple[str, ...] | None = None
    of_columns: bool = False

    def check(self, names: tuple[str, ...] | None) -> None:
        """Compare the names of another X with these, as scikit-learn does.

        Raises
        ------
        DataError
            If names or their order differ.
        """
        if self.names is None and names is not None:
            warn("X has feature names, but FitResult was fitted without feature names", UserWarning)
        elif names is None and self.of_columns:
            warn("X does not have valid feature names, but FitResult was fitted with feature names", UserWarning)
        elif self.names is not None and names is not None and names != self.names:
            raise DataError(_difference(self.names, names))


def _difference(known: tuple[str, ...], given: tuple[str, ...]) -> str:
    unseen, missing = sorted(set(given) - set(known)), sorted(set(known) - set(given))
    message = "The feature names should match those that were passed during fit.\n"
    if unseen:
        message += f"Feature names unseen at fit time:\n{_listed(unseen)}"
    if missing:
        message += f"Feature names seen at fit time, yet now missing:\n{_listed(missing)}"
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message.rstrip("\n")


def _listed(names: list[str]) -> str:
    more = "- ...\n" if len(names) > _SHOWN else ""
    return "".join(f"- {name}\n" for name in names[:_SHOWN]) + more
