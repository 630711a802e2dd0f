"""Run two container registries over the same images: an open one, and one with a password."""

from pathlib import Path

from kubecluster.group import Service
from kubecluster.layout import PRIVATE_REGISTRY, REGISTRY, Layout
from kubecluster.shell import run

HTPASSWD = "test:$2b$05$/nO90tEBAMkXPZ3j2bYHbec1ZHI0uwN8389eBnrmVKeisYLVeGPee\n"  # user "test", password "test"
LINK = "current/link"  # below a tag: the digest of the manifest that it names


def services(layout: Layout) -> list[Service]:
    """Return the registries' services; nodes use the open one for every registry's name."""
    passwords = layout.state / "htpasswd"
    passwords.write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\n"
    return [
        _service(layout, "docker-registry", REGISTRY, ""),
        _service(layout, "docker-registry-private", PRIVATE_REGISTRY, auth),
    ]


def manifest(layout: Layout, image: str) -> str | None:
    """Return the registry's digest of docker.io/<repository>:<tag>, or None; it is read from the registry's files."""
    repository, tag = image.split("/", 1)[1].rsplit(":", 1)
    link = layout.registry / "docker/registry/v2/repositories" / repository / "_manifests/tags" / tag / LINK
    return link.read_text() if link.exists() else None


def collect_garbage(layout: Layout) -> None:
    """Remove images without a tag; call this only while no registry runs on this data."""
    if layout.registry.exists():
        config = _config(layout, "docker-registry", REGISTRY, "")
        run("docker-registry", "garbage-collect", "--delete-untagged", config)


def _service(layout: Layout, name: str, address: str, auth: str) -> Service:
    return Service(name, ["docker-registry", "serve", str(_config(layout, name, address, auth))])


def _config(layout: Layout, name: str, address: str, auth: str) -> Path:
    config = layout.state / f"{name}.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {layout.registry}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{address}', secret: test}}\n{auth}"
    )
    return config
