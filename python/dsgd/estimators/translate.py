"""Translation of scikit-learn's parameters to dsgd's, and of dsgd's errors to its words."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sklearn.utils import check_random_state

from dsgd._common.threads import default_threads
from dsgd.algorithms import Algorithm, Hogwild, Sgd, resolve_algorithm
from dsgd.data.scale import Scale
from dsgd.errors import ConfigError, DataError, DivergedError
from dsgd.fitting.spec import FitSpec, penalty_strengths, threads_of
from dsgd.losses import LOSSES, SKLEARN_NAMES, Logistic, Loss, Softmax
from dsgd.schedules import (
    Adaptive,
    Constant,
    InverseScaling,
    Optimal,
    PassiveAggressive1,
    PassiveAggressive2,
    Schedule,
)

__all__ = [
    "OWN_NAMES",
    "exact_steps",
    "loss_of",
    "named_loss",
    "problems_at_once",
    "schedule_of",
    "seed_of",
    "spec_of",
    "takes_exact_steps",
    "threads_of_jobs",
    "words_of_scikit_learn",
]

OWN_NAMES = {theirs: ours for ours, theirs in SKLEARN_NAMES.items()}
"""dsgd's names of losses, by the names that scikit-learn has for them where they differ."""


def spec_of(estimator: Any, n_rows: int, *, max_epochs: int, start_epoch: int = 0, offset: int = 0) -> FitSpec:
    """Return the `FitSpec` that the parameters of an estimator describe.

    Parameters
    ----------
    estimator : SGDClassifier or SGDRegressor
    n_rows : int
        Rows that are trained on.
    max_epochs, start_epoch, offset : int
        As in `FitSpec`.

    Returns
    -------
    FitSpec

    Raises
    ------
    ConfigError
        For a combination of parameters that is not possible.
    """
    threads = 1 if problems_at_once(estimator) > 1 else threads_of_jobs(estimator.n_jobs)
    algorithm = _algorithm(estimator, threads, n_rows)
    own_step = estimator.learning_rate == "optimal" or not algorithm.capabilities.stochastic
    return FitSpec(
        algorithm=algorithm,
        loss=loss_of(estimator),
        # l1_ratio may be None unless the penalty is the elastic net.
        alphas=penalty_strengths(estimator.penalty or "none", estimator.alpha, estimator.l1_ratio or 0.0),
        fit_intercept=bool(estimator.fit_intercept),
        schedule=schedule_of(estimator),
        step_size=None if own_step else float(estimator.eta0),
        n_threads=threads_of(algorithm, threads),
        seed=seed_of(estimator.random_state),
        max_epochs=max_epochs,
        start_epoch=start_epoch,
        offset=offset,
        sum_loss=True,  # by which scikit-learn judges progress
    )


def loss_of(estimator: Any) -> Loss:
    """Return the loss, by scikit-learn's name or dsgd's.

    With two classes softmax is replaced by the logistic loss, which is the same.
    """
    loss = named_loss(estimator)
    return Logistic() if isinstance(loss, Softmax) and len(estimator.classes_) == 2 else loss


def named_loss(estimator: Any) -> Loss:
    """Return the loss of this name, whatever the classes."""
    kind = LOSSES[OWN_NAMES.get(estimator.loss, estimator.loss)]
    return kind(**{field.name: getattr(estimator, field.name) for field in dataclasses.fields(kind)})


def seed_of(random_state: Any) -> int:
    """Return the seed of a fit, drawn from a `random_state` of scikit-learn."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def schedule_of(estimator: Any) -> Schedule:
    """Return the schedule that `learning_rate` names."""
    if estimator.learning_rate == "invscaling" and estimator.power_t != 0:
        kind = InverseScaling if estimator.power_t > 0 else _Growing
        return kind(power=float(estimator.power_t))
    if estimator.learning_rate == "optimal":
        return Optimal(alpha=float(estimator.alpha))
    schedules: dict[str, type[Schedule]] = {
        "constant": Constant,
        "invscaling": Constant,
        "adaptive": Adaptive,
        "pa1": PassiveAggressive1,
        "pa2": PassiveAggressive2,
    }
    return schedules[estimator.learning_rate]()


@dataclass(frozen=True, kw_only=True)
class _Growing(InverseScaling):
    """step_size t^|power|: the meaning of a negative `power_t`, which scikit-learn 1.8 deprecated."""

    def __post_init__(self) -> None:
        """Accept a power that `InverseScaling` refuses."""


def takes_exact_steps(spec: FitSpec) -> bool:
    """Return whether steps must be scikit-learn's: constant steps on single samples."""
    return type(spec.schedule) is Constant and isinstance(spec.algorithm, Sgd | Hogwild) and not spec.loss.joint


