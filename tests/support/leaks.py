"""Secrets are looked for in what programs have written, and the programs are made to log everything."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

SITE = """
import logging

begin = logging.basicConfig


def begin_with_everything(**given):
    begin(**{**given, "level": logging.DEBUG})


logging.basicConfig = begin_with_everything
"""
"""Run by every Python program at its start. Stage programs have no setting for it."""


def log_everything(folder: Path) -> dict[str, str]:
    """Return the environment in which Python programs log with the level DEBUG, libraries included."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file in a folder by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leaks(texts: Mapping[str, bytes], secrets: Iterable[str]) -> list[str]:
    """Return the names of the texts that have one of the secrets, or its base64 or its SHA-256, which tells whether a guess is right."""
    found = []
    for secret in secrets:
        raw = secret.encode()
        forms = (raw, base64.b64encode(raw).rstrip(b"="), hashlib.sha256(raw).hexdigest().encode())
        found += [f"{name}: {secret}" for name, text in texts.items() if any(form in text for form in forms)]
    return found
