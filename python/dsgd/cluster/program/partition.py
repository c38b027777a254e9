"""How the samples are dealt out to workers."""

from __future__ import annotations

import dataclasses
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dsgd._common.checks import check_integer, check_real, shown
from dsgd.data.inputs import as_matrix, take_rows
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem

__all__ = [
    "PARTITIONS",
    "ByLabel",
    "Dirichlet",
    "Given",
    "Partition",
    "Shares",
    "check_partition",
    "deal",
    "deal_problem",
    "part",
]

Rows = NDArray[np.intp]

# With this concentration the shares of all workers are the same; numbers near the end of the range have no finite sum.
_LARGEST_CONCENTRATION = 1e9


class Partition(ABC):
    """How the rows of a run are dealt out: every row to one worker, and at least one row to every worker.

    The clients of a federated algorithm take the place of the workers.
    """

    by_target: ClassVar[bool] = False
    """Whether the targets decide, so that there must be some."""
    by_class: ClassVar[bool] = False
    """Whether the targets must be classes."""

    @property
    def n_workers(self) -> int | None:
        """The number of workers that it is for; None: any."""
        return None

    def check(self, n_workers: int, called: str = "workers") -> None:
        """Refuse another number of workers, or of what takes their place and is `called` otherwise."""
        if self.n_workers not in (None, n_workers):
            raise ConfigError(
                f"{type(self).__name__} has {self.n_workers} elements for {n_workers} {called}; give it one for each"
            )

    @abstractmethod
    def deal(self, labels: NDArray[Any], n_workers: int, seed: int) -> list[Rows]:
        """Return the rows of every worker, in the order of the data.

        Parameters
        ----------
        labels : ndarray of shape (n_samples,)
            The targets of all rows.
        n_workers : int
        seed : int
            The `random_state` of the fit: the same seed deals the same rows, in simulation and on processes.

        Returns
        -------
        list of ndarray of int
            Row numbers, rising.

        Raises
        ------
        ConfigError
            If some worker would have no row.
        """


@dataclass(frozen=True)
class Shares(Partition):
    """Every worker has its own share of the rows, which are random rows.

    Parameters
    ----------
    shares : sequence of float
        One a worker, above 0. Only their ratios count: ``Shares([2, 1, 1])`` deals half of the rows to the first
        worker. The number of rows differs from the exact share by at most one.
    """

    shares: Sequence[float]  # a tuple after the check

    def __post_init__(self) -> None:
        given = _elements("Shares", self.shares, "a number for every worker, such as [2, 1, 1]")
        shares = tuple(check_real(f"Shares[{i}]", share, 0, low_open=True) for i, share in enumerate(given))
        object.__setattr__(self, "shares", shares)

    @property
    def n_workers(self) -> int:
        """The number of shares."""
        return len(self.shares)

    def deal(self, labels: NDArray[Any], n_workers: int, seed: int) -> list[Rows]:
        """Return the rows of every worker; see `Partition.deal`."""
        self.check(n_workers)
        shares = np.array(self.shares) / max(self.shares)
        counts = _counts(shares / shares.sum(), len(labels))
        if not counts.all():
            worker = int(counts.argmin())
            raise ConfigError(
                f"Shares[{worker}]={self.shares[worker]:g} of {len(labels)} samples comes to no row: make it larger, "
                "or use fewer workers"
            )
        return _rows_of_each(_random(seed).permutation(np.repeat(np.arange(n_workers), counts)), n_workers)


@dataclass(frozen=True)
class ByLabel(Partition):
    """Rows are sorted by label and cut into shards, which are dealt at random: each worker sees few of the classes.

    Parameters
    ----------
    shards_per_worker : int, default=2
        The fewer, the less alike are the workers' rows. Shards are equally long, but for one row. Rows with the same
        label stay in the order of the data.

    Notes
    -----
    A worker has at most twice as many labels as shards where no class is smaller than a shard. The rows of a regression
    are sorted by their targets.

    References
    ----------
    McMahan, Moore, Ramage, Hampson, Aguera y Arcas (2017), "Communication-efficient learning of deep networks from
    decentralized data", section 3: the pathological non-IID partition of MNIST, 100 clients with two shards each.
    """

    by_target = True

    shards_per_worker: int = 2

    def __post_init__(self) -> None:
        shards = check_integer("ByLabel.shards_per_worker", self.shards_per_worker, 1)
        object.__setattr__(self, "shards_per_worker", shards)

    def deal(self, labels: NDArray[Any], n_workers: int, seed: int) -> list[Rows]:
        """Return the rows of every worker; see `Partition.deal`."""
        n_shards = n_workers * self.shards_per_worker
        if n_shards > len(labels):
            raise ConfigError(
                f"{n_workers} workers with shards_per_worker={self.shards_per_worker} are {n_shards} shards of "
                f"{len(labels)} samples: some would be empty; use fewer of them"
            )
        shards = np.array_split(np.argsort(labels, kind="stable"), n_shards)
        hands = _random(seed).permutation(n_shards).reshape(n_workers, self.shards_per_worker)
        return [np.sort(np.concatenate([shards[shard] for shard in hand])) for hand in hands]


