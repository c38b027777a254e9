"""What is refused before any kernel runs: one row a kind, with the message that names the value and the cure."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from problems import make_problem

import dsgd
from dsgd.algorithms import Sgd
from dsgd.errors import ConfigError, DataError, DivergedError, DsgdError
from dsgd.losses import EpsilonInsensitive, Huber, Loss
from dsgd.schedules import Adaptive, EpochDecay, InverseScaling, Optimal

X, Y = make_problem(60, 12, seed=0)
DENSE = X.toarray()
WORDS = np.where(Y > 0, "spam", "ham")
LONG = np.array(np.longdouble("1e4000"))  # finite, and beyond a double


def fit(**changes: Any) -> dsgd.FitResult:
    settings: dict[str, Any] = {"X": X, "y": Y, "algo": "hogwild", "n_threads": 1, "max_epochs": 2, **changes}
    return dsgd.fit(settings.pop("X"), settings.pop("y"), **settings)


def config(name: str, message: str, **changes: Any) -> Any:
    return pytest.param(lambda: fit(**changes), ConfigError, message, id=name)


def data(name: str, message: str, **changes: Any) -> Any:
    return pytest.param(lambda: fit(**changes), DataError, message, id=name)


def call(name: str, error: type[Exception], message: str, function: Callable[[], object]) -> Any:
    return pytest.param(function, error, message, id=name)


def broken(kind: str = "csr", **attributes: Any) -> Any:
    """Return X in a format, with attributes that its constructor would refuse; (i, value) replaces one element."""
    matrix = X.asformat(kind).copy()
    for name, value in attributes.items():
        if isinstance(value, tuple):
            getattr(matrix, name)[value[0]] = value[1]
        else:
            setattr(matrix, name, value)
    return matrix


def dense_with(value: Any, real: Any = np.float64) -> Any:
    matrix = DENSE.astype(real)
    matrix[3, 7] = value
    return matrix


def masked(values: Any) -> Any:
    return np.ma.array(values, mask=np.arange(np.size(values)).reshape(np.shape(values)) == 5)


PARAMETERS = [
    config("unknown algorithm", r"unknown algo 'hogwilt'; did you mean 'hogwild'\?", algo="hogwilt"),
    config("algorithm of a wrong type", "algo must be a name or an object of dsgd.algorithms, not 3", algo=3),
    config("algorithm as a class", "algo must be a name or an object of .*, not <class", algo=Sgd),
    config("option misspelled", "unknown option of 'hogwild' 'blocksize'; did you mean 'block_size'", blocksize=3),
    config("parameter misspelled", "unknown option of 'hogwild' 'max_epoch'; did you mean 'max_epochs'", max_epoch=3),
    config(
        "option of no algorithm",
        "unknown option of 'hogwild' 'zzz'; known: block_size, layout, merge_every, order, record_delay, write",
        zzz=3,
    ),
    config("option of another algorithm", "unknown option of 'sgd' 'write'", algo="sgd", write="racy"),
    config("option beside an object", r"options \(block_size\) belong into the Sgd object", algo=Sgd(), block_size=3),
    config("block too small", "block_size must be an integer from 1 to 9223372036854775807, not 0", block_size=0),
    config("block too large", "block_size must be an integer from 1 to .*, not 9223372036854775808", block_size=2**63),
    config("unknown write policy", "unknown write 'careful'; known: atomic, locked, racy", write="careful"),
    config("write policy as an array", r"unknown write array\(\['racy'\]", write=np.array(["racy"])),
    config("threads for one-thread algorithm", "'sgd' runs on one thread; n_threads=2 needs", algo="sgd", n_threads=2),
    config("no threads", "n_threads must be an integer from 1 to 1024, not 0", n_threads=0),
    config("joblib's threads", "n_threads must be None, the default, for all that .*; not -1", n_threads=-1),
    config("negative threads", "n_threads must be an integer from 1 to 1024, not -2", n_threads=-2),
    config("too many threads", "n_threads must be an integer from 1 to 1024, not 1000000", n_threads=10**6),
    config("scikit-learn's loss", "unknown loss 'log_loss': here it is called 'logistic'", loss="log_loss"),
    config("another's loss", "unknown loss 'mse': here it is called 'squared'", loss="mse"),
    config("unknown loss", "unknown loss 'hing'; did you mean 'hinge'", loss="hing"),
    config("loss of a wrong type", "loss must be a name or an object of dsgd.losses, not 3", loss=3),
    config("the base class of losses", r"loss must be a name or an object of .*, not Loss\(\)", loss=Loss()),
    call(
        "huber without width", ConfigError, "epsilon must be a finite number above 0, not 0", lambda: Huber(epsilon=0)
    ),
    call("negative tube", ConfigError, "epsilon must .* of at least 0, not -1", lambda: EpsilonInsensitive(epsilon=-1)),
    config("unknown penalty", "unknown penalty 'l3'; known: elasticnet, l1, l2, none", penalty="l3"),
    config("penalty of a wrong type", "unknown penalty 2; known: ", penalty=2),
    config("penalty as an array", r"unknown penalty array\(\['l2', 'l1'\]", penalty=np.array(["l2", "l1"])),
    config("negative alpha", "alpha must be a finite number of at least 0, not -1", alpha=-1),
    config("alpha not a number", "alpha must be a finite number of at least 0, not 'big'", alpha="big"),
    config("alpha beyond a float", r"alpha must be a finite number of at least 0, not 10+\.\.\.$", alpha=10**400),
    config("alpha that cannot be printed", "alpha must be .*, not a value of type int", alpha=10**5000),
    config("l1 ratio above one", "l1_ratio must be a finite number of at least 0 and at most 1, not 2", l1_ratio=2),
    config("intercept not a flag", "fit_intercept must be True or False, not 1", fit_intercept=1),
    config("no step", "step_size must be .*, not 0", step_size=0),
    config("a word that is no step", "step_size must be 'auto' or a number above 0, not 'fast'", step_size="fast"),
    config(
        "optimal without a penalty",
        "needs a penalty with alpha above 0",
        schedule="optimal",
        penalty="none",
        alpha=1e-4,
    ),
    config("unknown schedule", "unknown schedule 'constat'; did you mean 'constant'", schedule="constat"),
    config("schedule of a wrong type", "schedule must be a name or an object of dsgd.schedules, not 1", schedule=1),
    call(
        "growing steps", ConfigError, "factor must be .* above 0 and at most 1, not 1.5", lambda: EpochDecay(factor=1.5)
    ),
    call("no power", ConfigError, "power must be a finite number above 0", lambda: InverseScaling(power=0)),
    call("adaptive that grows", ConfigError, "factor must be .* at most 0.99, not 1", lambda: Adaptive(factor=1)),
    call("adaptive without an end", ConfigError, "least must be .* above 0, not 0", lambda: Adaptive(least=0)),
    call("optimal for no alpha", ConfigError, "alpha must be a finite number above 0, not 0", lambda: Optimal(alpha=0)),
    config("shares on threads", "schedule 'pa1' needs algo 'sgd', on one thread; algo is 'hogwild'", schedule="pa1"),
    config(
        "shares of a curve", "works with the losses .*, not 'logistic'", algo="sgd", schedule="pa2", loss="logistic"
    ),
    config(
        "gap of a loss without a dual",
        "gap_tol needs a loss with a duality gap, such as 'hinge', and loss 'perceptron' has none; use tol",
        algo="sgd",
        gap_tol=0.1,
        loss="perceptron",
    ),
    config(
        "gap of several decision values", "gap_tol needs .*, and loss 'softmax' has none", loss="softmax", gap_tol=1
    ),
    config("gap without a penalty", "gap_tol needs a penalty: .*; take alpha above 0", gap_tol=0.1, penalty="none"),
    config(
        "gap of private rows",
        "gap_tol needs the rows as they are, which privacy hides",
        algo="fedavg",
        gap_tol=0.1,
        workers=2,
        privacy=dsgd.Privacy(clip_norm=1.0, noise_multiplier=1.0),
    ),
    config(
        "gap of rows elsewhere",
        "gap_tol needs the rows in this process",
        algo="ssp",
        cluster=dsgd.Hosts(workers=1, token=bytes(32)),
        gap_tol=0.1,
    ),
    config("gap of alpha 0", "gap_tol needs a penalty: .*; take alpha above 0", gap_tol=0.1, alpha=0),
    config("gap of zero", "gap_tol must be a finite number above 0, not 0", algo="sdca", gap_tol=0),
    config(
        "gap of auto without a dual",
        "gap_tol needs a loss with a duality gap, .*, and loss 'perceptron' has none",
        algo="auto",
        gap_tol=0.1,
        loss="perceptron",
    ),
    config("dual under l1", "algo 'sdca' needs penalty='l2' and alpha above 0; use", algo="sdca", penalty="l1"),
    config("dual of both penalties", "algo 'sdca' needs penalty='l2'", algo="sdca", penalty="elasticnet"),
    config("dual without a penalty", "algo 'sdca' needs penalty='l2'", algo="sdca", penalty="none"),
    config("dual without strength", "algo 'sdca' needs penalty='l2' and alpha above 0", algo="sdca", alpha=0),
    config("no dual", "algo 'sdca' has no dual of loss 'perceptron'; use loss='hinge'", algo="sdca", loss="perceptron"),
    config("dual by steps", "algo 'sdca' has no step size; leave step_size and sch", algo="sdca", step_size=0.1),
    config("dual by a schedule", "algo 'sdca' has no step size; leave", algo="sdca", schedule="linear"),
    config("dual by a schedule object", "algo 'sdca' has no step size", algo="sdca", schedule=EpochDecay()),
    config("negative rest", "max_rest must be an integer from 0 to 128, not -1", algo="sdca", max_rest=-1),
    config("long rest", "max_rest must be an integer from 0 to 128, not 129", algo="sdca", max_rest=129),
    config("no merges", "merge_every must be an integer from 1 to 2147483647, not 0", algo="sdca", merge_every=0),
    config("careless", "damping must be a finite number of at least 1, not 0.5", algo="sdca", damping=0.5),
    config("no block of a dual", "block_size must be an integer from 1", algo="sdca", block_size=0),
    config("option of auto", "unknown option of 'auto' 'max_rest'", algo="auto", max_rest=3),
    config("no epochs", "max_epochs must be an integer of at least 1, not 0", max_epochs=0),
    config("half an epoch", "max_epochs must be an integer of at least 1, not 2.5", max_epochs=2.5),
    config("epochs as a flag", "max_epochs must be an integer of at least 1, not True", max_epochs=True),
    config("negative evaluation", "evaluate_every must be an integer of at least 0, not -1", evaluate_every=-1),
    config("negative tol", "tol must be a finite number of at least 0, not -1", tol=-1),
    config("tol without objective", "tol needs the objective; evaluate_every=0 never", tol=0.1, evaluate_every=0),
    config("no patience", "patience must be an integer of at least 1, not 0", patience=0),
    config("early stopping not a flag", "early_stopping must be True or False, not 1", early_stopping=1),
    config("early stopping on nothing", "early_stopping needs an eval_set", early_stopping=True),
    config(
        "early stopping without scores",
        "needs an eval_set, and evaluate_every of at least 1",
        early_stopping=True,
        eval_set=(X, Y),
        evaluate_every=0,
    ),
    config("no time", "max_seconds must be a finite number above 0, not 0", max_seconds=0),
    config("progress not a flag", "progress must be True or False, not 'yes'", progress="yes"),
    config("unknown order", "unknown order 'random'; known: free, round-robin", order="random"),
    config("unknown layout", "unknown layout 'packed'; did you mean 'inplace'", layout="packed"),
    config("delay not a flag", "record_delay must be True or False, not 1.0", record_delay=1.0),
    config("negative seed", "random_state must be an integer from 0 to 18446744073709551615, not -1", random_state=-1),
    config(
        "seed too large", "random_state must be an integer from 0 to .*, not 18446744073709551616", random_state=2**64
    ),
    config("word as a seed", "random_state must be an integer .*, not 'today'", random_state="today"),
    config("callback not callable", r"callbacks must be a sequence of callables.*, not \[3\]", callbacks=[3]),
    config(
        "callback alone", "callbacks must be a sequence of callables, such as a list, not <", callbacks=lambda *_: None
    ),
    config(
        "iterator of callbacks", "callbacks must be a sequence of callables, such as a list", callbacks=iter([print])
    ),
    config("unknown class weight", "class_weight must be a dict, 'balanced' or None, not 'even'", class_weight="even"),
    config("class weights as an array", "class_weight must be a dict, .* not array", class_weight=np.ones(2)),
    config("weight of no class", r"has the class 3; the classes are \[-1.0, 1.0\]", class_weight={3: 1}),
    config("negative class weight", r"class_weight\[1.0\] must be .* of at least 0, not -1", class_weight={1: -1}),
    config("class weight not a number", r"class_weight\[1.0\] must be .*, not 'x'", class_weight={1: "x"}),
    config("class weights of a regression", "class_weight needs classes", class_weight="balanced", loss="squared"),
    config("evaluation set not a tuple", r"eval_set must be a tuple \(X, y\)", eval_set=X),
    config("evaluation set of three", r"eval_set must be a tuple \(X, y\)", eval_set=(X, Y, Y)),
]

MATRICES = [
    data("vector", r"must have two dimensions .*, not 1; X.reshape\(-1, 1\) is one feature", X=np.zeros(60)),
    data("cube", r"X must have two dimensions \(samples, features\), not 3$", X=np.zeros((60, 2, 2))),
    data("scalar", "not 0; it is of type dict", X={"a": 1}),
    data("sparse vector", "X must have two dimensions", X=scipy.sparse.coo_array(np.ones(60))),
    data("no rows", r"X has shape \(0, 3\); it must not be empty", X=np.zeros((0, 3)), y=[]),
    data("no columns", r"X has shape \(60, 0\); it must not be empty", X=np.zeros((60, 0))),
    data("sparse without rows", r"X has shape \(0, 3\)", X=scipy.sparse.csr_array((0, 3)), y=[]),
    data("too wide", "X has 4611686018427387904 features, more than", X=scipy.sparse.csr_array((60, 2**62))),
    data("ragged lists", "X cannot be read as an array: .*inhomogeneous", X=[[1, 2], [3]]),
    data("complex", "X has dtype complex128; only real numbers", X=DENSE.astype(complex)),
    data("sparse complex", "the data of X has dtype complex128", X=X.astype(complex)),
    data("text", "X has dtype <U1; only real numbers", X=np.full((60, 2), "a")),
    data("objects that are no numbers", "X cannot be converted to float64: .*'a'", X=dense_with("a", object)),
    data("objects too large", "X cannot be converted to float64: int too large", X=dense_with(10**400, object)),
    data("dates", r"X has dtype datetime64\[s\]", X=np.zeros((60, 2), "datetime64[s]")),
    data("records", "X has dtype .*only real numbers", X=np.zeros((60, 2), "i4,i4")),
    data("masked entries", "X has masked entries; fill them in or leave them out", X=masked(DENSE)),
    data("long doubles beyond a double", r"X\[0, 0\] is inf", X=np.broadcast_to(LONG, (60, 2))),
    *(
        data(f"{value} in {name}", rf"X\[3, 7\] is {value}; fill in or leave out", X=kind(dense_with(value, real)))
        for value in (np.nan, np.inf, -np.inf)
        for name, kind, real in (
            ("dense float64", np.asarray, np.float64),
            ("dense float32", np.asarray, np.float32),
            ("sparse float64", scipy.sparse.csr_array, np.float64),
            ("sparse float32", scipy.sparse.csr_array, np.float32),
        )
    ),
    data(
        "duplicates whose sum overflows",
        r"X\[0, 0\] is inf",
        X=scipy.sparse.csr_array((np.full(120, 1e308), np.zeros(120, int), np.arange(0, 121, 2)), shape=(60, 1)),
    ),
    data("column too large", r"has column 12, outside \[0, 12\)", X=broken(indices=(3, 12))),
    data("negative column", r"has column -1, outside \[0, 12\)", X=broken(indices=(3, -1))),
    data("falling indptr", "indptr goes from", X=broken(indptr=(3, 10**6))),
    data("negative indptr", "indptr goes from", X=broken(indptr=(3, -5))),
    data("indptr not from 0", "indptr begins with 1, not 0", X=broken(indptr=(0, 1))),
    data("indptr beyond the entries", "indptr ends with 1000000, but there are", X=broken(indptr=(-1, 10**6))),
    data("indptr too short", "indptr has 60 elements; 60 rows need 61", X=broken(indptr=X.indptr[:-1])),
    data("indptr too long", "indptr has 62 elements; 60 rows need 61", X=broken(indptr=np.append(X.indptr, X.nnz))),
    data("indptr of floats", "indptr is of shape .* dtype float64; .* of integers", X=broken(indptr=X.indptr + 0.5)),
    data("indptr of two dimensions", r"indptr is of shape \(61, 1\)", X=broken(indptr=X.indptr[:, None])),
    data("indptr of nothing", "indptr is None; it must be an array of integers", X=broken(indptr=None)),
    data("indices of text", "indices is of shape .* dtype <U", X=broken(indices=X.indices.astype(str))),
    data("fewer values than indices", "indices has 127 elements and data 126", X=broken(data=X.data[:-1])),
    data("fewer indices than values", "indices has 126 elements and data 127", X=broken(indices=X.indices[:-1])),
    data("values of nothing", "data is None; it must be an array of numbers", X=broken(data=None)),
    data(
        "csc with a row too large", "the csc matrix is broken: .*; build it anew", X=broken("csc", indices=(3, 10**6))
    ),
    data("csc with a negative row", "the csc matrix is broken", X=broken("csc", indices=(3, -1))),
    data("csc with a wild indptr", "the csc matrix is broken", X=broken("csc", indptr=(3, 10**6))),
    data("bsr with a column too large", "the bsr matrix is broken", X=broken("bsr", indices=(3, 10**6))),
    data("coo with a row too large", "the coo matrix is broken", X=broken("coo", row=(3, 10**6))),
    data("dia with too few offsets", "the dia matrix is broken", X=broken("dia", offsets=np.zeros(1, int))),
    data("coo with a negative column", "the coo matrix is broken", X=broken("coo", col=(3, -1))),
]

TARGETS = [
    data("no targets", "y is missing; it can be left out only when X is a Dataset or the path", y=None),
    data("too few targets", r"y has shape \(59,\); X has 60 rows, so it must be \(60,\)", y=Y[:-1]),
    data("two columns of targets", r"y has shape \(60, 2\)", y=np.zeros((60, 2))),
    data("ragged targets", "y cannot be read as an array", y=[[1], [1, 2]] * 30),
    data("sparse targets", r"y is a sparse matrix; give y.toarray\(\)", y=scipy.sparse.csr_array(Y[:, None])),
    data("masked targets", "y has masked entries", y=masked(Y)),
    data("nan target", r"y\[\d+\] is not finite; leave the sample out", y=np.where(Y > 0, np.nan, 1)),
    data("infinite target", r"y\[\d+\] is not finite", y=np.where(Y > 0, np.inf, 1), loss="squared"),
    data("missing label", r"y\[1\] is missing \(None\); leave the sample out", y=[1, None] * 30),
    data("label beyond all types", r"y\[0\] is 1000+\.\.\.\)", y=[10**400, 1] * 30),
    data("words and numbers in an array", "y mixes strings and other labels", y=np.array(["a", 1] * 30, object)),
    data("words and numbers in a list", "y mixes strings and other labels; use one kind", y=["a", 1] * 30),
    data("dates as labels", r"y has dtype datetime64\[s\]; labels are", y=np.zeros(60, "datetime64[s]")),
    data("complex labels", "y has dtype complex128", y=np.zeros(60, complex)),
    data("bytes as labels", r"y has dtype \|S1", y=[b"a", b"b"] * 30),
    data("one class", r"y has one class only \(1.0\); hinge needs two or more", y=np.ones(60)),
    data("continuous labels", r"y looks continuous \(0.14\d+\); for regression use", y=np.arange(60) / 7),
    data("a class a row", "y has 60 different labels in 60 rows; for regression use", y=np.arange(60)),
    data("words for a regression", "y has dtype <U4; only real numbers", y=WORDS, loss="squared"),
    data(
        "targets beyond float32",
        r"y\[\d+\] is 1e\+39, beyond the range of float32; scale it, or use float64",
        X=X.astype(np.float32),
        y=np.where(Y > 0, 1e39, 0),
        loss="squared",
    ),
    call("targets whose squares overflow", DivergedError, "scale the data", lambda: fit(y=Y * 1e200, loss="squared")),
    data("too few weights", r"sample_weight has shape \(59,\); X has 60 rows", sample_weight=np.ones(59)),
    data("one weight for all", r"sample_weight has shape \(\)", sample_weight=2.0),
    data("negative weight", "the weight of sample 0 is -1.0; weights are at least 0", sample_weight=np.full(60, -1)),
    data("nan weight", "the weight of sample 7 is nan", sample_weight=np.where(np.arange(60) == 7, np.nan, 1)),
    data("infinite weight", "the weight of sample 0 is inf", sample_weight=np.broadcast_to(LONG, 60)),
    data("no weight", "all sample weights are 0; there is nothing to train on", sample_weight=np.zeros(60)),
    data("weights as words", "sample_weight has dtype", sample_weight=np.full(60, "1")),
    data("masked weights", "sample_weight has masked entries", sample_weight=masked(np.ones(60))),
    data("ragged weights", "sample_weight cannot be read as an array", sample_weight=[[1], [1, 2]] * 30),
    data(
        "weights beyond float32",
        r"sample_weight\[0\] is 1e\+39, beyond the range of float32",
        X=X.astype(np.float32),
        sample_weight=np.full(60, 1e39),
    ),
    data(
        "weights that float32 takes for 0",
        "all sample weights are 0",
        X=X.astype(np.float32),
        sample_weight=np.full(60, 1e-300),
    ),
    data(
        "weights whose product overflows",
        r"the weight of sample \d+ is inf",
        sample_weight=np.full(60, 1e300),
        class_weight={1: 1e300},
    ),
    data("too few starting weights", r"init has shape \(12,\); it must be \(13,\)", init=np.zeros(12)),
    data("starting weights of other classes", r"it must be \(3, 13\)", y=[0, 1, 2] * 20, init=np.zeros(39)),
    data("nan starting weight", r"init\[0\] is not finite", init=np.full(13, np.nan)),
    data("starting weights as words", "init has dtype", init=["a"] * 13),
    data("starting weight too large", "init cannot be converted to float64", init=[10**400] * 13),
    data("starting weights beyond float32", r"init\[0\] is 1e\+39", X=X.astype(np.float32), init=np.full(13, 1e39)),
    call(
        "starting weights that overflow", DivergedError, "before the first epoch", lambda: fit(init=np.full(13, 1e300))
    ),
    data("other features to evaluate", "eval_set: X has 11 features; .* 12", eval_set=(X[:, :11], Y)),
    data("nothing to evaluate", r"eval_set: X has shape \(0, 12\)", eval_set=(X[:0], [])),
    data("too few labels to evaluate", r"eval_set: y has shape \(59,\); X has 60 rows", eval_set=(X, Y[1:])),
    data("words to evaluate", r"eval_set: y has dtype <U4; the classes are \[-1.0, 1.0\]", eval_set=(X, WORDS)),
    data("words to evaluate a regression", "eval_set: y has dtype <U4", eval_set=(X, WORDS), loss="squared"),
    data("one row to evaluate a regression", "eval_set has one row", eval_set=(X[:1], Y[:1]), loss="squared"),
]


@pytest.mark.parametrize(("function", "error", "message"), [*PARAMETERS, *MATRICES, *TARGETS])
def test_it_is_refused(function: Callable[[], object], error: type[DsgdError], message: str) -> None:
    with pytest.raises(error, match=message):
        function()


WRONG_NUMBERS = [True, np.nan, np.inf, -np.inf, -1, "1", b"1", [1], (1,), {}, 1j, np.array(1.0), np.ones(2), Decimal(1)]
WRONG_NUMBERS += [object(), -(10**400)]
REALS = ["alpha", "l1_ratio", "step_size", "tol", "gap_tol", "max_seconds"]
INTEGERS = ["n_threads", "random_state", "block_size"]
MERGES = [{"algo": "hogwild", "merge_every": value} for value in (-1, True, 1.5, "64", 2**63)]
BATCHES = [{"algo": "minibatch", "batch_size": value} for value in (0, -1, True, 1.5, None, "64", 2**63)]
AVERAGES = [{"algo": algo, "average": value} for algo in ("sgd", "minibatch") for value in (-1, 1.5, None, "yes")]
COUNTS = ["max_epochs", "patience", "evaluate_every"]  # which have no upper bound


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *itertools.product([*REALS, *INTEGERS, *COUNTS], WRONG_NUMBERS),
        *itertools.product([*REALS, *INTEGERS], [10**5000]),
        *itertools.product(["patience"], [None]),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_every_number_refuses_what_is_none(parameter: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{parameter} must be "):
        fit(**{parameter: value})


@pytest.mark.parametrize("wrong", [*MERGES, *BATCHES, *AVERAGES], ids=str)
def test_options_refuse_what_is_no_number(wrong: dict[str, Any]) -> None:
    option = list(wrong)[1]
    with pytest.raises(ConfigError, match=f"^{option} must be an integer "):
        fit(**wrong)
