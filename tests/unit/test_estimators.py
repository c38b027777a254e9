"""`SGDClassifier` and `SGDRegressor` beside scikit-learn's: parameters, attributes, and what goes on across calls."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
from numpy.typing import NDArray
from problems import make_problem
from sklearn import linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import dsgd
from dsgd import SGDClassifier, SGDRegressor
from dsgd.algorithms import Hogwild, Minibatch, Sgd
from dsgd.errors import ConfigError, DataError
from dsgd.losses import Hinge
from dsgd.models import LinearModel
from dsgd.results.evaluation import Evaluation

X, Y = make_problem(300, 20, seed=2)
DENSE = X.toarray()
TARGET = DENSE @ np.random.default_rng(0).standard_normal(20) + 5
THREE = np.array(["ham", "spam", "eggs"])[np.digitize(DENSE @ np.ones(20), [-1, 1])]
PAIRS = [(SGDClassifier, linear_model.SGDClassifier), (SGDRegressor, linear_model.SGDRegressor)]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**parameters: Any) -> Any:
    return SGDClassifier(**{"random_state": 0, "max_iter": 5, "tol": None, **parameters})


def regressor(**parameters: Any) -> Any:
    return SGDRegressor(**{"random_state": 0, "max_iter": 5, "tol": None, **parameters})


def bits(model: Any) -> tuple[bytes, bytes]:
    return model.coef_.tobytes(), model.intercept_.tobytes()


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_parameters_are_those_of_the_installed_release_in_their_order_then_our_own(ours: Any, theirs: Any) -> None:
    own, their = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    shared = list(own.values())[: len(their)]
    assert [(p.name, p.kind, p.default) for p in shared] == [(p.name, p.kind, p.default) for p in their.values()]
    added = list(own.values())[len(their) :]
    assert {p.name for p in added} == {"algo", *(["n_jobs"] if ours is SGDRegressor else [])}
    assert all(p.kind == p.KEYWORD_ONLY for p in added)
    for method in ("fit", "partial_fit", "predict", "score", "decision_function", "predict_proba"):
        if hasattr(theirs, method):
            names = list(inspect.signature(getattr(theirs, method)).parameters)
            assert list(inspect.signature(getattr(ours, method)).parameters) == names


@pytest.mark.parametrize(
    ("ours", "theirs", "y"),
    [(*PAIRS[0], Y), (*PAIRS[0], THREE), (*PAIRS[1], TARGET)],
    ids=["binary", "three classes", "regression"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attributes_have_the_names_shapes_and_types_of_scikit_learn(
    ours: Any, theirs: Any, y: NDArray[Any], dtype: Any
) -> None:
    X = DENSE.astype(dtype)
    mine, other = (kind(max_iter=3, tol=None, random_state=0).fit(X, y) for kind in (ours, theirs))
    public = [name for name in vars(other) if name.endswith("_") and not name.startswith("_")]
    for name in public:
        a, b = getattr(mine, name), getattr(other, name)
        assert type(a) is type(b) or {type(a), type(b)} <= {int, float}, name
        if isinstance(b, np.ndarray):
            assert a.shape == b.shape, name
            # scikit-learn has a float64 for the intercept of float32 data, of one problem.
            assert a.dtype == (dtype if name == "intercept_" else b.dtype), name
    assert (mine.n_iter_, mine.t_) == (3, 1 + 3 * len(y))
    assert mine.coef_.flags.writeable
    mine.coef_[...] = 0
    mine.intercept_[...] = 1
    assert len(np.unique(mine.predict(X))) == 1
    for method in ("predict", "decision_function"):
        if hasattr(theirs, method):
            assert getattr(mine, method)(X).shape == getattr(other, method)(X).shape


@pytest.mark.parametrize("changes", [
    {"loss": "log_loss"}, {"loss": "modified_huber"}, {"loss": "squared_hinge"}, {"loss": "perceptron"},
    {"loss": "squared_error"}, {"loss": "huber"}, {"loss": "epsilon_insensitive"},
    {"loss": "squared_epsilon_insensitive"}, {"loss": "huber", "epsilon": 0.5}, {"penalty": "l1"},
    {"penalty": "elasticnet"}, {"penalty": None}, {"penalty": "elasticnet", "l1_ratio": 0.7}, {"alpha": 0.01},
    {"fit_intercept": False}, {"max_iter": 6}, {"tol": 0.5, "max_iter": 20, "n_iter_no_change": 1}, {"shuffle": False},
    {"random_state": 1}, {"learning_rate": "constant"}, {"learning_rate": "constant", "eta0": 0.1},
    {"learning_rate": "invscaling"}, {"learning_rate": "invscaling", "power_t": 0.2}, {"learning_rate": "pa1"},
    {"learning_rate": "pa2"}, {"early_stopping": True}, {"early_stopping": True, "validation_fraction": 0.3},
    {"class_weight": "balanced"}, {"class_weight": {"eggs": 3.0}}, {"average": True}, {"average": 1000},
    {"algo": "minibatch"}, {"algo": "batch"}, {"algo": Sgd(block_size=16)}, {"algo": Minibatch(batch_size=8)},
])  # fmt: skip
def test_every_parameter_changes_the_result(changes: dict[str, Any]) -> None:
    assert bits(classifier(**changes).fit(X, THREE)) != bits(classifier().fit(X, THREE))


def test_warm_start_and_initial_weights_begin_where_they_say() -> None:
    model = classifier(warm_start=True).fit(X, THREE)
    from_init = classifier().fit(X, THREE, coef_init=model.coef_, intercept_init=model.intercept_)
    cold = bits(model)
    assert bits(model.fit(X, THREE)) == bits(from_init) != cold
    assert model.t_ == 1 + 5 * 300
    binary = classifier().fit(X, Y)
    flat = classifier().fit(X, Y, coef_init=binary.coef_[0], intercept_init=binary.intercept_[0])
    assert bits(flat) == bits(classifier().fit(X, Y, coef_init=binary.coef_, intercept_init=binary.intercept_))


def test_losses_have_the_names_of_both_libraries() -> None:
    for theirs, ours in (("log_loss", "logistic"), ("squared_error", "squared")):
        assert bits(classifier(loss=theirs).fit(X, Y)) == bits(classifier(loss=ours).fit(X, Y))
    assert bits(regressor().fit(X, TARGET)) == bits(regressor(loss="squared").fit(X, TARGET))


@pytest.mark.parametrize("average", [False, True, 450])
@pytest.mark.parametrize("rate", ["optimal", "constant", "invscaling", "pa1"])
def test_partial_fit_on_the_same_rows_is_fit(rate: str, average: bool | int) -> None:
    whole = classifier(learning_rate=rate, average=average).fit(X, THREE)
    parts = classifier(learning_rate=rate, average=average)
    for _ in range(5):
        parts.partial_fit(X, THREE, classes=np.unique(THREE))
    assert bits(parts) == bits(whole)
    of_algorithm = classifier(learning_rate=rate, algo=Sgd(average=average))
    for _ in range(5):
        of_algorithm.partial_fit(X, THREE, classes=np.unique(THREE))
    assert bits(of_algorithm) == bits(whole)
    assert parts.t_ == whole.t_
    assert parts.n_iter_ == 1


def test_the_schedule_goes_on_across_calls_of_any_size() -> None:
    """With one sample a call and steps of eta0 / t, weights are the sums that arithmetic gives."""
    model = regressor(
        loss="epsilon_insensitive", epsilon=0.0, alpha=0, fit_intercept=False, learning_rate="invscaling", power_t=1.0
    )
    for n in (1, 1, 3, 2):  # far from the target all along: every slope is -1
        model.partial_fit(np.ones((n, 1)), np.full(n, 1e6))
    assert model.t_ == 8
    assert model.coef_[0] == pytest.approx(0.01 * sum(1 / t for t in range(1, 8)), rel=1e-12)


def test_partial_fit_after_fit_goes_on_from_its_samples() -> None:
    model = classifier().fit(X, Y)
    steps = classifier(max_iter=6).fit(X, Y)
    assert bits(model.partial_fit(X, Y)) == bits(steps)


def test_one_thread_is_reproducible_and_more_are_hogwild() -> None:
    assert bits(SGDClassifier(random_state=3).fit(X, Y)) == bits(SGDClassifier(random_state=3).fit(X, Y))
    l1 = {"penalty": "l1"}  # as sgd has L2 alone in another form
    assert bits(classifier(algo="hogwild", **l1).fit(X, Y)) == bits(classifier(**l1).fit(X, Y))
    # Hinge loss and the large first steps of "optimal" on 300 rows: one thread has 0.983. In 6,000 runs of 20 epochs 2
    # threads had 0.917 to 0.997, in 2,000 runs of 5 epochs 0.833 at worst; a coin has 0.5.
    several = classifier(n_jobs=2, max_iter=20).fit(X, Y)
    named = classifier(algo=Hogwild(write="locked"), n_jobs=2, max_iter=20).fit(X, Y)
    assert min(several.score(X, Y), named.score(X, Y)) > 0.85
    assert classifier(n_jobs=-1).fit(X, Y).score(X, Y) > 0.7
    state = np.random.RandomState(0)
    assert bits(classifier(random_state=state).fit(X, Y)) != bits(classifier(random_state=state).fit(X, Y))


def test_in_order_of_the_rows_without_shuffle() -> None:
    """Only the last sample is left where every sample sets the weight anew."""
    model = regressor(loss="squared", alpha=0, learning_rate="constant", eta0=1.0, fit_intercept=False, shuffle=False)
    values = np.random.default_rng(0).standard_normal(50)
    assert model.fit(np.ones((50, 1)), values).coef_[0] == pytest.approx(values[-1])


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
@pytest.mark.parametrize("y", [Y, THREE], ids=["binary", "three classes"])
def test_probabilities_are_those_of_scikit_learn_for_the_same_weights(loss: str, y: NDArray[Any]) -> None:
    model = classifier(loss=loss).fit(X, y)
    other = linear_model.SGDClassifier(loss=loss, max_iter=1, tol=None).fit(X, y)
    other.coef_, other.intercept_ = model.coef_, model.intercept_
    np.testing.assert_allclose(model.predict_proba(X), other.predict_proba(X), rtol=0, atol=1e-12)
    with np.errstate(divide="ignore"):
        expected = np.log(model.predict_proba(X))
    assert (model.predict_log_proba(X) == expected).all()


def test_there_are_no_probabilities_for_other_losses() -> None:
    for loss in ("hinge", "perceptron", "squared_error"):
        assert not hasattr(classifier(loss=loss), "predict_proba")
        with pytest.raises(AttributeError):
            classifier(loss=loss).fit(X, Y).predict_log_proba(X)


@pytest.mark.parametrize("model", [classifier(penalty="l1", alpha=0.01), regressor(penalty="l1", alpha=0.01)])
def test_sparsify_and_densify(model: Any) -> None:
    y = Y if isinstance(model, SGDClassifier) else TARGET
    dense = clone(model).fit(X, y)
    coef = dense.coef_.copy()
    before = dense.predict(DENSE)
    assert (coef == 0).any()
    dense.sparsify()
    assert scipy.sparse.issparse(dense.coef_)
    np.testing.assert_allclose(dense.predict(DENSE), before, rtol=1e-12)
    assert copy.deepcopy(dense).partial_fit(X, y).coef_.shape == coef.shape
    assert (dense.densify().coef_ == coef).all()


def test_pickles_and_clones() -> None:
    model = classifier(average=True, algo=Minibatch(batch_size=4), class_weight={"ham": 2.0}).fit(X, THREE)
    copied = pickle.loads(pickle.dumps(model))
    assert bits(copied.partial_fit(X, THREE)) == bits(model.partial_fit(X, THREE))
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "coef_")


def test_feature_names_are_kept_and_compared() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DENSE, columns=[f"word {j}" for j in range(20)])
    model = classifier().fit(frame, Y)
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    assert model.n_features_in_ == 20
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"word 3": "word x"}))


def test_sample_weights_are_routed() -> None:
    from sklearn.model_selection import cross_validate

    weight = np.where(np.arange(300) % 2, 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_validate(model, X, Y, params={"sample_weight": weight}, cv=3, return_estimator=True)
        plain = cross_validate(classifier().set_fit_request(sample_weight=True), X, Y, cv=3, return_estimator=True)
    assert bits(scores["estimator"][0]) != bits(plain["estimator"][0])


@pytest.mark.parametrize("model", [classifier(), regressor()])
def test_held_out_samples_are_scored_by_their_weights(model: Any) -> None:
    y = Y if isinstance(model, SGDClassifier) else TARGET
    model.fit(X, y)
    classes = np.array([-1.0, 1.0]) if isinstance(model, SGDClassifier) else None
    flat = LinearModel(
        weights=np.append(model.coef_, model.intercept_)[None], fit_intercept=True, loss=Hinge(), classes=classes
    )
    weight = np.random.default_rng(0).exponential(size=300)
    random_y = np.random.default_rng(1).permutation(y)
    score = Evaluation((X, random_y), 20, classes, 1, weight).score(flat)
    assert score == pytest.approx(model.score(X, random_y, sample_weight=weight), abs=1e-12)
    assert score != pytest.approx(model.score(X, random_y), abs=1e-4)


def test_callbacks_of_scikit_learn_see_every_epoch() -> None:
    callback = pytest.importorskip("sklearn.callback")

    class Recorder:
        def __init__(self) -> None:
            self.tasks: list[str] = []
            self.scores: list[float] = []

        def setup(self, estimator: Any, context: Any) -> None:
            self.tasks.append("setup")

        def teardown(self, estimator: Any, context: Any) -> None:
            self.tasks.append("teardown")

        def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
            self.tasks.append(context.task_name)

        def on_fit_task_end(
            self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None
        ) -> bool:
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_name == "epoch" and len(self.scores) == 3

    assert isinstance(Recorder(), callback.FitCallback)
    recorder = Recorder()
    model = classifier(max_iter=50).set_callbacks(recorder).fit(X, Y)
    assert recorder.tasks == ["setup", "fit", *["epoch"] * 3, "teardown"]
    assert model.n_iter_ == 3
    assert recorder.scores[-1] == model.score(X, Y)
    recorder = Recorder()
    classifier(max_iter=2).set_callbacks(recorder).fit(X, THREE)
    assert recorder.tasks == ["setup", "fit", *["class", "epoch", "epoch"] * 3, "teardown"]
    weights = bits(classifier().fit(X, Y))
    assert bits(classifier().set_callbacks().fit(X, Y)) == weights


def test_verbose_shows_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    classifier(verbose=1).fit(X, Y)
    assert capsys.readouterr().err.count("objective") == 5
    classifier().fit(X, Y)
    assert capsys.readouterr().err == ""


def test_a_fit_that_did_not_stand_still_warns() -> None:
    with pytest.warns(
        ConvergenceWarning, match=r"Consider increasing max_iter to improve the fit. \(max_iter=2 epochs"
    ):
        classifier(max_iter=2, tol=1e-3).fit(X, Y)


REFUSED: list[tuple[str, type[Exception], str, Any]] = [
    ("n_jobs of 0", ConfigError, "n_jobs must not be 0", lambda: classifier(n_jobs=0).fit(X, Y)),
    ("threads", ConfigError, "runs on one thread; n_threads=2", lambda: classifier(algo="sgd", n_jobs=2).fit(X, Y)),
    ("average", ConfigError, "'hogwild' keeps no average", lambda: classifier(n_jobs=2, average=True).fit(X, Y)),
    ("pa", ConfigError, "'pa1' needs algo 'sgd'", lambda: classifier(n_jobs=2, learning_rate="pa1").fit(X, Y)),
    ("pa loss", ValueError, "only works with loss", lambda: classifier(loss="log_loss", learning_rate="pa2").fit(X, Y)),
    ("one class", DataError, "greater than one; got 1 class", lambda: classifier().fit(X, np.ones(300))),
    (
        "coef", DataError, r"Provided coef_init does not match dataset: it has shape \(19,\)",
        lambda: classifier().fit(X, Y, coef_init=np.ones(19)),
    ),
    ("coef", DataError, r"must be \(3, 20\)", lambda: classifier().fit(X, THREE, coef_init=np.ones(60))),
    ("nan", DataError, "is not finite", lambda: classifier().fit(X, Y, coef_init=np.full(20, np.nan))),
    (
        "intercept", DataError, r"Provided intercept_init does not match dataset: it has shape \(2,\)",
        lambda: regressor().fit(X, Y, intercept_init=[1, 2]),
    ),
    (
        "no intercept", ConfigError, r"intercept_init is \[1.0\], but fit_intercept=False",
        lambda: regressor(fit_intercept=False).fit(X, Y, intercept_init=[1.0]),
    ),
    (
        "balanced", ConfigError, "not supported for partial_fit",
        lambda: classifier(class_weight="balanced").partial_fit(X, Y, classes=[-1, 1]),
    ),
    (
        "early", ValueError, "early_stopping should be False",
        lambda: classifier(early_stopping=True).partial_fit(X, Y, classes=[-1, 1]),
    ),
    ("label", DataError, "the classes are", lambda: classifier().partial_fit(X, Y, classes=[1, 2])),
    ("classes", ValueError, "classes must be passed", lambda: classifier().partial_fit(X, Y)),
    ("weight", DataError, "weights are at least 0", lambda: regressor().fit(X, Y, sample_weight=-np.ones(300))),
    (
        "one row held out", DataError, "holds out 1 row",
        lambda: regressor(early_stopping=True).fit(DENSE[:9], TARGET[:9]),
    ),
    ("algo", ValueError, "'algo' parameter", lambda: classifier(algo="sdg").fit(X, Y)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "message", "call"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused_says_why(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()


def test_the_estimators_are_found_in_the_package() -> None:
    assert {"SGDClassifier", "SGDRegressor"} <= set(dir(dsgd))
    assert dsgd.SGDClassifier is SGDClassifier
    with pytest.raises(AttributeError, match="SGDClasifier"):
        dsgd.SGDClasifier  # noqa: B018


def test_a_warm_start_on_other_data_says_what_differs() -> None:
    model = classifier(warm_start=True).fit(X, THREE)
    for other, labels, shape in ((X[:, :4], THREE, r"\(3, 4\)"), (X, THREE == "spam", rf"\(1, {X.shape[1]}\)")):
        with pytest.raises(
            DataError, match=rf"warm_start goes on from coef_ of shape \(3, {X.shape[1]}\), .* needs {shape}"
        ):
            model.fit(other, labels)
    without = model.set_params(fit_intercept=False).fit(X, THREE)  # as scikit-learn: the intercept is let go of
    assert (without.intercept_ == 0).all()


@pytest.mark.parametrize("again", ["partial_fit", "fit"])
@pytest.mark.parametrize("average", [True, 10, False])
@pytest.mark.parametrize(
    ("kind", "target", "more"),
    [
        (SGDClassifier, Y, {}),
        (SGDClassifier, THREE, {}),
        (SGDClassifier, THREE, {"loss": "softmax"}),
        (SGDRegressor, TARGET, {}),
        (SGDClassifier, Y, {"algo": "minibatch", "learning_rate": "constant"}),
    ],
)
def test_a_model_that_is_mapped_to_be_read_goes_on(
    kind: Any, target: Any, more: dict[str, Any], average: bool | int, again: str, tmp_path: Path
) -> None:
    options = {"algo": Minibatch(average=average)} if "algo" in more else {"average": average}
    model = kind(**{"random_state": 0, "max_iter": 3, "tol": None, "warm_start": True, **more, **options})
    joblib.dump(model.fit(X, target), tmp_path / "model")
    mapped, plain = joblib.load(tmp_path / "model", mmap_mode="r"), joblib.load(tmp_path / "model")
    for _ in range(2):
        getattr(mapped, again)(X, target)
        getattr(plain, again)(X, target)
    assert (mapped.coef_ == plain.coef_).all()
    assert (mapped.coef_ != model.coef_).any()
