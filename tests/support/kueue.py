"""Kueue itself, built from its Go module, in the test cluster."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kubecluster import base, cluster, images, toolchain
from kubecluster.errors import ClusterError, MissingPrerequisite
from kubecluster.layout import Layout
from kubecluster.shell import locked, run

from support.kube import Kubectl
from support.target import Target

MODULE, VERSION = "sigs.k8s.io/kueue", "v0.17.0"
NAMESPACE = "kueue-system"
IMAGE = "docker.io/library/kueue"


def install(target: Target, layout: Layout, folder: Path) -> None:
    """Install its chart and its image, which `prepare` makes if `make downloads` did not."""
    prepare()
    source, program = _source(), _program(layout)
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


def prepare() -> None:
    """Build Kueue, which takes a quarter of an hour, once. Skip the test where something for that is missing."""
    layout = Layout.default()
    try:
        cluster.require(layout)
        toolchain.require_go()
    except MissingPrerequisite as error:
        pytest.skip(f"Kueue WAS NOT TRIED: {error}")
    source, program = _source(), _program(layout)
    with locked(layout.cache / "kueue.lock"):
        if program.exists():
            return
        print("building Kueue, which takes a quarter of an hour, once", file=sys.stderr)
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(".partial")
        command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(partial), "./cmd/kueue"]
        subprocess.run(command, cwd=source, check=True)
        partial.rename(program)


def _source() -> Path:
    """Return the folder of the module's source, which is downloaded unless Go's cache has it."""
    found = json.loads(run("go", "mod", "download", "-json", f"{MODULE}@{VERSION}", check=False).stdout)
    if "Dir" not in found:
        raise ClusterError(f"Kueue could not be downloaded: {found.get('Error')}")
    return Path(found["Dir"])


def _program(layout: Layout) -> Path:
    return layout.cache / "bin" / f"kueue-{VERSION}" / "manager"
