"""Models that go through their stages on a fake cluster, with operators that reach the API server through a proxy with faults."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from speechmodel_api.stages.contract import StageName
from speechmodel_operator.supervisor import LONGEST_BACKOFF

from support import waiting
from support.api_server import TOKEN, ControlPlane, write_kubeconfig
from support.fake_cluster import spec
from support.faulty_proxy import FaultyProxy

STAGES = (StageName.PREPARE, StageName.TRAIN, StageName.CONVERT, StageName.EVALUATE, StageName.PUBLISH)
WATCH_SECONDS = "5"
"""A silent watch is noticed 10 s after this."""
PATIENCE_SECONDS = 10 * LONGEST_BACKOFF
"""Time without progress that counts as a failure, ten times the longest backoff. A step may meet several faults."""


class Lifecycles:
    """A number of models, and one operator or more as processes. Each has `settings` of its own beside those of the test."""

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        models: int,
        seed: int,
        settings: Sequence[Mapping[str, str]] = ({},),
    ) -> None:
        self.plane, self.names = plane, [f"m{number}" for number in range(models)]
        self.operators: list[subprocess.Popen[bytes]] = []
        self._settings = settings
        self.proxy, self.log = FaultyProxy(plane.server, seed), folder / "operator.log"
        self._kubeconfig, self._running = folder / "proxy-kubeconfig", self.proxy.running()

    def __enter__(self) -> Self:
        self._running.__enter__()
        write_kubeconfig(self._kubeconfig, self.proxy.url, TOKEN)
        self.operators = [self._start(settings) for settings in self._settings]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for operator in self.operators:
            operator.kill()
            operator.wait()
        self._running.__exit__(kind, error, traceback)

    def create(self) -> None:
        """Create the models."""
        kind = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel"}
        self.plane.kubectl.apply(*(kind | {"metadata": {"name": name}, "spec": spec()} for name in self.names))

    def kill_operator(self, number: int = 0) -> None:
        """Kill an operator, as when its node fails, and start another one with its settings."""
        self.operators[number].send_signal(signal.SIGKILL)
        self.operators[number].wait()
        self.operators[number] = self._start(self._settings[number])

    def keep_running(self) -> None:
        """Start each operator again that has ended, as Kubernetes does when it could not reach the API server at its start."""
        for number, operator in enumerate(self.operators):
            if (code := operator.poll()) is not None:
                assert code == 1, f"the operator ended with {code}:\n{self.explain()}"
                self.operators[number] = self._start(self._settings[number])

    def until(self, ready: Callable[[], bool], what: str = "every model is Ready", *, every: float) -> None:
        """Wait until `ready()`, looking every so many seconds."""
        waiting.until(
            ready,
            what,
            moved=self.state,
            explain=self.explain,
            stalled=PATIENCE_SECONDS,
            every=every,
        )

    def ready(self) -> int:
        """Return the number of models whose newest spec is in effect."""
        found = self.plane.kubectl.find("speechmodels")
        return sum(
            model.get("status", {}).get("phase") == "Ready"
            and model["status"]["observedGeneration"] == model["metadata"]["generation"]
            for model in found
        )

    def jobs(self) -> list[str]:
        """Return model, stage and attempt of each Job that exists, in order."""
        return sorted(_short(job["metadata"]["name"]) for job in self.plane.kubectl.find("jobs"))

    def created(self) -> list[str]:
        """Return the same of each Job that the operator has ever created, in order."""
        existing = {job["metadata"]["name"] for job in self.plane.kubectl.find("jobs")}
        unanswered = (self.proxy.unanswered & existing) - self.proxy.created.keys()
        return sorted(_short(job) for job in (*self.proxy.created.elements(), *unanswered))

    def state(self) -> str:
        """Return what shows progress."""
        return self.plane.kubectl.state()

    def explain(self) -> str:
        """Return the end of the operator's log, what was injected, and the models."""
        models = self.plane.kubectl("get", "speechmodels,jobs", check=False)
        return f"{self.log.read_text(encoding='utf-8')[-4000:]}\n{dict(self.proxy.injected)}\n{models}"

    def edit(self, number: int) -> None:
        """Ask for new recordings and a new training of each model. `number` is 1 for the first edit."""
        edited = {"dataset": {"revision": f"r{number}"}, "training": {"restartToken": f"t{number}"}}
        for name in self.names:
            self.plane.kubectl.patch(name, edited)

    def expected_jobs(self, edits: int = 0) -> list[str]:
        """Return model, stage and attempt of the Jobs that there must have been after so many edits, in order.

        A training that ends with the same weights makes nothing after it due.
        """
        runs = [(stage, 1) for stage in STAGES]
        runs += [(stage, 1 + edit) for edit in range(1, edits + 1) for stage in (StageName.PREPARE, StageName.TRAIN)]
        return sorted(f"{name}-{stage.value}-{attempt}" for name in self.names for stage, attempt in runs)

    def _start(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        given = {"LIVENESS_PORT": "0", "METRICS_PORT": "0", "WATCH_SECONDS": WATCH_SECONDS, "LOG_LEVEL": "WARNING"}
        environment = os.environ | {f"SPEECHMODEL_{name}": value for name, value in {**given, **settings}.items()}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "speechmodel_operator"],
                env=environment | {"KUBECONFIG": str(self._kubeconfig)},
                stderr=log,
            )


def _short(job: str) -> str:
    """Return the name of a Job without its key."""
    model, stage, _, attempt = job.split("-")
    return f"{model}-{stage}-{attempt}"
