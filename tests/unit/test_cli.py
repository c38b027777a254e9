from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_command as run
from commands import run_process
from problems import make_problem

import dsgd.cli
from dsgd.data import Dataset, load_libsvm, save_libsvm

X, Y = make_problem(200, 12, seed=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_libsvm(tmp_path / "train.svm", X[:150], Y[:150])
    save_libsvm(tmp_path / "test.svm", X[150:, :11], Y[150:])  # the last feature does not occur
    return tmp_path


def test_fit_then_predict(folder: Path) -> None:
    command = "fit train.svm --test test.svm --algo hogwild --loss hinge --alpha 1e-4 --max-epochs 10 --threads 2"
    more = "--option write=atomic --step-size 0.2 --seed 1 --model m.safetensors --history h.json"
    done = run_process(*command.split(), *more.split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "150 rows, 12 features" in done.stdout
    assert "10 passes of hogwild in" in done.stdout
    assert len([line for line in done.stderr.splitlines() if line.startswith("epoch")]) == 10
    history = json.loads((folder / "h.json").read_text())
    assert history[-1]["epoch"] == 10
    assert history[-1]["score"] > 0.8
    result = dsgd.load(folder / "m.safetensors")
    assert result.algorithm == dsgd.algorithms.Hogwild(write="atomic")

    done = run_process("predict", "m.safetensors", "test.svm", cwd=folder)
    assert done.returncode == 0, done.stderr
    test = X[150:].toarray()
    test[:, 11] = 0
    assert [float(line) for line in done.stdout.split()] == result.predict(test).tolist()
    assert done.stderr == f"score {history[-1]['score']:.4f} on 50 rows\n"
    to_file = run_process("predict", "m.safetensors", "test.svm", "--output", "out.txt", cwd=folder)
    assert to_file.stdout == ""
    assert (folder / "out.txt").read_text() == done.stdout


def test_one_class_against_the_rest(tmp_path: Path) -> None:
    labels = np.where(Y > 0, 3, np.where(np.arange(200) % 2, 1, 2))
    save_libsvm(tmp_path / "train.svm", X, labels)
    common = ["--step-size", "0.2", "--quiet", "--model", "m"]
    assert run("fit", "train.svm", *common, cwd=tmp_path).returncode == 0
    assert dsgd.load(tmp_path / "m").coef_.shape == (3, 12)
    assert run("fit", "train.svm", "--positive", 3, *common, cwd=tmp_path).returncode == 0
    done = run("predict", "m", "train.svm", "--positive", 3, cwd=tmp_path)
    assert float(done.stderr.split()[1]) > 0.9
    assert set(done.stdout.split()) == {"1", "-1"}
    several = run("fit", "train.svm", "--positive", 1, "--positive", 2, *common, cwd=tmp_path)
    assert several.returncode == 0
    assert (dsgd.load(tmp_path / "m").predict(X) == np.where(Y > 0, -1, 1)).mean() > 0.9
    done = run("fit", "train.svm", "--positive", 9, *common, cwd=tmp_path)
    assert "no row has the label 9; the labels are [1.0, 2.0, 3.0]" in done.stderr


def test_files_number_their_features_alike(tmp_path: Path) -> None:
    """A test file without feature 0 is still read as numbered from 0, in `fit` and in `predict`."""
    save_libsvm(tmp_path / "train.svm", X, Y, index_base="zero")
    rest = np.flatnonzero(X[:, [0]].toarray().ravel() == 0)
    save_libsvm(tmp_path / "test.svm", X[rest], Y[rest], index_base="zero")
    fit = [
        "fit",
        "train.svm",
        "--test",
        "test.svm",
        "--algo",
        "sgd",
        "--seed",
        "0",
        "--step-size",
        "0.2",
        "--quiet",
        "--model",
        "m",
    ]
    done = run(*fit, cwd=tmp_path)
    expected = f"{dsgd.load(tmp_path / 'm').score(X[rest], Y[rest]):.4f}"
    assert f"test score {expected}" in done.stdout
    assert run("predict", "m", "test.svm", cwd=tmp_path).stderr == f"score {expected} on {len(rest)} rows\n"
    shifted = run("predict", "m", "test.svm", "--index-base", "one", cwd=tmp_path)
    assert shifted.stderr != f"score {expected} on {len(rest)} rows\n"


def test_a_model_of_words_predicts_words(folder: Path) -> None:
    dsgd.fit(X, np.where(Y > 0, "spam", "ham"), algo="sgd").save(folder / "words")
    done = run("predict", "words", "train.svm", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"spam", "ham"}
    assert done.stderr.startswith("no score: the labels of the data")


def test_one_row_of_a_regression_is_predicted_without_a_score(folder: Path) -> None:
    result = dsgd.fit(X, Y, algo="sgd", loss="squared")
    result.save(folder / "regression")
    save_libsvm(folder / "row.svm", X[:1], Y[:1])
    done = run("predict", "regression", "row.svm", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == result.predict(X[:1])[0]
    assert done.stderr == "no score: R2 needs at least two rows\n"


def test_a_label_that_is_not_there_is_said_before_anything_is_written(folder: Path) -> None:
    dsgd.fit(X, Y, algo="sgd").save(folder / "model")
    done = run_process("predict", "model", "train.svm", "--positive", 7, "--output", "out.txt", cwd=folder)
    assert done.returncode == 2
    assert "no row has the label 7" in done.stderr
    assert not (folder / "out.txt").exists()


@pytest.mark.parametrize(("command", "names"), [("fit", ["TRAIN"]), ("predict", ["MODEL", "DATA"])])
def test_the_usage_calls_arguments_as_the_help_does(tmp_path: Path, command: str, names: list[str]) -> None:
    usage = next(line for line in run(command, "--help", cwd=tmp_path).stdout.splitlines() if "Usage" in line)
    assert re.findall(r"\w+", usage.partition("[OPTIONS]")[2]) == names


def test_convert_to_a_cache_file_train_and_convert_back(folder: Path) -> None:
    done = run("convert", "train.svm", "train.cache", cwd=folder)
    assert done.returncode == 0, done.stderr
    sizes = [(folder / name).stat().st_size for name in ("train.svm", "train.cache")]
    assert done.stdout.startswith(f"150 rows, 12 features, {X[:150].nnz} non-zeros: {sizes[0]} bytes to {sizes[1]} in ")
    assert done.stdout.endswith(" MB/s)\n")
    assert run("convert", "test.svm", "test.cache", cwd=folder).returncode == 0
    common = ["--algo", "sgd", "--seed", 0, "--step-size", 0.2, "--quiet"]
    summaries = []
    for kind in ("svm", "cache"):
        done = run("fit", f"train.{kind}", "--test", f"test.{kind}", *common, "--model", kind, cwd=folder)
        assert done.returncode == 0, done.stderr
        summaries.append(done.stdout.partition("test score")[2])
    assert summaries[0] == summaries[1] != ""
    models = [dsgd.load(folder / kind) for kind in ("svm", "cache")]
    assert (models[0].coef_ == models[1].coef_).all()
    assert models[1].index_base == "one"
    predictions = {run("predict", "cache", f"test.{kind}", cwd=folder).stdout for kind in ("svm", "cache")}
    assert len(predictions) == 1
    assert run("convert", "train.cache", "back.svm", cwd=folder).returncode == 0
    assert (folder / "back.svm").read_bytes() == (folder / "train.svm").read_bytes()


def test_options_reach_the_conversion(folder: Path) -> None:
    for name, more in {
        "plain": [],
        "single": ["--float32"],
        "shifted": ["--index-base", "zero"],
        "wide": ["--n-features", "20"],
    }.items():
        done = run("convert", "train.svm", name, *more, "--threads", 1, cwd=folder)
        assert done.returncode == 0, done.stderr
    data = {name: Dataset.load(folder / name) for name in ("plain", "single", "shifted", "wide")}
    assert [each.X.dtype for each in data.values()] == [np.float64, np.float32, np.float64, np.float64]
    assert [each.X.shape[1] for each in data.values()] == [12, 12, 13, 20]
    assert [each.index_base for each in data.values()] == ["one", "one", "zero", "one"]
    assert run("convert", "plain", "plain.svm", cwd=folder).returncode == 0
    assert run("convert", "plain", "zero.svm", "--index-base", "zero", cwd=folder).returncode == 0
    widths = [load_libsvm(folder / name, index_base="zero")[0].shape[1] for name in ("plain.svm", "zero.svm")]
    assert widths == [13, 12]


def test_files_that_number_their_features_otherwise_do_not_mix(folder: Path) -> None:
    assert run("convert", "train.svm", "one.cache", cwd=folder).returncode == 0
    assert run("convert", "train.svm", "zero.cache", "--index-base", "zero", cwd=folder).returncode == 0
    done = run("fit", "one.cache", "--test", "zero.cache", cwd=folder)
    assert done.returncode == 2
    assert "is called one by one.cache and zero by zero.cache" in done.stderr
    assert run("fit", "one.cache", "--quiet", "--model", "m", cwd=folder).returncode == 0
    assert "is called one by index_base and zero by zero.cache" in run("predict", "m", "zero.cache", cwd=folder).stderr


def test_dense_data_and_labels_of_words_in_cache_files(folder: Path) -> None:
    words = np.where(Y > 0, "spam", "ham")
    Dataset(X=X.toarray(), y=words).save(folder / "words.cache")
    done = run("fit", "words.cache", "--quiet", "--step-size", "0.2", "--model", "m", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "200 rows, 12 features, 2400 non-zeros" in done.stdout
    done = run("predict", "m", "words.cache", cwd=folder)
    assert float(done.stderr.split()[1]) > 0.8
    assert set(done.stdout.split()) == {"spam", "ham"}
    done = run("fit", "words.cache", "--quiet", "--positive", "spam", "--model", "m", cwd=folder)
    assert dsgd.load(folder / "m").classes_.tolist() == [-1, 1]  # type: ignore[union-attr]


def test_options_reach_the_fit(folder: Path) -> None:
    common = ["--algo", "sgd", "--seed", "0", "--quiet", "--model"]
    models = {}
    for name, more in {
        "plain": [],
        "single": ["--float32"],
        "bare": ["--no-intercept"],
        "free": ["--penalty", "none"],
        "strong": ["--alpha", "0.1"],
        "constant": ["--schedule", "constant"],
        "logistic": ["--loss", "logistic"],
        "blocks": ["--option", "block_size=8"],
        "sparse": ["--penalty", "elasticnet", "--l1-ratio", "0.5", "--alpha", "0.05"],
        "short": ["--max-seconds", "1e-9"],
        "still": ["--tol", "0.5", "--patience", "1"],
        "best": ["--test", "test.svm", "--early-stopping", "--schedule", "constant", "--patience", "2"],
    }.items():
        done = run("fit", "train.svm", *common, name, *more, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        models[name] = dsgd.load(folder / name)
    assert models["single"].coef_.dtype == np.float32
    assert models["bare"].intercept_ == 0
    reasons = {name: model.stop_reason for name, model in models.items()}
    assert [reasons[name] for name in ("plain", "short", "still")] == ["max_epochs", "max_seconds", "tol"]
    assert len({model.coef_.tobytes() for model in models.values()}) == len(models)


def test_a_distributed_fit_leaves_a_checkpoint_to_go_on_from(folder: Path) -> None:
    command = "fit train.svm --algo ssp --loss logistic --workers 2 --option staleness=0 --seed 1 --max-epochs 4"
    more = ("--checkpoint run.checkpoint --checkpoint-every 5 --model m", "--resume run.checkpoint --model n")
    for arguments in more:
        done = run(*command.split(), *arguments.split(), cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "passes of ssp in" in done.stdout
    assert (dsgd.load(folder / "m").coef_ == dsgd.load(folder / "n").coef_).all()
    done = run(*command.split(), "--partition", "shares=3,1", "--model", "n", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (dsgd.load(folder / "m").coef_ != dsgd.load(folder / "n").coef_).any()
    done = run(*command.split(), "--checkpoint", "m", "--model", "m", cwd=folder)
    assert done.returncode == 2
    assert "--model and --checkpoint both name m" in done.stderr


def test_gap_tol_reaches_the_fit_and_the_gap_is_told(folder: Path) -> None:
    more = "--gap-tol 0.01 --quiet --model m --history h.json"
    done = run("fit", "train.svm", *more.split(), "--algo", "auto", "--alpha", "0.01", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert dsgd.load(folder / "m").stop_reason == "gap_tol"
    gap = json.loads((folder / "h.json").read_text())[-1]["gap"]
    assert 0 <= gap <= 0.01
    assert " passes of sdca in " in done.stdout
    assert "stopped by gap_tol" in done.stdout
    assert f", at most {gap:.2%} above the optimum" in done.stdout


def test_algorithms_lists_the_registry(tmp_path: Path) -> None:
    done = run_process("algorithms", cwd=tmp_path)
    assert done.returncode == 0
    for name in dsgd.algorithms.REGISTRY:
        assert name in done.stdout
    assert "write=racy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit none.svm", "No such file or directory"),
        ("fit train.svm --algo hogwilt", "did you mean 'hogwild'"),
        ("fit train.svm --gap-tol 0.1 --alpha 0", "gap_tol needs a penalty: without one no bound"),
        ("fit train.svm --resume x", "--checkpoint and --resume need --workers"),
        ("fit train.svm --partition by_label", "--partition needs --workers"),
        ("fit train.svm --workers 2 --partition by-label", "did you mean 'by_label'"),
        ("fit train.svm --option write", "--option takes KEY=VALUE, not 'write'"),
        ("fit train.svm --option block_size={[]:1}", "block_size must be an integer"),
        ("fit train.svm --option wirte=atomic", "did you mean 'write'"),
        ("fit train.svm --model none/m", "No such file or directory"),
        ("fit train.svm --model .", "is not a regular file and cannot be replaced"),
        (f"fit train.svm --model {'m' * 300}", "File name too long"),
        ("fit train.svm --model m --history ./m", "--model and --history both name m"),
        ("fit train.svm --option alpha=3", "unknown option of 'hogwild' 'alpha'"),
        ("fit train.svm --index-base two", "unknown index_base 'two'"),
        ("fit packed.svm", "packed.svm is packed, and broken"),
        ("fit huge.svm", "is 2^31 or more, and columns have 32 bits"),
        ("fit train.svm --threads 0", "n_threads must be an integer from 1 to 1024, not 0"),
        ("fit broken.svm", "broken.svm:1:3: expected index:value"),
        ("predict broken.svm train.svm", "is not a model of dsgd"),
        ("fit train.svm --positive spam", "--positive 'spam' is not a number"),
        ("convert train.svm ./train.svm", "IN and OUT are both train.svm"),
        ("fit table.csv", "found 'a,b,c'; is this libsvm text? Tables are read by dsgd.data.load_csv"),
        ("convert words.cache m.cache", "IN is a cache file, so OUT would be text: do not call both *.cache"),
        ("convert train.svm m.svm", "IN is text, so OUT would be a cache file: do not call both *.svm"),
        ("convert none.svm m", "No such file or directory"),
        ("convert train.svm none/m", "No such file or directory"),
        ("convert broken.svm m", "broken.svm:1:3: expected index:value"),
        ("convert words.cache m", "the labels of a libsvm file are numbers, not strings such as"),
        ("convert train.svm m --n-features 3", "train.svm has 12 features; n_features=3 is too small"),
        ("fit cut.cache", "cut.cache is not a cache file of dsgd"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(folder: Path, arguments: str, message: str) -> None:
    (folder / "broken.svm").write_text("1 what\n")
    (folder / "table.csv").write_text("a,b,c\n1,2,3\n")
    (folder / "huge.svm").write_text("1 9223372036854775807:1\n-1 1:1\n")
    Dataset(X=X, y=np.where(Y > 0, "spam", "ham")).save(folder / "words.cache")
    (folder / "cut.cache").write_bytes((folder / "words.cache").read_bytes()[:-1])
    (folder / "packed.svm").write_bytes(gzip.compress(b"1 1:1\n")[:-8])
    done = run(*arguments.split(), cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("dsgd: error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(folder.glob("m*"))


@pytest.mark.parametrize("name", ["{}", "./{}", "link-{}", "hard-{}"])
@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("fit train.svm --model OUT", "train.svm"),
        ("fit train.svm --history OUT", "train.svm"),
        ("fit train.svm --test test.svm --model OUT", "test.svm"),
        ("fit train.svm --workers 2 --algo ssp --loss logistic --checkpoint OUT", "train.svm"),
        ("fit train.svm --workers 2 --algo ssp --loss logistic --resume old.checkpoint --model OUT", "old.checkpoint"),
        ("simulate train.svm --model OUT", "train.svm"),
        ("simulate train.svm --trace OUT", "train.svm"),
        ("simulate train.svm --cluster cluster.toml --gantt OUT", "cluster.toml"),
        ("predict model test.svm --output OUT", "test.svm"),
        ("predict model test.svm --output OUT", "model"),
        ("convert train.svm OUT", "train.svm"),
        ("convert train.cache OUT", "train.cache"),
    ],
)
def test_an_output_never_takes_the_place_of_an_input(folder: Path, arguments: str, read: str, name: str) -> None:
    assert run("fit", "train.svm", "--model", "model", "--quiet", cwd=folder).returncode == 0
    (folder / "test.svm").write_bytes((folder / "train.svm").read_bytes())
    for other in ("old.checkpoint", "cluster.toml"):
        (folder / other).write_text("[cluster]")
    assert run("convert", "train.svm", "train.cache", cwd=folder).returncode == 0
    output = folder / name.format(read)
    if name.startswith("link"):
        output.symlink_to(read)
    elif name.startswith("hard"):
        output.hardlink_to(folder / read)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run(*(name.format(read) if word == "OUT" else word for word in arguments.split()), cwd=folder)
    assert done.returncode == 2
    assert "would replace it; name another" in done.stderr or "IN and OUT are both" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_predict_writes_large_labels_exactly(folder: Path) -> None:
    labels = np.where(Y > 0, 2**53 + 1, 2**53 + 3)
    data = Dataset(X=X, y=labels)
    data.save(folder / "large.cache")
    assert run("fit", "large.cache", "--model", "model", "--quiet", cwd=folder).returncode == 0
    done = run("predict", "model", "large.cache", cwd=folder)
    assert {int(line) for line in done.stdout.split()} == {2**53 + 1, 2**53 + 3}
    assert [int(line) for line in done.stdout.split()] == dsgd.load(folder / "model").predict(X).tolist()


@pytest.mark.parametrize("place", ["dsgd.cli", "typer"])
def test_ctrl_c_while_the_command_starts_leaves_no_traceback(place: str, tmp_path: Path) -> None:
    """A module that is imported then, and one that interrupts the process in its place."""
    program = f"""
import importlib.abc, importlib.machinery, os, signal, sys
class Interrupt(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == {place!r} else None
    def exec_module(self, module):
        os.kill(os.getpid(), signal.SIGINT)
from dsgd.__main__ import main
sys.meta_path.insert(0, Interrupt())
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == -signal.SIGINT
    assert (done.stdout, done.stderr) == ("", "")


def test_ctrl_c_before_a_command_begins_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dsgd.cli.app", interrupted)
    with pytest.raises(SystemExit) as ended:
        dsgd.cli.main()
    assert ended.value.code == 130
