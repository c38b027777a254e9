"""What memory does not hold is an error that says what takes it, and the cure; nothing ends a process."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from commands import run_command

import dsgd
from dsgd._common.memory import memory_for_model, shown_bytes
from dsgd.data import load_libsvm, make_clusters, make_like, make_text_classification
from dsgd.errors import ConfigError, DataError
from dsgd.losses import MLP, KMeans
from dsgd.testing import make_known_optimum

WIDE = scipy.sparse.csr_array((np.ones(4), ([0, 1, 2, 3], [0, 1, 2, 2**31 - 2])), shape=(4, 2**31 - 1))
Y = np.array([0, 1, 0, 1])
FEATURES = r"no memory for a model of 2147483647 features: its \d+ weights take .* GB .*number the features that occur"


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine have 16 GB of memory, of which this process is granted 8 GB."""
    monkeypatch.setattr("dsgd._common.memory._machine_memory", lambda: 16e9)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 10**9, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "train",
    [
        lambda X: dsgd.fit(X, Y, algo="sgd"),
        lambda X: dsgd.fit(X, Y, algo="hogwild", loss="softmax"),
        lambda X: dsgd.fit(X, [0, 1, 2, 3], algo="sdca"),
        lambda X: dsgd.fit(X, Y, algo="ssp", loss="logistic", cluster=dsgd.Simulation(workers=2)),
        lambda X: dsgd.fit(X, algo="batch", loss=KMeans(2)),
        lambda X: dsgd.fit(X, Y, algo="minibatch", loss=MLP((2,))),
        lambda X: dsgd.SGDClassifier().fit(X, Y),
        lambda X: dsgd.SGDClassifier().partial_fit(X, Y, classes=[0, 1]),
        lambda X: dsgd.SGDRegressor().fit(X, Y),
        lambda X: dsgd.SGDRegressor().partial_fit(X, Y),
        lambda X: dsgd.MLPClassifier((2,)).fit(X, Y),
        lambda X: dsgd.KMeans(2).fit(X),
        lambda X: dsgd.KMeans(2).partial_fit(X),
    ],
)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_weights_of_too_many_features_name_them_and_the_cure(train: Callable[[Any], Any], real: Any) -> None:
    with pytest.raises(DataError, match=FEATURES):
        train(WIDE.astype(real))


def test_the_command_line_names_them_too(tmp_path: Path) -> None:
    (tmp_path / "wide.svm").write_text("1 1:0.5 2147483646:1\n-1 2:1\n")
    done = run_command("fit", "wide.svm", cwd=tmp_path)
    assert done.returncode == 2
    assert "no memory for a model of 2147483646 features: its 2147483647 weights take 17.2 GB (float64)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_index_beyond_columns_names_the_cure(tmp_path: Path) -> None:
    (tmp_path / "wide.svm").write_text("1 1:0.5 1099511627776:1\n-1 2:1\n")
    for read in (load_libsvm, lambda path: dsgd.fit(path, algo="sgd")):
        with pytest.raises(DataError, match=r"wide.svm:1:9: .*2\^31 or more"):
            read(tmp_path / "wide.svm")


@pytest.mark.parametrize(
    "train",
    [
        lambda X: dsgd.fit(X, algo="minibatch", loss=KMeans(2**31 - 1)),
        lambda X: dsgd.fit(X, np.arange(9) % 3, algo="minibatch", loss=MLP((2**31 - 1,))),
        lambda X: dsgd.fit(X, np.arange(9) % 3, algo="minibatch", loss=MLP((10**6, 10**6))),
        lambda X: dsgd.MLPClassifier((10**6, 10**6)).fit(X, np.arange(9) % 3),
    ],
)
def test_too_many_clusters_or_units_are_named(train: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigError, match=r"no memory for a model of 1000 features: .* TB .*fewer clusters, units or"):
        train(np.ones((9, 1000)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_clusters(10**12),
        lambda: make_clusters(10**30),
        lambda: make_text_classification(10**13),
        lambda: make_known_optimum(10**12, 100),
        lambda: make_like("yearprediction", n_samples=10**12),
    ],
)
def test_data_that_memory_does_not_hold_is_not_made(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=r"no memory for the result of make_\w+ .*; ask for a smaller one"):
        make()


def test_a_conversion_that_memory_does_not_hold_names_the_cure() -> None:
    narrow = np.broadcast_to(np.int8(1), (2 * 10**6, 1000))  # 2 GB as it is, and no memory at all here
    message = r"X cannot be converted to float64: Unable to allocate .* GiB"
    for convert in (lambda: dsgd.fit(narrow, Y, algo="sgd"), lambda: fitted().predict(narrow)):
        with pytest.raises(DataError, match=message):
            convert()


def fitted() -> dsgd.FitResult:
    return dsgd.fit(np.ones((4, 1000)), Y, algo="sgd", max_epochs=1)


def test_what_the_system_does_not_grant_is_named_as_well() -> None:
    with pytest.raises(DataError, match=r"no memory for a model of 1200000000 features: its .* take 9.6 GB"):
        dsgd.fit(scipy.sparse.csr_array(([1.0, 2.0], ([0, 1], [0, 1])), shape=(2, 1_200_000_000)), [0, 1], algo="sgd")
    with pytest.raises(DataError, match="weights take 8 bytes"), memory_for_model(1, 1, np.float64):
        raise MemoryError


def test_bytes_are_shown_in_a_unit() -> None:
    assert [shown_bytes(size) for size in (8, 17_200, 5e6, 17.18e9, 8.8e12)] == [
        "8 bytes",
        "17.2 kB",
        "5 MB",
        "17.2 GB",
        "8.8 TB",
    ]
