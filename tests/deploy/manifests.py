"""The documents of deploy/kubernetes, and the pods that they describe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from problems import ROOT

__all__ = ["DOCUMENTS", "FOLDER", "Document", "Pod", "named", "pods"]

FOLDER = ROOT / "deploy" / "kubernetes"


@dataclass(frozen=True)
class Document:
    """One document of a file."""

    path: Path
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content["kind"])

    @property
    def name(self) -> str:
        return str(self.content["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.path.relative_to(FOLDER)}:{self.kind}/{self.name}"


@dataclass(frozen=True)
class Pod:
    """A pod that a document describes: its labels and its specification."""

    document: Document
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def __str__(self) -> str:
        return f"{self.document}:{self.containers[0]['name']}"


def _documents() -> Iterator[Document]:
    for path in sorted(FOLDER.rglob("*.yaml")):
        for content in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield Document(path, content)


DOCUMENTS = list(_documents())


def named(kind: str, name: str) -> Document:
    """Return the one document of this kind and name."""
    (found,) = [each for each in DOCUMENTS if (each.kind, each.name) == (kind, name)]
    return found


def pods() -> Iterator[Pod]:
    """Yield all pods; those of a Dask cluster have the labels that the operator gives them."""
    for document in DOCUMENTS:
        spec = document.content.get("spec", {})
        if document.kind in ("Job", "StatefulSet"):
            yield Pod(document, spec["template"]["metadata"]["labels"], spec["template"]["spec"])
        elif document.kind == "DaskCluster":
            for component in ("scheduler", "worker"):
                labels = {"dask.org/cluster-name": document.name, "dask.org/component": component}
                yield Pod(document, labels, spec[component]["spec"])
