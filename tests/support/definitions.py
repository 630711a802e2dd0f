"""CustomResourceDefinitions of other projects, which the harness of the test cluster takes from Go modules."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from support import built
from support.kube import Kubectl, Object


def definitions() -> dict[str, Object]:
    """Return the definitions of HTTPRoute, Kustomization, PodMonitor, PrometheusRule, ScaledObject and ServiceMonitor, by kind."""
    text = (built.programs("crds.yaml") / "crds.yaml").read_text(encoding="utf-8")
    return {found["spec"]["names"]["kind"]: found for found in yaml.safe_load_all(text) if found}


@contextmanager
def defined(kubectl: Kubectl, *kinds: str) -> Iterator[None]:
    """Define these kinds on the API server while the block runs."""
    wanted = [definitions()[kind] for kind in kinds]
    text = yaml.safe_dump_all(wanted)
    kubectl("apply", "--server-side", "-f", "-", stdin=text)  # too long for the annotation of an apply on this side
    try:
        for definition in wanted:
            kubectl("wait", "--for=condition=Established", f"crd/{definition['metadata']['name']}", "--timeout=600s")
            _until_served(kubectl, definition)
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=text)


def _until_served(kubectl: Kubectl, definition: Object) -> None:
    """Wait until the API server lists each version: the condition is written before it has opened the path."""
    group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
    paths = [f"/apis/{group}/{each['name']}/{plural}" for each in definition["spec"]["versions"] if each["served"]]
    kubectl.until(lambda: all(kubectl("get", "--raw", path, check=False) for path in paths), f"{plural} are served")
