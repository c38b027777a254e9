"""Types of the compiled core; see the headers under cpp/include/dsgd for what each thing does."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Buffer

__version__: str

def backend() -> str: ...

class Matrix:
    @staticmethod
    def csr(
        indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any], n_features: int, n_threads: int
    ) -> Matrix: ...
    @staticmethod
    def dense(X: NDArray[Any], n_threads: int) -> Matrix: ...
    @property
    def arrays(self) -> Any: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def canonical(self) -> bool: ...
    def renumbered(self, order: NDArray[np.int64], n_threads: int) -> Matrix: ...
    def squared_norms(self, out: NDArray[np.float64], n_threads: int) -> int: ...
    def decision_function(
        self, weights: NDArray[Any], fit_intercept: bool, out: NDArray[Any], n_threads: int
    ) -> None: ...

class LibsvmReader:
    def __init__(self, text: Buffer, name: bytes, offset: int, length: int, n_threads: int) -> None: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def nonzeros(self) -> int: ...
    def parse(
        self,
        labels: NDArray[np.float64],
        indptr: NDArray[Any],
        indices: NDArray[Any],
        data: NDArray[Any],
    ) -> list[int] | None: ...

def write_libsvm(path: bytes, X: Matrix, labels: NDArray[np.float64], first_index: int, n_threads: int) -> None: ...

class Loss:
    def __init__(self, name: str, epsilon: float) -> None: ...
    def value(self, z: ArrayLike, y: ArrayLike) -> Any: ...
    def derivative(self, z: ArrayLike, y: ArrayLike) -> Any: ...

class LinearObjective:
    def __init__(
        self,
        X: Matrix,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None,
        *,
        loss: Loss,
        alpha_l1: float,
        alpha_l2: float,
        fit_intercept: bool,
        intercept_rate: float = 1.0,
        n_threads: int,
        inverse_frequency: NDArray[Any] | None = None,
    ) -> None: ...
    @property
    def inverse_frequency(self) -> NDArray[Any] | None: ...
    def frequency_order(self) -> NDArray[np.int64]: ...
    def renumbered(self, X: Matrix, order: NDArray[np.int64]) -> LinearObjective: ...
    def with_target(self, y: NDArray[Any]) -> LinearObjective: ...
    def value(self, weights: NDArray[Any], n_threads: int) -> float: ...
    def mean_loss(self, weights: NDArray[Any], n_threads: int) -> float: ...
    def loss_gradient(self, weights: NDArray[Any], out: NDArray[np.float64], n_threads: int) -> None: ...

class Schedule:
    def __init__(
        self,
        *,
        step_size: float,
        decay: float = 1.0,
        rate: float = 1.0,
        power: float = 0.0,
        horizon: float = ...,
        share: str = "whole",
    ) -> None: ...
    def at(self, t: int, epoch: int) -> float: ...

class Epoch:
    def __init__(self, *, index: int, schedule: Schedule, block_size: int, seed: int, offset: int = 0) -> None: ...

def sgd_epoch(
    objective: LinearObjective,
    weights: NDArray[Any],
    epoch: Epoch,
    visited: NDArray[np.int64] | None = None,
    drift: NDArray[np.float64] | None = None,
    averaged: int = 0,
    sum_loss: bool = False,
) -> float: ...
def minibatch_epoch(
    objective: LinearObjective,
    weights: NDArray[Any],
    epoch: Epoch,
    batch_size: int,
    n_threads: int,
    visited: NDArray[np.int64] | None = None,
    drift: NDArray[np.float64] | None = None,
    averaged: int = 0,
) -> None: ...
def rows_gradient(
    objective: LinearObjective,
    weights: NDArray[Any],
    rows: NDArray[np.int64],
    gradient: NDArray[np.float64],
    due: NDArray[np.float64] | None = None,
) -> int: ...
def rows_descend(
    objective: LinearObjective,
    weights: NDArray[Any],
    rows: NDArray[np.int64],
    step: float,
    anchor: NDArray[Any] | None = None,
    pull: NDArray[Any] | None = None,
) -> int: ...

class Hogwild:
    def __init__(
        self,
        objective: LinearObjective,
        *,
        n_threads: int,
        write: str,
        merge_visits: int = 0,
        record_delay: bool = False,
    ) -> None: ...
    def epoch(self, weights: NDArray[Any], epoch: Epoch) -> None: ...
    @property
    def delays(self) -> NDArray[np.uint64]: ...
