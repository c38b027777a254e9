"""``dsgd predict``: from a model and a libsvm file to predictions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import dsgd
from dsgd.cli.labels import against_the_rest
from dsgd.data import load_libsvm
from dsgd.data.inputs import match_features
from dsgd.files import replacing

__all__ = ["predict"]


def predict(
    model: Annotated[Path, typer.Argument(help="model of `dsgd fit --model`")],
    data: Annotated[Path, typer.Argument(help="libsvm text file; its labels are used for the score only")],
    output: Annotated[Path | None, typer.Option(help="write here instead of to standard output")] = None,
    positive: Annotated[
        list[float] | None, typer.Option(help="as given to `dsgd fit`: the labels that count as +1")
    ] = None,
    index_base: Annotated[
        str | None, typer.Option(help="what DATA calls the first feature: zero or one; default: as the training file")
    ] = None,
) -> None:
    """Predict the label (or value) of every row of DATA, one a line; the score goes to standard error."""
    result = dsgd.load(model)
    X, y = load_libsvm(data, dtype=result.coef_.dtype, index_base=index_base or result.index_base or "auto")
    X = match_features(X, result.model.n_features)
    decision = result.decision_function(X)
    predictions = result.model.labels(decision)
    numeric = predictions.dtype.kind in "biuf"
    lines = "".join(f"{float(value):.17g}\n" if numeric else f"{value}\n" for value in predictions)
    if output is None:
        sys.stdout.write(lines)
    else:
        with replacing(output) as beside:
            beside.write_text(lines, encoding="utf-8")
    if numeric:  # the labels of a libsvm file are numbers; they cannot be compared with words
        score = result.model.score_of(decision, against_the_rest(y, positive or []))
        sys.stderr.write(f"score {score:.4f} on {len(y)} rows\n")
