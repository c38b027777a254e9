"""Networks by the estimator and by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command
from network_rows import CLASSES, DENSE, REAL, SPARSE
from numpy.typing import NDArray

import dsgd
from dsgd.errors import ConfigError


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_layer_sizes": (4,)},
        {"alpha": 0.1},
        {"batch_size": 7},
        {"learning_rate_init": 0.01},
        {"max_iter": 3},
        {"momentum": 0.1},
        {"random_state": 1},
    ],
    ids=str,
)
def test_every_parameter_of_the_estimator_changes_the_result(change: dict[str, Any]) -> None:
    one = dsgd.MLPClassifier((5,), random_state=0).fit(DENSE, CLASSES).coefs_[0]
    other = (
        dsgd.MLPClassifier(**{"hidden_layer_sizes": (5,), "random_state": 0, **change}).fit(DENSE, CLASSES).coefs_[0]
    )
    assert one.shape != other.shape or not np.allclose(one, other)


@pytest.mark.parametrize(("loss", "y"), [("mlp", CLASSES), ("squared_mlp", REAL)])
def test_the_commands_train_and_predict(loss: str, y: NDArray[Any], tmp_path: Path) -> None:
    dsgd.data.save_libsvm(tmp_path / "data.svm", SPARSE, y)
    fitting = f"fit data.svm --algo minibatch --loss {loss} --hidden 7,4 --model model --quiet"
    assert run_command(*fitting.split(), cwd=tmp_path).returncode == 0
    done = run_command("predict", "model", "data.svm", cwd=tmp_path)
    assert done.returncode == 0
    result = dsgd.load(tmp_path / "model")
    np.testing.assert_allclose([float(line) for line in done.stdout.split()], result.predict(SPARSE), rtol=1e-12)
    assert getattr(result.model.loss, "hidden") == (7, 4)  # noqa: B009


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "hinge", "--hidden", "5"], "--hidden is for --loss mlp and squared_mlp, not hinge"),
        (["--loss", "mlp", "--hidden", "5,x"], "--hidden takes numbers of units"),
    ],
    ids=str,
)
def test_wrong_options_of_the_command_are_refused(options: list[str], message: str, tmp_path: Path) -> None:
    dsgd.data.save_libsvm(tmp_path / "data.svm", SPARSE, CLASSES)
    done = run_command("fit", "data.svm", "--algo", "minibatch", *options, cwd=tmp_path)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("given", "plain"), [(10, (10,)), (np.int64(4), (4,)), (np.array([10, 5]), (10, 5)), ([3], (3,))]
)
def test_hidden_layers_are_given_as_to_scikit_learn(given: Any, plain: tuple[int, ...]) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = X[:, 0] > 0
    found, expected = (dsgd.MLPClassifier(sizes, max_iter=2, random_state=0).fit(X, y) for sizes in (given, plain))
    assert (found.predict_proba(X) == expected.predict_proba(X)).all()
    refused: list[Any] = [0, "10", (0,), [2.5]]
    for wrong in refused:
        with pytest.raises((ValueError, ConfigError)):
            dsgd.MLPClassifier(wrong).fit(X, y)
