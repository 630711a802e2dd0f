"""Bring the whole cluster up and down, or keep it up while a test runs."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from filelock import BaseFileLock

from kubecluster import (
    base,
    cgroups,
    control,
    controllers,
    group,
    network,
    node,
    packages,
    pki,
    registry,
    remains,
    s3,
    toolchain,
)
from kubecluster.errors import ClusterError, LeftBehind, MissingPrerequisite, NotRunning
from kubecluster.layout import API_PORT, CONTROL, CONTROLLERS, GROUPS, NODES, TOOL, Layout
from kubecluster.shell import locked, run, tail, wait_for


def up(layout: Layout) -> dict[str, float]:
    """Bring the cluster up unless it is up, and return the seconds of each phase.

    Raises MissingPrerequisite when the machine cannot carry it, TimedOut with a log when a part does not come up.
    """
    require(layout)
    with exclusive(layout):
        clock = _Clock()
        toolchain.build(layout)
        clock.lap("build")
        if healthy(layout):
            return clock.laps
        if others := group.neighbours(layout):
            raise ClusterError(
                f"another cluster, of {', '.join(map(str, others))}, uses this network: take it down first, "
                f"KUBECLUSTER_STATE={others.pop()} python -m kubecluster down"
            )
        _down(layout)
        shutil.rmtree(layout.logs, ignore_errors=True)
        pki.ensure(layout)
        clock.lap("pki")
        network.make_bridge()
        _start_control(layout)
        _wait_api(layout)
        clock.lap("apiserver")
        base.ensure_pause(layout)
        group.start(layout, controllers.group(layout))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda n: node.start(layout, n), NODES))
        kubectl(layout, "apply", "--server-side", "-f", TOOL / "manifests")
        clock.lap("start")
        wait_ready(layout)
        clock.lap("ready")
        return clock.laps


def down(layout: Layout) -> None:
    """Stop everything and forget all objects and S3 data; binaries, certificates and images stay.

    Raises LeftBehind when something of the cluster is still there.
    """
    with exclusive(layout):
        _down(layout)


def reset(layout: Layout) -> None:
    """Stop everything and remove the state directory."""
    with exclusive(layout):
        _down(layout)
        shutil.rmtree(layout.state)


@contextmanager
def running(layout: Layout) -> Iterator[None]:
    """Keep the cluster up while the block runs.

    A cluster that is already up is used and left up. One that this function started goes down with the block, or
    with this process even if it is killed, because a separate process waits for its end.
    """
    require(layout)
    if healthy(layout):
        yield
        return
    with _down_after(layout):
        up(layout)
        yield


def kubectl(layout: Layout, *argv: str | Path, check: bool = True, stdin: str | None = None) -> str:
    """Run kubectl as the cluster's admin and return its output; CommandFailed quotes its stderr."""
    return run(layout.bin / "kubectl", "--kubeconfig", layout.kubeconfig(), *argv, check=check, stdin=stdin).stdout


def read(layout: Layout, path: str) -> bytes:
    """Return the API server's answer to the admin's GET, or nothing if it is an error. kubectl needs 0.2 s of processor time for it."""
    context = ssl.create_default_context(cafile=layout.pki / "ca.crt")
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    connection = HTTPSConnection("127.0.0.1", API_PORT, timeout=10, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == HTTPStatus.OK else b""
    except (OSError, HTTPException):
        return b""
    finally:
        connection.close()


def healthy(layout: Layout) -> bool:
    """Return whether all groups run, the nodes are Ready and S3 answers."""
    return set(group.inits(layout)) == set(GROUPS) and all(nodes_ready(layout).values()) and s3.answers()


def nodes_ready(layout: Layout) -> dict[str, bool]:
    """Return for each real node whether it is Ready."""
    found = dict.fromkeys((n.name for n in NODES), False)
    text = read(layout, "/api/v1/nodes")
    for item in json.loads(text)["items"] if text else []:
        conditions = item["status"].get("conditions", [])
        if item["metadata"]["name"] in found:
            found[item["metadata"]["name"]] = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return found


def api_ready(layout: Layout) -> bool:
    """Return whether the API server is ready."""
    return read(layout, "/readyz") == b"ok"


def wait_ready(layout: Layout, seconds: float = 600) -> None:
    """Wait for the API server, the nodes, S3 and the first ServiceAccount; raises TimedOut with a log."""
    _wait_api(layout)

    def late_nodes() -> str:
        late = [n for n in NODES if not nodes_ready(layout)[n.name]]
        return "\n".join(f"{n.name} is not Ready: " + tail(layout.logs / f"{n.group}-kubelet.log") for n in late)

    def service_account() -> bool:  # without it no pod can be created
        return bool(read(layout, "/api/v1/namespaces/default/serviceaccounts/default"))

    def log(service: str) -> str:
        return tail(layout.logs / f"{CONTROLLERS}-{service}.log")

    wait_for("nodes", lambda: all(nodes_ready(layout).values()), seconds, every=0.3, diagnose=late_nodes)
    wait_for("default ServiceAccount", service_account, seconds, diagnose=lambda: log("kube-controller-manager"))
    wait_for("S3", s3.answers, seconds, diagnose=lambda: log("weed"))


def require(layout: Layout) -> None:
    """Raise MissingPrerequisite unless this machine can carry the cluster."""
    if os.geteuid() != 0:
        raise MissingPrerequisite("needs root: it makes namespaces, mounts and cgroups")
    packages.require()
    cgroups.require_v1()
    s3.weed()
    for directory in (layout.state, layout.cache):
        directory.mkdir(parents=True, exist_ok=True)


def require_up(layout: Layout) -> None:
    """Raise NotRunning unless the control plane runs."""
    if group.find(layout, CONTROL) is None:
        raise NotRunning("the cluster is not up: python -m kubecluster up")


def exclusive(layout: Layout) -> BaseFileLock:
    """Return the lock that lets one process at a time change the cluster."""
    return locked(layout.state / "lock")


def _down(layout: Layout) -> None:
    group.stop(layout, [n.group for n in NODES])
    group.stop(layout, [CONTROLLERS, CONTROL])
    remains.sweep(layout)
    if left := remains.leftovers(layout):
        raise LeftBehind("left behind: " + "; ".join(left))


def _start_control(layout: Layout) -> None:
    """Start the control group; the first cluster of the machine removes old images from the registry that all use.

    A lock for all clusters, because two that start at once would both be the first and remove files from each other.
    """
    with locked(layout.cache / "lock"):
        if not group.any_init():
            registry.collect_garbage(layout)
        group.start(layout, control.group(layout))


@contextmanager
def _down_after(layout: Layout) -> Iterator[None]:
    """Take the cluster down when the block or this process ends, by a process that reads a pipe to its end."""
    watcher = subprocess.Popen(
        [sys.executable, "-m", "kubecluster.watcher"],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"KUBECLUSTER_STATE": str(layout.state), "KUBECLUSTER_CACHE": str(layout.cache)},
    )
    assert watcher.stdin is not None
    try:
        yield
    finally:
        watcher.stdin.close()
        if watcher.wait():
            raise ClusterError("the cluster could not be taken down: see above")


def _wait_api(layout: Layout) -> None:
    def ready() -> bool:
        if group.find(layout, CONTROL) is None:
            raise NotRunning(f"group {CONTROL} does not run. {tail(layout.logs / f'{CONTROL}.log')}")
        return api_ready(layout)

    log = layout.logs / f"{CONTROL}-kube-apiserver.log"
    wait_for("API server", ready, 600, diagnose=lambda: tail(log))


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self.last = round(now - self.last, 2), now
