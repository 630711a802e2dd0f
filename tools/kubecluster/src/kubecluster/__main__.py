"""The command line: python -m kubecluster COMMAND, see --help."""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta

from . import audit, cluster, faults, group, images, packages, remains, s3, toolchain
from .errors import ClusterError
from .layout import GROUPS, NODES, REGISTRY, REPOSITORY, Layout

FAULTS = {"kill": faults.kill_service, "freeze": faults.freeze_service, "thaw": faults.thaw_service}
NODE_FAULTS = {"lose": faults.lose_node, "start": faults.start_node}


def main() -> int:
    """Run one command; returns the exit code."""
    os.umask(0o022)
    try:
        return _run(Layout.default(), _parser().parse_args())
    except ClusterError as error:
        print(f"kubecluster: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubecluster", description="A real Kubernetes cluster on this machine.")
    sub = parser.add_subparsers(dest="command", required=True)
    needed = sub.add_parser("packages", help="name the Debian packages that are missing")
    needed.add_argument("--install", action="store_true", help="install them with apt-get")
    sub.add_parser("build", help="build the Go programs into the cache (minutes, once)")
    sub.add_parser("up", help="start the cluster, or find it running")
    sub.add_parser("down", help="stop it and forget its objects; binaries and images stay")
    sub.add_parser("reset", help="down, and remove the state directory")
    sub.add_parser("status", help="what runs; exits 1 unless all of it does")
    sub.add_parser("env", help="shell lines that set PATH, KUBECONFIG and the S3 credentials")
    image = sub.add_parser("images", help="build and push the project's images that changed")
    image.add_argument("names", nargs="*", choices=[*images.NAMES, []], metavar="name", help=", ".join(images.NAMES))
    command = sub.add_parser("run", help="run a command while the cluster is up; take it down after if it was down")
    command.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- command")
    fault = sub.add_parser("fault", help="kill, freeze or thaw a service, such as: fault kill control kube-apiserver")
    fault.add_argument("what", choices=FAULTS)
    fault.add_argument("group", choices=GROUPS)
    fault.add_argument("service")
    node = sub.add_parser("node", help="lose a node as if its power went, or start it again")
    node.add_argument("what", choices=NODE_FAULTS)
    node.add_argument("name", choices=[n.name for n in NODES])
    writes = sub.add_parser("writes", help="who wrote to the API server lately")
    writes.add_argument("seconds", type=float, nargs="?", default=60.0)
    return parser


def _run(layout: Layout, args: argparse.Namespace) -> int:
    match args.command:
        case "packages":
            _packages(install=args.install)
        case "build":
            print("built:", *(f"{name} in {s} s" for name, s in toolchain.build(layout).items()))
        case "up":
            _up(layout)
        case "down":
            began = time.monotonic()
            cluster.down(layout)
            print(f"down in {time.monotonic() - began:.1f} s")
        case "reset":
            cluster.reset(layout)
        case "status":
            return _status(layout)
        case "env":
            _env(layout)
        case "images":
            for image in images.project(REPOSITORY, args.names or images.NAMES):
                built = images.build(layout, image)
                print(f"{built.image.name}: {built.outcome} ({built.seconds:.1f} s)", flush=True)
        case "run":
            return _run_command(layout, args.argv)
        case "fault":
            FAULTS[args.what](layout, args.group, args.service)
        case "node":
            NODE_FAULTS[args.what](layout, args.name)
        case "writes":
            found = audit.writes(layout, audit.now() - timedelta(seconds=args.seconds))
            for (user, verb, resource), count in Counter((w.user, w.verb, w.resource) for w in found).most_common():
                print(f"{count:6} {verb:8} {resource:30} {user}")
    return 0


def _packages(install: bool) -> None:
    if install and (installed := packages.install()):
        print("installed:", *installed)
    packages.require()
    print("all Debian packages are there")


def _up(layout: Layout) -> None:
    began = time.monotonic()
    laps = cluster.up(layout)
    print(f"up in {time.monotonic() - began:.1f} s ({', '.join(f'{k} {v} s' for k, v in laps.items())})")
    print(f"kubeconfig  {layout.kubeconfig()} (API server https://127.0.0.1:6443)")
    print(f"S3          {s3.ENDPOINT} on this machine, {s3.IN_CLUSTER_ENDPOINT} in pods; "
          f"key {s3.CREDENTIALS.access_key}, secret {s3.CREDENTIALS.secret_key}")  # fmt: skip
    print(f"images      python -m kubecluster images (registry {REGISTRY})")
    print(f"logs        {layout.logs}")
    print('your shell  eval "$(python -m kubecluster env)"')


def _run_command(layout: Layout, argv: list[str]) -> int:
    argv = argv[1:] if argv[:1] == ["--"] else argv
    with cluster.running(layout):
        # the command ends with this process, however that ends
        ends_with_us = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
        return subprocess.run(ends_with_us, env=os.environ | _environment(layout), check=False).returncode


def _status(layout: Layout) -> int:
    running = group.inits(layout)
    for name in GROUPS:
        print(f"{name:14} {f'runs, init is PID {running[name]}' if name in running else 'is down'}")
    healthy = cluster.healthy(layout)
    print(f"{'cluster':14} {'is healthy' if healthy else 'is not healthy'}")
    if not running and (left := remains.leftovers(layout)):
        print("left behind:", *left, sep="\n  ")
    return 0 if healthy else 1


def _environment(layout: Layout) -> dict[str, str]:
    path = f"{layout.bin}:{os.environ.get('PATH', '')}"
    return {"PATH": path, "KUBECONFIG": str(layout.kubeconfig()), **s3.CREDENTIALS.environment()}


def _env(layout: Layout) -> None:
    settings = _environment(layout) | {"PATH": f"{layout.bin}:$PATH"}
    for name, value in settings.items():
        print(f'export {name}="{value}"' if name == "PATH" else f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    sys.exit(main())
