from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from problems import make_problem
from safetensors import safe_open
from safetensors.numpy import save_file

import dsgd
from dsgd._common.files import replacing
from dsgd.errors import DataError

X, Y = make_problem(80, 12, seed=0)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(
    "labels",
    [
        Y,
        Y > 0,
        np.where(Y > 0, "ja", "nein"),
        np.where(Y > 0, 3, 4),
        np.array(["ja", "nein"], object)[(Y > 0).astype(int)],
    ],
)
def test_a_saved_model_is_the_same_when_loaded(
    tmp_path: Path, fit_intercept: bool, real: type, labels: np.ndarray
) -> None:
    result = dsgd.fit(
        X.astype(real),
        labels,
        algo="hogwild",
        write="atomic",
        block_size=np.int64(2),
        fit_intercept=fit_intercept,
        loss="logistic",
    )
    result.save(tmp_path / "model.safetensors")
    loaded = dsgd.load(tmp_path / "model.safetensors")
    assert (loaded.coef_ == result.coef_).all()
    assert loaded.coef_.dtype == real
    assert loaded.intercept_ == result.intercept_
    assert np.array_equal(loaded.predict(X), result.predict(X))
    assert loaded.predict(X).dtype == result.predict(X).dtype
    assert (loaded.predict_proba(X) == result.predict_proba(X)).all()
    assert loaded.history == result.history
    assert loaded.algorithm == result.algorithm
    assert loaded.model.loss == result.model.loss


def test_a_regression_model_has_no_classes(tmp_path: Path) -> None:
    result = dsgd.fit(X, Y * 2.5, algo="sgd", loss="squared")
    result.save(tmp_path / "model")
    loaded = dsgd.load(tmp_path / "model")
    assert loaded.classes_ is None
    assert (loaded.predict(X) == result.decision_function(X)).all()


