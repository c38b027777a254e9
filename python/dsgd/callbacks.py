"""What a user may hook into a fit."""

from __future__ import annotations

from typing import Protocol

from dsgd.models.trained import Model
from dsgd.results.history import Record

__all__ = ["Callback"]


class Callback(Protocol):
    """Called after every epoch, off the algorithm's clock."""

    def __call__(self, record: Record, model: Model) -> bool | None:
        """Look at an epoch.

        Parameters
        ----------
        record : Record
            The epoch, as it stands in the history.
        model : Model
            The model as it is now; training goes on in its weights, so copy what is to be kept.

        Returns
        -------
        bool or None
            True ends the fit after this epoch (``stop_reason`` is ``"callback"``).
        """
