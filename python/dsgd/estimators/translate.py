"""From scikit-learn's names to those of `dsgd.fit`."""

from __future__ import annotations

import dataclasses
from typing import Any

from sklearn.utils import check_random_state

from dsgd.algorithms import Algorithm, resolve_algorithm
from dsgd.errors import ConfigError
from dsgd.job import Job, penalty_strengths, threads_of
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
from dsgd.threads import default_threads

__all__ = ["OWN_NAMES", "job_of", "loss_of", "threads_of_jobs"]

OWN_NAMES = {theirs: ours for ours, theirs in SKLEARN_NAMES.items()}
"""What dsgd calls the losses that have another name in scikit-learn."""


def job_of(estimator: Any, n_rows: int, *, max_epochs: int, start_epoch: int = 0, offset: int = 0) -> Job:
    """Return what an estimator is asked for.

    Parameters
    ----------
    estimator : SGDClassifier or SGDRegressor
    n_rows : int
        Rows that are trained on.
    max_epochs, start_epoch, offset : int
        As in `Job`.

    Returns
    -------
    Job

    Raises
    ------
    ConfigError
        For a combination of parameters that is not possible.
    """
    threads = threads_of_jobs(estimator.n_jobs)
    algorithm = _algorithm(estimator, threads, n_rows)
    own_step = estimator.learning_rate == "optimal" or not algorithm.capabilities.stochastic
    return Job(
        algorithm=algorithm,
        loss=loss_of(estimator),
        # A ratio is asked for with the elastic net only.
        alphas=penalty_strengths(estimator.penalty or "none", estimator.alpha, estimator.l1_ratio or 0.0),
        fit_intercept=bool(estimator.fit_intercept),
        schedule=_schedule(estimator),
        step_size=None if own_step else float(estimator.eta0),
        n_threads=threads_of(algorithm, threads),
        seed=int(check_random_state(estimator.random_state).randint(2**31 - 1)),
        max_epochs=max_epochs,
        start_epoch=start_epoch,
        offset=offset,
        sum_loss=True,  # as scikit-learn does
    )


def loss_of(estimator: Any) -> Loss:
    """Return the loss, by the name that either library has for it; of two classes the softmax is the logistic loss."""
    kind = LOSSES[OWN_NAMES.get(estimator.loss, estimator.loss)]
    if kind is Softmax and len(estimator.classes_) == 2:
        kind = Logistic
    return kind(**{field.name: getattr(estimator, field.name) for field in dataclasses.fields(kind)})


def _schedule(estimator: Any) -> Schedule:
    if estimator.learning_rate == "invscaling" and estimator.power_t > 0:
        return InverseScaling(power=float(estimator.power_t))
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


def threads_of_jobs(n_jobs: int | None) -> int:
    """Return the number of threads: joblib's reading of `n_jobs`, but never more than one unless asked for."""
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
        chosen["block_size"] = -(-n_rows // threads)  # one block a thread, read from its begin to its end
    return dataclasses.replace(algorithm, **chosen)
