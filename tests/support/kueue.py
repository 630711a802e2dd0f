"""Kueue itself, built from its Go module, in the test cluster."""

import json
import shutil
import subprocess
from pathlib import Path

import yaml
from kubecluster import base, images, toolchain
from kubecluster.layout import Layout

from support.kube import Kubectl
from support.target import Target

MODULE, VERSION = "sigs.k8s.io/kueue", "v0.17.0"
NAMESPACE = "kueue-system"
IMAGE = "docker.io/library/kueue"


def install(target: Target, layout: Layout, folder: Path) -> None:
    """Build Kueue (a quarter of an hour, once) and install its chart. Raises MissingPrerequisite without Go."""
    toolchain.require_go()
    source, program = _build(layout)
    context = folder / "image"
    context.mkdir()
    shutil.copy(program, context / "manager")
    (context / "Dockerfile").write_text(
        f'FROM {base.IMAGE}\nCOPY manager /manager\nUSER 65532:65532\nENTRYPOINT ["/manager"]\n', encoding="utf-8"
    )
    images.build(layout, images.Image(f"{IMAGE}:{VERSION}", context / "Dockerfile", context))
    values = {
        "fullnameOverride": "kueue",
        "controllerManager": {
            "manager": {"image": {"repository": IMAGE, "tag": VERSION, "pullPolicy": "IfNotPresent"}, "resources": None}
        },
    }
    (folder / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    where = ("--namespace", NAMESPACE, "--create-namespace", "--values", str(folder / "values.yaml"))
    command = (
        target.helm,
        "--kubeconfig",
        target.kubeconfig,
        "upgrade",
        "--install",
        "kueue",
        str(source / "charts/kueue"),
        *where,
    )
    subprocess.run(command, check=True)
    Kubectl(target.kubectl, target.kubeconfig, target.context, NAMESPACE).until_rolled_out("kueue-controller-manager")


def _build(layout: Layout) -> tuple[Path, Path]:
    """Return the folder of the module's source, and the program."""
    found = subprocess.run(["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], capture_output=True, check=True)
    source = Path(json.loads(found.stdout)["Dir"])
    program = layout.cache / "bin" / f"kueue-{VERSION}" / "manager"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(".partial")
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(partial), "./cmd/kueue"]
        subprocess.run(command, cwd=source, check=True)
        partial.rename(program)
    return source, program