def exact_steps(spec: FitSpec, scale: Scale, *, sparse: bool) -> tuple[FitSpec, Scale]:
    """Return spec and scale with which constant steps are scikit-learn's, to rounding.

    scikit-learn's step eta is explicit in L2: w becomes (1 - eta alpha) w - eta g x. The step s of
    the core is implicit: w becomes (w - s g x) / (1 + s alpha). They agree for s = eta / (1 - eta
    alpha). scikit-learn's step of the intercept is eta, or 0.01 eta for sparse data, and the rate
    of the intercept's step is chosen so that the core makes the same step. There is no such s if
    eta alpha is 1 or more, and L1 has no explicit form. In these cases s is eta, and the penalty is
    applied as dsgd does.
    """
    alpha_l1, alpha_l2 = spec.alphas
    step_size = spec.step_size or 0.0  # a constant step is always named
    shrinkage = 1 - step_size * alpha_l2
    if alpha_l1 > 0 or shrinkage <= 0:
        shrinkage = 1.0
    spec = dataclasses.replace(spec, step_size=step_size / shrinkage)
    return spec, dataclasses.replace(scale, intercept_rate=shrinkage * (0.01 if sparse else 1.0))


@contextlib.contextmanager
def words_of_scikit_learn(kind: type[DataError | DivergedError], when: str = "") -> Iterator[None]:
    """Add scikit-learn's words on under- and overflow to an error of class `kind` of the block."""
    try:
        yield
    except kind as error:
        raise kind(
            f"Floating-point under-/overflow occurred{when}: {error}. Scaling input data with StandardScaler or "
            "MinMaxScaler might help."
        ) from error


def problems_at_once(estimator: Any) -> int:
    """Return how many one-vs-all problems are trained at the same time.

    If it is more than one, each problem has one thread. This is so if the problems keep all threads
    busy: then no two threads share weights, and the result is that of one thread, bit for bit. If
    there are fewer problems than threads, or an algorithm is named, problems are trained one after
    the other by all threads.
    """
    threads, n_classes = threads_of_jobs(estimator.n_jobs), len(getattr(estimator, "classes_", ()))
    if n_classes < max(3, threads) or estimator.algo != "auto" or loss_of(estimator).joint:
        return 1
    return threads


def threads_of_jobs(n_jobs: int | None) -> int:
    """Return the number of threads by joblib's reading of `n_jobs`; None is always one thread."""
    if n_jobs == 0:
        raise ConfigError("n_jobs must not be 0; None is one thread, -1 all processors that the process may use")
    return 1 if n_jobs is None else n_jobs if n_jobs > 0 else max(1, default_threads() + 1 + n_jobs)


def _algorithm(estimator: Any, threads: int, n_rows: int) -> Algorithm:
    """Return the algorithm with the options that are parameters of the estimator."""
    algo = estimator.algo
    if isinstance(algo, str) and algo == "auto":
        algo = "sgd" if threads == 1 else "hogwild"
    algorithm = resolve_algorithm(algo, {})
    options = {field.name for field in dataclasses.fields(algorithm)}
    chosen: dict[str, Any] = {}
    if estimator.average:
        if "average" not in options:
            raise ConfigError(f"algo {algorithm.name!r} keeps no average; use algo='sgd' (n_jobs=1) or 'minibatch'")
        chosen["average"] = estimator.average
    if not estimator.shuffle and "block_size" in options:
        chosen["block_size"] = -(-n_rows // threads)  # one block per thread, read from beginning to end
    return dataclasses.replace(algorithm, **chosen)
