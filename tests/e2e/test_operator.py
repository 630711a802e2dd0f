"""The operator dies, comes back, and has nothing to do."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from kubecluster import audit
from speechmodel_api import keys
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.evaluate import EvaluateOutput
from speechmodel_api.stages.prepare import PrepareOutput
from support.kube import Kubectl, Model, Object
from support.spaces import Space, make_space, remove_space, upgrade
from support.target import Target

MODELS = 20
IDLE_SECONDS = 120
STAGES = ("prepare", "train", "convert", "evaluate", "publish")


def kill(operator: Kubectl) -> None:
    """SIGKILL to the operator: its pod goes without a grace period, another one comes."""
    operator("delete", "pods", "-l", "app.kubernetes.io/name=speechmodel-operator", "--grace-period=0", "--force")


def begun(model: Model, stage: str) -> bool:
    return bool(model.stage(stage) or model.pods(stage))


@dataclass(frozen=True)
class Killed:
    """A model during whose making the operator was killed in every stage."""

    model: Model
    at: list[tuple[str, datetime]]
    """Each stage, and when the operator was killed while it ran."""
    jobs: set[str]
    """Names of all Jobs that were ever there."""


@pytest.fixture(scope="module")
def space(target: Target, operator: Kubectl) -> Iterator[Space]:
    made = make_space(target, "operator")
    yield made
    remove_space(made)


@pytest.fixture(scope="module")
def killed(space: Space, operator: Kubectl, small_dataset: Path) -> Killed:
    space.dataset(small_dataset)
    jobs: set[str] = set()
    model = space.apply(space.manifest())
    at = []
    for stage in STAGES:
        space.kubectl.until(partial(begun, model, stage), f"{stage} begins", every=0.1)
        kill(operator)
        at.append((stage, datetime.now(UTC)))
        jobs |= set(model.jobs())
    model.until_ready()
    return Killed(model, at, jobs | set(model.jobs()))


def test_killed_in_every_stage_no_job_runs_twice_and_none_is_lost(
    killed: Killed, operator: Kubectl, kept_in: Callable[[float], None]
) -> None:
    attempts = {stage: killed.model.stage(stage)["attempt"] for stage in STAGES}
    assert attempts == dict.fromkeys(STAGES, 1)
    assert len(killed.jobs) == len(STAGES), sorted(killed.jobs)
    operator.until_rolled_out("speechmodel-operator")
    kept_in(longest_wait(killed.model, killed.at))


def longest_wait(model: Model, killed: list[tuple[str, datetime]]) -> float:
    """Return the longest time from a kill, or from the end of the stage if it was later, to the next stage's Job."""
    jobs = model.kubectl.find("jobs", f"speechops.dev/model={model.name}")
    of_stage = {job["metadata"]["labels"]["speechops.dev/stage"]: job for job in jobs}
    waits = []
    for (stage, at), (following, _) in pairwise(killed):
        ended = datetime.fromisoformat(of_stage[stage]["status"]["completionTime"])
        started = datetime.fromisoformat(of_stage[following]["metadata"]["creationTimestamp"])
        waits.append((started - max(at, ended)).total_seconds())
    return max(waits)


def test_twenty_finished_models_cost_no_write_at_a_start_and_none_in_two_idle_minutes(
    space: Space, operator: Kubectl, killed: Killed
) -> None:
    if space.target.layout is None:
        pytest.skip("writes are counted in the audit log of the cluster that the tests bring up")
    for number in range(1, MODELS):
        copy_finished(space, killed.model.object, f"model-{number}")
    space.kubectl.patch(killed.model.name, {"serving": {"replicas": 0}})  # a probe that fails is rightly written
    killed.model.until_ready()
    rows = space.kubectl("get", "speechmodels", "--no-headers").splitlines()
    assert len(rows) == MODELS
    quiet = timedelta(seconds=10)
    space.kubectl.until(
        lambda: not space.operator_writes(audit.now() - quiet), "what the last of them woke is over", every=1
    )

    restarted = audit.now()
    kill(operator)
    operator.until_rolled_out("speechmodel-operator")
    time.sleep(10)
    at_start = space.operator_writes(restarted)
    assert at_start == [], "the start of the operator wrote"
    idle_since = audit.now()
    time.sleep(IDLE_SECONDS)
    assert space.operator_writes(idle_since) == [], "an idle operator wrote"
    # the count can fail: an edit is seen in it
    space.kubectl.patch("model-7", {"training": {"maxAttempts": 3}})
    space.kubectl.until(lambda: space.operator_writes(idle_since), "the write that follows an edit")


