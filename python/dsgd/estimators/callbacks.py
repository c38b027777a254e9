"""scikit-learn's callbacks (since release 1.9), which dsgd calls at its epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dsgd.callbacks import Callback
from dsgd.models.trained import Model
from dsgd.results.history import Record

__all__ = ["CallbackSupportMixin", "FitCallbacks"]

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A substitute without callbacks."""


class FitCallbacks:
    """The callbacks of scikit-learn in one call of `fit`.

    Tasks are nested. The task of the fit contains a task for each class if there are more than two.
    These contain a task for each epoch.

    Parameters
    ----------
    estimator : SGDClassifier or SGDRegressor
    n_problems : int
    attributes : callable
        Returns the attributes of an estimator that is fitted with the current weights.
    data : dict
        X, y and metadata of the fit.
    """

    def __init__(
        self, estimator: Any, n_problems: int, attributes: Callable[[], dict[str, Any]], data: dict[str, Any]
    ) -> None:
        self._estimator = estimator
        self._one_problem = n_problems == 1
        self._attributes = attributes
        self._data = data
        self._fit = None
        if getattr(estimator, "_skl_callbacks", None):
            children = estimator.max_iter if self._one_problem else n_problems
            self._fit = estimator._init_callback_context(max_subtasks=children)
            self._begin(self._fit)

    @contextmanager
    def problem(self) -> Iterator[Sequence[Callback]]:
        """Enter the task of one problem; yield the callbacks that dsgd calls after every epoch."""
        if self._fit is None:
            yield ()
        elif self._one_problem:
            yield [self._after_epoch(self._fit)]
        else:
            context = self._fit.subcontext(task_name="class", max_subtasks=self._estimator.max_iter)
            self._begin(context)
            yield [self._after_epoch(context)]
            self._end(context)

    def end(self) -> None:
        """End the task of the fit."""
        if self._fit is not None:
            self._end(self._fit)

    def _after_epoch(self, parent: Any) -> Callback:
        def call(record: Record, model: Model) -> bool:  # noqa: ARG001
            context = parent.subcontext(task_name="epoch")  # dsgd calls nothing before an epoch
            self._begin(context)
            return self._end(context)

        return call

    def _begin(self, context: Any) -> None:
        context.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def _end(self, context: Any) -> bool:
        stop = context.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._attributes, **self._data
        )
        return bool(stop)
