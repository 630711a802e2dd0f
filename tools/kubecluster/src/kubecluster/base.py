"""Make the images that others need: Debian, by debootstrap because no registry can be reached, and the sandbox."""

import shutil
from pathlib import Path

from kubecluster import apt, registry
from kubecluster.buildah import buildah, image_id, push
from kubecluster.host_settings import SUITE
from kubecluster.layout import PAUSE_IMAGE, Layout
from kubecluster.shell import contained, locked


def image_name(suite: str) -> str:
    """Return the name of the Debian image of a suite, such as trixie."""
    return f"docker.io/library/debian:{suite}-slim"


IMAGE = image_name(SUITE)
# emptied, and for documentation kept empty, as in the image that goes by this name elsewhere
UNWANTED = tuple(f"usr/share/{folder}" for folder in ("doc", "man", "locale", "info"))
VOLATILE = ("var/cache/apt", "var/lib/apt/lists", "var/log")


def ensure(layout: Layout, architecture: str = "", suite: str = SUITE) -> str:
    """Make the Debian image if it is not there (about a minute); returns its ID. Another process that needs it waits.

    The image is for this machine unless `architecture` is given. The kernel must be able to run programs for it.
    """
    with locked(layout.cache / "debian.lock"):
        return image_id(layout, image_name(suite)) or _make(layout, architecture, suite)


def ensure_pause(layout: Layout) -> None:
    """Make and push the image of the sandbox container, if the registry lacks it."""
    if registry.manifest(layout, PAUSE_IMAGE):
        return
    container = buildah(layout, "from", "scratch")
    buildah(layout, "copy", "-q", container, (layout.bin / "pause").resolve(), "/pause")
    buildah(layout, "config", "--entrypoint", '["/pause"]', container)
    buildah(layout, "commit", "-q", "--rm", container, PAUSE_IMAGE)
    push(layout, PAUSE_IMAGE)


def _trim(root: Path) -> None:
    for folder in (*UNWANTED, *VOLATILE):
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).mkdir(parents=True)
    excluded = "".join(f"path-exclude /{folder}/*\n" for folder in UNWANTED)
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text(excluded)
    (root / "etc/resolv.conf").unlink(missing_ok=True)


def _make(layout: Layout, architecture: str, suite: str) -> str:
    root = layout.cache / "rootfs"
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    mirror = apt.mirror()
    foreign = [f"--arch={architecture}"] if architecture else []
    contained("debootstrap", *foreign, "--variant=minbase", suite, root, *([mirror] if mirror else []))
    _trim(root)
    if mirror:  # each build gets its package sources from this machine, no image keeps them
        (root / "etc/apt/sources.list").unlink()
    archive = layout.cache / "rootfs.tar"
    outside = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys")]
    contained("tar", "-C", root, "--numeric-owner", *outside, "-cf", archive, ".")
    container = buildah(layout, "from", "scratch")
    buildah(layout, "add", "-q", container, archive, "/")
    buildah(layout, "config", "--cmd", "bash", *foreign, container)
    made = buildah(layout, "commit", "-q", "--rm", "--disable-compression", container, image_name(suite))
    shutil.rmtree(root)
    archive.unlink()
    return made
