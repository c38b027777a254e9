"""The interface of callbacks, which a user passes to `dsgd.fit`."""

from __future__ import annotations

from typing import Protocol

from dsgd.models.trained import Model
from dsgd.results.history import Record

__all__ = ["Callback"]


class Callback(Protocol):
    """Called after every epoch, off the algorithm's clock."""

    def __call__(self, record: Record, model: Model) -> bool | None:
        """Inspect the fit after an epoch.

        Parameters
        ----------
        record : Record
            The record of the epoch in the history. If it turns out to be the last one, its objective is evaluated
            exactly afterwards.
        model : Model
            The current model. Training continues in its arrays, so copy the weights to keep them.

        Returns
        -------
        bool or None
            True ends the fit after this epoch (``stop_reason`` is ``"callback"``).
        """
