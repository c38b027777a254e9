"""k-means: the objective, its steps in every solver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from commands import run_command
from numpy.typing import NDArray
from sklearn.datasets import make_blobs

import dsgd
from dsgd import _core, losses
from dsgd.algorithms import Hogwild
from dsgd.data.inputs import as_matrix
from dsgd.errors import ConfigError, DataError
from dsgd.models import KMeansModel
from dsgd.testing import kmeans_reference as reference

N_ROWS, N_FEATURES, K = 1500, 8, 4
RANDOM = np.random.default_rng(0)
SPARSE = scipy.sparse.random_array((N_ROWS, N_FEATURES), density=0.4, rng=RANDOM, format="csr")
DENSE = SPARSE.toarray()
WEIGHTS = RANDOM.exponential(size=N_ROWS)
START = DENSE[:K].copy()


def make_objective(layout: str, weighted: bool = False) -> _core.QuantisationObjective:
    matrix = as_matrix(SPARSE if layout == "sparse" else DENSE, 1)
    return _core.QuantisationObjective(matrix, WEIGHTS if weighted else None, n_clusters=K)


def flat(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(centres.T).ravel()


def centres_of(result: dsgd.FitResult) -> NDArray[Any]:
    assert isinstance(result.model, KMeansModel)
    return result.model.centres


def fit(**changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"X": DENSE, "algo": "minibatch", "loss": losses.KMeans(K), "random_state": 0}
    settings.update(changes)
    return dsgd.fit(settings.pop("X"), **settings)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_gradient_and_nearest_centres_equal_the_reference(layout: str, weighted: bool) -> None:
    objective, weight = make_objective(layout, weighted), WEIGHTS if weighted else np.ones(N_ROWS)
    w = flat(START + 0.1)
    gradient = np.empty(len(w))
    for n_threads in (1, 3):
        assert objective.value(w, n_threads) == pytest.approx(
            reference.objective(DENSE, START + 0.1, weight), rel=1e-13
        )
        assert objective.mean_loss(w, n_threads) == objective.value(w, n_threads)
        assert (objective.assign(w, n_threads) == reference.nearest(DENSE, START + 0.1)).all()
        labels, value = objective.labels_and_value(w, n_threads)
        assert (labels == objective.assign(w, n_threads)).all()
        assert value == objective.value(w, n_threads)
        objective.loss_gradient(w, gradient, n_threads)
        expected = flat(reference.gradient(DENSE, START + 0.1, weight))
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_gradient_equals_fourth_order_differences(layout: str) -> None:
    objective, w, h = make_objective(layout, weighted=True), flat(START + 0.1), 1e-4
    distances = np.sort(np.linalg.norm(DENSE[:, None] - (START + 0.1), axis=2), axis=1)
    assert np.diff(distances, axis=1)[:, 0].min() > 4 * h  # no difference reaches across a change of the nearest
    gradient = np.empty(len(w))
    objective.loss_gradient(w, gradient, 1)
    for j, of_core in enumerate(gradient):
        at = [objective.value(w + k * h * np.eye(len(w))[j], 1) for k in (-2, -1, 1, 2)]
        assert (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h) == pytest.approx(of_core, rel=0, abs=1e-9)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("algo", ["sgd", "minibatch", "minibatch on 3 threads", "hogwild"])
def test_one_thread_equals_the_reference(layout: str, weighted: bool, algo: str) -> None:
    """Mini-batches are the same on any number of threads."""
    objective, weight = make_objective(layout, weighted), WEIGHTS if weighted else np.ones(N_ROWS)
    w, centres = flat(START), START.copy()
    size = {"sgd": 1, "hogwild": 1024}.get(algo, 32)
    schedule = _core.Schedule(step_size=2.0 if size > 1 else 0.1, power=0.2)
    for index in range(3):
        epoch = _core.Epoch(index=index, schedule=schedule, block_size=1, seed=5)
        order = np.empty(N_ROWS, np.int64)
        _core.sgd_epoch(objective, w.copy(), epoch, visited=order)  # rows come in the same order in all of them
        if algo == "sgd":
            _core.sgd_epoch(objective, w, epoch)
        elif algo == "hogwild":
            _core.Hogwild(objective, n_threads=1, write="racy").epoch(w, epoch)
        else:
            _core.minibatch_epoch(objective, w, epoch, size, 3 if "3" in algo else 1)
        for begin in range(0, N_ROWS, size):
            step = schedule.at(index * N_ROWS + begin + 1, index)
            centres = reference.step(DENSE, centres, order[begin : begin + size], step, size, weight)
        np.testing.assert_allclose(w, flat(centres), rtol=0, atol=1e-12)
    assert np.abs(centres - START).max() > 0.05


def test_the_sum_of_the_losses_is_that_of_the_rows_as_they_were_drawn() -> None:
    objective = make_objective("dense", weighted=True)
    w = flat(START)
    at_start = objective.value(w, 1)
    epoch = _core.Epoch(index=0, schedule=_core.Schedule(step_size=1e-12), block_size=1, seed=5)
    assert _core.sgd_epoch(objective, w, epoch, sum_loss=True) == pytest.approx(at_start, rel=1e-7)
    assert _core.minibatch_epoch(objective, w, epoch, 32, 1, sum_loss=True) == pytest.approx(at_start, rel=1e-7)
    solver = _core.Hogwild(objective, n_threads=2, write="atomic", sum_loss=True)
    assert solver.epoch(w, epoch) == pytest.approx(at_start, rel=1e-7)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_batch_never_increases_the_objective_and_ends_where_centres_are_means(layout: str) -> None:
    result = fit(X=SPARSE if layout == "sparse" else DENSE, algo="batch", max_epochs=60, evaluate_every=1)
    values = np.array([record.objective for record in result.history], np.float64)
    assert (np.diff(values) <= 1e-14 * values[:-1]).all()
    assert values[0] > values[-1] == values[-2]
    centres = np.ascontiguousarray(centres_of(result))
    np.testing.assert_allclose(reference.gradient(DENSE, centres, np.ones(N_ROWS)), 0, atol=1e-14)


@pytest.mark.parametrize("algo", ["minibatch", "hogwild", "batch"])
def test_generated_clusters_are_found(algo: str) -> None:
    """As in ASGD's experiments: k = 10 clusters in d = 10 dimensions, by the distance of found and true centres."""
    X, _, truth = make_blobs(20_000, 10, centers=10, cluster_std=0.5, random_state=3, return_centers=True)
    result = fit(X=X, loss=losses.KMeans(10), algo=algo, max_epochs=5)
    found = centres_of(result)
    assert np.linalg.norm(truth[:, None] - found, axis=2).min(axis=1).max() < 0.1


