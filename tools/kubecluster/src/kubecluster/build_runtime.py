"""Give RUN steps of an image build this machine's settings, as an OCI runtime in front of runc.

`python -m kubecluster.build_runtime SETTINGS CGROUP <runc's arguments>`. buildah itself cannot give a RUN step an
environment variable or a file without a trace in the image. A runtime can, because what it adds to the bundle's
config.json is seen by this one container only. The files are below /dev, a tmpfs in the container, so that not even
an empty mount point stays.
"""

import json
import os
import sys
from pathlib import Path

from kubecluster import host_settings

RUNC = "runc"


def main() -> None:
    """Add the settings if runc is to create a container, then become runc."""
    folder, cgroup, arguments = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if "create" in arguments:
        config = Path(arguments[arguments.index("--bundle") + 1]) / "config.json"
        suite = _suite(config)
        _add(host_settings.once(folder / suite, suite), config, f"/{cgroup}/{arguments[-1]}")
    os.execvp(RUNC, [RUNC, *arguments])  # noqa: S606


def _suite(config: Path) -> str:
    """Return the suite of Debian in a bundle, whose packages a RUN step can install."""
    root = config.parent / json.loads(config.read_text())["root"]["path"]
    try:
        lines = (root / "etc/os-release").resolve().read_text().splitlines()
    except FileNotFoundError:
        return host_settings.SUITE
    return next((line.partition("=")[2] for line in lines if line.startswith("VERSION_CODENAME=")), host_settings.SUITE)


def _add(settings: host_settings.Settings, config: Path, cgroup: str) -> None:
    document = json.loads(config.read_text())
    present = {entry.split("=", 1)[0] for entry in document["process"]["env"]}  # the Dockerfile's ENV wins
    document["process"]["env"] += [f"{k}={v}" for k, v in settings.environment.items() if k not in present]
    document["mounts"] += [
        {"destination": target, "type": "bind", "source": source, "options": ["rbind", "ro"]}
        for target, source in settings.mounts.items()
    ]
    document["linux"]["cgroupsPath"] = cgroup
    config.write_text(json.dumps(document))


if __name__ == "__main__":
    main()
