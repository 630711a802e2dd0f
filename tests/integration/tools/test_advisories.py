"""`make audit`: an advisory is an error, and no way to the advisories is a sentence."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.places import ROOT

pytestmark = pytest.mark.slow

PROGRAM = ROOT / "tools" / "audit.py"
KNOWN = {"colorama": [], "jinja2": ["PYSEC-1"], "tensorflow": ["GHSA-2", "GHSA-3"]}
"""Advisories of the service, by package."""


class Service(BaseHTTPRequestHandler):
    """Answers queries as OSV does."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = KNOWN[query["package"]["name"]]
        entry = {"aliases": [], "summary": "a fault", "affected": [], "published": "2026-01-01T00:00:00Z"}
        body = json.dumps({"vulns": [entry | {"id": name} for name in names]} if names else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a service of advisories."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audit(*arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [*before, sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True)


def locked(folder: Path, **locks: str) -> list[Path]:
    """Write locks, in which each package has a digest."""
    for name, pins in locks.items():
        lines = [f"{pin} \\\n    --hash=sha256:0\n" for pin in pins.split()]
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    return [folder / f"{name}.txt" for name in locks]


def test_an_advisory_is_an_error_unless_its_package_gets_no_more_fixes(service: str, tmp_path: Path) -> None:
    locks = locked(
        tmp_path, operator="colorama==0.4.6", pipeline="jinja2==2.11.2 colorama==0.4.5", coqui="tensorflow==1.15.4"
    )
    done = audit("--osv-url", service, *locks)
    if "NOT DONE" in done.stdout:
        pytest.skip(f"pip-audit cannot be installed: {done.stdout}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "audit: jinja2 2.11.2 in pipeline: PYSEC-1\n" in done.stdout
    assert "colorama" not in done.stdout
    done = audit("--osv-url", service, locks[0], locks[2])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "audit: tensorflow 1.15.4 in coqui: GHSA-2, GHSA-3\n" in done.stdout
    assert "audit: advisories only in coqui are accepted: Coqui STT 1.4.0 needs Python 3.7" in done.stdout
    (tmp_path / "training.txt").write_text("tensorflow==1.15.4\n", encoding="utf-8")
    done = audit("--osv-url", service, tmp_path / "training.txt", locks[2])
    assert done.returncode == 1, "it is in another image too"


def test_without_a_network_it_says_that_nothing_was_audited(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root can take the network away")
    done = audit(*locked(tmp_path, operator="jinja2==2.11.2"), before=("unshare", "--net"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("audit: NOT DONE, so advisories about the packages are unknown: ")


@pytest.mark.parametrize(
    "answer", ["NOT DONE, so advisories about the packages are unknown", "passed, 3 packages checked"]
)
def test_a_run_of_ci_succeeds_and_says_at_its_end_that_no_advisories_were_reached(answer: str, tmp_path: Path) -> None:
    quick = "tests/unit/docs/test_advice.py::test_such_advice_would_be_found"
    make = tmp_path / "make"
    make.write_text(
        "#!/bin/sh\n"
        f'case "$1" in audit) echo "audit: {answer}";; test) exec {sys.executable} -m pytest -q -p no:cacheprovider {quick};; esac\n',
        encoding="utf-8",
    )
    make.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([ROOT / ".ci/run"], env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, last_but_one, last = done.stdout.splitlines()
    assert "passed" in last
    assert last_but_one.startswith(f"audit: {answer}") == answer.startswith("NOT DONE")
    assert f"audit: {answer}" in done.stderr, "it is said at once too"
