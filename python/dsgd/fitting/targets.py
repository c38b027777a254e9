"""Converts a user's labels and weights for the core: targets of -1 and +1, one weight a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd._common.checks import check_real, shown
from dsgd._common.warn import warn
from dsgd.data.inputs import as_array, as_real
from dsgd.data.labels import as_dtype, as_labels
from dsgd.errors import ConfigError, DataError
from dsgd.models.base import Loss
from dsgd.models.protocols import ParameterLayout

__all__ = [
    "OneVsAll",
    "as_initial_weights",
    "as_sample_weight",
    "as_targets",
    "check_classes",
    "check_some_weight",
    "numbers_of",
    "targets_of",
    "warn_of_many_classes",
    "weights_of_classes",
]


# Number of classes up to which there is no warning (docs/design/numbers.md has the reasons for all three).
_FEW_CLASSES = 20
# Rows per class, on average, below which classes that are numbers give a warning.
_ROWS_OF_A_NUMBER = 10
# Rows per class, on average, below which classes that are words give a warning: words cannot be a regression.
_ROWS_OF_A_WORD = 2


def as_targets(
    y: ArrayLike | None, loss: Loss, n_rows: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any] | OneVsAll, NDArray[Any] | None]:
    """Return the targets of every problem, and the classes.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class labels of any kind for classification, real numbers for regression.
    loss : Loss
        Decides between classification and regression.
    n_rows : int
        Rows of X.
    dtype : numpy dtype
        float32 or float64.

    Returns
    -------
    targets : ndarray of shape (n_problems, n_samples), or OneVsAll
        Row k has the targets of problem k. Two classes: -1 for the smaller class and +1 for the larger
        one. More classes: class k against all others (`OneVsAll`). A joint loss: the numbers of the
        classes. Regression: y. A loss without targets: zeros.
    classes : ndarray of shape (n_classes,) or None
        Sorted; None for regression.

    Raises
    ------
    DataError
        If y and X have different lengths, if a target is not finite, if there is only one class, or if
        every one of more than 20 rows has its own class.

    Warns
    -----
    UserWarning
        If there are so many classes that they may be the targets of a regression, or too rare to be
        learnt.
    """
    if not loss.supervised:
        return np.zeros((1, n_rows), dtype), None
    labels = as_labels(y, n_rows)
    if not loss.classification:
        return as_dtype(as_real(labels, "y"), dtype, "y")[None], None
    classes = np.unique(labels)
    check_classes(classes, n_rows, loss)
    return targets_of(labels, classes, loss, dtype), classes


def check_classes(classes: NDArray[Any], n_rows: int, loss: Loss) -> None:
    """Refuse classes that cannot be learnt from `n_rows` rows; parameters, errors and warnings as for `as_targets`."""
    if len(classes) == 1:
        raise DataError(f"y has one class only ({classes[0].item()!r}); {loss.name} needs two or more")
    if len(classes) > 2 and classes.dtype.kind == "f" and (classes % 1 != 0).any():
        raise DataError(f"y looks continuous ({classes[classes % 1 != 0][0]}); for regression use loss='squared', say")
    if len(classes) == n_rows > _FEW_CLASSES:
        raise DataError(
            f"y has {len(classes)} different labels in {n_rows} rows; for regression use loss='squared', say"
        )
    warn_of_many_classes(classes, n_rows)


def targets_of(
    labels: NDArray[Any], classes: NDArray[Any], loss: Loss, dtype: np.dtype[Any]
) -> NDArray[Any] | OneVsAll:
    """Return the targets of every problem for labels that are among the classes."""
    if loss.joint:
        return np.searchsorted(classes, labels).astype(dtype)[None]
    return OneVsAll(numbers_of(labels, classes), len(classes), dtype, n_arrays=1)


def numbers_of(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the number of the class of every label; every label must be one of the classes."""
    if len(classes) == 2:  # ten times as fast as a search
        second: NDArray[np.bool_] = labels == classes[1]
        return second.astype(np.intp)
    numbers: NDArray[np.intp] = np.searchsorted(classes, labels)
    return numbers


def warn_of_many_classes(classes: NDArray[Any], n_rows: int) -> None:
    """Warn where labels may be the numbers of a regression, or too rare to be learnt.

    scikit-learn warns where more than half of the rows have a class of their own. Numbers are suspect earlier: the 442
    whole-numbered targets of its diabetes data have 214 values.
    """
    numbers = classes.dtype.kind != "U"
    if len(classes) <= _FEW_CLASSES or n_rows >= len(classes) * (_ROWS_OF_A_NUMBER if numbers else _ROWS_OF_A_WORD):
        return
    doubt = (
        "y could represent a regression problem, not a classification problem: for regression use loss='squared', say"
        if numbers
        else "most of them are too rare to be learnt"
    )
    warn(f"y has {len(classes)} classes in {n_rows} rows; {doubt}", UserWarning)


