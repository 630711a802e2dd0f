"""Build the Go programs, once for each state of their go.mod, go.sum, sources and recipe."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import TOOL, Layout
from kubecluster.shell import contained, locked, run

# module directory -> program -> Go package
PROGRAMS = {
    "kube": {"kube": ".", "pause": "./pause", "device-plugin": "./deviceplugin"},
    "addons": {
        "coredns": "./coredns",
        "provisioner": "./provisioner",
        "metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server",
        "kwok": "sigs.k8s.io/kwok/cmd/kwok",
        "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
    },
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
    "promtool": {"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
    "ct": {"ct": "github.com/helm/chart-testing/v3/ct"},
    "crds": {},
}
# CustomResourceDefinitions of other projects, by the Go module that brings them; built into one file, crds.yaml
CRDS = {
    "github.com/fluxcd/kustomize-controller": ("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
    "github.com/kedacore/keda/v2": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    "github.com/prometheus-operator/prometheus-operator": tuple(
        f"example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"
        for plural in ("podmonitors", "prometheusrules", "servicemonitors")
    ),
    "sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
}
# promtool tests rules: without the clients of every cloud that Prometheus can discover targets in
TAGS = {"promtool": "remove_all_sd"}
# the names that the one Kubernetes binary goes by
KUBE_NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
# without CGO_ENABLED=0 every package would be compiled a second time
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
FLAGS = ("-trimpath", "-buildvcs=false")
STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
# how kwok's fake nodes and pods behave: it has no built-in default, but brings these in its module
KWOK_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
GO_NEEDED = (1, 26)
KEPT = 2  # sets of binaries of each module, newest first


def build(layout: Layout) -> dict[str, float]:
    """Build what the cache lacks and link all into the state directory; returns the seconds each module took."""
    took = {}
    folder = layout.cache / "bin"
    with locked(folder / "lock"):
        for name, programs in PROGRAMS.items():
            module = TOOL / "go" / name
            target = folder / f"{name}-{digest(module, programs)}"
            if not target.exists():
                require_go()
                began = time.monotonic()
                _build_module(module, programs, target)
                took[name] = round(time.monotonic() - began, 1)
            os.utime(target)
            _prune(folder, name)
            _link(layout, target)
    return took


def digest(module: Path, programs: dict[str, str]) -> str:
    """Return 16 hex digits of the hash over the module's sources and how they are built."""
    recipe = repr((programs, ENVIRONMENT, FLAGS, _linker_flags(module), KWOK_STAGES)) + TAGS.get(module.name, "")
    recipe += repr(CRDS) if module.name == "crds" else ""
    total = hashlib.sha256(recipe.encode())
    sources = sorted(p for p in module.rglob("*") if p.suffix == ".go" or p.name in ("go.mod", "go.sum"))
    for path in sources:
        total.update(f"{path.relative_to(module)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def require_go() -> None:
    """Raise MissingPrerequisite unless PATH has a Go that is new enough."""
    needed = ".".join(map(str, GO_NEEDED))
    if not shutil.which("go"):
        raise MissingPrerequisite(f"missing: the Go toolchain, {needed} or newer, as `go` in PATH")
    version = run("go", "env", "GOVERSION", env=os.environ | {"GOTOOLCHAIN": "local"}).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if not found or tuple(map(int, found.groups())) < GO_NEEDED:
        raise MissingPrerequisite(f"`go` in PATH is {version or 'of an unknown version'}; install {needed} or newer")


def _linker_flags(module: Path) -> str:
    """Return the flags that give Kubernetes its version; without its own Makefile it would be v0.0.0-master."""
    found = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", (module / "go.mod").read_text())
    if not found:
        return "-s -w"
    version, major, minor = found.groups()
    fields = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s", "-w", *(f"-X {package}.{k}={v}" for package in STAMPED for k, v in fields.items())])


def _build_module(module: Path, programs: dict[str, str], target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    env = os.environ | ENVIRONMENT
    ldflags = f"-ldflags={_linker_flags(module)}"
    tags = [f"-tags={TAGS[module.name]}"] if module.name in TAGS else []
    for program, package in programs.items():
        contained("go", "build", *FLAGS, *tags, ldflags, "-o", partial / program, package, cwd=module, env=env)
    if "kwok" in programs:
        kwok = run("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok", cwd=module, env=env).stdout.strip()
        folders = [Path(kwok) / "kustomize" / "stage" / stage for stage in KWOK_STAGES]
        stages = [path for folder in folders for path in sorted(folder.glob("*.yaml")) if path.stem != "kustomization"]
        (partial / "kwok-stages.yaml").write_text("\n---\n".join(path.read_text() for path in stages))
    if module.name == "crds":
        (partial / "crds.yaml").write_text(_definitions(module, env))
    partial.rename(target)


def _definitions(module: Path, env: Mapping[str, str]) -> str:
    """Return CRDS as one YAML text. The modules are downloaded without what they depend on, and go.sum has their digests."""
    found = []
    for name, paths in CRDS.items():
        downloaded = json.loads(run("go", "mod", "download", "-json", name, cwd=module, env=env).stdout)
        found += [Path(downloaded["Dir"], path).read_text() for path in paths]
    return "\n---\n".join(found)


def _prune(folder: Path, name: str) -> None:
    """Remove all but the newest sets of a module's binaries."""
    sets = sorted(folder.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in sets[KEPT:]:
        shutil.rmtree(old)


def _link(layout: Layout, target: Path) -> None:
    layout.bin.mkdir(parents=True, exist_ok=True)
    for program in target.iterdir():
        for name in KUBE_NAMES if program.name == "kube" else (program.name,):
            link = layout.bin / name
            if link.is_symlink() and link.readlink() == program:
                continue
            link.unlink(missing_ok=True)
            link.symlink_to(program)
