"""Random fits end in a finite model, which can be saved and predicts, or in an error of dsgd.

`DSGD_RANDOM_FITS=2000` in the environment makes so many of them, in place of 400.
"""

from __future__ import annotations

import os
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from algorithm_options import ALGORITHM_OPTIONS
from random_fits import Case, draw_case
from sklearn.exceptions import ConvergenceWarning

import dsgd
from dsgd.algorithms import REGISTRY
from dsgd.errors import DsgdError

N_CASES = int(os.environ.get("DSGD_RANDOM_FITS", "400"))
CASES_OF_A_TEST = 20

# What dsgd, and scikit-learn's checks of k-means, have to say of a fit. Anything else is a fault, such as numpy's
# "overflow encountered".
WORDS = (
    r"epoch .* diverged with step size",
    r"the objective ended at .* for a model that knows no feature",
    r"the duality gap is .* after max_epochs",
    r"accelerated steps of up to .* may diverge",
    r"the columns of X are so different",
    r"init_size=.* should be larger than n_clusters",
    r"Explicit initial center position passed",
    r"The number of unique classes is greater than 50%",
)


def is_refusal_of_scikit_learn(error: BaseException) -> bool:
    """Return whether scikit-learn's validation raised it, rather than a computation of dsgd."""
    if not isinstance(error, ValueError | TypeError):
        return False
    files = [Path(frame.filename).parts for frame in traceback.extract_tb(error.__traceback__)]
    ours = [k for k, parts in enumerate(files) if "dsgd" in parts]
    return any("sklearn" in parts for parts in files[ours[-1] + 1 :] if ours)


def check_fit(case: Case, path: Path) -> None:
    """Train by `dsgd.fit`; the result is finite, is the same when saved and loaded, and predicts its rows."""
    result = dsgd.fit(case.X, case.y, **case.settings)
    assert np.isfinite(result.model.weights).all()
    result.save(path)
    loaded = dsgd.load(path)
    assert loaded.model.weights.tobytes() == result.model.weights.tobytes()
    assert list(loaded.history) == list(result.history)
    predicted = loaded.predict(case.X)
    assert predicted.shape == (case.X.shape[0],)
    assert predicted.dtype.kind != "f" or not np.isnan(predicted).any()


def check_estimator(case: Case) -> None:
    """Train an estimator; its attributes are finite, and it predicts its rows."""
    model = getattr(dsgd, case.face)(**case.settings)
    arguments = (case.X,) if case.y is None else (case.X, case.y)
    for _ in range(case.calls):
        getattr(model, case.method)(*arguments, **case.keywords)
    names = {"KMeans": ["cluster_centers_"], "MLPClassifier": ["coefs_", "intercepts_", "loss_"]}
    for name in names.get(case.face, ["coef_", "intercept_"]):
        value = getattr(model, name)
        assert all(np.isfinite(part).all() for part in (value if isinstance(value, list) else [value])), name
    assert not np.isnan(getattr(model, "inertia_", 0.0))  # large weights may make it infinite
    with np.errstate(over="ignore", invalid="ignore"):  # linear models predict by scikit-learn's own product
        predicted = model.predict(case.X)
        probabilities = model.predict_proba(case.X) if hasattr(model, "predict_proba") else np.zeros(1)
    assert predicted.shape == (case.X.shape[0],)
    assert predicted.dtype.kind != "f" or not np.isnan(predicted).any()
    assert not np.isnan(probabilities).any()


def run_case(case: Case, path: Path) -> str:
    """Run a random fit; return "model", or the name of the error that it ended in."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in WORDS:
            warnings.filterwarnings("ignore", message)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        try:
            if case.face == "fit":
                check_fit(case, path)
            else:
                check_estimator(case)
        except DsgdError as error:
            return type(error).__name__
        except (TypeError, ValueError) as error:
            if case.face == "fit" or not is_refusal_of_scikit_learn(error):
                raise
            return type(error).__name__
    return "model"


@pytest.mark.parametrize("first", range(0, N_CASES, CASES_OF_A_TEST))
def test_random_fits_end_in_a_finite_model_or_an_error(first: int, tmp_path: Path) -> None:
    ends: list[str] = []
    for number in range(first, min(first + CASES_OF_A_TEST, N_CASES)):
        case = draw_case(number)
        try:
            ends.append(run_case(case, tmp_path / "model"))
        except BaseException as fault:
            fault.add_note(str(case))
            raise
    assert ends.count("model") > 3, "nearly all are refused: these cases test little"


def test_random_fits_draw_every_algorithm() -> None:
    assert set(ALGORITHM_OPTIONS) == set(REGISTRY)