@dataclass(frozen=True)
class Dirichlet(Partition):
    """The rows of every class are dealt in proportions that are drawn from a symmetric Dirichlet distribution.

    Workers then differ in their classes and in the number of their rows.

    Parameters
    ----------
    concentration : float, default=0.3
        Above 0. Near 0 one worker has all rows of a class; at 1e9, the largest, all workers have the same share of it.

    Notes
    -----
    A worker that would have no row is given one at random of a worker that has several.

    References
    ----------
    Yurochkin, Agarwal, Ghosh, Greenewald, Hoang, Khazaeni (2019), "Bayesian nonparametric federated learning of neural
    networks": the proportions of a class over the workers. Hsu, Qi, Brown (2019), "Measuring the effects of
    non-identical data distribution for federated visual classification", draw those of a worker over the classes
    instead, and deal as many rows to each worker as to any other.
    """

    by_target = by_class = True

    concentration: float = 0.3

    def __post_init__(self) -> None:
        given = check_real("Dirichlet.concentration", self.concentration, 0, _LARGEST_CONCENTRATION, low_open=True)
        object.__setattr__(self, "concentration", given)

    def deal(self, labels: NDArray[Any], n_workers: int, seed: int) -> list[Rows]:
        """Return the rows of every worker; see `Partition.deal`."""
        n_samples = len(labels)
        _check_enough(n_samples, n_workers)
        random = _random(seed)
        workers = np.arange(n_workers)
        owner = np.empty(n_samples, np.intp)
        ends = np.cumsum(np.unique(labels, return_counts=True)[1])
        for rows in np.split(np.argsort(labels, kind="stable"), ends[:-1]):
            proportions = random.dirichlet(np.full(n_workers, self.concentration))
            owner[random.permutation(rows)] = np.repeat(workers, _counts(proportions, len(rows)))
        owners, first = np.unique(owner, return_index=True)
        spare, without = np.delete(np.arange(n_samples), first), np.setdiff1d(workers, owners)
        owner[random.choice(spare, len(without), replace=False)] = without
        return _rows_of_each(owner, n_workers)


@dataclass(frozen=True, eq=False, repr=False)
class Given(Partition):
    """Every worker has the rows that are named.

    Parameters
    ----------
    rows : sequence of array-like of int
        The numbers of the rows of each worker, from 0 on, in any order: a worker goes through them in the order of the
        data. Every row must have one worker, because the objective is that of all rows.
    """

    rows: Sequence[ArrayLike]  # a tuple of sorted arrays after the check

    def __post_init__(self) -> None:
        given = _elements("Given", self.rows, "an array of row numbers for every worker")
        rows = tuple(_row_numbers(f"Given[{i}]", each) for i, each in enumerate(given))
        numbers, counts = np.unique(np.concatenate(rows), return_counts=True)
        if (counts > 1).any():
            raise ConfigError(f"Given names row {numbers[counts.argmax()]} more than once; one worker only can have it")
        object.__setattr__(self, "rows", rows)

    def __repr__(self) -> str:
        """Return a short text that other rows hardly have: a checkpoint keeps it, to know its run again."""
        checksum = 0
        for rows in self._arrays:
            checksum = zlib.crc32(rows.astype("<i8").tobytes(), zlib.crc32(b"worker", checksum))
        return f"Given({len(self.rows)} arrays, {sum(map(len, self._arrays))} rows, crc32 {checksum:08x})"

    @property
    def n_workers(self) -> int:
        """The number of arrays."""
        return len(self.rows)

    def deal(self, labels: NDArray[Any], n_workers: int, seed: int) -> list[Rows]:  # noqa: ARG002
        """Return the rows of every worker; see `Partition.deal`."""
        self.check(n_workers)
        n_samples = len(labels)
        last = max(int(rows[-1]) for rows in self._arrays)
        if last >= n_samples:
            raise ConfigError(f"Given names row {last} of {n_samples} samples, which are rows 0 to {n_samples - 1}")
        left_out = np.setdiff1d(np.arange(n_samples), np.concatenate(self._arrays))
        if len(left_out):
            raise ConfigError(
                f"Given leaves out {len(left_out)} of {n_samples} samples, the first of them row {left_out[0]}: give "
                "it to a worker, or leave it out of X"
            )
        return self._arrays

    @property
    def _arrays(self) -> list[Rows]:
        return [np.asarray(rows) for rows in self.rows]


