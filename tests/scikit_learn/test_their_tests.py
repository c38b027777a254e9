"""scikit-learn's own tests of its SGD, mini-batch k-means and networks, with dsgd's estimators in their place.

They are those of the installed release, which has them in its wheel. `differences.py` lists the tests that fail, with a
reason each: of the release that the list is for, exactly these may fail. With another release installed, tests that are
listed may pass or be gone, and other tests that fail are shown in the summary of the run as an expected failure: the
list is then to be brought up to date.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import sklearn
from scikit_learn.differences import MINI_BATCH_K_MEANS, MLP, RELEASE, SGD

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Suite:
    """Some tests of scikit-learn.

    Attributes
    ----------
    module : str
    least : int
        So many pass.
    differences : mapping from str to str
        Names of tests that fail, and why.
    select : str
        pytest's -k.
    mentions : str or None
        The estimator that tests must mention.
    """

    module: str
    least: int
    differences: Mapping[str, str]
    select: str = ""
    mentions: str | None = None


SUITES = [
    Suite(
        module="sklearn.linear_model.tests.test_sgd",
        least=207,
        differences=SGD,
        select="not OneClass and not ocsvm and not one_class",
    ),
    Suite(
        module="sklearn.cluster.tests.test_k_means",
        least=86,
        differences=MINI_BATCH_K_MEANS,
        select="MiniBatch",
    ),
    Suite(module="sklearn.neural_network.tests.test_mlp", least=2, differences=MLP, mentions="MLPClassifier"),
]


def run(suite: Suite, folder: Path) -> tuple[dict[str, str], str]:
    """Return how every test went, and what pytest wrote."""
    outcomes = folder / "outcomes.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {
        "DSGD_OUTCOMES": str(outcomes),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    if suite.mentions is not None:
        environment["DSGD_MENTIONS"] = suite.mentions
    # Settings of their own: those of dsgd's tests, where warnings are errors, are not scikit-learn's.
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(folder / "pytest.ini"),
        "-p",
        "stand_ins",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--tb=short", "--pyargs", suite.module, "-k", suite.select]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=280
    )
    written = f"{done.stdout}\n{done.stderr}"
    assert outcomes.is_file(), written
    return json.loads(outcomes.read_text()), written


def compare(outcomes: Mapping[str, str], differences: Mapping[str, str]) -> list[str]:
    """Return what the list says that is not so, and what it does not say."""
    listed = {name for name in outcomes if name in differences or name.partition("[")[0] in differences}
    there = {*outcomes, *(name.partition("[")[0] for name in outcomes)}
    return [
        *(f"fails and is not listed: {name}" for name in outcomes if outcomes[name] == "failed" and name not in listed),
        *(f"is listed and passes: {name}" for name in sorted(listed) if outcomes[name] != "failed"),
        *(f"is listed and not there: {name}" for name in differences if name not in there),
    ]


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.module.rpartition(".")[2])
def test_their_tests_fail_where_the_list_says_why_and_nowhere_else(suite: Suite, tmp_path: Path) -> None:
    outcomes, written = run(suite, tmp_path)
    found = compare(outcomes, suite.differences)
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    if sklearn.__version__.startswith(f"{RELEASE}."):
        assert not found, "\n".join([*found, written])
        assert passed >= suite.least
        return
    failures = [line for line in found if line.startswith("fails")]
    if failures:
        pytest.xfail(
            f"the list is for scikit-learn {RELEASE}; of {sklearn.__version__}, {passed} of {len(outcomes)} tests of "
            f"{suite.module} pass, and these fail without a reason: {', '.join(failures)}"
        )


def test_the_comparison_finds_every_kind_of_error() -> None:
    outcomes = {
        "test_a": "passed",
        "test_b[0]": "failed",
        "test_b[1]": "passed",
        "test_c": "failed",
        "test_d": "failed",
    }
    differences = {"test_a": "why", "test_b": "why", "test_d": "why", "test_e": "why"}
    assert compare(outcomes, differences) == [
        "fails and is not listed: test_c",
        "is listed and passes: test_a",
        "is listed and passes: test_b[1]",
        "is listed and not there: test_e",
    ]
    assert not compare({"test_b[0]": "failed", "test_b[1]": "passed"}, {"test_b[0]": "why"})


def test_every_difference_has_a_sentence() -> None:
    for reason in {**SGD, **MINI_BATCH_K_MEANS, **MLP}.values():
        assert reason.endswith(".")
        assert len(reason) > 20
