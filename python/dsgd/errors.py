"""The errors that dsgd raises; a message names the value and the cure."""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "ClusterError",
    "ConfigError",
    "DataError",
    "DeadlineError",
    "DivergedError",
    "DsgdError",
    "ProtocolError",
    "WorkerLostError",
]


class DsgdError(Exception):
    """Base class of every error of dsgd."""


class ConfigError(DsgdError, ValueError):
    """A parameter, or a combination of parameters, is not possible."""


class DataError(DsgdError, ValueError):
    """The data cannot be trained on or read.

    Parameters
    ----------
    message : str
        What is wrong, and what to do about it.
    file : str, optional
        The text file in which the error was found.
    line, column : int, optional
        Where in that file, counted from 1.
    """

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        super().__init__(f"{place}: {message}" if place else message)
        self.file = file
        self.line = line
        self.column = column


class DivergedError(DsgdError, ValueError):
    """The weights became infinite or not a number; no model is returned."""


class ClusterError(DsgdError):
    """A run on several workers cannot continue."""


class WorkerLostError(ClusterError):
    """A worker was lost, and the algorithm cannot continue without it.

    Parameters
    ----------
    message : str
        Which worker was lost, and why.
    worker : int, optional
        Rank of the worker.
    """

    def __init__(self, message: str, *, worker: int | None = None) -> None:
        super().__init__(message)
        self.worker = worker


class DeadlineError(ClusterError, TimeoutError):
    """A peer did not answer in time."""


class ProtocolError(ClusterError):
    """A peer sent bytes that are no message of dsgd, or a message that is not valid."""


class AuthenticationError(ClusterError):
    """A peer could not prove that it belongs to this run."""
