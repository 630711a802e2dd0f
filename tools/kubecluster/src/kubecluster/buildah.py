"""Run buildah with its storage in the cache and RUN steps under `build_runtime`, and clean up after it."""

import json
import os
import shlex
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kubecluster import cgroups
from kubecluster.layout import REGISTRY, Layout
from kubecluster.shell import contained

# of gzip and zstd at several levels, what a 1.6 GB image is pushed and unpacked fastest with
COMPRESSION = ("--compression-format=zstd", "--compression-level=1")


def buildah(layout: Layout, *argv: str | Path) -> str:
    """Run one buildah command and return its output, stripped. Raises CommandFailed."""
    temporary = _folder(layout) / "tmp"  # also holds what RUN --mount=type=cache keeps
    temporary.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"TMPDIR": str(temporary), "BUILDAH_ISOLATION": "oci"}
    return contained(*_command(layout), *argv, env=env).strip()


def build_image(layout: Layout, image: str, dockerfile: Path, context: Path, *options: str) -> str:
    """Build an image and return its ID, which is the one of the last build when buildah's layer cache has every step.

    Raises CommandFailed with the end of buildah's output when a step fails; the whole output is in the cache, build/<image>.log.
    """
    folder = layout.cache / "build"
    clean(layout)
    id_file = folder / "id"
    buildah(layout, "build", "--layers", "--pull-never", "--net", "host", "--runtime", runtime(layout), *options,
            "--logfile", folder / f"{file_name(image)}.log", "--iidfile", id_file, "-t", image, "-f", dockerfile, context)  # fmt: skip
    clean(layout)
    return id_file.read_text().removeprefix("sha256:")


def file_name(image: str) -> str:
    """Return the name of an image's files in the cache, without an ending."""
    return image.replace("/", "_")


def push(layout: Layout, image: str) -> None:
    """Push docker.io/library/x:1 to <registry>/library/x:1."""
    path = image.split("/", 1)[1]
    buildah(layout, "push", "-q", "--tls-verify=false", *COMPRESSION, image, f"docker://{REGISTRY}/{path}")


def image_id(layout: Layout, image: str) -> str | None:
    """Return the ID of a local image, or None. It is read from buildah's index, which is faster than to run buildah."""
    return next((entry["id"] for entry in _index(layout, "images") if image in entry.get("names", [])), None)


def layers(layout: Layout, image: str) -> list[Path]:
    """Return the folders with the files of a local image, the uppermost layer first, as overlayfs takes them."""
    layer = next(entry["layer"] for entry in _index(layout, "images") if image in entry.get("names", []))
    parents = {entry["id"]: entry.get("parent") for entry in _index(layout, "layers")}
    found = []
    while layer:
        found.append(_storage(layout) / "overlay" / layer / "diff")
        layer = parents[layer]
    return found


def copy_files(layout: Layout, image: str, folder: Path) -> None:
    """Copy the files of a local image to a folder."""
    container = buildah(layout, "from", "--pull-never", image)
    mount = shlex.join(map(str, (*_command(layout), "mount", container)))
    folder.mkdir(parents=True)
    contained("sh", "-ec", f'files=$({mount}); cp -a "$files/." "$0"', folder)
    buildah(layout, "rm", container)


def remove_image(layout: Layout, image_id: str) -> None:
    """Remove an image, if it exists, with the images that only it is built on; layers that others use stay."""
    if any(entry["id"] == image_id for entry in _index(layout, "images")):
        buildah(layout, "rmi", "--force", image_id)


def prune(layout: Layout, unused_for: timedelta) -> None:
    """Remove the intermediate images of that age that no named image is built on."""
    images = _index(layout, "images")
    parents = {layer["id"]: layer.get("parent") for layer in _index(layout, "layers")}
    used: set[str] = set()
    for layer in [entry.get("layer") for entry in images if entry.get("names")]:
        while layer:
            used.add(layer)
            layer = parents.get(layer)
    oldest = datetime.now(UTC) - unused_for
    for entry in images:
        named_or_used = entry.get("names") or entry.get("layer") in used
        if not named_or_used and datetime.fromisoformat(entry["created"]) < oldest:
            remove_image(layout, entry["id"])


def runtime(layout: Layout) -> Path:
    """Write the runtime for RUN steps, which collects this machine's settings for package downloads once."""
    folder = layout.cache / "build"
    settings = folder / "settings"
    shutil.rmtree(settings, ignore_errors=True)
    program = folder / "runtime"
    command = shlex.join([sys.executable, "-m", "kubecluster.build_runtime", str(settings), layout.build_cgroup])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return program


def clean(layout: Layout) -> None:
    """Remove what a killed build left: working containers, temporary folders, cgroups."""
    if _index(layout, "containers"):
        buildah(layout, "rm", "--all")
    for folder in (_folder(layout) / "tmp").glob("buildah[0-9]*"):
        shutil.rmtree(folder)
    cgroups.remove(layout.build_cgroup)


def _command(layout: Layout) -> tuple[str | Path, ...]:
    return (
        "buildah",
        *("--root", _storage(layout), "--runroot", _folder(layout) / "run"),
        *("--storage-driver", "overlay"),
    )


def _index(layout: Layout, what: str) -> list[dict[str, Any]]:
    """Return buildah's own list of images, layers or containers."""
    path = _storage(layout) / f"overlay-{what}" / f"{what}.json"
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return found


def _folder(layout: Layout) -> Path:
    return layout.cache / "buildah"


def _storage(layout: Layout) -> Path:
    return _folder(layout) / "storage"
