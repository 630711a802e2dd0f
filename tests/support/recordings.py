"""Datasets for the tests, and what puts them on a claim."""

import csv
import shutil
import subprocess
from pathlib import Path
from typing import Any

from support.places import EXAMPLE

DATASET = EXAMPLE / "espejo-dataset"
HEARD = EXAMPLE / "heard"
USER = 65532


def small(folder: Path, voices: int = 2, skip: int = 0) -> Path:
    """The first recordings of every phrase of the example, as a dataset of its own."""
    clips = sorted((DATASET / "original" / "es").rglob("*.wav"))
    by_phrase: dict[str, list[Path]] = {}
    for clip in clips:
        by_phrase.setdefault(clip.stem.split("_")[0], []).append(clip)
    target = folder / "original" / "es"
    target.mkdir(parents=True)
    for recordings in by_phrase.values():
        for clip in recordings[skip : skip + voices]:
            shutil.copy(clip, target)
    shutil.copy(DATASET / "commands.csv", folder)
    return folder


def heard(phrase: str) -> Path:
    """A recording of a phrase by a voice that training never hears."""
    for table in HEARD.glob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if phrase in row.values():
                    return next(HEARD / v for v in row.values() if v.endswith(".wav"))
    raise LookupError(f"nobody says {phrase!r} in {HEARD}")


def all_heard() -> list[tuple[Path, str]]:
    """All recordings by voices that training never hears, with their words. Sentences that are no phrase have none."""
    (table,) = HEARD.glob("*.csv")
    with table.open(encoding="utf-8", newline="") as file:
        return [(HEARD / row["file"], row["transcript"]) for row in csv.DictReader(file)]


def archive(folder: Path) -> bytes:
    """Return a tar of the files in a folder, without the folder itself: its owner on the claim is not ours to change."""
    members = sorted(path.name for path in folder.iterdir())
    return subprocess.run(["tar", "-C", str(folder), "-cf", "-", *members], capture_output=True, check=True).stdout


def claim(name: str) -> dict[str, Any]:
    """A claim for a dataset."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def loader(claim_name: str, image: str, more: dict[str, Any]) -> dict[str, Any]:
    """A pod that mounts the claim and waits to be told what to put there."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"load-{claim_name}"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "loader",
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "dataset", "mountPath": "/dataset"}],
                }
            ],
            "volumes": [{"name": "dataset", "persistentVolumeClaim": {"claimName": claim_name}}],
            **more,
        },
    }  # fmt: skip
