"""Options of a fit that ``dsgd fit`` and ``dsgd server`` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dsgd.errors import ConfigError
from dsgd.losses import LOSSES, MLP, KMeans, Loss, SquaredMLP
from dsgd.schedules import SCHEDULES

__all__ = [
    "Algo",
    "AlgoOption",
    "Alpha",
    "Checkpoint",
    "CheckpointEvery",
    "EarlyStopping",
    "Float32",
    "Hidden",
    "History",
    "IndexBase",
    "Intercept",
    "L1Ratio",
    "LossName",
    "MaxSeconds",
    "Model",
    "NClusters",
    "Partition",
    "Patience",
    "Penalty",
    "Positive",
    "Quiet",
    "Resume",
    "ScheduleName",
    "Seed",
    "StepSize",
    "Tol",
    "loss_of",
]

Algo = Annotated[str, typer.Option(help="see `dsgd algorithms`")]
LossName = Annotated[str, typer.Option(help=", ".join(LOSSES))]
Penalty = Annotated[str, typer.Option(help="auto (l2; none for kmeans), l2, l1, elasticnet or none")]
Alpha = Annotated[float, typer.Option(help="strength of the penalty")]
NClusters = Annotated[int | None, typer.Option(help="of loss kmeans; default: 8", show_default=False)]
Hidden = Annotated[
    str | None, typer.Option(help="units of the layers of losses mlp and squared_mlp; default: 100", show_default=False)
]
L1Ratio = Annotated[float, typer.Option(help="share of l1 in elasticnet")]
Intercept = Annotated[bool, typer.Option(help="fit an intercept")]
StepSize = Annotated[str, typer.Option(help="first step size; auto searches for one")]
ScheduleName = Annotated[str, typer.Option(help=", ".join(["auto", *SCHEDULES]))]
Tol = Annotated[float | None, typer.Option(help="stop at this relative improvement of the objective")]
Patience = Annotated[int, typer.Option(help="evaluations to wait for an improvement")]
EarlyStopping = Annotated[
    bool, typer.Option("--early-stopping", help="stop when the test score no longer improves; keep the best model")
]
MaxSeconds = Annotated[float | None, typer.Option(help="stop after so many seconds")]
Partition = Annotated[
    str,
    typer.Option(
        metavar="NAME[=VALUE]",
        help="how rows are dealt to workers: equal, shares=2,1,1, by_label=2, dirichlet=0.3 or given=[[0,2],[1]]",
    ),
]
Checkpoint = Annotated[Path | None, typer.Option(help="keep the last state of a distributed run here")]
CheckpointEvery = Annotated[int, typer.Option(help="clocks from one checkpoint to the next")]
Resume = Annotated[Path | None, typer.Option(help="checkpoint of a distributed run to go on from")]
Seed = Annotated[int | None, typer.Option(help="random_state")]
Positive = Annotated[list[str] | None, typer.Option(help="train this label (repeat for several) against the rest")]
IndexBase = Annotated[
    str, typer.Option(help="what the files call the first feature: zero, one, or auto (zero if 0 occurs)")
]
Float32 = Annotated[bool, typer.Option("--float32", help="values and weights in single precision")]
AlgoOption = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="option of the algorithm; repeat for several")
]
Model = Annotated[Path | None, typer.Option(help="write the model here (safetensors)")]
History = Annotated[Path | None, typer.Option(help="write the history here (JSON)")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]


def loss_of(name: str, n_clusters: int | None, hidden: str | None) -> str | Loss:
    """Return the loss that options name; `ConfigError` for options of another loss."""
    if n_clusters is not None and name != KMeans.name:
        raise ConfigError(f"--n-clusters is for --loss kmeans, not {name}")
    networks = {kind.name: kind for kind in (MLP, SquaredMLP)}
    if hidden is not None and name not in networks:
        raise ConfigError(f"--hidden is for --loss mlp and squared_mlp, not {name}")
    if n_clusters is not None:
        return KMeans(n_clusters)
    if hidden is None:
        return name
    units = hidden.split(",")
    if not all(each.strip().isdecimal() for each in units):
        raise ConfigError(f"--hidden takes numbers of units, such as 200,100, not {hidden!r}")
    return networks[name](tuple(map(int, units)))
