"""Options of the algorithms that average models: each changes the result; what is impossible is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from cluster.averaged import ALGORITHMS, SPEEDS, UNEVEN, X, Y, cluster, fit

import dsgd
from dsgd.algorithms import Average, SimuParallel, WpSgd, WpSgdDelay, WpSgdDm
from dsgd.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("algo", "option", "values", "others"),
    [
        ("simuparallel", "averaging_span", (None, 10, 20), {}),
        ("simuparallel", "batch_size", (1, 4), {}),
        ("average", "averaging_span", (None, 10, 20), {}),
        ("average", "batch_size", (1, 4), {}),
        ("average", "deadline", (None, 0.02), {}),
        ("wpsgd", "averaging_span", (None, 10, 20), {}),
        ("wpsgd", "batch_size", (1, 4), {}),
        ("wpsgd", "deadline", (None, 0.02), {}),
        ("wpsgd", "contraction", (None, 0.9995, 1.0, "data"), {"alpha": 1e-3}),
        ("wpsgd-delay", "averaging_span", (None, 10, 20), {}),
        ("wpsgd-delay", "deadline", (None, 0.02), {}),
        ("wpsgd-delay", "contraction", (None, 0.9995, "data"), {"alpha": 1e-3}),
        ("wpsgd-delay", "delay", (0, 1, 2, 8), {}),
        ("wpsgd-delay", "max_retries", (1, 3), {"step_size": 3.0, "alpha": 0.1}),
        ("wpsgd-delay", "strict", (False, True), {}),
        ("wpsgd-dm", "averaging_span", (10, 20), {}),
        ("wpsgd-dm", "deadline", (None, 0.02), {}),
        ("wpsgd-dm", "contraction", (None, 0.9995, "data"), {"alpha": 1e-3, "averaging_span": 100}),
        ("wpsgd-dm", "node_workers", (1, 2, 3, 9), {}),
    ],
)
@pytest.mark.filterwarnings("ignore:algo .* the nodes lag so far behind")
def test_every_option_changes_the_result(
    algo: str, option: str, values: tuple[Any, ...], others: dict[str, Any]
) -> None:
    results = [fit(algo, **others, **{option: value}) for value in values]
    assert len({result.model.weights.tobytes() for result in results}) == len(values)
    assert all((result.history[-1].objective or math.inf) < math.log(2) for result in results)


@pytest.mark.parametrize(
    ("algo", "options"),
    [
        ("simuparallel", {"batch_size": 1}),
        ("wpsgd", {"batch_size": 1, "deadline": 1e6}),
        ("wpsgd-delay", {"batch_size": 1, "delay": 1, "max_retries": 10, "strict": False}),
        ("wpsgd-dm", {"batch_size": 1, "node_workers": 2, "averaging_span": 1000}),
    ],
)
def test_defaults_are_what_the_documentation_says(algo: str, options: dict[str, Any]) -> None:
    assert np.array_equal(fit(algo).model.weights, fit(algo, **options).model.weights)


def test_delay_0_and_one_worker_of_a_node_are_wpsgd() -> None:
    plain, delayed, alone = (
        fit("wpsgd", averaging_span=20),
        fit("wpsgd-delay", averaging_span=20, delay=0),
        fit("wpsgd-dm", averaging_span=20, node_workers=1),
    )
    assert np.array_equal(plain.model.weights, delayed.model.weights)
    assert np.array_equal(plain.model.weights, alone.model.weights)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        *(
            (kind, {"averaging_span": 0}, "averaging_span must be an integer from 1")
            for kind in (SimuParallel, WpSgdDm)
        ),
        (Average, {"averaging_span": 1.5}, r"averaging_span must be an integer .*, not 1\.5"),
        (SimuParallel, {"batch_size": 0}, "batch_size must be an integer from 1 .*, not 0"),
        (WpSgd, {"deadline": 0}, "deadline must be a finite number above 0, not 0"),
        (Average, {"deadline": math.inf}, "deadline must be a finite number above 0, not inf"),
        (Average, {"deadline": "soon"}, "deadline must be a finite number above 0, not 'soon'"),
        (WpSgd, {"contraction": 0.0}, r"contraction must be a finite number above 0 and at most 1, not 0\.0"),
        (WpSgd, {"contraction": 1.5}, r"contraction must be a finite number above 0 and at most 1, not 1\.5"),
        (WpSgd, {"contraction": "date"}, "unknown contraction 'date'; did you mean 'data'"),
        (WpSgdDelay, {"delay": -1}, "delay must be an integer from 0 to 1024, not -1"),
        (WpSgdDelay, {"max_retries": 0}, "max_retries must be an integer from 1 .*, not 0"),
        (WpSgdDelay, {"strict": 1}, "strict must be True or False, not 1"),
        (WpSgdDelay, {"batch_size": 4}, "one row at a time; leave out batch_size=4"),
        (WpSgdDm, {"batch_size": 4}, "one row at a time; leave out batch_size=4"),
        (WpSgdDm, {"node_workers": 0}, "node_workers must be an integer from 1 to 1024, not 0"),
        (WpSgdDm, {"averaging_span": None}, "give averaging_span=1000, or use algo='wpsgd'"),
    ],
)
def test_impossible_options_are_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**options)


THREE = np.arange(241) % 3


@pytest.mark.parametrize(
    ("algo", "options", "error", "message"),
    [
        ("wpsgd-delay", {"penalty": "l1"}, ConfigError, "with L1 use algo='wpsgd'"),
        ("wpsgd-delay", {"penalty": "elasticnet"}, ConfigError, "with L1 use algo='wpsgd'"),
        ("wpsgd-delay", {"data": (X, THREE)}, ConfigError, "and y has 3 classes; use algo='wpsgd'"),
        ("wpsgd-delay", {"data": (X, THREE), "loss": "softmax"}, ConfigError, "wpsgd-delay"),
        ("wpsgd-delay", {"data": (X, None), "loss": dsgd.losses.KMeans(3)}, ConfigError, "wpsgd-delay"),
        ("wpsgd-dm", {"loss": "mlp"}, ConfigError, "wpsgd-dm"),
        ("wpsgd", {"loss": "mlp", "contraction": "data"}, ConfigError, "give contraction a number, or leave it out"),
        ("simuparallel", {"deadline": 1.0}, ConfigError, "deadline"),
        ("average", {"contraction": 0.5}, ConfigError, "contraction"),
        *((algo, {"init": math.nan}, DataError, "init.* is not finite") for algo in ALGORITHMS),
        ("wpsgd", {"init": math.inf}, DataError, "init.* is not finite"),
        ("wpsgd", {"init": "four"}, DataError, "init"),
        ("wpsgd", {"init": [4.0, 4.0]}, DataError, r"init has shape \(2,\).*or one number for all"),
    ],
)
def test_impossible_fits_are_refused(algo: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(algo, **options)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_number_as_init_is_the_start_of_all_weights(algo: str) -> None:
    one, all_of_them, none = (fit(algo, init=init) for init in (4.0, np.full(21, 4.0), None))
    assert np.array_equal(one.model.weights, all_of_them.model.weights)
    assert not np.array_equal(one.model.weights, none.model.weights)


def test_a_number_as_init_fits_every_model() -> None:
    for loss in ("softmax", "logistic"):
        options: dict[str, Any] = {"loss": loss}
        whole = fit("wpsgd", data=(X, THREE), init=np.full((3, 21), 0.5), **options)
        assert np.array_equal(fit("wpsgd", data=(X, THREE), init=0.5, **options).model.weights, whole.model.weights)


STRONG: dict[str, Any] = {"alpha": 0.5, "step_size": 0.3, "schedule": "constant"}


def test_a_warning_tells_where_the_average_may_be_worse_than_the_fastest_node() -> None:
    with pytest.warns(RuntimeWarning, match=r"sum r\^T_i is (\S+) below \(k \+ sqrt\(k\)\) / 2 \(Eq\. 6\)") as caught:
        result = fit("wpsgd", **STRONG)
    assert result.averaging is not None
    assert result.averaging.condition < -1
    assert f"is {-result.averaging.condition:.3g} below" in str(caught[0].message)


def test_a_warning_tells_where_averages_on_the_way_do_not_contract() -> None:
    """So weak an L2 that a step does not contract by what a number can hold."""
    with pytest.warns(RuntimeWarning, match=r"k q\^s / sum q\^T_i is 1, and below 1 training approaches"):
        fit("wpsgd", averaging_span=20, alpha=1e-20)


@pytest.mark.parametrize("options", [{}, {"averaging_span": 20, "alpha": 0.0}, {"averaging_span": 20, **STRONG}])
def test_there_is_no_warning_where_nodes_are_even(options: dict[str, Any]) -> None:
    assert fit("wpsgd", cluster(speeds=1.0), **options).averaging is not None


def test_without_l2_the_bound_of_averages_on_the_way_says_nothing() -> None:
    averaging = fit("wpsgd", averaging_span=20, alpha=0.0).averaging
    assert averaging is not None
    assert math.isnan(averaging.span_factor)
    assert averaging.weights.tolist() == [0.25] * 4


@pytest.mark.parametrize("algo", UNEVEN)
def test_what_nodes_counted_for_becomes_records(algo: str) -> None:
    averaging = fit(algo).averaging
    assert averaging is not None
    records = averaging.to_records()
    assert [record["node"] for record in records] == [0, 1, 2, 3]
    for name, column in (
        ("samples", averaging.samples),
        ("updates", averaging.updates),
        ("lag", averaging.lags),
        ("weight", averaging.weights),
        *averaging.counters.items(),
    ):
        assert [record[name] for record in records] == column.tolist()
        assert all(type(record[name]) in (int, float) for record in records)
    assert averaging.weights.sum() == pytest.approx(1)
    assert all(a > b for a, b in itertools.pairwise(averaging.samples))  # as SPEEDS fall
    assert len(SPEEDS) == len(records)


def test_wpsgd_delay_counts_what_becomes_of_samples() -> None:
    options: dict[str, Any] = {"step_size": 3.0, "alpha": 0.1, "max_retries": 3, "strict": True, "contraction": 1.0}
    averaging = fit("wpsgd-delay", cluster(speeds=1.0), **options).averaging
    assert averaging is not None
    fates = averaging.counters
    assert list(fates) == ["accepted", "fresh", "both_sides", "crossing", "turned", "slower"]
    assert np.sum(list(fates.values()), axis=0).tolist() == averaging.samples.tolist()
    assert (fates["accepted"] + fates["fresh"]).tolist() == averaging.updates.tolist()
    assert fates["crossing"].sum() > 0
    assert (averaging.lags == averaging.updates.max() - averaging.updates).all()


def test_a_plot_has_two_bars_for_each_node() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    averaging = fit("wpsgd", cluster(failures=[dsgd.cluster.Crash(1, 0.03)])).averaging
    assert averaging is not None
    axes = averaging.plot()
    bars = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(bars[:3], averaging.weights)
    np.testing.assert_allclose(bars[3:], averaging.updates / averaging.updates.sum())
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2", "3"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "weight in the average",
        "share of the updates",
    ]
    assert f"r = {averaging.rate:.6g}" in axes.get_title()
    own = pyplot.figure().add_subplot()
    assert averaging.plot(own) is own
    pyplot.close("all")


def test_an_algorithm_that_averages_no_models_has_none() -> None:
    assert fit("ssp").averaging is None
    assert dsgd.fit(X, Y, algo="sgd", max_epochs=1).averaging is None
