"""alphabet.txt as DeepSpeech 0.9.3 reads it, and the digest of an alphabet.

One label per line, UTF-8; a line that starts with `#` is a comment, a line of exactly `\\#` is the
label `#`, a line of one space is the space label. The index of a label is its order.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path


def read_alphabet(path: Path) -> tuple[str, ...]:
    """Return the labels in order.

    A byte order mark is no part of the first line. Raises ValueError for an alphabet without labels or with a label
    twice, and for a file that is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8; save it as UTF-8") from error
    lines = [line.rstrip("\r\n") for line in text.split("\n")]
    labels = tuple("#" if line == "\\#" else line for line in lines if line and not line.startswith("#"))
    if not labels or len(set(labels)) != len(labels):
        raise ValueError(f"{path}: has no labels or a label twice; give every label once")
    return labels


def write_alphabet(path: Path, labels: Sequence[str]) -> None:
    """Write the file that read_alphabet and the upstream tools read back as `labels`."""
    path.write_text("".join(("\\#" if label == "#" else label) + "\n" for label in labels), encoding="utf-8")


def alphabet_digest(labels: Sequence[str]) -> str:
    """Return the sha256 over the labels in order."""
    return hashlib.sha256(json.dumps(list(labels), ensure_ascii=False).encode()).hexdigest()
