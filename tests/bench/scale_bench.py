"""The operator with many models, on a real control plane with fake nodes and pods (see support/fake_cluster.py).

    PYTHONPATH=tests python -m bench.scale_bench [--models 1000] [--burst 300] [--idle 300] [--edits 40]

`models` are Ready and served, and have their finished Jobs and pods, those of a hundred in a namespace. `burst` models are created
at once beside them; their pods fit on no node. What depends on the machine is also given as a ratio to the same work by a bare client
in the same run. The figures are compared with the limits in scale_limits.yaml, and a ratio over its limit ends the program with code 1.
"""

import argparse
import asyncio
import base64
import copy
import json
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import yaml
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import SpeechModelStatus
from speechmodel_operator.__main__ import images_of
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.policies import policies
from speechmodel_operator.resources.serving import applied_hash, deployment, service
from speechmodel_operator.settings import PolicySettings, Settings
from speechmodel_plan.task import Owner
from support import built
from support.api_server import TOKEN, ControlPlane
from support.fake_cluster import NOWHERE, PROGRAMS, fake_cluster, ready_status, spec
from support.ports import free_port

LIMITS = Path(__file__).with_name("scale_limits.yaml")
TOGETHER = 32
"""Requests that the bench sends at the same time."""
PER_NAMESPACE = 100
"""Models in a namespace, as those of a team or of some users."""
GROUP, BATCH = "/apis/speechops.dev/v1alpha1", "/apis/batch/v1"
JOBS = f"{BATCH}/namespaces/default/jobs"
NETWORKING = "/apis/networking.k8s.io/v1"
POLICIES = PolicySettings(name="bench", namespace="default", operatorLabels={"app": "bench"})
"""Those that the chart creates by default, without an owner."""
APPS, CORE = "/apis/apps/v1/namespaces/default", "/api/v1/namespaces/default"
STORED = {
    f"{GROUP}/namespaces/default/speechmodels": "speechops.dev/speechmodels",
    JOBS: "jobs",
    f"{CORE}/pods": "pods",
    f"{CORE}/persistentvolumeclaims": "persistentvolumeclaims",
    f"{APPS}/deployments": "deployments",
    f"{APPS}/replicasets": "replicasets",
    f"{CORE}/services": "services",
}
"""Folder in etcd of each kind of a Ready model's objects."""
FIRST = "zeroth"
"""Name of the model that the others are copies of. It occurs in no other text."""
IN_NAMESPACE = r'(?<="namespace": ")default(?=")|(?<=[/.])default(?=[/.])'
"""Its namespace: in metadata and references, in the place of its publication, and in its address."""
QUIET_SECONDS = 5.0
"""Time without a step that an event caused, after which the operator is at rest."""
Object = dict[str, Any]


