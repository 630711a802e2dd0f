"""Ask an advisory service about the Python packages in the images, by pip-audit.

    python tools/audit.py [--osv-url URL] LOCK...

It ends with code 1 if a package has an advisory, except in the locks of ACCEPTED. Without a way to the service, or if the package
index does not pass advisories on, as mirrors often do not, it says so and ends with 0. `--osv-url` names a copy of OSV to ask instead.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ACCEPTED = {"coqui": "Coqui STT 1.4.0 needs Python 3.7 and TensorFlow 1.15, which get no more fixes"}
"""Locks whose advisories are no error, with the reason."""
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", re.MULTILINE)
AUDIT = (
    "uv",
    "tool",
    "run",
    "-q",
    "pip-audit==2.10.1",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner=off",
    "-f",
    "json",
)
OFFLINE = re.compile(
    "could not connect|connection|error sending request|address information|timed out|unreachable|dns error|certificate"
    "|too many requests|service unavailable|bad gateway",
    re.IGNORECASE,
)
"""Sentences of pip-audit, and of uv that installs it, about a network that is not there."""

Package = tuple[str, str]
"""Name and version."""


class NotDone(Exception):
    """Nothing could be asked; the message is the reason."""


def main(locks: Iterable[Path], service: Iterable[str]) -> int:
    """Print the advisories and return the exit code."""
    places: dict[Package, list[str]] = {}
    for lock in locks:
        for name, version in PIN.findall(lock.read_text(encoding="utf-8")):
            places.setdefault((name, version), []).append(lock.stem)
    try:
        found = advisories(places, service)
    except NotDone as reason:
        print(f"audit: NOT DONE, so advisories about the packages are unknown: {reason}", flush=True)
        return 0
    failed = False
    for package, names in sorted(found.items()):
        failed |= not ACCEPTED.keys() >= set(places[package])
        print(f"audit: {' '.join(package)} in {', '.join(places[package])}: {', '.join(names)}", flush=True)
    for name in ACCEPTED.keys() & {place for package in found for place in places[package]}:
        print(f"audit: advisories only in {name} are accepted: {ACCEPTED[name]}", flush=True)
    if failed:
        print("audit: failed; upgrade the packages listed above with make lock ARGS=--upgrade", file=sys.stderr)
    else:
        print(f"audit: passed, {len(places)} packages checked", flush=True)
    return int(failed)


def advisories(packages: Iterable[Package], service: Iterable[str]) -> dict[Package, list[str]]:
    """Return the advisories of the packages that have any. Raises NotDone."""
    found: dict[Package, list[str]] = {}
    for part in _parts(packages):
        asked = _ask(part, service)
        if all("skip_reason" in entry for entry in asked):
            raise NotDone(f"the package index returned no advisories: {asked[0]['skip_reason']}")
        for entry in asked:
            if "skip_reason" in entry:
                print(f"audit: {entry['skip_reason']}", flush=True)
            elif entry["vulns"]:
                found[entry["name"], entry["version"]] = sorted({each["id"] for each in entry["vulns"]})
    return found


def _parts(packages: Iterable[Package]) -> Iterator[list[Package]]:
    """Yield one package, to see that there are answers, and the others without a name twice in a part, which pip-audit refuses."""
    first, *others = packages
    yield [first]
    by_name: dict[str, list[str]] = {}
    for name, version in others:
        by_name.setdefault(name, []).append(version)
    for number in range(max(map(len, by_name.values()), default=0)):
        yield [(name, versions[number]) for name, versions in by_name.items() if number < len(versions)]


def _ask(packages: Iterable[Package], service: Iterable[str]) -> list[dict[str, Any]]:
    """Return what pip-audit says about each package. Raises NotDone."""
    with tempfile.TemporaryDirectory() as folder:
        requirements, result = Path(folder) / "requirements.txt", Path(folder) / "result.json"
        requirements.write_text("".join(f"{name}=={version}\n" for name, version in packages), encoding="utf-8")
        command = [*AUDIT, *service, "-o", str(result), "-r", str(requirements)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.exists():
            answers: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))["dependencies"]
            return answers
    problem = done.stderr.strip()
    if OFFLINE.search(problem):
        raise NotDone(problem.splitlines()[-1].strip())
    sys.exit(f"audit: pip-audit failed with code {done.returncode}: {problem}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--osv-url")
    parser.add_argument("locks", nargs="+", type=Path)
    given = parser.parse_args()
    sys.exit(main(given.locks, ["-s", "osv", "--osv-url", given.osv_url] if given.osv_url else []))
