"""From the labels and weights a user has to what the core takes: targets of -1 and +1, one weight a sample."""

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
from dsgd.models.base import Loss, ParameterLayout

__all__ = ["OneVsAll", "as_initial_weights", "as_sample_weight", "as_targets", "numbers_of", "warn_of_many_classes"]


# So many classes never raise a doubt; of more, fewer rows a class than these do. Words cannot be a regression.
_FEW_CLASSES, _ROWS_OF_A_NUMBER, _ROWS_OF_A_WORD = 20, 10, 2


def as_targets(
    y: ArrayLike | None, loss: Loss, n_rows: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any] | OneVsAll, NDArray[Any] | None]:
    """Return the targets of every binary problem or of the one regression, and the classes that they stand for.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Class labels of any kind for classification, real numbers for regression.
    loss : Loss
        Says which of the two.
    n_rows : int
        Rows of X.
    dtype : numpy dtype
        float32 or float64.

    Returns
    -------
    targets : ndarray of shape (n_problems, n_samples), or OneVsAll
        One for every problem. For two classes -1 for the smaller class and +1 for the larger; for more `OneVsAll`. For
        a joint loss the number of the class. Zeros where the loss has no targets.
    classes : ndarray of shape (n_classes,) or None
        Sorted; None for regression.

    Raises
    ------
    DataError
        If the length is not that of X, a target is not finite, or there is only one class, or a class for every row.

    Warns
    -----
    UserWarning
        Where there are so many classes that they may be the numbers of a regression.
    """
    if not loss.supervised:
        return np.zeros((1, n_rows), dtype), None
    labels = as_labels(y, n_rows)
    if not loss.classification:
        return as_dtype(as_real(labels, "y"), dtype, "y")[None], None
    classes = np.unique(labels)
    if len(classes) == 1:
        raise DataError(f"y has one class only ({classes[0].item()!r}); {loss.name} needs two or more")
    if len(classes) > 2 and classes.dtype.kind == "f" and (classes % 1 != 0).any():
        raise DataError(f"y looks continuous ({classes[classes % 1 != 0][0]}); for regression use loss='squared', say")
    if len(classes) == n_rows > _FEW_CLASSES:
        raise DataError(
            f"y has {len(classes)} different labels in {n_rows} rows; for regression use loss='squared', say"
        )
    warn_of_many_classes(classes, n_rows)
    if loss.joint:
        return np.searchsorted(classes, labels).astype(dtype)[None], classes
    return OneVsAll(numbers_of(labels, classes), len(classes), dtype, shared=True), classes


def numbers_of(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the number of the class of every label, all of which are among the classes."""
    if len(classes) == 2:  # ten times as fast
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
    """The targets of one-vs-all: +1 for the samples of one class, -1 for all others, made when they are asked for.

    All classes at once would take the memory of many matrices.

    Parameters
    ----------
    members : ndarray of int, shape (n_samples,)
        Number of the class of every sample.
    n_classes : int
        Of two the second alone makes a problem.
    dtype : numpy dtype
        Of the targets.
    shared : bool, default=False
        Whether all problems share one array, which is written anew where another one is asked for. Who trains several
        problems in turn has to ask before every turn.
    """

    def __init__(
        self, members: NDArray[np.intp], n_classes: int, dtype: np.dtype[Any], *, shared: bool = False
    ) -> None:
        self._members = members
        self._n_classes = n_classes
        self._dtype = dtype
        self._buffer = np.empty(len(members), dtype) if shared else None
        self._shown: int | None = None

    @property
    def shared(self) -> bool:
        """Whether all problems share one array."""
        return self._buffer is not None

    def __len__(self) -> int:
        """Return the number of problems."""
        return 1 if self._n_classes == 2 else self._n_classes

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return the targets of a problem, shape (n_samples,)."""
        if self._buffer is not None and self._shown == index:
            return self._buffer
        self._shown = index
        positive = 1 if self._n_classes == 2 else index
        target: NDArray[Any] = np.where(self._members == positive, self._dtype.type(1), self._dtype.type(-1))
        if self._buffer is None:
            return target
        np.copyto(self._buffer, target)
        return self._buffer

    def where(self, mask: NDArray[np.bool_]) -> OneVsAll:
        """Return the targets of the samples that the mask names."""
        return OneVsAll(self._members[mask], self._n_classes, self._dtype)


def as_sample_weight(
    sample_weight: ArrayLike | None,
    class_weight: Any,
    y: ArrayLike | None,
    classes: NDArray[Any] | None,
    n_rows: int,
    dtype: np.dtype[Any],
) -> NDArray[Any] | None:
    """Return the weight of every sample, its own times that of its class; None if all are 1.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
    class_weight : dict from class to weight, "balanced" or None
        A class that a dict does not name has weight 1. It may name classes that no sample has, if it names all others,
        too. ``"balanced"``: n_samples / (n_classes * samples of the class).
    y : array-like of shape (n_samples,)
    classes : ndarray or None
        None for regression.
    n_rows : int
    dtype : numpy dtype

    Returns
    -------
    ndarray of shape (n_samples,) or None

    Raises
    ------
    DataError
        For a weight that is negative or not finite, a wrong length, or weights that are all zero.
    ConfigError
        For a class_weight that is neither of the three, or with regression.
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
        # Looked for below; a class without samples has a weight that nothing uses.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            weight = weight * _class_weights(class_weight, classes, member)[member]
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        raise DataError(f"the weight of sample {int(np.argmax(wrong))} is {weight[wrong][0]}; weights are at least 0")
    weight = as_dtype(weight, dtype, "sample_weight")
    if not weight.any():
        raise DataError("all sample weights are 0; there is nothing to train on")
    return weight


def _class_weights(class_weight: Any, classes: NDArray[Any], member: NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(class_weight, str) and class_weight == "balanced":
        return np.asarray(len(member) / (len(classes) * np.bincount(member, minlength=len(classes))))
    if not isinstance(class_weight, Mapping):
        raise ConfigError(f"class_weight must be a dict, 'balanced' or None, not {shown(class_weight)}")
    names = classes.tolist()
    absent = [label for label in class_weight if label not in names]
    # A fold of cross-validation may lack a class. Where a class of y has no weight either, the name is a mistake.
    if absent and not all(name in class_weight for name in names):
        raise ConfigError(f"class_weight has the class {shown(absent[0])}; the classes are {shown(names)}")
    return np.array([check_real(f"class_weight[{name!r}]", class_weight.get(name, 1), 0) for name in names])


def as_initial_weights(
    init: ArrayLike | None, n_problems: int, layout: ParameterLayout, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the weights to start from, of shape (n_problems, n_parameters): a copy of `init`, or zeros for None.

    Raises
    ------
    DataError
        Unless `init` is finite and of the shape of the layout, or for several problems of so many of these.
    """
    if init is None:
        return np.zeros((n_problems, layout.size), dtype)
    weights = as_dtype(as_real(as_array(init, "init"), "init"), dtype, "init")
    expected = layout.shape if n_problems == 1 else (n_problems, *layout.shape)
    if weights.shape != expected:
        raise DataError(
            f"init has shape {weights.shape}; it must be {expected}: a weight for every feature, then the intercept if "
            "there is one"
        )
    if not np.isfinite(weights).all():
        raise DataError(f"init{np.argwhere(~np.isfinite(weights))[0].tolist()} is not finite")
    return np.stack([layout.pack(each) for each in weights.reshape(n_problems, *layout.shape)])