@pytest.mark.parametrize("write", ["racy", "atomic"])
def test_two_threads_come_as_low_as_one(write: str) -> None:
    """Within 1 % on the same start."""
    X, _ = make_blobs(20_000, 10, centers=10, cluster_std=2.0, random_state=3)
    values = [
        fit(X=X, algo=Hogwild(write=write), loss=losses.KMeans(10), n_threads=n, max_epochs=5).history[-1].objective
        for n in (1, 2)
    ]
    assert values[1] == pytest.approx(values[0], rel=0.01)


def test_minibatch_is_the_same_on_any_number_of_threads_and_sparse_or_dense() -> None:
    results = [fit(X=X, n_threads=n, batch_size=50) for X in (DENSE, SPARSE) for n in (1, 2, 3)]
    for other in results[1:]:
        np.testing.assert_allclose(centres_of(other), centres_of(results[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
def test_threads_that_share_a_large_batch_have_the_bits_of_one(dtype: Any, sparse: bool) -> None:
    """A batch has more rows than threads take in together; some groups of four features are zero."""
    random = np.random.default_rng(1)
    X = random.standard_normal((2000, 51, 4)).astype(dtype) * (random.random((2000, 51, 1)) < 0.5)
    X = np.ascontiguousarray(X.reshape(2000, -1)[:, :203])
    weight = random.exponential(size=2000).astype(dtype)
    matrix = as_matrix(scipy.sparse.csr_array(X) if sparse else X, 1)
    objective = _core.QuantisationObjective(matrix, weight, n_clusters=20)
    epoch = _core.Epoch(index=0, schedule=_core.Schedule(step_size=5.0), block_size=1, seed=5)
    found = []
    for n_threads in (1, 2, 5):
        w = np.ascontiguousarray(X[:20].T).ravel()
        loss = _core.minibatch_epoch(objective, w, epoch, 1500, n_threads, sum_loss=True)
        found.append((loss, w.tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "change",
    [
        {"loss": losses.KMeans(3)},
        {"loss": losses.KMeans(K, init="random")},
        {"batch_size": 10},
        {"block_size": 20},
        {"average": True},
        {"step_size": 0.5},
        {"schedule": "constant"},
        {"sample_weight": WEIGHTS},
        {"random_state": 1},
        {"init": START},
    ],
    ids=str,
)
def test_every_option_changes_the_result(change: dict[str, Any]) -> None:
    one, other = centres_of(fit()), centres_of(fit(**change))
    assert one.shape != other.shape or not np.allclose(one, other)


def test_weights_are_those_of_repeated_rows() -> None:
    times = np.random.default_rng(1).integers(0, 4, N_ROWS)
    settings: dict[str, Any] = {"algo": "batch", "init": START, "max_epochs": 10}
    weighted = fit(sample_weight=times, **settings)
    repeated = fit(X=np.repeat(DENSE, times, axis=0), **settings)
    np.testing.assert_allclose(centres_of(weighted), centres_of(repeated), rtol=0, atol=1e-12)


def test_a_model_predicts_scores_and_survives_its_file(tmp_path: Path) -> None:
    result = fit()
    result.save(tmp_path / "model")
    loaded = dsgd.load(tmp_path / "model")
    assert loaded.model.loss == losses.KMeans(K)
    assert (centres_of(loaded) == centres_of(result)).all()
    expected = np.linalg.norm(DENSE[:, None] - centres_of(result), axis=2)
    np.testing.assert_allclose(loaded.decision_function(SPARSE), expected, rtol=1e-6)
    assert (loaded.predict(DENSE) == expected.argmin(axis=1)).all()
    assert loaded.score(DENSE) == pytest.approx(-(expected.min(axis=1) ** 2).sum())
    theirs = result.to_sklearn()
    assert (theirs.predict(DENSE) == result.predict(DENSE)).all()
    assert theirs.score(DENSE) == pytest.approx(result.score(DENSE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalty": "l2"}, "has no penalty, so penalty='l2' must be left out"),
        ({"algo": "sdca"}, "algo 'sdca' does not train loss 'kmeans'"),
        ({"algo": "svrg"}, "algo 'svrg' does not train loss 'kmeans'"),
        ({"algo": "hogwild", "write": "locked"}, "leave out its options but block_size"),
        ({"algo": "hogwild", "record_delay": True}, "leave out its options but block_size"),
        ({"eval_set": (DENSE, WEIGHTS)}, "eval_set needs targets, and loss 'kmeans' has none"),
        ({"class_weight": "balanced"}, "class_weight needs classes"),
    ],
    ids=str,
)
def test_what_k_means_has_not_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(**change)


def test_impossible_numbers_of_clusters_are_refused() -> None:
    with pytest.raises(ConfigError, match="n_clusters"):
        losses.KMeans(0)
    with pytest.raises(ConfigError, match="init"):
        losses.KMeans(2, init="somewhere")
    with pytest.raises(DataError, match="3 rows are fewer than n_clusters=4"):
        fit(X=DENSE[:3])
    with pytest.raises(DataError, match="y is missing"):
        fit(loss="hinge")
    with pytest.raises(DataError, match="init has shape"):
        fit(init=START[:2])


def test_one_cluster_is_the_mean() -> None:
    result = fit(loss=losses.KMeans(1), algo="batch", max_epochs=1)
    np.testing.assert_allclose(centres_of(result)[0], DENSE.mean(axis=0), rtol=1e-12)


def test_the_commands_train_and_predict(tmp_path: Path) -> None:
    dsgd.data.save_libsvm(tmp_path / "data.svm", SPARSE, np.ones(N_ROWS))
    fitting = "fit data.svm --algo minibatch --loss kmeans --n-clusters 3 --model model --quiet"
    assert run_command(*fitting.split(), cwd=tmp_path).returncode == 0
    done = run_command("predict", "model", "data.svm", cwd=tmp_path)
    assert done.returncode == 0
    result = dsgd.load(tmp_path / "model")
    assert [int(line) for line in done.stdout.split()] == result.predict(SPARSE).tolist()
    assert centres_of(result).shape == (3, N_FEATURES)
    assert float(done.stderr.split()[1]) == pytest.approx(result.score(SPARSE), rel=1e-6)
    refused = run_command("fit", "data.svm", "--loss", "hinge", "--n-clusters", "3", cwd=tmp_path)
    assert refused.returncode != 0
    assert "--n-clusters is for --loss kmeans, not hinge" in refused.stderr


def test_far_from_0_float32_is_scored_as_in_double_precision() -> None:
    random = np.random.default_rng(0)
    X = (1e4 + 5 * random.integers(3, size=(300, 1)) + random.standard_normal((300, 4))).astype(np.float32)
    result = dsgd.fit(X, algo="batch", loss=dsgd.losses.KMeans(3), max_epochs=3, random_state=0)
    centres = result.model.weights.reshape(4, 3).T.astype(np.float64)
    squares = np.square(X.astype(np.float64)[:, None] - centres).sum(axis=2)
    assert result.score(X) == pytest.approx(-squares.min(axis=1).sum(), rel=1e-6)
    assert np.array_equal(result.predict(X), squares.argmin(axis=1))


def test_more_parameters_than_memory_holds_are_refused() -> None:
    with pytest.raises(ConfigError, match="no memory for"):
        dsgd.fit(np.ones((9, 10**6)), algo="minibatch", loss=dsgd.losses.KMeans(2**31 - 1))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 1.7e9), (np.float32, 1e4), (np.float64, -1e6)])
@pytest.mark.parametrize("algo", ["batch", "minibatch", "hogwild", "sgd"])
def test_far_from_0_clusters_are_found_as_near_it(algo: str, dtype: Any, far: float, sparse: bool) -> None:
    random = np.random.default_rng(0)
    group = random.integers(0, 3, 600)
    near = random.normal(scale=0.1, size=(600, 2))
    near[:, 0] += 5 * group
    X = (near + far).astype(dtype)
    data = scipy.sparse.csr_array(X) if sparse else X
    exact = X.astype(np.float64)
    centres = np.array([exact[group == number].mean(axis=0) for number in range(3)])
    inertia = float(np.square(exact - centres[group]).sum())
    start = X[[int(np.argmax(group == number)) for number in range(3)]]
    result = dsgd.fit(data, algo=algo, loss=losses.KMeans(3), init=start, random_state=0)
    assert result.history[-1].objective == pytest.approx(inertia / 1200, rel=0.2)
    assert (result.predict(data) == group).all()
    assert -result.score(data) == pytest.approx(inertia, rel=0.2)
