"""``dsgd fit``: from a file of data to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

import dsgd
from dsgd.algorithms import resolve_algorithm
from dsgd.cli import fit_options as of
from dsgd.cli.labels import against_the_rest
from dsgd.cli.options import averages_of, check_outputs, options_of, partition_of, save_outputs, step_size_of, summarise
from dsgd.data.inputs import match_features
from dsgd.data.libsvm import ReadOptions
from dsgd.data.reading import load_alike
from dsgd.errors import ConfigError
from dsgd.results.progress import decimals

__all__ = ["fit"]


def fit(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="libsvm text or cache file to train on")],
    test: Annotated[Path | None, typer.Option(help="file to score every epoch on")] = None,
    algo: of.Algo = "hogwild",
    loss: of.LossName = "hinge",
    penalty: of.Penalty = "auto",
    alpha: of.Alpha = 1e-4,
    n_clusters: of.NClusters = None,
    hidden: of.Hidden = None,
    l1_ratio: of.L1Ratio = 0.15,
    intercept: of.Intercept = True,
    step_size: of.StepSize = "auto",
    schedule: of.ScheduleName = "auto",
    max_epochs: Annotated[
        int | None, typer.Option(help="passes over the data; default: 20, with --gap-tol 1000", show_default=False)
    ] = None,
    gap_tol: Annotated[float | None, typer.Option(help="stop when the duality gap is this small")] = None,
    tol: of.Tol = None,
    patience: of.Patience = 5,
    early_stopping: of.EarlyStopping = False,
    max_seconds: of.MaxSeconds = None,
    threads: Annotated[int | None, typer.Option(help="default: all that the process may use")] = None,
    workers: Annotated[int | None, typer.Option(help="processes, for a distributed algorithm")] = None,
    partition: of.Partition = "equal",
    checkpoint: of.Checkpoint = None,
    checkpoint_every: of.CheckpointEvery = 10,
    resume: of.Resume = None,
    seed: of.Seed = None,
    positive: of.Positive = None,
    index_base: of.IndexBase = "auto",
    float32: of.Float32 = False,
    option: of.AlgoOption = None,
    model: of.Model = None,
    history: of.History = None,
    quiet: of.Quiet = False,
) -> None:
    """Train a model on TRAIN."""
    algorithm = resolve_algorithm(algo, options_of(option or []))
    data_files = {"TRAIN": train, "--test": test}
    check_outputs({**data_files, "--resume": resume}, model=model, history=history)
    check_outputs(data_files, model=model, history=history, checkpoint=checkpoint)  # it may be the file of --resume
    cluster = _cluster(workers, partition, checkpoint, checkpoint_every, resume)
    paths = [train] if test is None else [train, test]
    how = ReadOptions(dtype=np.float32 if float32 else None, index_base=index_base, n_threads=threads)
    files = [replace(file, y=against_the_rest(file.y, positive or [])) for file in load_alike(paths, how)]
    data = files[0]
    eval_set = None
    if test is not None:
        eval_set = _as_wide(files[1], data)
    result = dsgd.fit(
        data,
        algo=algorithm,
        loss=of.loss_of(loss, n_clusters, hidden),
        penalty=penalty,
        alpha=alpha,
        l1_ratio=l1_ratio,
        fit_intercept=intercept,
        step_size=step_size_of(step_size),
        schedule=schedule,
        max_epochs=max_epochs,
        tol=tol,
        gap_tol=gap_tol,
        patience=patience,
        early_stopping=early_stopping,
        max_seconds=max_seconds,
        n_threads=threads,
        cluster=cluster,
        eval_set=eval_set,
        progress=not quiet,
        random_state=seed,
    )
    save_outputs(result, model, history)
    summarise(_summary(result, data), model, history)


def _as_wide(test: dsgd.data.Dataset, train: dsgd.data.Dataset) -> dsgd.data.Dataset:
    """Return the test data with as many columns as the training data.

    If both have names of features, the test data is returned as it is.
    """
    if test.feature_names is not None and train.feature_names is not None:
        return test  # `dsgd.fit` compares the names
    return replace(test, X=match_features(test.X, train.n_features), feature_names=None)


def _cluster(
    workers: int | None, partition: str, checkpoint: Path | None, checkpoint_every: int, resume: Path | None
) -> dsgd.LocalCluster | None:
    if workers is None:
        if checkpoint is not None or resume is not None:
            raise ConfigError("--checkpoint and --resume need --workers")
        if partition != "equal":
            raise ConfigError("--partition needs --workers")
        return None
    every = None if checkpoint is None else checkpoint_every
    return dsgd.LocalCluster(
        workers=workers,
        partition=partition_of(partition),
        checkpoint=checkpoint,
        checkpoint_every=every,
        resume=resume,
    )


def _summary(result: dsgd.FitResult, data: dsgd.data.Dataset) -> str:
    last = result.history[-1]
    rate = result.history.passes_per_second() * data.n_stored * len(result.model.weights)
    objective = "objective not evaluated" if last.objective is None else f"objective {decimals(last.objective, 6)}"
    stopped = "" if result.stop_reason == "max_epochs" else f", stopped by {result.stop_reason}"
    gap = "" if last.gap is None else f", at most {last.gap:.2%} above the optimum"
    score = "" if last.score is None else f", test score {decimals(last.score, 4)}"
    return (
        f"{data.n_samples} rows, {data.n_features} features, {data.n_stored} non-zeros: {last.epoch} passes of "
        f"{result.algorithm.name} in {last.seconds:.3f} s{stopped} ({rate / 1e6:.0f} M non-zeros/s), "
        f"{objective}{gap}{score}{averages_of(result)}"
    )
