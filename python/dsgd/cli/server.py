"""``dsgd server``: the driver and the parameter server of a run whose workers are started on any hosts."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

import dsgd
from dsgd.algorithms import resolve_algorithm
from dsgd.cli import fit_options as of
from dsgd.cli.labels import against_the_rest
from dsgd.cli.options import averages_of, check_outputs, options_of, partition_of, save_outputs, step_size_of, summarise
from dsgd.cli.streams import report
from dsgd.cluster.remote.handshake import Certificates
from dsgd.cluster.remote.ranks import read_token, write_token
from dsgd.data.dataset import Dataset
from dsgd.data.reading import load
from dsgd.errors import ConfigError
from dsgd.results.progress import decimals

__all__ = ["certificates_of", "server"]

TokenFile = Annotated[Path | None, typer.Option(help="file of the run's secret; default: DSGD_TOKEN")]
Certificate = Annotated[Path | None, typer.Option(help="PEM certificate of this host, for TLS")]
Key = Annotated[Path | None, typer.Option(help="PEM key of the certificate; default: in its file")]
Authority = Annotated[Path | None, typer.Option(help="PEM certificate that signed those of all hosts")]


def server(
    world: Annotated[int, typer.Option(help="number of workers")],
    bind: Annotated[str, typer.Option(help="address to listen at; 0.0.0.0 is all of this host")] = "127.0.0.1",
    port: Annotated[str, typer.Option(help="port, range such as 7000-7010, or 0 for any free one")] = "0",
    advertise: Annotated[
        str | None, typer.Option(help="address that workers are told, if not the one they dial")
    ] = None,
    token_file: TokenFile = None,
    certificate: Certificate = None,
    key: Key = None,
    authority: Authority = None,
    test: Annotated[Path | None, typer.Option(help="file to score every epoch on")] = None,
    positive: of.Positive = None,
    index_base: of.IndexBase = "auto",
    algo: of.Algo = "ssp",
    loss: of.LossName = "hinge",
    penalty: of.Penalty = "auto",
    alpha: of.Alpha = 1e-4,
    n_clusters: of.NClusters = None,
    hidden: of.Hidden = None,
    l1_ratio: of.L1Ratio = 0.15,
    intercept: of.Intercept = True,
    step_size: of.StepSize = "auto",
    schedule: of.ScheduleName = "auto",
    max_epochs: Annotated[int, typer.Option(help="passes over the data")] = 20,
    tol: of.Tol = None,
    patience: of.Patience = 5,
    early_stopping: of.EarlyStopping = False,
    max_seconds: of.MaxSeconds = None,
    partition: of.Partition = "equal",
    shards: Annotated[int, typer.Option(help="of the parameter server; all but the first take ports of their own")] = 1,
    checkpoint: of.Checkpoint = None,
    checkpoint_every: of.CheckpointEvery = 10,
    resume: Annotated[
        Path | None, typer.Option(help="go on from this checkpoint, if it is there; a first start has none")
    ] = None,
    on_lost: Annotated[str, typer.Option(help="continue without a lost worker, or fail")] = "continue",
    restart_workers: Annotated[int, typer.Option(help="how often each worker may come back")] = 0,
    heartbeat_deadline: Annotated[float, typer.Option(help="seconds of silence after which a worker is lost")] = 30.0,
    join_deadline: Annotated[float, typer.Option(help="seconds to wait for workers")] = 300.0,
    seed: of.Seed = None,
    option: of.AlgoOption = None,
    model: of.Model = None,
    history: of.History = None,
    quiet: of.Quiet = False,
) -> None:
    """Wait for --world workers (`dsgd worker`), and train a model on their rows."""
    algorithm = resolve_algorithm(algo, options_of(option or []))
    check_outputs({"--test": test, "--resume": resume}, model=model, history=history)
    check_outputs({"--test": test}, model=model, history=history, checkpoint=checkpoint)
    hosts = dsgd.Hosts(
        workers=world,
        token=_token(token_file),
        bind=bind,
        port=_port_of(port),
        advertise=advertise,
        certificates=certificates_of(certificate, key, authority),
        partition=partition_of(partition),
        servers=shards,
        checkpoint=checkpoint,
        checkpoint_every=None if checkpoint is None else checkpoint_every,
        resume=resume if resume is not None and resume.exists() else None,
        on_lost=on_lost,
        restart_workers=restart_workers,
        heartbeat_deadline=heartbeat_deadline,
        join_deadline=join_deadline,
        on_listen=lambda host, number: report(
            f"dsgd: waiting for {world} worker(s) at {host or bind}:{number}: dsgd worker --server HOST:{number}"
        ),
    )
    eval_set = None if test is None else _scored_on(test, positive or [], index_base)
    result = dsgd.fit(
        None,
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
        patience=patience,
        early_stopping=early_stopping,
        max_seconds=max_seconds,
        cluster=hosts,
        eval_set=eval_set,
        progress=not quiet,
        random_state=seed,
    )
    save_outputs(result, model, history)
    summarise(_summary(result, world), model, history)


def _scored_on(path: Path, positive: list[str], index_base: str) -> Dataset:
    data = load(path, index_base=index_base)
    return dataclasses.replace(data, y=against_the_rest(data.y, positive))


def certificates_of(certificate: Path | None, key: Path | None, authority: Path | None) -> Certificates | None:
    """Return the certificates that options name; None if there are none."""
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or authority is None:
        raise ConfigError("TLS needs --certificate and --authority")
    return Certificates(certificate=str(certificate), key=str(key or certificate), authority=str(authority))


def _token(path: Path | None) -> bytes:
    """Return the token of a file, which is made if it is not there, or of the environment."""
    if path is not None and str(path) != "-" and not path.exists():
        write_token(path)
        report(f"dsgd: wrote a new token to {path}: give it to all workers")
    return read_token(path, os.environ)


def _port_of(text: str) -> int | tuple[int, int]:
    ports = text.split("-")
    if len(ports) > 2 or not all(each.strip().isdecimal() for each in ports):
        raise ConfigError(f"--port takes a port, or a range such as 7000-7010, not {text!r}")
    return int(ports[0]) if len(ports) == 1 else (int(ports[0]), int(ports[1]))


def _summary(result: dsgd.FitResult, world: int) -> str:
    last = result.history[-1]
    objective = "objective not evaluated" if last.objective is None else f"objective {decimals(last.objective, 6)}"
    score = "" if last.score is None else f", test score {decimals(last.score, 4)}"
    stopped = "" if result.stop_reason == "max_epochs" else f", stopped by {result.stop_reason}"
    return (
        f"{last.effective_passes:.1f} passes of {result.algorithm.name} on {world} worker(s) in {last.seconds:.3f} s"
        f"{stopped}, {objective}{score}{averages_of(result)}"
    )
