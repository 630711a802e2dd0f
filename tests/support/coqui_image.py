"""The image of the engine CoquiSTT, and its program in a container as in a pod."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from kubecluster import cluster, images
from kubecluster.buildah import buildah, layers
from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import Layout
from kubecluster.shell import CONTAINED

from support.places import ROOT

TARGET = "coqui"
"""The target of images/Dockerfile."""
SKIPPED = "the image of the engine CoquiSTT WAS NOT TRIED"
SHARED = "/mnt"
"""The folder of the image where the program finds the one that it may write to."""
USER = 65532
_CONTAINER = f"""
root="$1" shared="$2"
mount -t overlay -o "lowerdir=$0" overlay "$root"
for each in dev sys; do mount --rbind "/$each" "$root/$each"; done
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$shared" "$root{SHARED}"
shift 2
exec chroot --userspec={USER}:{USER} "$root" "$@"
"""
"""A shell program. overlayfs without an upper layer is read-only."""


@dataclass(frozen=True)
class CoquiImage:
    """The built image."""

    layers: tuple[Path, ...]
    environment: Mapping[str, str]
    program: tuple[str, ...]
    """Entry point and command."""

    @classmethod
    def build(cls) -> "CoquiImage":
        """Build it, which takes a few seconds when nothing has changed. Skip the test where something for that is missing.

        Raises CommandFailed when a step of its Dockerfile fails.
        """
        layout = Layout.default()
        (image,) = images.project(ROOT, [TARGET])
        try:
            cluster.require(layout)
            images.prepare(layout, [image])
        except MissingPrerequisite as error:
            pytest.skip(f"{SKIPPED}: {error}")
        settings = json.loads(buildah(layout, "inspect", "--type", "image", image.name))["OCIv1"]["config"]
        return cls(
            layers=tuple(layers(layout, image.name)),
            environment=dict(variable.split("=", 1) for variable in settings["Env"]),
            program=(*settings["Entrypoint"], *settings["Cmd"]),
        )

    def start(self, root: Path, shared: Path, **environment: str) -> subprocess.Popen[str]:
        """Start the program as its user, on a read-only root file system, without a network and capabilities.

        Its root is made in the folder `root`. Its stdout can be read; its log is the stderr of the test.
        """
        root.mkdir(exist_ok=True)
        lower = ":".join(map(str, self.layers))
        command = [
            *CONTAINED,
            "unshare",
            "--net",
            "sh",
            "-ec",
            _CONTAINER,
            lower,
            str(root),
            str(shared),
            *self.program,
        ]
        return subprocess.Popen(command, env={**self.environment, **environment}, stdout=subprocess.PIPE, text=True)


def stop(container: subprocess.Popen[str]) -> None:
    """Send SIGTERM to the first process of the container, as the kubelet does."""
    (first,) = psutil.Process(container.pid).children()
    first.terminate()
