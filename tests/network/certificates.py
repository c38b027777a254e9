"""Certificates for tests, made by the command `openssl`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["Authority"]

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Signs certificates, whose files lie in a folder. Skips the test where there is no `openssl`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("openssl makes the certificates")
        self._folder = folder
        self._key, self._certificate = (str(folder / f"{name}.{ending}") for ending in ("key", "pem"))
        command = ["req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}"]
        _openssl(*command, "-keyout", self._key, "-out", self._certificate)

    def sign(self, name: str, host: str | None = None) -> dict[str, str]:
        """Return the files of a `TlsConfig`: a certificate for a numeric address, or for no host."""
        key, request, certificate, extensions = (
            str(self._folder / f"{name}.{ending}") for ending in ("key", "csr", "pem", "ext")
        )
        _openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        Path(extensions).write_text("" if host is None else f"subjectAltName=IP:{host}\n")
        command = ["x509", "-req", "-in", request, "-days", "2", "-extfile", extensions, "-out", certificate]
        _openssl(*command, "-CA", self._certificate, "-CAkey", self._key, "-CAcreateserial")
        return {"certificate": certificate, "key": key, "authority": self._certificate}


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, timeout=30, capture_output=True)
