"""The command line: python -m kubecluster COMMAND, see --help."""

import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta

import click

from kubecluster import audit, cluster, faults, group, images, packages, remains, s3, toolchain
from kubecluster.errors import ClusterError
from kubecluster.layout import GROUPS, NODES, REGISTRY, REPOSITORY, Layout

SERVICE_FAULTS = {"kill": faults.kill_service, "freeze": faults.freeze_service, "thaw": faults.thaw_service}
NODE_FAULTS = {"lose": faults.lose_node, "start": faults.start_node}


@click.group()
@click.pass_context
def main(context: click.Context) -> None:
    """Run a real Kubernetes cluster on this machine."""
    os.umask(0o022)
    context.obj = Layout.default()


@main.command("packages")
@click.option("--install", is_flag=True, help="Install them with apt-get.")
def packages_command(install: bool) -> None:
    """Name the Debian packages that are missing."""
    if install and (installed := packages.install()):
        print("installed:", *installed)
    packages.require()
    print("all Debian packages are installed")


@main.command()
@click.pass_obj
def build(layout: Layout) -> None:
    """Build the Go programs into the cache; takes minutes, once."""
    print("built:", *(f"{name} in {seconds} s" for name, seconds in toolchain.build(layout).items()))


@main.command()
@click.pass_obj
def up(layout: Layout) -> None:
    """Start the cluster unless it is up."""
    began = time.monotonic()
    laps = cluster.up(layout)
    print(f"up in {time.monotonic() - began:.1f} s ({', '.join(f'{k} {v} s' for k, v in laps.items())})")
    print(f"kubeconfig  {layout.kubeconfig()} (API server https://127.0.0.1:6443)")
    print(f"S3          {s3.ENDPOINT} on this machine, {s3.IN_CLUSTER_ENDPOINT} in pods; "
          f"key {s3.CREDENTIALS.access_key}, secret {s3.CREDENTIALS.secret_key}")  # fmt: skip
    print(f"images      python -m kubecluster images (registry {REGISTRY})")
    print(f"logs        {layout.logs}")
    print('your shell  eval "$(python -m kubecluster env)"')


@main.command()
@click.pass_obj
def down(layout: Layout) -> None:
    """Stop the cluster and delete its objects; binaries and images stay."""
    began = time.monotonic()
    cluster.down(layout)
    print(f"down in {time.monotonic() - began:.1f} s")


@main.command()
@click.pass_obj
def reset(layout: Layout) -> None:
    """Stop the cluster and remove the state directory."""
    cluster.reset(layout)


@main.command()
@click.pass_obj
def status(layout: Layout) -> None:
    """Show what runs; exit with 1 unless the cluster is healthy."""
    running = group.inits(layout)
    for name in GROUPS:
        print(f"{name:14} {f'runs, init is PID {running[name]}' if name in running else 'is down'}")
    healthy = cluster.healthy(layout)
    print(f"{'cluster':14} {'is healthy' if healthy else 'is not healthy'}")
    if not running and (left := remains.leftovers(layout)):
        print("left behind:", *left, sep="\n  ")
    sys.exit(0 if healthy else 1)


@main.command()
@click.pass_obj
def env(layout: Layout) -> None:
    """Print shell lines that set PATH, KUBECONFIG and the S3 credentials."""
    settings = _environment(layout) | {"PATH": f"{layout.bin}:$PATH"}
    for name, value in settings.items():
        print(f'export {name}="{value}"' if name == "PATH" else f"export {name}={shlex.quote(value)}")


@main.command("images")
@click.argument("names", nargs=-1, type=click.Choice(images.TARGETS))
@click.pass_obj
def images_command(layout: Layout, names: tuple[str, ...]) -> None:
    """Build the project's images, those on Debian or those named, and push what changed."""
    for image in images.project(REPOSITORY, names or images.NAMES):
        built = images.build(layout, image)
        print(f"{built.image.name}: {built.outcome} ({built.seconds:.1f} s)", flush=True)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def run(layout: Layout, argv: tuple[str, ...]) -> None:
    """Run a command while the cluster is up; if it was down before, take it down afterwards."""
    with cluster.running(layout):
        # the command ends with this process, however that ends
        ends_with_us = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
        done = subprocess.run(ends_with_us, env=os.environ | _environment(layout), check=False)
    sys.exit(done.returncode)


@main.command()
@click.argument("what", type=click.Choice(list(SERVICE_FAULTS)))
@click.argument("group_name", metavar="GROUP", type=click.Choice(GROUPS))
@click.argument("service")
@click.pass_obj
def fault(layout: Layout, what: str, group_name: str, service: str) -> None:
    """Kill, freeze or thaw a service, such as: fault kill control kube-apiserver."""
    SERVICE_FAULTS[what](layout, group_name, service)


@main.command()
@click.argument("what", type=click.Choice(list(NODE_FAULTS)))
@click.argument("name", type=click.Choice([node.name for node in NODES]))
@click.pass_obj
def node(layout: Layout, what: str, name: str) -> None:
    """Lose a node as if its power went, or start it again."""
    NODE_FAULTS[what](layout, name)


@main.command()
@click.argument("seconds", type=float, default=60.0)
@click.pass_obj
def writes(layout: Layout, seconds: float) -> None:
    """Count the writes that each user made to the API server in the last seconds."""
    found = audit.writes(layout, audit.now() - timedelta(seconds=seconds))
    for (user, verb, resource), count in Counter((w.user, w.verb, w.resource) for w in found).most_common():
        print(f"{count:6} {verb:8} {resource:30} {user}")


def _environment(layout: Layout) -> dict[str, str]:
    path = f"{layout.bin}:{os.environ.get('PATH', '')}"
    return {"PATH": path, "KUBECONFIG": str(layout.kubeconfig()), **s3.CREDENTIALS.environment()}


if __name__ == "__main__":
    try:
        main(prog_name="kubecluster")
    except ClusterError as error:
        sys.exit(f"kubecluster: {error}")
