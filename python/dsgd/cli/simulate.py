"""``dsgd simulate``: a distributed algorithm on a simulated cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import dsgd
from dsgd.algorithms import resolve_algorithm
from dsgd.cli.labels import against_the_rest
from dsgd.cli.options import averages_of, check_outputs, options_of, save_outputs, step_size_of, summarise
from dsgd.cluster.simulation.description import load_simulation
from dsgd.data.reading import load
from dsgd.results.progress import decimals

__all__ = ["simulate"]


def simulate(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="libsvm text or cache file to train on")],
    cluster: Annotated[Path | None, typer.Option(help="TOML file of a cluster; default: four even workers")] = None,
    algo: Annotated[str, typer.Option(help="a distributed one of `dsgd algorithms`")] = "dissvrg",
    loss: Annotated[str, typer.Option(help="as for `dsgd fit`")] = "logistic",
    penalty: Annotated[str, typer.Option(help="l2, l1, elasticnet or none")] = "l2",
    alpha: Annotated[float, typer.Option(help="strength of the penalty")] = 1e-4,
    step_size: Annotated[str, typer.Option(help="first step size; auto chooses one")] = "auto",
    schedule: Annotated[str, typer.Option(help="as for `dsgd fit`; auto is the algorithm's own")] = "auto",
    max_epochs: Annotated[int, typer.Option(help="passes over the data, or rounds of dissvrg")] = 20,
    evaluate_every: Annotated[int, typer.Option(help="epochs between two lines of the history")] = 1,
    tol: Annotated[float | None, typer.Option(help="stop at this relative improvement of the objective")] = None,
    threads: Annotated[int | None, typer.Option(help="for the arithmetic; no result depends on it")] = None,
    seed: Annotated[int | None, typer.Option(help="random_state")] = None,
    positive: Annotated[
        list[str] | None, typer.Option(help="train this label (repeat for several) against the rest")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="option of the algorithm; repeat for several"),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="write the model here (safetensors)")] = None,
    history: Annotated[Path | None, typer.Option(help="write the history here (JSON)")] = None,
    trace: Annotated[Path | None, typer.Option(help="write what happened here; see dsgd.cluster.Trace")] = None,
    gantt: Annotated[Path | None, typer.Option(help="draw what happened here (needs matplotlib)")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
) -> None:
    """Train a linear model on TRAIN, on a cluster in virtual time."""
    algorithm = resolve_algorithm(algo, options_of(option or []))
    check_outputs({"TRAIN": train, "--cluster": cluster}, model=model, history=history, trace=trace, gantt=gantt)
    simulation = dsgd.Simulation() if cluster is None else load_simulation(cluster)
    data = load(train, n_threads=threads)
    result = dsgd.fit(
        replace(data, y=against_the_rest(data.y, positive or [])),
        algo=algorithm,
        loss=loss,
        penalty=penalty,
        alpha=alpha,
        step_size=step_size_of(step_size),
        schedule=schedule,
        max_epochs=max_epochs,
        evaluate_every=evaluate_every,
        tol=tol,
        n_threads=threads,
        cluster=simulation,
        progress=not quiet,
        random_state=seed,
    )
    save_outputs(result, model, history)
    if trace is not None and result.trace is not None:
        result.trace.save(trace)
    if gantt is not None and result.trace is not None:
        _draw(result.trace, gantt)
    summarise(_summary(result), model, history, trace)


def _draw(trace: dsgd.cluster.Trace, path: Path) -> None:
    from dsgd.cluster.simulation.gantt import draw_gantt  # matplotlib is slow to import

    draw_gantt(trace).figure.savefig(path, dpi=120)


def _summary(result: dsgd.FitResult) -> str:
    last = result.history[-1]
    waiting = last.waiting or ()
    sent = sum(last.bytes_sent or ()) + sum(last.bytes_received or ())
    objective = "objective not evaluated" if last.objective is None else f"objective {decimals(last.objective, 6)}"
    return (
        f"{last.effective_passes:.1f} passes in {last.virtual_seconds:.4f} virtual s on {len(waiting)} nodes, waiting "
        f"{min(waiting):.4f} to {max(waiting):.4f} s, {sent / 1e6:.1f} MB on the wire, {objective}"
        f"{averages_of(result)}"
    )
