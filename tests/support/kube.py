"""A cluster as its users see it: kubectl and curl, nothing else."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

Object = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one namespace."""

    program: str
    kubeconfig: str
    context: str | None
    namespace: str

    def argv(self, *args: str) -> list[str]:
        context = ["--context", self.context] if self.context else []
        return [self.program, "--kubeconfig", self.kubeconfig, *context, "--namespace", self.namespace, *args]

    def __call__(self, *args: str, stdin: str | bytes | None = None, check: bool = True) -> str:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(self.argv(*args), input=raw, capture_output=True)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr.decode()}")
        return done.stdout.decode()

    def apply(self, *manifests: Object) -> None:
        self("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> Object | None:
        text = self("get", kind, name, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text else None

    def find(self, kind: str, selector: str = "") -> list[Object]:
        found: list[Object] = json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def patch(self, name: str, spec: Object) -> None:
        """Merge-patch the spec of a SpeechModel."""
        self("patch", "speechmodel", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    @contextmanager
    def forward(self, target: str, port: int) -> Iterator[str]:
        """`kubectl port-forward` while the block runs; gives the URL."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            local = probe.getsockname()[1]
        process = subprocess.Popen(
            self.argv("port-forward", target, f"{local}:{port}"), stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert "Forwarding" in line, line
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()
            process.wait(10)


def eventually(look: Callable[[], T | None], seconds: float, what: str, every: float = 0.5) -> T:
    """The first thing that is there; an error with `what` after that time."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


class Model:
    """One SpeechModel on the cluster."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.kubectl, self.name = kubectl, name

    @property
    def object(self) -> Object:
        found = self.kubectl.get("speechmodel", self.name)
        assert found, f"{self.name} is gone"
        return found

    @property
    def status(self) -> Object:
        found: Object = self.object.get("status", {})
        return found

    def condition(self, name: str) -> Object:
        return next((c for c in self.status.get("conditions", []) if c["type"] == name), {})

    def stage(self, name: str) -> Object:
        return next((s for s in self.status.get("stages", []) if s["name"] == name), {})

    def jobs(self) -> list[str]:
        """Names of its Jobs, those of earlier attempts included while they are there."""
        return sorted(j["metadata"]["name"] for j in self.kubectl.find("jobs", f"speechops.dev/model={self.name}"))

    def pods(self, stage: str) -> list[Object]:
        return self.kubectl.find("pods", f"speechops.dev/model={self.name},speechops.dev/stage={stage}")

    def until_condition(
        self, name: str, *, status: str = "True", reason: str | None = None, seconds: float = 240
    ) -> Object:
        def look() -> Object | None:
            found = self.object
            seen = found.get("status", {})
            if seen.get("observedGeneration") != found["metadata"]["generation"]:
                return None
            condition = next((c for c in seen.get("conditions", []) if c["type"] == name), None)
            if condition and condition["status"] == status and reason in (None, condition["reason"]):
                return condition
            return None

        try:
            return eventually(look, seconds, f"{name}={status} {reason or ''}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def until_ready(self, seconds: float = 300) -> Object:
        return self.until_condition("Ready", seconds=seconds)

    def until_epoch(self, epoch: int, seconds: float = 120) -> int:
        """Until so many epochs are finished while it trains."""

        def look() -> int | None:
            training = self.status.get("training") or {}
            return training["epoch"] if training.get("epoch", -1) >= epoch else None

        try:
            return eventually(look, seconds, f"epoch {epoch}", every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def until_running(self, stage: str, seconds: float = 120) -> Object:
        """Until a pod of that stage runs."""

        def look() -> Object | None:
            return next((p for p in self.pods(stage) if p["status"]["phase"] == "Running"), None)

        try:
            return eventually(look, seconds, f"a running pod of {stage}", every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def story(self) -> str:
        """What a person would look at."""
        look = [
            ("get", "speechmodel", self.name, "-o", "yaml"),
            ("get", "jobs,pods,pvc", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ]
        parts = [self.kubectl(*args, check=False) for args in look]
        for stage in ("prepare", "train", "convert", "evaluate", "publish", "server", "purge"):
            selector = f"speechops.dev/model={self.name},speechops.dev/stage={stage}"
            parts.append(
                f"--- {stage}\n" + self.kubectl("logs", "-l", selector, "--tail=15", "--all-containers", check=False)
            )
        return "\n".join(parts)


def curl(url: str, *args: str) -> tuple[int, str]:
    """Status code and body."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *args, url], capture_output=True, text=True
    )
    body, _, code = done.stdout.rpartition("\n")
    return int(code or 0), body or done.stderr


def transcribe(url: str, clip: Path) -> str:
    """What the server hears."""
    code, body = curl(f"{url}/v1/audio/transcriptions", "-F", f"file=@{clip}")
    assert code == 200, body
    text: str = json.loads(body)["text"]
    return text