class Client:
    """A bare client of the API server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, method: str, path: str, body: Object | None = None) -> Object:
        """Send a request and return the answer. Raises RuntimeError for one that is an error."""
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(method, path, data=data, headers={"Content-Type": content}) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {text.decode()}")
            found: Object = json.loads(text)
            return found

    async def all(self, work: Iterable[Awaitable[object]]) -> None:
        """Wait for all of it, a few at a time."""
        gate = asyncio.Semaphore(TOGETHER)

        async def one(each: Awaitable[object]) -> None:
            async with gate:
                await each

        await asyncio.gather(*(one(each) for each in work))

    async def created(self, seen: dict[str, float]) -> None:
        """Note when each Job was created, by name, until cancelled."""
        version = (await self.send("GET", f"{BATCH}/jobs?limit=1"))["metadata"]["resourceVersion"]
        path = f"{BATCH}/jobs?watch=true&resourceVersion={version}&timeoutSeconds=3600"
        async with self._session.get(path, timeout=aiohttp.ClientTimeout(None)) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ADDED":
                    seen[event["object"]["metadata"]["name"]] = time.perf_counter()


class Operator:
    """The operator as a process."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane, self._log = plane, folder / "operator.log"
        self.port = free_port()

    def start(self) -> None:
        """Start it."""
        given = {"LIVENESS_PORT": "0", "METRICS_PORT": str(self.port), "LOG_LEVEL": "WARNING"}
        given["NETWORK_POLICIES"] = POLICIES.model_dump_json(by_alias=True)
        environment = os.environ | {f"SPEECHMODEL_{name}": value for name, value in given.items()}
        with self._log.open("ab") as log:
            self.process = psutil.Popen(
                [sys.executable, "-m", "speechmodel_operator"],
                env=environment | {"KUBECONFIG": self._plane.kubectl.kubeconfig},
                stderr=log,
            )

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def cpu(self) -> float:
        """Return its processor time in seconds."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def megabytes(self) -> float:
        """Return its resident memory."""
        return float(self.process.memory_info().rss) / 1e6

    def count(self, metric: str, pattern: str = "") -> float:
        """Return the sum of its counters of that name whose labels match. Before it answers, -1."""
        try:
            url = f"http://127.0.0.1:{self.port}/metrics?name[]={metric}"  # those of all models would take the operator's time
            text = urllib.request.urlopen(url, timeout=30).read().decode()
        except OSError:
            return -1
        found = re.findall(rf"^{metric}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for given, value in found if re.search(pattern, given))

    def writes(self) -> float:
        """Return the number of its calls that change something."""
        return self.count("speechmodel_api_calls_total", 'verb="(POST|PATCH|DELETE)"')

    async def until_quiet(self) -> float:
        """Wait until no event has caused a step for a while, and return the time of the last one."""
        steps, changed = -1.0, time.perf_counter()
        while time.perf_counter() - changed < QUIET_SECONDS or steps <= 0:
            await asyncio.sleep(0.2)
            if (now := self.count("speechmodel_reconcile_queue_seconds_count")) != steps:
                steps, changed = now, time.perf_counter()
        return changed


def main() -> None:
    """Measure, print, and compare with the limits."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder, fake_cluster(built.programs(*PROGRAMS), Path(folder)) as plane:
        figures = asyncio.run(_measure(plane, Path(folder), asked))
    limits = {figure["name"]: figure for figure in yaml.safe_load(LIMITS.read_text(encoding="utf-8"))["figures"]}
    print(f"{asked.models} idle models, a burst of {asked.burst}, {asked.edits} edits, {asked.idle:g} idle seconds")
    over = []
    for name, value in figures.items():
        limit = limits.get(name, {}).get("limit")
        print(f"  {name:44} {value:9.3f}" + (f"   limit {limit:g}" if limit is not None else ""))
        if limit is not None and limits[name]["ratio"] and value > limit:
            over.append(name)
    if over:
        sys.exit(f"over the limit of {LIMITS.name}: {', '.join(over)}")