PARTITIONS: dict[str, type[Partition]] = {
    "by_label": ByLabel,
    "dirichlet": Dirichlet,
    "given": Given,
    "shares": Shares,
}
"""The names that they go by in text: a TOML file, the command line."""


def check_partition(partition: Any) -> None:
    """Refuse what does not say how rows are dealt."""
    if not isinstance(partition, Partition) and not (isinstance(partition, str) and partition == "equal"):
        raise ConfigError(
            f"partition must be 'equal' or an object such as dsgd.cluster.ByLabel(), not {shown(partition)}"
        )


def deal_problem(partition: Partition | str, problem: Problem, n_workers: int, seed: int) -> list[Rows]:
    """Return the rows of every worker of a problem.

    Parameters
    ----------
    partition : Partition or "equal"
    problem : Problem
    n_workers : int
    seed : int

    Raises
    ------
    ConfigError
        If the partition needs targets, or classes, that the problem has not, or some worker would have no row.
    """
    if isinstance(partition, str):
        return deal(problem.matrix.n_rows, n_workers, seed)
    loss = problem.loss
    if partition.by_target and not loss.supervised:
        raise ConfigError(f"{partition} deals by the targets, and loss {loss.name!r} has none; use 'equal' or Shares")
    if partition.by_class and not loss.classification:
        raise ConfigError(
            f"{partition} deals by class, and loss {loss.name!r} is that of a regression; use ByLabel, which sorts by "
            "the targets"
        )
    return partition.deal(problem.target, n_workers, seed)


def deal(n_samples: int, n_workers: int, seed: int) -> list[Rows]:
    """Deal the rows to the workers at random, in shares whose sizes differ by at most one.

    Parameters
    ----------
    n_samples, n_workers : int
    seed : int

    Returns
    -------
    list of ndarray of intp
        The row numbers of each worker, increasing. A single worker has all rows.

    Raises
    ------
    ConfigError
        If there are more workers than samples.
    """
    _check_enough(n_samples, n_workers)
    if n_workers == 1:
        return [np.arange(n_samples)]
    return _rows_of_each(_random(seed).permutation(n_samples) % n_workers, n_workers)


def part(problem: Problem, rows: Rows) -> Problem:
    """Return the problem on a copy of some of its rows, with all features and the same scale."""
    weight = problem.sample_weight
    return dataclasses.replace(
        problem,
        matrix=as_matrix(take_rows(problem.matrix, rows), 1),
        target=problem.target[rows],
        sample_weight=None if weight is None else weight[rows],
    )


def _random(seed: int) -> np.random.Generator:
    """Return random numbers that no worker draws: theirs have smaller keys."""
    return np.random.Generator(np.random.Philox(key=[seed, 1 << 63]))


def _rows_of_each(owner: Rows, n_workers: int) -> list[Rows]:
    """Return the rows of every worker from the worker of every row."""
    by_owner = np.argsort(owner, kind="stable")
    return np.split(by_owner, np.cumsum(np.bincount(owner, minlength=n_workers))[:-1])


def _counts(proportions: NDArray[np.float64], total: int) -> Rows:
    """Return whole numbers with this sum, each at most one away from its proportion of it."""
    ends = np.rint(np.cumsum(proportions) * total).astype(np.intp)
    ends[-1] = total
    return np.diff(ends, prepend=0)


def _check_enough(n_samples: int, n_workers: int) -> None:
    if n_workers > n_samples:
        raise ConfigError(f"{n_workers} workers for {n_samples} samples: some would have none; use fewer workers")


def _elements(name: str, values: Any, what: str) -> tuple[Any, ...]:
    """Return the elements of what must be a sequence that is not empty."""
    elements = tuple(values) if isinstance(values, Iterable) else ()
    if not elements:
        raise ConfigError(f"{name} takes {what}, not {shown(values)}")
    return elements


def _row_numbers(name: str, values: Any) -> Rows:
    """Return row numbers as a sorted array that cannot be changed."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # lists of different lengths, and objects that refuse
        array = np.empty(0)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        cure = "; np.flatnonzero makes them of a mask" if array.dtype.kind == "b" else ""
        raise ConfigError(f"{name} must be row numbers in one dimension, at least one, not {shown(values)}{cure}")
    if array.min() < 0 or array.max() > np.iinfo(np.intp).max:
        raise ConfigError(f"{name} must be row numbers from 0 on, not {shown(values)}")
    rows = np.sort(array).astype(np.intp)
    rows.flags.writeable = False
    return rows
