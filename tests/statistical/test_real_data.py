"""The command line on real data, beside scikit-learn (check 2 of the main job)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

import dsgd
from dsgd.data import load_libsvm
from dsgd.data.inputs import match_features
from dsgd.data.libsvm import ReadOptions, read_libsvm_files

ALPHA, PASSES, STEPS = 1e-4, 10, (0.03, 0.3, 3.0)


def fit(train: Path, test: Path, step: float, positive: list[str], out: Path) -> tuple[float, float]:
    """Return training objective and test accuracy of the command line after PASSES passes."""
    settings = f"--algo hogwild --loss hinge --alpha {ALPHA} --max-epochs {PASSES} --threads 2 --quiet"
    command = [sys.executable, "-m", "dsgd", "fit", str(train), "--test", str(test), *settings.split()]
    subprocess.run(
        [*command, *positive, "--step-size", str(step), "--seed", "0", "--history", str(out)],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
    last = json.loads(out.read_text())[-1]
    return last["objective"], last["score"]


@pytest.mark.parametrize(("name", "positive"), [("reuters_earn", None), ("20news", 3), ("a9a", None)])
def test_accuracy_is_that_of_scikit_learn(
    name: str, positive: int | None, real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    train, test = real_data(f"{name}_train.svm"), real_data(f"{name}_test.svm")
    option = [] if positive is None else ["--positive", str(positive)]
    _, score = min(fit(train, test, step, option, tmp_path / "history.json") for step in STEPS)

    X, y = load_libsvm(train)
    X_test, y_test = load_libsvm(test)
    X_test = match_features(X_test, X.shape[1])
    if positive is not None:
        y, y_test = y == positive, y_test == positive
    peers = [
        SGDClassifier(alpha=ALPHA, max_iter=PASSES, tol=None, random_state=seed).fit(X, y).score(X_test, y_test)
        for seed in range(5)
    ]
    assert score >= np.median(peers) - 0.005


def test_twenty_classes_are_as_good_as_scikit_learn(real_data: Callable[[str], Path]) -> None:
    paths = [real_data("20news_train.svm"), real_data("20news_test.svm")]
    ((train, y), (test, y_test)), _ = read_libsvm_files(paths, ReadOptions())
    test = match_features(test, train.shape[1])
    peer = SGDClassifier(alpha=1e-4, max_iter=10, tol=None, random_state=0).fit(train, y).score(test, y_test)
    result = dsgd.fit(train, y, algo="hogwild", n_threads=2, alpha=1e-4, step_size=0.3, max_epochs=10, random_state=0)
    assert result.score(test, y_test) >= peer - 0.005