async def _measure(plane: ControlPlane, folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    operator, figures = Operator(plane, folder), dict[str, float]()
    async with _client(plane) as client:
        operator.start()
        try:
            stored = await _one_lifecycle(client)
            job = next(thing for _, thing in stored if thing["kind"] == "Job")
            operator.stop()
            for number in range(0, max(asked.models, asked.burst), PER_NAMESPACE):
                namespace = _namespace(number)
                await client.send("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
                for policy in policies(POLICIES, namespace, ""):
                    await client.send("POST", f"{NETWORKING}/namespaces/{namespace}/networkpolicies", policy)
            await _populate(plane, client, stored, asked.models)
            bare = await _bare_jobs(client, job, asked.burst)
            operator.start()
            await operator.until_quiet()
            if written := operator.writes():
                raise RuntimeError(f"the operator wrote {written:g} times, so the copies are not as it makes them")
            seen: dict[str, float] = {}
            watching = asyncio.create_task(client.created(seen))
            await asyncio.sleep(1)
            figures |= await _edits(client, operator, seen, job, asked.edits)
            figures |= await _burst(client, operator, seen, asked.burst, bare)
            await _until_reported(client, asked.burst)
            operator.stop()
            figures |= await _restart(operator)
            before, cpu = operator.writes(), operator.cpu()
            await asyncio.sleep(asked.idle)
            figures["writes while idle"] = operator.writes() - before
            figures["CPU while idle, ms per model and minute"] = (
                1000 * (operator.cpu() - cpu) / (asked.models + asked.burst) / (asked.idle / 60)
            )
            figures["resident memory, MB"] = operator.megabytes()
            watching.cancel()
        finally:
            if operator.process.is_running():
                operator.stop()
    return figures


@asynccontextmanager
async def _client(plane: ControlPlane) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(ssl=False, limit=TOGETHER + 8)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(plane.server, connector=connector, headers=headers, read_bufsize=2**20) as session:
        yield Client(session)


def _namespace(number: int) -> str:
    return f"team-{number // PER_NAMESPACE}"


def _models(namespace: str) -> str:
    return f"{GROUP}/namespaces/{namespace}/speechmodels"


def _model(name: str, training: Object) -> Object:
    manifest = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": name}}
    return manifest | {"spec": spec(**training)}


async def _until(look: Callable[[], Awaitable[bool]], what: str, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await look():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise RuntimeError(f"{seconds:g} s have passed, but not yet: {what}") from None


async def _one_lifecycle(client: Client) -> list[tuple[str, Object]]:
    """Let one model become Ready, and return it and its children, each with the folder of its kind in etcd."""
    await client.send("POST", _models("default"), _model(FIRST, {}))

    async def ready() -> bool:
        status = (await client.send("GET", f"{_models('default')}/{FIRST}")).get("status", {})
        return bool(status.get("phase") == "Ready")

    await _until(ready, "the first model is Ready", 300)
    stored = []
    for path, folder in STORED.items():
        mine = f"fieldSelector=metadata.name={FIRST}" if GROUP in path else f"labelSelector={labels.MODEL}={FIRST}"
        listed = await client.send("GET", f"{path}?{mine}")
        kind = {"apiVersion": listed["apiVersion"], "kind": listed["kind"].removesuffix("List")}
        stored += [(folder, kind | thing) for thing in listed["items"]]
    return stored


async def _populate(plane: ControlPlane, client: Client, stored: list[tuple[str, Object]], models: int) -> None:
    """Write copies of a Ready model and its children to etcd, in a fraction of the API server's time. No controller runs meanwhile.

    Services are created by the API server, which gives each an address. The operator finds all as it would have made it.
    """
    controllers = [plane.programs[name] for name in plane.programs if name not in ("etcd", "kube-apiserver")]
    uids, text = [thing["metadata"]["uid"] for _, thing in stored], json.dumps(stored)
    spec, images = SpeechModelSpec.model_validate(stored[0][1]["spec"]), images_of(Settings.from_environment())
    keys = {stage["name"]: stage["key"] for stage in stored[0][1]["status"]["stages"]}
    for program in controllers:
        program.kill()
    async with aiohttp.ClientSession(plane.etcd) as session:
        for number in range(models):
            owner = Owner(_namespace(number), f"m{number}", str(uuid.uuid4()))
            copied = re.sub(IN_NAMESPACE, owner.namespace, text)
            copied = copied.replace(FIRST, owner.name).replace(uids[0], owner.uid)
            for uid in uids[1:]:
                copied = copied.replace(uid, str(uuid.uuid4()))
            for stage in ready_status(owner).stages:  # the place of a publication depends on the owner
                copied = copied.replace(keys[stage.name.value], stage.key)
            things = json.loads(copied)
            served = SpeechModelStatus.model_validate(things[0][1]["status"]).model
            assert served is not None
            wanted = {"Deployment": deployment(images, owner, spec, served), "Service": service(owner, spec)}
            for _, thing in things:
                if thing["kind"] in wanted:
                    thing["metadata"]["annotations"][labels.APPLIED] = applied_hash(wanted[thing["kind"]])
            (own,) = [thing for folder, thing in things if folder == "services"]
            puts = [_put(folder, thing) for folder, thing in things if folder != "services"]
            async with session.post("/v3/kv/txn", json={"success": puts}) as answer:
                answer.raise_for_status()
            await client.send("POST", f"/api/v1/namespaces/{owner.namespace}/services", _without_address(own))
    for program in controllers:
        program.restart()


def _put(folder: str, thing: Object) -> Object:
    """Return the operation of etcd that stores an object."""
    metadata = thing["metadata"]
    del metadata["resourceVersion"]
    key, value = f"/registry/{folder}/{metadata['namespace']}/{metadata['name']}".encode(), json.dumps(thing).encode()
    return {"requestPut": {"key": base64.b64encode(key).decode(), "value": base64.b64encode(value).decode()}}


def _without_address(found: Object) -> Object:
    """Return a Service as it was asked for."""
    given = {"name", "namespace", "labels", "annotations", "ownerReferences"}
    metadata = {field: value for field, value in found["metadata"].items() if field in given}
    spec = {field: value for field, value in found["spec"].items() if not field.startswith(("clusterIP", "ipFamil"))}
    return {"metadata": metadata, "spec": spec}


@dataclass(frozen=True)
class Bare:
    """Time that a bare client needs for each Job, in seconds."""

    seconds: float
    cpu: float


def _bare_job(job: Object, name: str) -> Object:
    """Return a Job like one of the operator's, which belongs to nobody."""
    spec = {field: value for field, value in copy.deepcopy(job["spec"]).items() if field != "selector"}
    template = spec["template"]
    generated = ("controller-uid", "job-name")
    given = template["metadata"]["labels"].items()
    template["metadata"]["labels"] = {label: value for label, value in given if not label.endswith(generated)}
    template["spec"]["nodeSelector"] = NOWHERE
    mine = {label: value for label, value in job["metadata"]["labels"].items() if label != labels.MODEL}
    return {"metadata": {"name": name, "labels": mine, "annotations": job["metadata"]["annotations"]}, "spec": spec}


async def _bare_jobs(client: Client, job: Object, count: int) -> Bare:
    """Create Jobs by a bare client. They are removed again."""
    bodies = [_bare_job(job, f"bare-{number}") for number in range(count)]
    began, cpu = time.perf_counter(), time.process_time()
    await client.all(client.send("POST", JOBS, body) for body in bodies)
    took = Bare((time.perf_counter() - began) / count, (time.process_time() - cpu) / count)
    await client.all(
        client.send("DELETE", f"{JOBS}/bare-{number}?propagationPolicy=Background") for number in range(count)
    )
    return took


async def _edits(
    client: Client, operator: Operator, seen: dict[str, float], job: Object, count: int
) -> dict[str, float]:
    """Edit models one after the other while all are idle, and measure the time to the new Job; a bare client creates one after each."""
    edit = {"dataset": {"revision": "2"}, "training": {"podTemplate": {"nodeSelector": NOWHERE}}}
    edits: list[float] = []
    bare: list[float] = []
    for number in range(count):
        model, alone = f"m{number}", _bare_job(job, f"alone-{number}")
        for took, call, prefix in (
            (
                edits,
                partial(client.send, "PATCH", f"{_models(_namespace(number))}/{model}", {"spec": edit}),
                f"{model}-",
            ),
            (bare, partial(client.send, "POST", JOBS, alone), f"alone-{number}"),
        ):
            await operator.until_quiet()
            known, began = set(seen), time.perf_counter()
            await call()

            async def there(known: set[str] = known, prefix: str = prefix) -> bool:
                return any(name.startswith(prefix) for name in seen.keys() - known)

            await _until(there, f"there is a Job {prefix}", 60)
            took.append(max(at for name, at in seen.items() if name not in known and name.startswith(prefix)) - began)
    return {
        "edit to new Job over a bare client's Job": float(np.median(edits) / np.median(bare)),
        "edit to new Job, median s": float(np.median(edits)),
        "edit to new Job, p95 s": float(np.percentile(edits, 95)),
    }


async def _burst(
    client: Client, operator: Operator, seen: dict[str, float], count: int, bare: Bare
) -> dict[str, float]:
    """Create models at once, and measure until the last has its Job, and the processor time until all is at rest."""
    asked: dict[str, float] = {}
    await operator.until_quiet()

    async def one(number: int) -> None:
        asked[f"b{number}"] = time.perf_counter()
        model = _model(f"b{number}", {"podTemplate": {"nodeSelector": NOWHERE}})
        await client.send("POST", _models(_namespace(number)), model)

    known, cpu, began = set(seen), operator.cpu(), time.perf_counter()
    await client.all(one(number) for number in range(count))
    created = time.perf_counter()

    async def all_there() -> bool:
        return len(seen.keys() - known) >= count

    await _until(all_there, "each model has its Job", 600)
    cpu_at_jobs = operator.cpu() - cpu
    took = [seen[job] - asked[job.split("-")[0]] for job in seen.keys() - known]  # a Job of an idle model is a KeyError
    seconds = max(seen[job] for job in seen.keys() - known) - began
    await operator.until_quiet()
    return {
        "Jobs created per second": count / seconds,
        "seconds per Job over a bare client's": seconds / count / bare.seconds,
        "CPU from creation to Job over a bare client's": cpu_at_jobs / count / bare.cpu,
        "seconds per Job of a bare client": bare.seconds,
        "CPU per Job of a bare client, ms": 1000 * bare.cpu,
        "models created per second": count / (created - began),
        "operator CPU from creation to Job, ms per model": 1000 * cpu_at_jobs / count,
        "operator CPU until at rest, ms per model": 1000 * (operator.cpu() - cpu) / count,
        "model to Job in the burst, p95 s": float(np.percentile(took, 95)),
    }


async def _until_reported(client: Client, burst: int) -> None:
    """Wait until the operator has said of each model of the burst that no node takes its pod, which it does after a while."""
    for number in range(burst):

        async def said(path: str = f"{_models(_namespace(number))}/b{number}") -> bool:
            status = (await client.send("GET", path)).get("status", {})
            return "Unschedulable" in {condition["reason"] for condition in status.get("conditions", ())}

        await _until(said, f"the status of b{number} says that its pod is not scheduled", 600)


async def _restart(operator: Operator) -> dict[str, float]:
    began = time.perf_counter()
    operator.start()
    quiet = await operator.until_quiet()
    return {
        "restart to quiet, s": quiet - began,
        "writes of a restart": operator.writes(),
        "CPU of a restart, s": operator.cpu(),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the operator with many models.")
    parser.add_argument("--models", type=int, default=1000, help="Ready models")
    parser.add_argument("--burst", type=int, default=300, help="models that are created at once")
    parser.add_argument("--edits", type=int, default=40, help="edits of Ready models, one after the other")
    parser.add_argument("--idle", type=float, default=300, help="seconds at rest")
    return parser.parse_args()


if __name__ == "__main__":
    main()
