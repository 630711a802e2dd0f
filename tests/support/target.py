"""The cluster that the e2e tests run on: one brought up for them, or that of KUBECONFIG and E2E_CONTEXT.

For a cluster of your own (kind, say) the images must be where its nodes can pull them, and an S3 service where its pods and this
machine can reach it:

    KUBECONFIG, E2E_CONTEXT                     the cluster
    E2E_REGISTRY, E2E_TAG                       default docker.io and dev: <registry>/speechops/{operator,pipeline,...}:<tag>
    E2E_S3_ENDPOINT, E2E_S3_LOCAL_ENDPOINT      for the pods, and for this machine
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY    for both
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from filelock import Timeout
from kubecluster import cluster, images, network, s3, toolchain
from kubecluster.layout import Layout
from kubecluster.shell import locked

from support.places import ROOT


@dataclass(frozen=True)
class Target:
    """Where the tests run."""

    kubeconfig: str
    context: str | None
    kubectl: str
    helm: str
    registry: str
    tag: str
    s3_endpoint: str
    s3_local_endpoint: str
    access_key: str
    secret_key: str
    layout: Layout | None
    """The one of the cluster that was brought up for the tests; None on somebody else's."""


def foreign() -> Target | None:
    """The cluster of KUBECONFIG and E2E_CONTEXT."""
    context = os.environ.get("E2E_CONTEXT")
    if not context:
        return None
    names = ("KUBECONFIG", "E2E_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise RuntimeError(f"E2E_CONTEXT is set, and {', '.join(missing)} must be too (see tests/support/target.py)")
    return Target(
        kubeconfig=os.environ["KUBECONFIG"],
        context=context,
        kubectl=_program("kubectl"),
        helm=_program("helm"),
        registry=os.environ.get("E2E_REGISTRY", "docker.io"),
        tag=os.environ.get("E2E_TAG", "dev"),
        s3_endpoint=os.environ["E2E_S3_ENDPOINT"],
        s3_local_endpoint=os.environ.get("E2E_S3_LOCAL_ENDPOINT", os.environ["E2E_S3_ENDPOINT"]),
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        layout=None,
    )


@contextmanager
def own() -> Iterator[Target]:
    """A cluster for the tests; taken down at the end unless it was up before.

    While another process runs tests on the usual cluster, this is another one, in a network and a state directory of its
    own. What must be downloaded for it is downloaded first.
    """
    layout = Layout.default()
    with ExitStack() as stack:
        if number := _take_number(stack, layout):
            layout = replace(layout, state=layout.state.with_name(f"{layout.state.name}-{number}"))
            cluster.require(layout)
            toolchain.build(layout)
            images.prepare(layout, images.project(ROOT))
            stack.enter_context(network.apart())
        stack.enter_context(cluster.running(layout))
        yield Target(
            kubeconfig=str(layout.kubeconfig()),
            context=None,
            kubectl=str(layout.bin / "kubectl"),
            helm=str(layout.bin / "helm"),
            registry="docker.io",
            tag="dev",
            s3_endpoint=s3.IN_CLUSTER_ENDPOINT,
            s3_local_endpoint=s3.ENDPOINT,
            access_key=s3.CREDENTIALS.access_key,
            secret_key=s3.CREDENTIALS.secret_key,
            layout=layout,
        )


def _take_number(stack: ExitStack, layout: Layout) -> int:
    """Return the first number that no other process has, and keep it until the stack is closed."""
    number = 0
    while True:
        try:
            stack.enter_context(locked(layout.cache / f"tests-{number}.lock").acquire(blocking=False))
        except Timeout:
            number += 1
        else:
            return number


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not in PATH")
    return found
