"""``dsgd predict``: from a model and a file of data to predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

import dsgd
from dsgd._common.files import replacing
from dsgd.cli.labels import against_the_rest
from dsgd.cli.options import check_outputs
from dsgd.cli.streams import report, write_out
from dsgd.data import load
from dsgd.data.dataset import errors_of
from dsgd.data.inputs import match_features
from dsgd.models.trained import Model
from dsgd.results.progress import decimals

__all__ = ["predict"]


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="model of `dsgd fit --model`")],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="libsvm text or cache file; its labels are used for the score only")
    ],
    output: Annotated[Path | None, typer.Option(help="write here instead of to standard output")] = None,
    positive: Annotated[
        list[str] | None, typer.Option(help="as given to `dsgd fit`: the labels that count as +1")
    ] = None,
    index_base: Annotated[
        str | None, typer.Option(help="what DATA calls the first feature: zero or one; default: as the training file")
    ] = None,
) -> None:
    """Predict the label (or value) of every row of DATA, one a line; the score goes to standard error."""
    check_outputs({"MODEL": model, "DATA": data}, output=output)
    result = dsgd.load(model)
    rows = load(data, dtype=result.model.weights.dtype, index_base=index_base or result.index_base or "auto")
    if result.feature_names.names is not None and rows.feature_names is not None:
        decision = result.decision_function(rows)  # this compares the names
    else:
        with errors_of(rows.source):
            decision = result.model.decision_function(match_features(rows.X, result.model.n_features))
    predictions = result.model.labels(decision)
    score = _score(result.model, decision, against_the_rest(rows.y, positive or []))  # all errors precede the output
    form = {"f": "{:.17g}\n", "b": "{:d}\n"}.get(predictions.dtype.kind, "{}\n")
    lines = "".join(map(form.format, predictions.tolist()))
    if output is None:
        write_out(lines)
    else:
        with replacing(output) as beside:
            beside.write_text(lines, encoding="utf-8", errors="backslashreplace")
    report(score)


def _score(model: Model, decision: NDArray[Any], labels: NDArray[Any]) -> str:
    """Return the line that says how good the predictions are, or why that is not known."""
    if not model.loss.supervised:
        return f"score {model.score_of(decision, None):.10g} on {len(decision)} rows"
    words = model.classes is not None and model.classes.dtype.kind == "U"
    if words != (labels.dtype.kind == "U"):
        return "no score: the labels of the data and those of the model must both be words or both be numbers"
    if model.classes is None and len(labels) < 2:
        return "no score: R2 needs at least two rows"
    return f"score {decimals(model.score_of(decision, labels), 4)} on {len(labels)} rows"