def test_decision_values_and_probabilities() -> None:
    result = dsgd.fit(X, Y, algo="sgd", loss="logistic", step_size=0.5)
    z = X @ result.coef_ + result.intercept_
    np.testing.assert_allclose(result.decision_function(X), z, rtol=0, atol=1e-12)
    np.testing.assert_allclose(result.predict_proba(X)[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-12)
    np.testing.assert_allclose(result.predict_proba(X).sum(axis=1), 1)
    assert (result.predict(X) == np.where(z > 0, 1, -1)).all()
    assert result.score(X, Y) == np.mean(result.predict(X) == Y)
    assert result.classes_ is not None
    assert result.classes_.tolist() == [-1, 1]


def test_probabilities_of_modified_huber() -> None:
    result = dsgd.fit(X, Y, algo="sgd", loss="modified_huber")
    z = result.decision_function(X)
    np.testing.assert_allclose(result.predict_proba(X)[:, 1], (np.clip(z, -1, 1) + 1) / 2)


def test_a_loss_with_parameters_is_saved_with_them(tmp_path: Path) -> None:
    loss = dsgd.losses.Huber(epsilon=0.25)
    dsgd.fit(X, Y, algo="sgd", loss=loss).save(tmp_path / "model")
    assert dsgd.load(tmp_path / "model").model.loss == loss


@pytest.mark.parametrize(
    "loss", [name for name, kind in dsgd.losses.LOSSES.items() if kind.model in ("linear", "softmax")]
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_to_sklearn_predicts_the_same(loss: str, n_classes: int) -> None:
    labels = np.array(["a", "b", "c"])[np.digitize(X.toarray()[:, 0], [0.0, 0.7][: n_classes - 1])]
    classification = dsgd.losses.LOSSES[loss].classification
    result = dsgd.fit(X, labels if classification else Y, algo="sgd", loss=loss, random_state=0)
    estimator = result.to_sklearn()
    assert np.array_equal(estimator.predict(X), result.predict(X)) or not classification
    if not classification:
        np.testing.assert_allclose(estimator.predict(X), result.predict(X), rtol=1e-12, atol=1e-12)
    if loss != "softmax":
        assert estimator.get_params()["loss"] == {"logistic": "log_loss", "squared": "squared_error"}.get(loss, loss)
    if loss in ("logistic", "modified_huber", "softmax"):
        np.testing.assert_allclose(estimator.predict_proba(X), result.predict_proba(X), rtol=1e-10, atol=1e-12)
    again = estimator.fit if loss == "softmax" else estimator.partial_fit
    again(X, labels if classification else Y)
    assert result.to_sklearn().coef_.tolist() != estimator.coef_.tolist()


def test_what_is_not_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(FileNotFoundError):
        dsgd.load(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is not a model of dsgd"):
        dsgd.load(path)
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(DataError, match="is not a model of dsgd"):
        dsgd.load(path)
    save_file({"weights": np.zeros(3)}, path, {"dsgd": '{"format": "dsgd-linear-model-99"}'})
    with pytest.raises(DataError, match="its format is 'dsgd-linear-model-99'"):
        dsgd.load(path)


def test_weights_that_no_save_wrote_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    dsgd.fit(X, Y, algo="sgd", max_epochs=1).save(path)
    with safe_open(path, framework="numpy") as file:
        weights, metadata = file.get_tensor("weights"), file.metadata()
    for wrong in (weights[:, :0], weights.ravel(), weights * np.nan, weights.astype(int)):
        save_file({"weights": wrong}, path, metadata)
        with pytest.raises(DataError, match="is not a model of dsgd: its weights"):
            dsgd.load(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("algorithm", "sgd", "dictionary"),
        ("algorithm", {"name": "sgd", "block_size": 0}, "block_size must be an integer"),
        ("fit_intercept", 7, "fit_intercept must be True or False"),
        ("classes", None, "'NoneType' object"),
        ("classes", {"dtype": "<f8", "values": [[1.0, 2.0]]}, r"its classes are \[\[1.0, 2.0\]\]"),
        ("classes", {"dtype": "<i8", "values": [0, 10**30]}, "int too large"),
        ("loss", {"name": "none"}, "'none'"),
        ("index_base", "two", "its index_base is 'two'"),
    ],
    ids=str,
)
def test_a_wrong_description_is_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    path = tmp_path / "model"
    dsgd.fit(X, Y, algo="sgd", max_epochs=1).save(path)
    with safe_open(path, framework="numpy") as file:
        weights, metadata = file.get_tensor("weights"), file.metadata()
    description = {**json.loads(metadata["dsgd"]), key: value}
    save_file({"weights": weights}, path, {**metadata, "dsgd": json.dumps(description)})
    with pytest.raises(DataError, match=f"is not a model of dsgd: .*{message}"):
        dsgd.load(path)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is not a regular file"):
        dsgd.load(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe or device and cannot be mapped"):
        dsgd.data.load_libsvm(tmp_path / "pipe")


def test_every_truncation_of_a_model_is_refused(tmp_path: Path) -> None:
    result = dsgd.fit(X, Y, algo="sgd", max_epochs=1)
    path = tmp_path / "model"
    result.save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="is not a model of dsgd"):
            dsgd.load(path)


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    dsgd.fit(X, Y, algo="sgd").save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="numpy") as file:
        assert file.get_tensor("weights").shape == (1, 13)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail_halfway() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    path.chmod(0o600)
    with replacing(path) as beside:
        beside.write_text("newer")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_followed_and_a_device_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with replacing(tmp_path / "link") as beside:
        beside.write_text("text")
    assert (tmp_path / "file").read_text() == "text"
    assert (tmp_path / "link").is_symlink()
    with pytest.raises(OSError, match="not a regular file"), replacing("/dev/null"):
        pass


def test_r2_of_huge_numbers_is_finite(tmp_path: Path) -> None:
    """Their squares are not; R2 has no unit."""
    result = dsgd.fit(X, Y, algo="sgd", loss="squared", step_size=0.01, random_state=0)
    assert -1e300 < result.score(X, Y * 1e200) < 1
    plain = dsgd.fit(X, Y, algo="sgd", loss="squared", step_size=0.01, init=np.zeros(13))
    plain.model.weights[:] = result.model.weights * 1e200
    assert plain.score(X, Y * 1e200) == pytest.approx(result.score(X, Y), rel=1e-12)
    evaluated = dsgd.fit(X, Y, algo="sgd", loss="squared", step_size=0.01, eval_set=(X, Y * 1e300))
    evaluated.save(tmp_path / "model")
    assert dsgd.load(tmp_path / "model").history == evaluated.history
