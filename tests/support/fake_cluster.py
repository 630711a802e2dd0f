"""A real control plane with nodes and pods that kwok fakes: Jobs are scheduled and end, and nothing is executed.

A pod of a stage ends after a moment with the termination message that the stage program would write. Every other pod becomes
ready. It needs no root, and the whole runs on this machine.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from speechmodel_api.crd import crd
from speechmodel_api.status import SpeechModelStatus
from speechmodel_operator.resources import labels
from speechmodel_plan.task import Owner

from support.api_server import ControlPlane, control_plane, program
from support.world import OWNER, World

PROGRAMS = ("etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kwok")
CONTROLLERS = (
    "job-controller",
    "deployment-controller",
    "replicaset-controller",
    "garbage-collector-controller",
    "namespace-controller",
)
VOLUMES = ("VolumeBinding", "VolumeRestrictions", "VolumeZone", "NodeVolumeLimits")
"""Plugins of the scheduler that would wait for claims to be bound. Nothing binds them here."""
RATE = ("--kube-api-qps=1000", "--kube-api-burst=1000")
STAGE_SECONDS = (0.1, 0.3)
"""Shortest and longest time that a pod of a stage runs."""
NODES = 3
NOWHERE = {"speechops.dev/no-such-node": "true"}
"""A nodeSelector that no node matches."""


def spec(**training: Any) -> dict[str, Any]:
    """Return the spec of a model whose stages end as kwok makes them end."""
    found = World().spec
    return found | {"training": found["training"] | training}


@contextmanager
def fake_cluster(
    programs: Path, folder: Path, stage_seconds: tuple[float, float] = STAGE_SECONDS
) -> Iterator[ControlPlane]:
    """Run a cluster with the definition of SpeechModels, while the block runs."""
    scheduler: dict[str, Any] = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    (folder / "kwok-stages.yaml").write_text(_stages(programs, stage_seconds), encoding="utf-8")
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane(programs, folder))
        kubectl = plane.kubectl
        kubectl.apply(crd(), *(_node(f"fake-{number}") for number in range(NODES)))
        kubectl.until_established()
        disabled = [{"name": name} for name in VOLUMES]
        scheduler |= {
            "leaderElection": {"leaderElect": False},
            "clientConnection": {"kubeconfig": kubectl.kubeconfig, "qps": 1000, "burst": 1000},
            "profiles": [{"plugins": {"multiPoint": {"disabled": disabled}}}],
        }
        (folder / "scheduler.yaml").write_text(yaml.safe_dump(scheduler), encoding="utf-8")
        access = f"--kubeconfig={kubectl.kubeconfig}"
        controllers = (f"--controllers={','.join(CONTROLLERS)}", "--leader-elect=false", "--secure-port=0", *RATE)
        kwok = (f"--config={folder / 'kwok-stages.yaml'}", "--manage-all-nodes=true", "--server-address=")
        running = {}
        for name, flags in (
            ("kube-controller-manager", (access, *controllers)),
            ("kube-scheduler", (f"--config={folder / 'scheduler.yaml'}", "--secure-port=0")),
            ("kwok", (access, *kwok)),
        ):
            running[name] = stack.enter_context(program(programs, folder, name, flags))
        kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=600s")
        yield replace(plane, programs={**plane.programs, **running})


def _node(name: str) -> dict[str, Any]:
    allocatable = {"cpu": "1k", "memory": "1Pi", "pods": "100k"}
    status = {"allocatable": allocatable, "capacity": allocatable}
    metadata = {"name": name, "labels": {"kubernetes.io/arch": "amd64"}}  # a kubelet sets it
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}


def ready_status(owner: Owner) -> SpeechModelStatus:
    """Return the status of a model with that spec whose version is served."""
    world = World(owner=owner)
    world.to_ready()
    return world.status


def _stages(programs: Path, seconds: tuple[float, float]) -> str:
    """Return kwok's stages: its own, except that a pod of ours ends with the message of its stage."""
    shipped = list(yaml.safe_load_all((programs / "kwok-stages.yaml").read_text(encoding="utf-8")))
    shortest, longest = (round(1000 * each) for each in seconds)
    (complete,) = [stage for stage in shipped if stage["metadata"]["name"] == "pod-complete"]
    ours = []
    for stage in ready_status(OWNER).stages:
        message = json.dumps({"output": stage.output}, separators=(",", ":"))
        found = json.loads(json.dumps(complete))
        found["metadata"]["name"] = f"pod-complete-{stage.name.value}"
        found["spec"]["selector"]["matchLabels"] = {labels.STAGE: stage.name.value}
        found["spec"]["delay"] = {"durationMilliseconds": shortest, "jitterDurationMilliseconds": longest}
        quoted = json.dumps(message).replace("\\", "\\\\")  # a backslash of a replacement counts
        line = rf"\1message: {{{{ {quoted} | Quote }}}}\n\g<0>"
        following = found["spec"]["next"]
        following["statusTemplate"] = re.sub("( +)reason: Completed", line, following["statusTemplate"])
        ours.append(found)
    others = [stage for stage in shipped if stage is not complete]
    return yaml.safe_dump_all([*others, *ours])
