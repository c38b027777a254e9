"""Multinomial logistic regression: what every algorithm makes of it, and what its model says."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from commands import run_command
from numpy.typing import NDArray
from problems import make_problem
from scipy.optimize import minimize

import dsgd
from dsgd.errors import ConfigError, DataError
from dsgd.losses import Softmax
from dsgd.testing import reference

N_FEATURES = 20
X, _ = make_problem(400, N_FEATURES, seed=0)
DENSE = X.toarray()
RANDOM = np.random.default_rng(1)
NAMES = np.array(["a", "b", "c", "d"])
CLASS = (DENSE @ RANDOM.standard_normal((N_FEATURES, 4)) + RANDOM.gumbel(size=(400, 4)) / 2).argmax(axis=1)
Y = NAMES[CLASS]
WEIGHT = RANDOM.exponential(size=400)
ALGORITHMS = ["sgd", "hogwild", "minibatch", "svrg", "batch", "auto"]


def fit(**options: Any) -> dsgd.FitResult:
    settings = {"algo": "sgd", "random_state": 0, "max_epochs": 30, "alpha": 0.01, **options}
    return dsgd.fit(settings.pop("X", X), settings.pop("y", Y), loss="softmax", **settings)


def value_of(result: dsgd.FitResult, **options: Any) -> float:
    settings = {"alpha": 0.01, **options}
    return reference.objective(
        DENSE, CLASS.astype(float), result.coef_.T, result.intercept_, loss="softmax", **settings
    )


@functools.cache
def optimum(weighted: bool = False) -> float:
    """Return the least objective with L2, by L-BFGS on the reference."""
    options: dict[str, Any] = {"sample_weight": WEIGHT} if weighted else {}

    def value(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w, b = flat[:-4].reshape(N_FEATURES, 4), flat[-4:]
        target = CLASS.astype(float)
        of_w, of_b = reference.loss_gradient(DENSE, target, w, b, loss="softmax", **options)
        objective = reference.objective(DENSE, target, w, b, loss="softmax", alpha=0.01, **options)
        return objective, np.append(of_w + 0.01 * w, of_b)

    start = np.zeros(4 * (N_FEATURES + 1))
    found = minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9})
    return float(found.fun)


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_algorithm_comes_near_the_optimum(algo: str, layout: str, weighted: bool) -> None:
    data = X if layout == "sparse" else DENSE
    result = fit(X=data, algo=algo, n_threads=1, sample_weight=WEIGHT if weighted else None, max_epochs=60)
    value = result.history[-1].objective
    options = {"sample_weight": WEIGHT} if weighted else {}
    assert value is not None
    assert value == pytest.approx(value_of(result, **options), rel=1e-10)
    least = optimum(weighted)
    assert least - 1e-9 <= value <= (1.0001 if algo == "svrg" else 1.02) * least


@pytest.mark.parametrize("algo", ["hogwild", "minibatch", "svrg", "batch"])
def test_two_threads_come_as_near(algo: str) -> None:
    one, two = (fit(algo=algo, n_threads=n, max_epochs=60).history[-1].objective for n in (1, 2))
    assert two == pytest.approx(one, rel=0.02)


@pytest.mark.parametrize(
    "options",
    [{"write": "atomic"}, {"write": "locked"}, {"order": "round-robin"}, {"merge_every": 2}, {"layout": "renumbered"}],
    ids=str,
)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_hogwild_has_all_its_forms(options: dict[str, Any], n_threads: int) -> None:
    settings: dict[str, Any] = {"step_size": 1.0, "max_epochs": 10}  # threads that take turns wait on a busy machine
    result = fit(algo="hogwild", n_threads=n_threads, **settings, **options)
    assert result.history[-1].objective == pytest.approx(optimum(), rel=0.05)


@pytest.mark.parametrize("algo", ["sgd", "minibatch", "batch"])
def test_l1_makes_zeros(algo: str) -> None:
    result = fit(algo=algo, penalty="l1", alpha=0.02, n_threads=None if algo == "sgd" else 1)
    assert 0.2 < (result.coef_ == 0).mean() < 0.9
    both = fit(algo=algo, penalty="elasticnet", l1_ratio=0.5, alpha=0.02, n_threads=None if algo == "sgd" else 1)
    assert both.coef_.tolist() != result.coef_.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_model_has_a_row_of_weights_a_class(dtype: Any, fit_intercept: bool) -> None:
    result = fit(X=X.astype(dtype), fit_intercept=fit_intercept, eval_set=(X.astype(dtype), Y))
    assert result.coef_.shape == (4, N_FEATURES)
    assert result.coef_.dtype == dtype
    assert result.intercept_.shape == (4,)
    assert result.intercept_.any() == fit_intercept
    decision = result.decision_function(X)
    np.testing.assert_allclose(decision, X @ result.coef_.T + result.intercept_, rtol=0, atol=1e-6)
    assert (result.predict(X) == NAMES[decision.argmax(axis=1)]).all()
    probability = result.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    np.testing.assert_allclose(probability, np.exp(decision) / np.exp(decision).sum(axis=1, keepdims=True), rtol=1e-5)
    assert result.history[-1].score == result.score(X.astype(dtype), Y) > 0.65


def test_two_classes_have_a_row_each_which_are_opposite() -> None:
    result = fit(y=Y > "b", algo="svrg", n_threads=1)
    assert result.coef_.shape == (2, N_FEATURES)
    np.testing.assert_allclose(result.coef_[0], -result.coef_[1], rtol=0, atol=1e-10)
    assert result.decision_function(X).shape == (400, 2)
    # Halved, as both rows are regularised, it is the logistic loss.
    logistic = dsgd.fit(X, Y > "b", algo="svrg", n_threads=1, loss="logistic", alpha=0.005, max_epochs=60)
    np.testing.assert_allclose(np.diff(result.coef_, axis=0)[0], logistic.coef_, rtol=0, atol=1e-3)


def test_huge_decision_values_have_finite_losses() -> None:
    result = fit(X=DENSE * 1e3, step_size=1e-6, schedule="constant", max_epochs=2)
    result.model.weights[:] *= 1e9
    probability = result.predict_proba(DENSE * 1e3)
    assert np.isfinite(probability).all()
    far = np.array([[1e308, -1e308, 0.0]])
    assert Softmax().value(far, [0]).tolist() == [0]
    assert np.isfinite(fit(X=np.sign(DENSE) * 1e10, max_epochs=2, step_size=1e-21).coef_).all()


def test_weights_to_start_from_have_a_row_a_class() -> None:
    start = RANDOM.standard_normal((4, N_FEATURES + 1))
    result = fit(init=start, step_size=1e-15)
    np.testing.assert_allclose(result.coef_, start[:, :-1], atol=1e-9)
    np.testing.assert_allclose(result.intercept_, start[:, -1], atol=1e-9)
    with pytest.raises(DataError, match=r"init has shape \(84,\); it must be \(4, 21\)"):
        fit(init=start.ravel())


def test_features_that_no_row_holds_are_regularised() -> None:
    wide = scipy.sparse.hstack([X, scipy.sparse.csr_array((400, 2))], format="csr")
    start = np.ones((4, N_FEATURES + 3))
    result = fit(X=wide, init=start, step_size=0.1, alpha=0.05)
    assert (result.coef_[:, -2:] > 0).all()
    assert (result.coef_[:, -2:] < 0.1).all()


def test_class_weights_are_sample_weights() -> None:
    weighted = fit(class_weight={"b": 3})
    assert (weighted.coef_ == fit(sample_weight=np.where(Y == "b", 3, 1)).coef_).all()
    assert (weighted.coef_ != fit().coef_).any()


@pytest.mark.parametrize("average", [False, True])
def test_a_batch_of_one_row_is_sgd(average: bool) -> None:
    settings: dict[str, Any] = {"step_size": 0.1, "block_size": 1, "average": average}
    minibatch = fit(algo="minibatch", batch_size=1, **settings)
    np.testing.assert_allclose(minibatch.coef_, fit(**settings).coef_, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_save_and_load(tmp_path: Path, fit_intercept: bool) -> None:
    result = fit(fit_intercept=fit_intercept)
    result.save(tmp_path / "model")
    loaded = dsgd.load(tmp_path / "model")
    assert loaded.model.loss == Softmax()
    assert (loaded.coef_ == result.coef_).all()
    assert (loaded.intercept_ == result.intercept_).all()
    assert (loaded.predict_proba(X) == result.predict_proba(X)).all()


@pytest.mark.parametrize("shape", [(1, 83), (2, 42), (1, 4)])
def test_weights_that_do_not_go_with_the_classes_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    result = fit()
    object.__setattr__(result.model, "weights", np.zeros(shape))
    result.save(tmp_path / "model")
    with pytest.raises(DataError, match="its weights"):
        dsgd.load(tmp_path / "model")


def test_an_algorithm_that_does_not_train_it_is_refused_by_both_names() -> None:
    with pytest.raises(ConfigError, match="algo 'sdca' does not train loss 'softmax'; use 'auto', 'batch'"):
        fit(algo="sdca")


def test_a_gap_is_refused() -> None:
    with pytest.raises(ConfigError, match="gap_tol needs a loss with a duality gap, such as 'hinge'"):
        fit(algo="auto", gap_tol=0.01)


def test_passive_aggressive_steps_are_refused() -> None:
    with pytest.raises(ConfigError, match="not 'softmax'"):
        fit(schedule="pa1")


def test_the_core_refuses_targets_that_are_no_classes() -> None:
    from dsgd import _core
    from dsgd.data.inputs import as_matrix

    for bad in (-1.0, 4.0, 0.5, np.nan):
        target = CLASS.astype(np.float64)
        target[7] = bad
        with pytest.raises(DataError, match="the classes are numbered from 0 to 3"):
            _core.LinearObjective(
                as_matrix(X, 1), target, None,
                loss=Softmax().to_core(4), alpha_l1=0, alpha_l2=0, fit_intercept=True, n_threads=1,
            )  # fmt: skip
    with pytest.raises(ConfigError, match="loss 'softmax' needs a decision value at least"):
        _core.LinearObjective(
            as_matrix(X, 1), CLASS.astype(np.float64), None,
            loss=_core.Loss("softmax", 0.1, 0), alpha_l1=0, alpha_l2=0, fit_intercept=True, n_threads=1,
        )  # fmt: skip


def test_the_commands_train_and_predict(tmp_path: Path) -> None:
    dsgd.data.save_libsvm(tmp_path / "data.svm", X, CLASS)
    fitting = "fit data.svm --algo sgd --loss softmax --alpha 0.01 --model model --quiet"
    assert run_command(*fitting.split(), cwd=tmp_path).returncode == 0
    done = run_command("predict", "model", "data.svm", cwd=tmp_path)
    assert done.returncode == 0
    assert [float(line) for line in done.stdout.split()] == dsgd.load(tmp_path / "model").predict(X).tolist()


def estimator(**options: Any) -> Any:
    return dsgd.SGDClassifier(
        loss="softmax", **{"alpha": 0.01, "random_state": 0, "max_iter": 50, "tol": None, **options}
    )


def test_the_estimator_trains_all_classes_together() -> None:
    fitted = estimator(learning_rate="adaptive", eta0=0.1).fit(X, Y)
    assert fitted.coef_.shape == (4, N_FEATURES)
    assert fitted.intercept_.shape == (4,)
    probability = fitted.predict_proba(X)
    decision = X @ fitted.coef_.T + fitted.intercept_
    np.testing.assert_allclose(probability, np.exp(decision) / np.exp(decision).sum(axis=1, keepdims=True), rtol=1e-9)
    assert (fitted.predict(X) == NAMES[decision.argmax(axis=1)]).all()
    target = CLASS.astype(float)
    value = reference.objective(DENSE, target, fitted.coef_.T, fitted.intercept_, loss="softmax", alpha=0.01)
    assert value == pytest.approx(optimum(), rel=0.05)


def test_parts_of_the_data_go_on_where_the_last_one_ended() -> None:
    whole = estimator(max_iter=3).fit(X, Y)
    parts = estimator()
    for _ in range(3):
        parts.partial_fit(X, Y, classes=NAMES)
    assert (parts.coef_ == whole.coef_).all()
    assert (parts.intercept_ == whole.intercept_).all()


def test_the_estimator_starts_where_it_is_told_stops_early_and_goes_on() -> None:
    first = estimator(max_iter=5, warm_start=True).fit(X, Y)
    again = estimator(max_iter=5).fit(X, Y, coef_init=first.coef_, intercept_init=first.intercept_)
    assert (first.fit(X, Y).coef_ == again.coef_).all()
    stopped = estimator(max_iter=200, early_stopping=True, tol=1e-2).fit(X, Y)
    assert stopped.n_iter_ < 200
    assert estimator(average=True).fit(X, Y).score(X, Y) > 0.65


def test_of_two_classes_the_estimator_is_that_of_the_logistic_loss() -> None:
    pair = Y > "b"
    logistic = dsgd.SGDClassifier(loss="log_loss", alpha=0.01, random_state=0, max_iter=50, tol=None).fit(X, pair)
    both = estimator().fit(X, pair)
    assert both.coef_.shape == (1, N_FEATURES)
    assert (both.coef_ == logistic.coef_).all()
    assert (both.predict_proba(X) == logistic.predict_proba(X)).all()