class OneVsAll:
    """The targets of one-vs-all: +1 for the samples of one class, -1 for all others.

    The targets of a problem are made when it is indexed. Those of all problems at once would take the
    memory of many matrices.

    Parameters
    ----------
    members : ndarray of int, shape (n_samples,)
        Number of the class of every sample.
    n_classes : int
        Two classes make one problem, in which the second class is the positive one.
    dtype : numpy dtype
        Of the targets.
    n_arrays : int, default=0
        Problem k shares an array with problems k + n_arrays, k + 2 n_arrays, ..., which is overwritten
        when another one of them is indexed: a caller that trains them in turn must index before every
        turn. 0: every call makes a new array.
    """

    def __init__(self, members: NDArray[np.intp], n_classes: int, dtype: np.dtype[Any], *, n_arrays: int = 0) -> None:
        self._members = members
        self._n_classes = n_classes
        self._dtype = dtype
        self._arrays = [np.empty(len(members), dtype) for _ in range(n_arrays)]
        self._shown: list[int | None] = [None] * n_arrays

    @property
    def shared(self) -> bool:
        """Whether problems share arrays."""
        return bool(self._arrays)

    def in_arrays(self, n_arrays: int) -> OneVsAll:
        """Return the same targets in so many arrays."""
        return OneVsAll(self._members, self._n_classes, self._dtype, n_arrays=n_arrays)

    def __len__(self) -> int:
        """Return the number of problems."""
        return 1 if self._n_classes == 2 else self._n_classes

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return the targets of a problem, shape (n_samples,)."""
        positive = 1 if self._n_classes == 2 else index
        if not self._arrays:
            target: NDArray[Any] = np.where(self._members == positive, self._dtype.type(1), self._dtype.type(-1))
            return target
        place = index % len(self._arrays)
        if self._shown[place] != index:
            self._shown[place] = index
            self._arrays[place][:] = -1
            self._arrays[place][self._members == positive] = 1
        return self._arrays[place]

    def where(self, mask: NDArray[np.bool_]) -> OneVsAll:
        """Return the targets of the samples where the mask is True."""
        return OneVsAll(self._members[mask], self._n_classes, self._dtype)


def as_sample_weight(
    sample_weight: ArrayLike | None,
    class_weight: Any,
    y: ArrayLike | None,
    classes: NDArray[Any] | None,
    n_rows: int,
    dtype: np.dtype[Any],
    *,
    part: bool = False,
) -> NDArray[Any] | None:
    """Return the weight of every sample, its own times that of its class; None if neither is given.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
    class_weight : dict from class to weight, "balanced" or None
        A class that is missing in the dict has weight 1. The dict may name classes without samples if
        it also names all classes of y. ``"balanced"``: n_samples / (n_classes * samples of the class).
    y : array-like of shape (n_samples,)
    classes : ndarray or None
        None for regression.
    n_rows : int
    dtype : numpy dtype
    part : bool
        Whether there are other rows, so that the weights of these may all be zero.

    Returns
    -------
    ndarray of shape (n_samples,) or None

    Raises
    ------
    DataError
        If a weight is negative or not finite, if the length is wrong, or if all weights are zero.
    ConfigError
        If class_weight is none of the three, names an unknown class, or is given for a regression.
    """
    if sample_weight is None and class_weight is None:
        return None
    weight = np.ones(n_rows)
    if sample_weight is not None:
        weight = np.asarray(as_real(as_array(sample_weight, "sample_weight"), "sample_weight"), dtype=np.float64)
        if weight.shape != (n_rows,):
            raise DataError(f"sample_weight has shape {weight.shape}; X has {n_rows} rows, so it must be ({n_rows},)")
    if class_weight is not None:
        if classes is None:
            raise ConfigError("class_weight needs classes; regression takes sample_weight")
        member = np.searchsorted(classes, as_labels(y, n_rows))
        # Weights that are not finite are found below. The weight of a class without samples is not used.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            counts = np.bincount(member, minlength=len(classes))
            weight = weight * weights_of_classes(class_weight, classes, counts)[member]
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        raise DataError(f"the weight of sample {int(np.argmax(wrong))} is {weight[wrong][0]}; weights are at least 0")
    weight = as_dtype(weight, dtype, "sample_weight")
    if not part:
        check_some_weight(weight)
    return weight


def check_some_weight(weight: NDArray[Any]) -> None:
    """Raise `DataError` if no sample has a weight above 0."""
    if not weight.any():
        raise DataError("all sample weights are 0; there is nothing to train on")


def weights_of_classes(
    class_weight: Any, classes: NDArray[Any], counts: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return the weight of each class, of which `counts` has the numbers of samples; see `as_sample_weight`."""
    if isinstance(class_weight, str) and class_weight == "balanced":
        return np.asarray(counts.sum() / (len(classes) * counts))
    if not isinstance(class_weight, Mapping):
        raise ConfigError(f"class_weight must be a dict, 'balanced' or None, not {shown(class_weight)}")
    names = classes.tolist()
    absent = [label for label in class_weight if label not in names]
    # A fold of cross-validation may lack a class that the dict names. If the dict also lacks a class of y, the name is
    # a mistake.
    if absent and not all(name in class_weight for name in names):
        raise ConfigError(f"class_weight has the class {shown(absent[0])}; the classes are {shown(names)}")
    return np.array([check_real(f"class_weight[{name!r}]", class_weight.get(name, 1), 0) for name in names])


def as_initial_weights(
    init: ArrayLike | None, n_problems: int, layout: ParameterLayout, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the initial weights, of shape (n_problems, n_parameters): those of `init`, or zeros for None.

    A single number is that of all weights.

    Raises
    ------
    DataError
        If `init` is not finite, or its shape is not `layout.shape` (several problems: (n_problems,
        *layout.shape)).
    """
    if init is None:
        return np.zeros((n_problems, layout.size), dtype)
    weights = as_dtype(as_real(as_array(init, "init"), "init"), dtype, "init")
    expected = layout.shape if n_problems == 1 else (n_problems, *layout.shape)
    if weights.ndim == 0:
        weights = np.full(expected, weights)
    if weights.shape != expected:
        raise DataError(
            f"init has shape {weights.shape}; it must be {expected}: a weight for every feature, then the intercept if "
            "there is one; or one number for all"
        )
    if not np.isfinite(weights).all():
        raise DataError(f"init{np.argwhere(~np.isfinite(weights))[0].tolist()} is not finite")
    return np.stack([layout.pack(each) for each in weights.reshape(n_problems, *layout.shape)])
