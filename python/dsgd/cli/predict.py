"""``dsgd predict``: from a model and a file of data to predictions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import dsgd
from dsgd.cli.labels import against_the_rest
from dsgd.data import load
from dsgd.data.inputs import match_features
from dsgd.files import replacing

__all__ = ["predict"]


def predict(
    model: Annotated[Path, typer.Argument(help="model of `dsgd fit --model`")],
    data: Annotated[Path, typer.Argument(help="libsvm text or cache file; its labels are used for the score only")],
    output: Annotated[Path | None, typer.Option(help="write here instead of to standard output")] = None,
    positive: Annotated[
        list[str] | None, typer.Option(help="as given to `dsgd fit`: the labels that count as +1")
    ] = None,
    index_base: Annotated[
        str | None, typer.Option(help="what DATA calls the first feature: zero or one; default: as the training file")
    ] = None,
) -> None:
    """Predict the label (or value) of every row of DATA, one a line; the score goes to standard error."""
    result = dsgd.load(model)
    rows = load(data, dtype=result.coef_.dtype, index_base=index_base or result.index_base or "auto")
    decision = result.decision_function(match_features(rows.X, result.model.n_features))
    predictions = result.model.labels(decision)
    numeric = predictions.dtype.kind in "biuf"
    lines = "".join(f"{float(value):.17g}\n" if numeric else f"{value}\n" for value in predictions)
    if output is None:
        sys.stdout.write(lines)
    else:
        with replacing(output) as beside:
            beside.write_text(lines, encoding="utf-8")
    labels = against_the_rest(rows.y, positive or [])
    if numeric == (labels.dtype.kind in "biuf"):  # numbers and words cannot be compared
        sys.stderr.write(f"score {result.model.score_of(decision, labels):.4f} on {rows.n_samples} rows\n")
