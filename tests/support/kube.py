"""A cluster as its users see it: through kubectl and curl."""

import itertools
import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import client, config
from speechmodel_api.progress import TrainProgress, parse_progress

from support import waiting

Object = dict[str, Any]
T = TypeVar("T")

API = {
    "speechmodels": "apis/speechops.dev/v1alpha1",
    "jobs": "apis/batch/v1",
    "deployments": "apis/apps/v1",
    "pods": "api/v1",
    "services": "api/v1",
    "serviceaccounts": "api/v1",
    "persistentvolumeclaims": "api/v1",
}
"""The kinds that tests wait for. They are read over one connection, because kubectl needs 0.2 s of CPU time for each read."""
DEFINITION = "speechmodels.speechops.dev"
"""Name of the CustomResourceDefinition."""
AGAIN = (429, 500, 503, 504)
"""Answers of an API server that cannot read its store for a moment."""
NOT_SENT = re.compile(
    r"^The connection to the server \S+ was refused"
    r"|^Unable to connect to the server: (dial |.*TLS handshake timeout)"
    r"|^error: (failed to create|error validating) .*: dial tcp "
    r"|^(Error from server|error)\b.*: error dialing backend",
    re.MULTILINE,
)
"""Errors of kubectl when the API server, or a kubelet behind it, accepted no connection, so it received no request."""
UNANSWERED = re.compile(
    NOT_SENT.pattern
    + r"|etcdserver: (request timed out|leader changed)"
    + r"|^(?!Error from server \().*(connect: connection refused|TLS handshake timeout)",
    re.MULTILINE,
)
"""Errors of kubectl after which a part of a change may have been made. One that names its reason is the API server's own,
such as a webhook that accepts no connection.
"""
ONCE = ("annotate", "create", "exec", "run")
"""Verbs of kubectl that must not be repeated if the first call had an effect."""
ENDLESS = 100_000
"""Epochs of a training that a test ends itself, so that it cannot end while the test waits for the processor."""
STAGES = ("prepare", "download", "train", "convert", "evaluate", "publish", "compare", "server", "purge")


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
        """Return the output. Raises AssertionError with the error output when `check` and it fails for good."""
        if not check:
            return self._run(args, stdin).stdout
        done = self._until_connected(args, stdin)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {done.stderr}")
        return done.stdout

    def differs(self, *args: str, stdin: str) -> bool:
        """Return True if `kubectl diff` shows a difference. Raises AssertionError with the error output when it fails."""
        done = self._until_connected(("diff", *args), stdin)
        found = done.returncode == 1 and bool(done.stdout)  # an early error has the code 1 too
        if done.returncode and not found:
            raise AssertionError(f"kubectl diff {' '.join(args)}: {done.stderr}")
        return found

    def _until_connected(self, args: Sequence[str], stdin: str | bytes | None) -> subprocess.CompletedProcess[str]:
        """Run kubectl, and again while there is no connection, if that does no harm."""
        calls = itertools.count()

        def run() -> subprocess.CompletedProcess[str]:
            # what an earlier call deleted, before it lost its connection, is not missing
            more = ["--ignore-not-found"] if next(calls) and args[0] == "delete" else []
            return self._run([*args, *more], stdin)

        return until_connected(run, NOT_SENT if args[0] in ONCE else UNANSWERED)

    def _run(self, args: Sequence[str], stdin: str | bytes | None) -> subprocess.CompletedProcess[str]:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(self.argv(*args), input=raw, capture_output=True, env=os.environ | {"GOGC": "off"})
        return subprocess.CompletedProcess(args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def apply(self, *manifests: Object) -> None:
        self("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None when there is none of that name."""
        if (plural := _plural(kind)) in API:
            return self._read(plural, f"/{name}")
        text = self("get", kind, name, "--ignore-not-found", "-o", "json")
        found: Object | None = json.loads(text) if text else None
        return found

    def find(self, kinds: str, selector: str = "") -> list[Object]:
        """Return the objects of some kinds, separated by commas, that a label selector matches."""
        found: list[Object] = []
        for kind in kinds.split(","):
            if (plural := _plural(kind)) in API:
                items = self._read(plural, labelSelector=selector) or {"items": []}
            else:
                items = json.loads(self("get", kind, "-l", selector, "-o", "json"))
            found += items["items"]
        return found

    def may(self, user: str, groups: list[str], **attributes: str) -> bool:
        """Return the API server's answer to a SubjectAccessReview with these resourceAttributes."""
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
        answer = self._request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review | {"spec": spec})
        assert answer
        return bool(answer["status"]["allowed"])

    def _read(self, plural: str, name: str = "", **query: str) -> Object | None:
        """Return an object, or without a name a list, or None when there is nothing of that name."""
        return self._request("GET", f"/{API[plural]}/namespaces/{self.namespace}/{plural}{name}", None, (), **query)

    def rehearse(self, model: Object) -> Object:
        """Return a SpeechModel as the API server would store it, or the Status that says why it is rejected.

        It does what `kubectl create --dry-run=server --validate=strict` does.
        """
        path = f"/{API['speechmodels']}/namespaces/{self.namespace}/speechmodels"
        rejected = (400, 403, 422)
        answer = self._request("POST", path, model, rejected, dryRun="All", fieldValidation="Strict")
        assert answer, "SpeechModels are not defined"
        return answer

    def _request(
        self, method: str, path: str, body: Object | None = None, accepted: Collection[int] = (), **query: str
    ) -> Object | None:
        """Send a request to the API server, and return its answer or None for 404.

        An answer with a status that is neither success nor `accepted` raises AssertionError.

        A read or a merge patch, whose repetition changes nothing, is sent again if the server's store pauses.
        """
        connection = _connection(self.kubeconfig, self.context)
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content}
        request = connection.param_serialize(
            method, path, query_params=[*query.items()], header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        began = time.monotonic()
        while True:
            answer = connection.call_api(*request)
            text: bytes = answer.read()  # type: ignore[no-untyped-call]
            late = time.monotonic() - began > waiting.STALLED_SECONDS
            if method not in ("GET", "PATCH") or answer.status not in AGAIN or late:
                break
            time.sleep(1)
        if answer.status == 404:
            return None
        assert answer.status in (200, 201, *accepted), f"{method} {path}: {answer.status} {text.decode()}"
        found: Object = json.loads(text)
        return found

    def patch(self, name: str, spec: Object) -> None:
        """Merge-patch the spec of a SpeechModel."""
        path = f"/{API['speechmodels']}/namespaces/{self.namespace}/speechmodels/{name}"
        assert self._request("PATCH", path, {"spec": spec}), f"{name} is gone"

    def state(self) -> str:
        """Return phases, conditions and the epoch of everything in the namespace: a wait's progress."""
        kinds = "jobs,pods,deployments,persistentvolumeclaims,speechmodels"
        return repr([_state(found) for found in self.find(kinds)])

    def until(self, look: Callable[[], T | None], what: str, every: float = 0.2) -> T:
        """Return the first true value of `look()`. Fail when the namespace stalls."""
        return waiting.until(look, what, moved=self.state, explain=self.story, every=every)

    def until_established(self) -> None:
        """Wait until the API server serves SpeechModels."""

        def look() -> bool:
            conditions = (self.get("crd", DEFINITION) or {}).get("status", {}).get("conditions") or []
            established = any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
            # the condition is written before the API server has opened the path
            return established and self._read("speechmodels") is not None

        self.until(look, "SpeechModels are served")

    def until_ready(self, pod: str) -> None:
        """Wait until a pod is ready."""

        def look() -> bool:
            conditions = (self.get("pod", pod) or {}).get("status", {}).get("conditions", [])
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        self.until(look, f"pod {pod} is ready")

    def until_rolled_out(self, deployment: str) -> None:
        """Wait until every replica of a Deployment is of its newest revision and available."""

        def look() -> bool:
            found = self.get("deployment", deployment) or {"metadata": {"generation": -1}}
            status, wanted = found.get("status", {}), found.get("spec", {}).get("replicas")
            counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
            return status.get("observedGeneration") == found["metadata"]["generation"] and counts == [wanted] * 3

        self.until(look, f"deployment {deployment} is rolled out")

    def story(self) -> str:
        """Return what a person would look at: objects, events and the ends of logs."""
        look = [
            ("get", "speechmodels", "-o", "yaml"),
            ("get", "jobs,pods,pvc", "-o", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
        ]
        parts = [self(*args, check=False) for args in look]
        for stage in STAGES:
            logs = self("logs", "-l", f"speechops.dev/stage={stage}", "--tail=15", "--all-containers", check=False)
            parts.append(f"--- {stage}\n{logs}")
        return "\n".join(parts)

    @contextmanager
    def forward(self, target: str, port: int) -> Iterator[str]:
        """`kubectl port-forward` while the block runs; gives the URL. kubectl chooses the port.

        Of a Service, kubectl takes one pod, and perhaps one that is about to end: this waits until none of them is.
        """
        kind, _, name = target.partition("/")
        if kind == "service":
            self.until(lambda: not self._ending(name), f"the pods that leave the Service {name} are gone")
        with ExitStack() as stack:

            def begin() -> re.Match[str] | None:
                command = self.argv("port-forward", target, f":{port}")
                process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                stack.callback(process.kill)
                assert process.stdout
                return re.match(r"Forwarding from (127\.0\.0\.1:\d+) -> ", process.stdout.readline())

            forwarding = self.until(begin, f"{target} is forwarded", every=1)
            yield f"http://{forwarding[1]}"

    def _ending(self, service: str) -> list[Object]:
        """Return the pods of a Service that are being deleted."""
        found = self.get("service", service)
        assert found, f"there is no Service {service}"
        selector = ",".join(f"{key}={value}" for key, value in found["spec"]["selector"].items())
        return [pod for pod in self.find("pods", selector) if "deletionTimestamp" in pod["metadata"]]


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
        return _entry(self.status, "conditions", type=name)

    def stage(self, name: str) -> Object:
        return _entry(self.status, "stages", name=name)

    def jobs(self) -> list[str]:
        """Names of its Jobs, those of earlier attempts included while they are there."""
        return sorted(j["metadata"]["name"] for j in self.kubectl.find("jobs", f"speechops.dev/model={self.name}"))

    def pods(self, stage: str) -> list[Object]:
        return self.kubectl.find("pods", f"speechops.dev/model={self.name},speechops.dev/stage={stage}")

    def reported(self) -> Counter[str]:
        """Return how often Events report each reason. Reasons of Warning Events begin with `!`."""
        selector = f"involvedObject.kind=SpeechModel,involvedObject.name={self.name}"
        found = json.loads(self.kubectl("get", "events", "--field-selector", selector, "-o", "json"))["items"]
        reported: Counter[str] = Counter()
        for event in found:
            reported["!" * (event["type"] == "Warning") + event["reason"]] += event.get("count", 1)
        return reported

    def until_reported_once(self, *reasons: str) -> None:
        """Wait until Events report each of these reasons, and assert that each has one. Events are posted after the status.

        A reason that is given twice has two.
        """
        wanted = Counter(reasons)

        def look() -> Counter[str] | None:
            reported = self.reported()
            return reported if reported >= wanted else None

        found = self.kubectl.until(look, f"Events about {self.name} report {', '.join(wanted)}")
        assert {reason: found[reason] for reason in wanted} == wanted, "one Event for each change"

    def until_condition(self, name: str, *, status: str = "True", reason: str | None = None) -> Object:
        """Return the condition once it has that status and reason for the newest generation."""

        def look() -> Object | None:
            model = self.object
            current: Object = model.get("status", {})
            if current.get("observedGeneration") != model["metadata"]["generation"]:
                return None
            condition = _entry(current, "conditions", type=name)
            matches = condition.get("status") == status and reason in (None, condition["reason"])
            return condition if matches else None

        return self.kubectl.until(look, f"{self.name} has {name}={status} {reason or ''}")

    def until_ready(self) -> Object:
        """Return the condition Ready once the newest spec is in effect: it stays True while an old version serves."""

        def look() -> Object | None:
            model = self.object
            status: Object = model.get("status", {})
            pending = any(_entry(status, "conditions", type=name) for name in ("Reconciling", "Stalled"))
            ready = _entry(status, "conditions", type="Ready")
            current = ready.get("observedGeneration") == model["metadata"]["generation"]
            return ready if current and ready["status"] == "True" and not pending else None

        return self.kubectl.until(look, f"the spec of {self.name} is in effect")

    def until_done(self, stage: str) -> Object:
        """Return the output of a stage once it has succeeded for the newest generation."""

        def look() -> Object | None:
            model = self.object
            status: Object = model.get("status", {})
            found, current = _entry(status, "stages", name=stage), status.get("observedGeneration")
            done = current == model["metadata"]["generation"] and found.get("state") == "Succeeded"
            return found["output"] if done else None

        return self.kubectl.until(look, f"{stage} of {self.name} is done")

    def until_epoch(self, epoch: int) -> int:
        """Return the number of finished epochs once it is at least `epoch`."""

        def look() -> int | None:
            training = self.status.get("training") or {}
            return training["epoch"] if training.get("epoch", -1) >= epoch else None

        return self.kubectl.until(look, f"{self.name} reaches epoch {epoch}")

    def until_running(self, stage: str, besides: Collection[str] = ()) -> Object:
        """Return a pod of that stage whose name is not among `besides`, once it runs or has run."""

        def look() -> Object | None:
            found = (pod for pod in self.pods(stage) if pod["metadata"]["name"] not in besides)
            return next((pod for pod in found if pod["status"]["phase"] in ("Running", "Succeeded")), None)

        return self.kubectl.until(look, f"a pod of {stage} runs")

    def until_training(self, besides: Collection[str] = ()) -> TrainProgress:
        """Return where a training pod begins whose name is not among `besides`, by the first record of its log."""

        def look() -> TrainProgress | None:
            for pod in self.pods("train"):
                name = pod["metadata"]["name"]
                if name not in besides and pod["status"]["phase"] in ("Running", "Succeeded"):
                    for line in self.kubectl("logs", name, check=False).splitlines():
                        if isinstance(record := parse_progress(line), TrainProgress):
                            return record
            return None

        return self.kubectl.until(look, "another training pod begins")

    def until_saved(self, pod: str) -> int:
        """Return the step of the newest checkpoint that a training pod has reported as saved, once there is one."""

        def look() -> int:
            return max(map(int, re.findall(r"saved step (\d+) in", self.kubectl("logs", pod))), default=0)

        return self.kubectl.until(look, f"{pod} saves a checkpoint")

    def end_training(self) -> int:
        """Let a training of ENDLESS epochs end two epochs after its newest known one, and return its last epoch.

        Its checkpoints may be further ahead than the status. Then they have reached the end, and no epoch is trained.
        """
        last: int = self.status["training"]["epoch"] + 2
        self.kubectl.patch(self.name, {"suspend": False, "training": {"maxEpochs": last}})
        output = self.until_done("train")
        ended: int = output["epoch"]
        assert ended == last or (ended > last and output["trainedEpochs"] == 0), output
        return ended


def until_connected(
    run: Callable[[], subprocess.CompletedProcess[str]], passing: re.Pattern[str]
) -> subprocess.CompletedProcess[str]:
    """Return how a program ended. It is run again as long as its errors have `passing`, up to STALLED_SECONDS."""
    began = time.monotonic()
    while True:
        done = run()
        passes = done.returncode != 0 and passing.search(done.stderr)
        if not passes or time.monotonic() - began > waiting.STALLED_SECONDS:
            return done
        time.sleep(1)


@cache
def _connection(kubeconfig: str, context: str | None) -> client.ApiClient:
    """Return a connection that is kept open."""
    found: client.ApiClient = config.new_client_from_config(kubeconfig, context)  # type: ignore[no-untyped-call]
    return found


def _plural(kind: str) -> str:
    """Return the plural of a kind's name, as the API server's paths have it."""
    return "persistentvolumeclaims" if kind == "pvc" else kind.removesuffix("s") + "s"


def _state(found: Object) -> list[Any]:
    """Return what shows progress. It holds no times and no restart counts: a pod that restarts forever does not progress."""
    metadata, status = found["metadata"], found.get("status", {})
    return [
        metadata["name"],
        metadata.get("deletionTimestamp"),
        *(status.get(field) for field in ("phase", "progress", "readyReplicas")),
        *((stage.get("state"), stage.get("attempt")) for stage in status.get("stages", [])),
        *((condition["status"], condition.get("reason")) for condition in status.get("conditions", [])),
        *(container["ready"] for container in status.get("containerStatuses", [])),
    ]


def _entry(status: Object, field: str, **wanted: str) -> Object:
    """Return the entry of a list in the status, or {} when there is none."""
    return next((entry for entry in status.get(field, []) if wanted.items() <= entry.items()), {})


def curl(url: str, *args: str) -> tuple[int, str]:
    """Return the status code and the body."""
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "600", "-w", "\n%{http_code}", *args, url], capture_output=True, text=True
    )
    body, _, code = done.stdout.rpartition("\n")
    return int(code or 0), body or done.stderr


def transcribe(url: str, clip: Path) -> str:
    """Return the server's transcript of a clip."""
    code, body = curl(f"{url}/v1/audio/transcriptions", "-F", f"file=@{clip}")
    assert code == 200, body
    text: str = json.loads(body)["text"]
    return text
