"""The project's images: buildah builds what its layer cache lacks, and what changed is pushed to the registry."""

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from kubecluster import base, cluster, group, python37, registry
from kubecluster.buildah import build_image, file_name, prune, push, remove_image
from kubecluster.errors import ImageError
from kubecluster.layout import NODES, Layout
from kubecluster.shell import locked, run

NAMES = ("operator", "pipeline", "training", "inference")  # targets of images/Dockerfile on Debian
TARGETS = (*NAMES, "coqui")  # and the one on Python 3.7, which not every machine has
UNUSED_FOR = timedelta(days=7)  # older intermediate images are removed
_FROM = re.compile(r"^FROM (\S+)(?: AS (\S+))?$", re.MULTILINE)
CTR = ("ctr", "--namespace", "k8s.io", "--address", "/run/containerd/containerd.sock", "images")


@dataclass(frozen=True)
class Image:
    """An image to build: a Dockerfile, the target in it, and the build context."""

    name: str  # as pods name it: docker.io/<repository>:<tag>
    dockerfile: Path
    context: Path
    target: str = ""  # empty for the last one of the Dockerfile
    architecture: str = ""  # empty for this machine's; the kernel must run another's, with a layout of its own

    def __post_init__(self) -> None:
        if not self.name.startswith("docker.io/") or ":" not in self.name.rsplit("/", 1)[1]:
            raise ImageError(f"{self.name}: write the whole name, such as docker.io/library/app:dev")

    @property
    def base(self) -> str:
        """The image that the target is built on, with the stages in between."""
        stages = {stage: begins for begins, stage in _FROM.findall(self.dockerfile.read_text())}
        found = self.target or list(stages)[-1]
        while found in stages:
            found = stages[found]
        return found


@dataclass(frozen=True)
class Built:
    """The outcome of one image's build."""

    image: Image
    outcome: str  # "unchanged" or "pushed"
    seconds: float


def project(root: Path, names: Sequence[str] = NAMES) -> list[Image]:
    """Return the images of the project at `root`, which is their build context."""
    return [Image(f"docker.io/speechops/{name}:dev", root / "images" / "Dockerfile", root, name) for name in names]


def build_all(layout: Layout, root: Path) -> list[Built]:
    """Build the project's images and push those that changed."""
    return [build(layout, image) for image in project(root)]


def prepare(layout: Layout, images: Iterable[Image]) -> None:
    """Build images without pushing them: for a cluster without a way to the internet, or for another architecture."""
    for image in images:
        with locked(layout.cache / "build" / "lock"):
            _run_buildah(layout, image)


def build(layout: Layout, image: Image) -> Built:
    """Build one image; if it changed, push it and make the nodes forget the old one.

    Raises NotRunning when the cluster, whose registry takes the image, is not up. Raises CommandFailed with
    the end of buildah's output when a step fails; the whole output is in the cache, build/<image>.log.
    """
    began = time.monotonic()
    cluster.require_up(layout)
    outcome = _build(layout, image)
    forget(layout, image.name, but=registry.manifest(layout, image.name))
    return Built(image, outcome, round(time.monotonic() - began, 2))


def forget(layout: Layout, image: str, but: str | None) -> None:
    """Make running nodes forget an image, unless it is the one with the manifest `but`.

    Nodes would keep using the old image with the pull policy IfNotPresent. A node also keeps its images while
    its cluster is down, when another cluster may push a newer one to the registry that both use.
    """
    inits = group.inits(layout)
    for node in NODES:
        if pid := inits.get(node.group):
            inside = ("nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--pid=/proc/{pid}/ns/pid")
            rows = [line.split() for line in run(*inside, *CTR, "list").stdout.splitlines()[1:]]
            targets = {row[2] for row in rows if row[0] == image} - {but}
            # the tag, the digest and the ID are three names of one image
            if names := [row[0] for row in rows if row[2] in targets]:
                run(*inside, *CTR, "rm", *names)


@dataclass(frozen=True)
class _Pushed:
    """The image that was pushed last, as the cache records it."""

    image_id: str
    manifest: str | None  # the digest that the registry gave it

    @classmethod
    def load(cls, path: Path) -> "_Pushed | None":
        return cls(**json.loads(path.read_text())) if path.exists() else None


def _build(layout: Layout, image: Image) -> str:
    folder = layout.cache / "build"
    record = folder / f"{file_name(image.name)}.pushed"
    with locked(folder / "lock"):
        before = _Pushed.load(record)
        made = _run_buildah(layout, image)
        if before == _Pushed(made, registry.manifest(layout, image.name)):
            return "unchanged"
        push(layout, image.name)
        if before and before.image_id != made:
            remove_image(layout, before.image_id)
            prune(layout, UNUSED_FOR)
        record.write_text(json.dumps(asdict(_Pushed(made, registry.manifest(layout, image.name)))))
    return "pushed"


def _run_buildah(layout: Layout, image: Image) -> str:
    base.ensure(layout, image.architecture)
    if image.base == python37.IMAGE:
        python37.ensure(layout)
    chosen = [f"--target={image.target}"] if image.target else []
    chosen += [f"--platform=linux/{image.architecture}"] if image.architecture else []
    return build_image(layout, image.name, image.dockerfile, image.context, *chosen)
