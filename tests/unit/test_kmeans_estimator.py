"""The estimator of k-means: its parameters, when it ends, and what it shares with scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import make_blobs

import dsgd
from dsgd._common.threads import default_threads
from dsgd.algorithms import Minibatch

N_ROWS, N_FEATURES, K = 1500, 8, 4
RANDOM = np.random.default_rng(0)
SPARSE = scipy.sparse.random_array((N_ROWS, N_FEATURES), density=0.4, rng=RANDOM, format="csr")
DENSE = SPARSE.toarray()
WEIGHTS = RANDOM.exponential(size=N_ROWS)
START = DENSE[:K].copy()


@pytest.mark.parametrize(
    "change",
    [
        {"n_clusters": 5},
        {"init": "random"},
        {"init": lambda X, k, random_state: X[:k]},  # noqa: ARG005
        {"max_iter": 3},
        {"batch_size": 20},
        {"tol": 0.5},
        {"max_no_improvement": None},
        {"init_size": 40},
        {"n_init": 5},
        {"algo": "batch"},
        {"algo": "sgd"},
        {"algo": Minibatch(batch_size=5)},
        {"random_state": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_of_the_estimator_changes_the_result(change: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"n_clusters": K, "random_state": 0, "batch_size": 64, "n_init": 1}
    one = dsgd.KMeans(**settings).fit(DENSE).cluster_centers_
    other = dsgd.KMeans(**{**settings, **change}).fit(DENSE).cluster_centers_
    assert one.shape != other.shape or not np.allclose(one, other)


@pytest.mark.parametrize("algo", ["minibatch", "batch"])
def test_all_processors_have_the_bits_of_one(algo: str) -> None:
    X = np.random.default_rng(0).standard_normal((4000, 60)).astype(np.float32)
    one, other = (dsgd.KMeans(10, algo=algo, random_state=0, max_iter=5, n_jobs=n).fit(X) for n in (1, None))
    assert one._n_threads == 1
    assert other._n_threads == default_threads()
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert (one.inertia_, one.n_iter_) == (other.inertia_, other.n_iter_)


def test_arrays_that_are_not_aligned_score_the_same() -> None:  # those that another process sent may not be
    def odd(values: Any) -> Any:
        moved = np.zeros(values.nbytes + 1, np.uint8)[1:].view(values.dtype).reshape(values.shape)
        moved[:] = values
        assert not moved.flags.aligned
        return moved

    model = dsgd.KMeans(1, random_state=0).fit(DENSE)
    before = model.score(DENSE, sample_weight=WEIGHTS)
    model.cluster_centers_ = odd(model.cluster_centers_)
    assert model.score(DENSE, sample_weight=odd(WEIGHTS)) == before


def test_the_estimator_has_the_attributes_of_scikit_learn() -> None:
    model = dsgd.KMeans(K, random_state=0).fit(DENSE)
    theirs = MiniBatchKMeans(K, random_state=0, n_init=1).fit(DENSE)
    assert {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")} <= set(vars(model))
    assert (model.labels_ == model.predict(DENSE)).all()
    assert model.inertia_ == pytest.approx(-model.score(DENSE))
    assert model.transform(DENSE).shape == (N_ROWS, K)
    assert model.inertia_ < 1.05 * theirs.inertia_
    rough = dsgd.KMeans(K, random_state=0, compute_labels=False).fit(DENSE)
    assert not hasattr(rough, "labels_")
    assert rough.inertia_ == pytest.approx(model.inertia_, rel=0.05)


def test_partial_fit_on_parts_comes_near_fit() -> None:
    X, _ = make_blobs(4000, 5, centers=K, random_state=0)
    model = dsgd.KMeans(K, random_state=0)
    for _ in range(3):
        for part in np.array_split(X, 8):
            model.partial_fit(part)
    assert -model.score(X) < 1.02 * dsgd.KMeans(K, random_state=0).fit(X).inertia_


def test_centres_that_stand_still_end_the_fit() -> None:
    X = make_blobs(300, 4, centers=3, random_state=0)[0]
    model = dsgd.KMeans(3, algo="batch", max_iter=60, random_state=0).fit(X)
    assert model.n_iter_ < 30
    assert model.n_steps_ == model.n_iter_


def test_passes_that_gain_little_end_the_fit() -> None:
    X = np.random.default_rng(0).normal(size=(20_000, 5))
    few, many = (dsgd.KMeans(8, random_state=0, max_no_improvement=n).fit(X) for n in (10, 10**9))
    assert few.n_iter_ <= 8
    assert many.n_iter_ == 100
    assert few.inertia_ < 1.01 * many.inertia_


@pytest.mark.parametrize("change", [{"tol": 0.1, "max_no_improvement": None}, {"max_no_improvement": 1}], ids=str)
def test_a_fit_says_why_it_ended(change: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    model = dsgd.KMeans(K, random_state=0, batch_size=20, verbose=1, **change).fit(DENSE)
    why = "small centers change" if "tol" in change else "lack of improvement in inertia"
    assert f"Converged ({why}) at pass {model.n_iter_}/100" in capsys.readouterr().out
    dsgd.KMeans(K, random_state=0, batch_size=20, **change).fit(DENSE)
    assert capsys.readouterr().out == ""


def test_tol_is_that_of_a_mini_batch() -> None:
    shared: dict[str, Any] = {"max_no_improvement": None, "random_state": 0, "init": START, "n_init": 1}
    models = [
        dsgd.KMeans(K, algo=Minibatch(batch_size=15), batch_size=size, tol=tol, **shared).fit(DENSE)
        for size, tol in ((15, 1e-3), (N_ROWS, 1e-1), (N_ROWS, 1e-3))
    ]
    assert models[0].n_iter_ == models[1].n_iter_ < models[2].n_iter_


@pytest.mark.parametrize("algo", ["minibatch", "sgd", "batch", "hogwild"])
def test_the_unit_of_the_weights_does_not_matter(algo: str) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 2, N_ROWS)
    settings: dict[str, Any] = {"n_clusters": K, "algo": algo, "random_state": 0, "batch_size": 20}
    one = dsgd.KMeans(**settings).fit(DENSE, sample_weight=weights)
    other = dsgd.KMeans(**settings).fit(DENSE, sample_weight=1000 * weights)
    np.testing.assert_allclose(other.cluster_centers_, one.cluster_centers_, rtol=1e-9)
    assert other.inertia_ == pytest.approx(1000 * one.inertia_)
    assert other.inertia_ == pytest.approx(-other.score(DENSE, sample_weight=1000 * weights))


def test_steps_are_counted_as_scikit_learn_counts_them() -> None:
    model = dsgd.KMeans(K, batch_size=30, max_no_improvement=None, max_iter=7, random_state=0).fit(DENSE)
    assert model.n_steps_ == 7 * N_ROWS // 30
    model.partial_fit(DENSE)
    assert model.n_steps_ == 7 * N_ROWS // 30 + -(-N_ROWS // 30)
    assert dsgd.KMeans(K, algo="sgd", max_iter=2, max_no_improvement=None).fit(DENSE).n_steps_ == 2 * N_ROWS


def test_starts_come_from_rows_that_have_a_weight() -> None:
    X = np.random.default_rng(0).standard_normal((2000, 3))
    weight = np.zeros(2000)
    weight[:5] = 1
    model = dsgd.KMeans(3, init_size=100, random_state=0).fit(X, sample_weight=weight)
    assert np.isfinite(model.cluster_centers_).all()
    with pytest.raises(ValueError, match="5 rows with a weight are fewer than n_clusters=6"):
        dsgd.KMeans(6).fit(X, sample_weight=weight)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 1.7e9), (np.float32, 1e4)])
def test_the_estimator_finds_clusters_far_from_0(dtype: Any, far: float, sparse: bool) -> None:
    random = np.random.default_rng(0)
    group = random.integers(0, 3, 600)
    X = random.normal(scale=0.1, size=(600, 2)) + far
    X[:, 0] += 5 * group
    X = X.astype(dtype)
    found = dsgd.KMeans(3, init=X[[int(np.argmax(group == number)) for number in range(3)]], random_state=0)
    found.fit(scipy.sparse.csr_array(X) if sparse else X)
    assert (found.labels_ == group).all()
    centres = found.cluster_centers_.astype(np.float64)
    exact = np.sqrt(np.square(X.astype(np.float64)[:, None] - centres).sum(axis=2))
    assert found.inertia_ == pytest.approx(float(np.square(exact.min(axis=1)).sum()), rel=1e-3)
    assert (found.predict(X) == group).all()
    np.testing.assert_allclose(found.transform(X), exact, rtol=1e-3)
    drawn = dsgd.KMeans(3, n_init=3, random_state=0).fit(X)
    assert len(set(zip(drawn.labels_.tolist(), group.tolist(), strict=True))) == 3  # each cluster is a group


@pytest.mark.parametrize("kind", ["int64", "read-only", "duplicates"])
def test_the_estimator_takes_what_fit_takes(kind: str) -> None:
    X = scipy.sparse.random(300, 20, 0.3, format="csr", random_state=0)
    odd = X.copy()
    if kind == "int64":
        odd.indices, odd.indptr = odd.indices.astype(np.int64), odd.indptr.astype(np.int64)
    elif kind == "read-only":
        for array in (odd.data, odd.indices, odd.indptr):
            array.flags.writeable = False
    else:  # every entry in two halves
        odd = scipy.sparse.csr_matrix((300, 20))
        odd.indptr, odd.indices, odd.data = X.indptr * 2, np.repeat(X.indices, 2), np.repeat(X.data / 2, 2)
    plain = dsgd.KMeans(3, random_state=0, init=X[:3].toarray()).fit(X)
    found = dsgd.KMeans(3, random_state=0, init=X[:3].toarray()).fit(odd)
    assert (found.cluster_centers_ == plain.cluster_centers_).all()
    assert (found.predict(odd) == plain.predict(X)).all()
    assert found.score(odd) == plain.score(X) == pytest.approx(-plain.inertia_)
    assert (found.transform(odd) == plain.transform(X)).all()


def test_few_rows_are_one_mini_batch_for_max_no_improvement() -> None:
    few = np.random.default_rng(0).standard_normal((20, 3))
    models = [dsgd.KMeans(3, n_init=1, random_state=0, max_no_improvement=most).fit(few) for most in (3, 10, None)]
    assert models[0].n_iter_ < models[1].n_iter_ < 40
    assert models[1].n_iter_ < models[2].n_iter_


def test_a_row_has_no_distance_from_the_centre_that_it_is() -> None:
    centres = 1e3 + np.random.default_rng(1).standard_normal((5, 7))
    model = dsgd.KMeans(5, init=centres, n_init=1, max_iter=1).fit(centres)
    model.cluster_centers_ = centres
    near = centres + 1e-9
    assert (np.diag(model.transform(centres)) == 0).all()
    expected = np.sqrt(np.square(near - centres).sum(axis=1))
    np.testing.assert_allclose(np.diag(model.transform(near)), expected, rtol=1e-4)
