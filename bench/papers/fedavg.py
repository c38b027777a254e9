"""FedAvg (McMahan et al. 2017), table 1: rounds until the 2NN has 97 % of MNIST's test images right.

    python bench/papers/fedavg.py

The network has two hidden layers of 200 units (199,210 parameters). Of 100 clients with 600 images each a tenth is
drawn in a round, and makes one pass in batches of 10. The images are dealt at random (IID), or sorted by digit and cut
into 200 shards, of which a client has two. Steps are constant. Of a grid of rates the one that needs the fewest rounds
with seed 0 is run with further seeds, which change the deal, the initial weights, the draws and the orders of rows.
Two processes share the runs. A run ends with the first round that reaches the target, with the last one that is
allowed, or when training breaks down. Draws --output, and writes the same as JSON beside it.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder of `common`

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import dsgd
from common.machine import about, save
from common.options import figure_options
from common.real_sets import SETS, Parts
from dsgd._common.files import replacing
from dsgd.algorithms import FedAvg
from dsgd.algorithms.distributed import Program
from dsgd.cluster.program.commands import Pull
from dsgd.cluster.program.task import WorkerTask
from dsgd.data.inputs import as_matrix
from dsgd.errors import DivergedError
from dsgd.losses import MLP
from dsgd.models.mlp import MLPModel

TARGET = 0.97
NETWORK = MLP((200, 200))
OPTIONS: dict[str, Any] = {"clients": 100, "fraction": 0.1, "local_epochs": 1, "batch_size": 10}
RATES = (0.4, 0.2, 0.1)
SEEDS = 5
COLOURS = {0.4: "tab:orange", 0.2: "tab:green", 0.1: "gray"}  # of the rates that are not the best


class Setting(NamedTuple):
    """How the images are dealt, and how many rounds a run may take."""

    partition: dsgd.cluster.Partition | str
    paper: int  # rounds of table 1
    allowed: int
    allowed_in_grid: int


SETTINGS = {
    "IID": Setting("equal", 87, 150, 150),
    "by label": Setting(dsgd.cluster.ByLabel(2), 664, 900, 300),
}


class Run(NamedTuple):
    """One run.

    Attributes
    ----------
    accuracies : list of float
        The share of the test images that are right before the first round, and after each.
    seconds : float
        Time of a processor, evaluations included: others may use the machine.
    """

    setting: str
    rate: float
    seed: int
    accuracies: list[float]
    seconds: float

    @property
    def rounds(self) -> int | None:
        """The rounds that it took to the target; None: it did not reach it."""
        return len(self.accuracies) - 1 if self.accuracies[-1] >= TARGET else None


@functools.cache
def data() -> Parts:
    """Return MNIST."""
    return SETS["mnist"]()


def accuracy(weights: NDArray[Any]) -> float:
    """Return the share of the test images that a network has right."""
    model = MLPModel(weights=weights[None], loss=NETWORK, classes=np.arange(10))
    outputs = model.decide(as_matrix(data().X_test, 1), 1)
    return float((outputs.argmax(axis=1) == data().y_test).mean())


def train(setting: str, rate: float, seed: int, rounds: int) -> Run:
    """Train until the target is reached, or for so many rounds."""
    accuracies: list[float] = []

    class Watched(FedAvg):
        """Looks at the weights that a round begins with; a record would cost the objective of all images too."""

        def worker(self, task: WorkerTask) -> Program:
            program, answer = super().worker(task), None
            with contextlib.suppress(StopIteration):
                while True:
                    asked = program.send(answer)
                    answer = yield asked
                    if isinstance(asked, Pull):
                        accuracies.append(accuracy(answer))
                        broken = accuracies[-1] < 0.15 and max(accuracies) > 0.9  # chance has 0.1
                        if accuracies[-1] >= TARGET or broken or len(accuracies) > rounds:
                            return

    begin = time.process_time()
    with contextlib.suppress(DivergedError):  # the accuracies show it
        dsgd.fit(
            data().X,
            data().y,
            algo=Watched(**OPTIONS),
            loss=NETWORK,
            penalty="none",
            step_size=rate,
            schedule="constant",
            max_epochs=rounds + 1,
            evaluate_every=0,
            random_state=seed,
            n_threads=1,
            cluster=dsgd.Simulation(workers=1, partition=SETTINGS[setting].partition, trace=False),
        )
    return Run(setting, rate, seed, accuracies, time.process_time() - begin)


def all_runs(quick: bool, console: Console) -> dict[str, list[Run]]:
    """Return the runs of every setting: those of the grid, and those of further seeds with the best rate."""
    rates, seeds = (RATES[1:2], 1) if quick else (RATES, SEEDS)
    found: dict[str, list[Run]] = {name: [] for name in SETTINGS}
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        # The longest runs first, so that both processes are busy to the end.
        grid = {
            name: [pool.submit(train, name, rate, 0, SETTINGS[name].allowed_in_grid) for rate in rates]
            for name in reversed(SETTINGS)
        }
        more = []
        for name, runs in grid.items():
            found[name] = [told(run.result(), console) for run in runs]
            best = best_rate(found[name])
            more += [pool.submit(train, name, best, seed, SETTINGS[name].allowed) for seed in range(1, seeds)]
        for job in more:
            run = told(job.result(), console)
            found[run.setting].append(run)
    return found


def best_rate(runs: Sequence[Run]) -> float:
    """Return the rate of the run with the fewest rounds; if none reached the target, of that with the best end."""
    return min(runs, key=lambda run: (run.rounds or 10**6, -max(run.accuracies))).rate


def told(run: Run, console: Console) -> Run:
    """Print a run."""
    end = f"{run.rounds} rounds" if run.rounds else f"not in {len(run.accuracies) - 1}, best {max(run.accuracies):.4f}"
    console.print(f"{run.setting}, rate {run.rate}, seed {run.seed}: {end}, {run.seconds:.0f} s")
    return run


def summary(runs: Sequence[Run], setting: Setting) -> dict[str, Any]:
    """Return the rounds of the grid, and their median and range over the seeds at the best rate."""
    grid = [run for run in runs if run.seed == 0]
    rate = best_rate(grid)
    chosen = [run for run in runs if run.rate == rate]
    rounds = sorted(run.rounds or 10**6 for run in chosen)
    reached = rounds[-1] < 10**6
    return {
        "paper": setting.paper,
        "grid": {str(run.rate): run.rounds for run in grid},
        "rate": rate,
        "rounds": [run.rounds for run in chosen],
        "median": float(np.median(rounds)) if reached else None,
        "range": [rounds[0], rounds[-1]] if reached else None,
        "processor_seconds_of_a_round": float(np.median([run.seconds / (len(run.accuracies) - 1) for run in chosen])),
    }


def draw(found: dict[str, list[Run]], summaries: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw accuracies against rounds."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, (name, runs) in zip(figure.subplots(1, 2, sharey=True), found.items(), strict=True):
        for run in runs:
            best = run.rate == summaries[name]["rate"]
            label = f"rate {run.rate}" + ", all seeds" * best if run.seed == 0 else None
            colour = "tab:blue" if best else COLOURS[run.rate]
            axes.plot(run.accuracies, color=colour, label=label, linewidth=0.8, zorder=3 if best else 2)
        axes.axhline(TARGET, color="black", linewidth=0.8)
        axes.axvline(SETTINGS[name].paper, color="tab:red", linestyle="--", label="paper, to 97 %")
        axes.set(title=name, xlabel="rounds", ylim=(0.85, 0.98))
        axes.legend(fontsize="small", loc="lower right")
    figure.axes[0].set_ylabel("accuracy on the test images")
    with replacing(path) as beside:
        figure.savefig(beside, format="png", dpi=120)


def main(arguments: Sequence[str]) -> None:
    """Train, print, draw."""
    asked, console, begin = (
        figure_options(__doc__, "fedavg.png", "one rate and one seed, for a try", arguments),
        Console(width=120),
        time.perf_counter(),
    )
    found = all_runs(asked.quick, console)
    summaries = {name: summary(runs, SETTINGS[name]) for name, runs in found.items()}
    table = Table("images dealt", "rate", "median", "range", "paper", title="rounds to 97 %")
    for name, each in summaries.items():
        table.add_row(name, *(str(each[key]) for key in ("rate", "median", "range", "paper")))
    console.print(table)
    draw(found, summaries, asked.output)
    curves = {
        name: [{"rate": run.rate, "seed": run.seed, "accuracies": run.accuracies} for run in runs]
        for name, runs in found.items()
    }
    seconds = time.perf_counter() - begin
    content = {**about(__file__, arguments), "seconds": seconds}
    content["processor_seconds"] = sum(run.seconds for runs in found.values() for run in runs)
    save(asked.output.with_suffix(".json"), {**content, "results": summaries, "curves": curves})
    console.print(
        f"written: {asked.output}, after {seconds:.0f} s ({content['processor_seconds']:.0f} s of processors)"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
