"""A plugin of pytest: dsgd's estimators in the place of scikit-learn's, and the outcomes of the tests in a file.

    DSGD_OUTCOMES=outcomes.json python -m pytest -p stand_ins --pyargs sklearn.linear_model.tests.test_sgd

Only for a process of its own: it changes scikit-learn's modules for good, before the tests import from them. The
environment variable DSGD_MENTIONS may have the name of an estimator: then tests that do not mention it are left out.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from pathlib import Path

import pytest
from sklearn import cluster, linear_model, neural_network

import dsgd


class MiniBatchKMeans(dsgd.KMeans):
    """The k-means of dsgd under scikit-learn's name, which is in ids of tests and in some tests."""


linear_model.SGDClassifier = dsgd.SGDClassifier
linear_model.SGDRegressor = dsgd.SGDRegressor
cluster.MiniBatchKMeans = MiniBatchKMeans
neural_network.MLPClassifier = dsgd.MLPClassifier

_OTHERS = re.compile(r"\bMLPRegressor\b")
_outcomes: dict[str, str] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that do not mention the estimator of DSGD_MENTIONS."""
    name = os.environ.get("DSGD_MENTIONS")
    if name is None:
        return
    concern = [item for item in items if _mentions(item, name)]
    config.hook.pytest_deselected(items=[item for item in items if item not in concern])
    items[:] = concern


def _mentions(item: pytest.Item, name: str) -> bool:
    """Return whether a test mentions an estimator.

    Its id has the name; or its text has the name, and its id has no other estimator's.
    """
    if name in item.name:
        return True
    text = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
    return name in text and not _OTHERS.search(item.name)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record the outcome of a test: of its call, or of a set-up or tear-down that did not pass."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid.rpartition("::")[2]] = report.outcome


def pytest_sessionfinish() -> None:
    """Write the outcomes."""
    path = os.environ.get("DSGD_OUTCOMES")
    if path is not None:
        Path(path).write_text(json.dumps(_outcomes, indent=1))