def copy_finished(space: Space, finished: Object, name: str) -> None:
    """A model that the operator has finished: another name, and the status that the operator itself would have written.

    Only the publish key differs, since it holds the uid. If this were wrong, the operator would run a Job and write.
    """
    manifest = {k: finished[k] for k in ("apiVersion", "kind")} | {
        "metadata": {"name": name},
        "spec": finished["spec"] | {"suspend": True},
    }
    model = space.apply(manifest)
    uid = model.object["metadata"]["uid"]
    status = json.loads(json.dumps(finished["status"]))
    status["observedGeneration"] = 2
    for condition in status["conditions"]:
        condition["observedGeneration"] = 2
    spec = SpeechModelSpec.model_validate(finished["spec"])
    data = PrepareOutput.model_validate(next(s for s in status["stages"] if s["name"] == "prepare")["output"])
    assert keys.prepare_key(spec) and data
    evaluated = next(stage for stage in status["stages"] if stage["name"] == "evaluate")["output"]
    grammar = EvaluateOutput.model_validate(evaluated).grammar
    version = keys.version_key(status["model"]["sha256"], Decoding(beam_width=spec.decoding.beam_width), grammar)
    base = keys.publish_base(spec, space.kubectl.namespace, name, uid)
    for stage in status["stages"]:
        stage["job"] = stage["job"].replace(finished["metadata"]["name"], name, 1)
        if stage["name"] == "publish":
            stage["key"] = keys.publish_key(spec, version, base)
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    space.kubectl("patch", "speechmodel", name, *patch)
    space.kubectl.patch(name, {"suspend": False})
    Model(space.kubectl, name).until_ready()


def test_one_of_two_operators_works_in_namespaces_with_the_label_and_the_other_takes_over(
    space: Space, operator: Kubectl, killed: Killed, target: Target
) -> None:
    model, namespace = killed.model, space.kubectl.namespace
    labelled = replace(space.kubectl, namespace=f"{namespace}-labelled")
    labels = {"metadata": {"name": labelled.namespace, "labels": {"speech": "enabled"}}}
    upgrade(target, "replicaCount=2", "watchNamespaceSelector.matchLabels.speech=enabled")
    try:
        leader = operator.until(lambda: lease_holder(operator), "one of them holds the Lease")
        space.kubectl.patch(model.name, {"decoding": {"beamWidth": 48}})
        space.kubectl.apply({"apiVersion": "v1", "kind": "Namespace"} | labels)
        later = space.manifest("later")
        later["spec"]["suspend"] = True
        labelled.apply(later)
        # the operator watches both namespaces, so it has heard of the edit before it hears of this model
        labelled.until(
            lambda: Model(labelled, "later").status.get("observedGeneration"), "a model with the label is managed"
        )
        assert model.status["observedGeneration"] < model.object["metadata"]["generation"], "the namespace has no label"

        jobs = set(model.jobs())
        space.kubectl("label", "namespace", namespace, "speech=enabled")
        space.kubectl.until(lambda: set(model.jobs()) - jobs, "a Job follows the edit", every=0.1)
        operator("delete", "pod", leader, "--wait=false")
        model.until_ready()
        assert lease_holder(operator) not in (None, leader)
        stages = sorted(job.removeprefix(f"{model.name}-").split("-")[0] for job in set(model.jobs()) - jobs)
        assert stages == ["evaluate", "publish"], "a Job was doubled or lost"
    finally:
        upgrade(target)
        labelled("delete", "namespace", labelled.namespace, "--ignore-not-found", "--wait=false")


def lease_holder(operator: Kubectl) -> str | None:
    """Return the name of the pod that holds the operators' Lease."""
    lease = operator.get("lease", "speechmodel-operator") or {"spec": {}}
    held: str = lease["spec"].get("holderIdentity", "")
    pods = (pod["metadata"]["name"] for pod in operator.find("pods", "app.kubernetes.io/name=speechmodel-operator"))
    return next((pod for pod in pods if held.startswith(f"{pod}_")), None)
