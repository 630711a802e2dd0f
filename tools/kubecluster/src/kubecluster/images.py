"""The project's images: built by buildah when something that they depend on changed, pushed when they changed."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from . import base, build_context, cluster, group, lock, registry
from .buildah import buildah, clean, prune, push, remove_image, runtime
from .errors import ImageError
from .layout import NODES, Layout
from .shell import run

NAMES = ("operator", "pipeline", "training", "inference")
ARGS = {"training": {"TENSORFLOW": "cpu"}}
UNUSED_FOR = timedelta(days=7)  # after this, intermediate images are built again rather than kept
CTR = ("ctr", "--namespace", "k8s.io", "--address", "/run/containerd/containerd.sock", "images")


@dataclass(frozen=True)
class Image:
    """What an image is made of."""

    name: str  # as pods name it: docker.io/<repository>:<tag>
    dockerfile: Path
    context: Path
    args: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.startswith("docker.io/") or ":" not in self.name.rsplit("/", 1)[1]:
            raise ImageError(f"{self.name}: write the whole name, such as docker.io/library/app:dev")


@dataclass(frozen=True)
class Built:
    """What became of one image."""

    image: Image
    outcome: str  # "unchanged", "rebuilt to the same" or "pushed"
    seconds: float


def project(root: Path, names: Sequence[str] = NAMES) -> list[Image]:
    """The project's images whose Dockerfiles exist below `root`, which is their build context."""
    found = [(name, root / "images" / name / "Dockerfile") for name in names]
    return [
        Image(f"docker.io/speechops/{name}:dev", dockerfile, root, ARGS.get(name, {}))
        for name, dockerfile in found
        if dockerfile.exists()
    ]


def build_all(layout: Layout, root: Path) -> list[Built]:
    """Build and push what changed of the project's images."""
    return [build(layout, image) for image in project(root)]


def build(layout: Layout, image: Image) -> Built:
    """Build one image unless nothing that it depends on changed; push it and make the nodes forget the old one.

    Raises NotRunning when the cluster, whose registry takes the image, is not up, and CommandFailed with the
    end of buildah's output when a step fails; the whole output is in the cache, build/<image>.log.
    """
    began = time.monotonic()
    outcome = _build(layout, image)
    forget(layout, image.name, but=registry.manifest(layout, image.name))
    return Built(image, outcome, round(time.monotonic() - began, 2))


@dataclass(frozen=True)
class _Record:
    """What the last build left, in the cache."""

    digest: str  # of what it was built from
    image_id: str
    manifest: str | None  # what the registry called it

    @classmethod
    def load(cls, path: Path) -> "_Record | None":
        return cls(**json.loads(path.read_text())) if path.exists() else None


def _build(layout: Layout, image: Image) -> str:
    digest = build_context.digest(image.context, image.dockerfile, image.args)
    path = layout.cache / "build" / f"{image.name.replace('/', '_')}.json"
    if _is_current(layout, image, digest, _Record.load(path)):
        return "unchanged"
    cluster.require_up(layout)
    _refuse_fatal_mounts(layout, image)
    with lock.held(layout.cache / "build" / "lock"):
        before = _Record.load(path)
        if _is_current(layout, image, digest, before):
            return "unchanged"  # somebody else built it meanwhile
        made = _run_buildah(layout, image)
        pushed = registry.manifest(layout, image.name)
        changed = before is None or (before.image_id, before.manifest) != (made, pushed)
        if changed:
            push(layout, image.name)
        if before and before.image_id != made:
            remove_image(layout, before.image_id)
        path.write_text(json.dumps(asdict(_Record(digest, made, registry.manifest(layout, image.name)))))
    return "pushed" if changed else "rebuilt to the same"


def _is_current(layout: Layout, image: Image, digest: str, record: _Record | None) -> bool:
    return record is not None and (record.digest, record.manifest) == (digest, registry.manifest(layout, image.name))


def _refuse_fatal_mounts(layout: Layout, image: Image) -> None:
    """After a RUN, buildah 1.28 removes the mount points that it made; one above its own storage takes all of it."""
    for target in build_context.mount_targets(image.dockerfile.read_text()):
        if Path(target) in layout.cache.parents:
            raise ImageError(
                f"{image.dockerfile}: RUN --mount with target={target}, which is above {layout.cache}: buildah would "
                f"empty the image. Mount a folder below it, such as {target}/pip"
            )


def _run_buildah(layout: Layout, image: Image) -> str:
    clean(layout)
    prune(layout, UNUSED_FOR)
    base.ensure(layout)
    folder = layout.cache / "build"
    id_file = folder / "id"
    args = [f"--build-arg={name}={value}" for name, value in image.args.items()]
    log = folder / f"{image.name.replace('/', '_')}.log"
    buildah(layout, "build", "--layers", "--pull-never", "--net", "host", "--runtime", runtime(layout), *args,
            "--logfile", log, "--iidfile", id_file, "-t", image.name, "-f", image.dockerfile, image.context)  # fmt: skip
    clean(layout)
    return id_file.read_text().removeprefix("sha256:")


def forget(layout: Layout, image: str, but: str | None) -> None:
    """Make running nodes forget an image, which with IfNotPresent they would keep, unless it is the one with the manifest `but`.

    A node keeps its images while its cluster is down; meanwhile another cluster may have pushed a newer one to the registry that both
    use. Layers that others use stay.
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
