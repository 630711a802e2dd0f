"""A canary on a real cluster: a version that fails requests goes away again, and one that answers them is promoted."""

import re
import shutil
from pathlib import Path

from support.kube import Kubectl, Model, Object, curl
from support.spaces import Space
from support.traffic import Caller

FAULTY = 77
"""Beam width of the version that fails every request."""
FAULT = f"""\
import json
from pathlib import Path

version = Path("/models/version.json")
if version.is_file() and json.loads(version.read_text())["decoding"]["beamWidth"] == {FAULTY}:
    from speechmodel_inference.version import ServedVersion

    def fail(*args, **kwargs):
        raise RuntimeError("a fault that the test put here")

    ServedVersion.transcribe = fail
"""
"""A module that Python imports when it starts. The servers find it in the folder of the dataset, which serving.takes mounts."""


def faulty_dataset(small_dataset: Path, folder: Path) -> Path:
    """Return the dataset with the fault beside the recordings."""
    shutil.copytree(small_dataset, folder, dirs_exist_ok=True)
    (folder / "fault").mkdir()
    (folder / "fault" / "sitecustomize.py").write_text(FAULT, encoding="utf-8")
    return folder


def failed_requests(kubectl: Kubectl, pod: str) -> tuple[int, int]:
    """Return the number of transcriptions that a server answered, and how many of them failed, from its metrics."""
    with kubectl.forward(f"pod/{pod}", 8080) as url:
        _, text = curl(f"{url}/metrics")
    counts = re.findall(r'speechmodel_http_requests_total\{method="POST",.*status="(\d+)"\} ([\d.]+)', text)
    return int(sum(float(n) for _, n in counts)), int(sum(float(n) for status, n in counts if status >= "500"))


def publish(model: Model, beam_width: int, minutes: int) -> Object:
    """Publish another version of the same weights with a canary, and return the status once it takes requests."""
    before = model.status["latestVersion"]
    canary = {"minutes": minutes, "maxErrorRate": 0.05}
    model.kubectl.patch(model.name, {"decoding": {"beamWidth": beam_width}, "serving": {"canary": canary}})

    def look() -> Object | None:
        status = model.status
        canary = status.get("canary") or {}
        return status if canary.get("startedAt") and canary["version"] != before else None

    return model.kubectl.until(look, "the canary has begun")


def counted(model: Model) -> bool:
    """Return True if the running canary, or the promotion after it, has counted requests of which none failed."""
    status = model.status
    (promoted,) = (each["message"] for each in status["conditions"] if each["type"] == "Promoted")
    ended = (status["history"][0].get("promotion") or {"message": ""})["message"]
    running = re.search(r"0 of 1 minutes, 0 of [1-9]\d* requests failed", promoted)
    return bool(running or re.search(r"0 of [1-9]\d* requests failed in a canary of 1 minutes", ended))


def test_a_version_that_fails_requests_is_taken_back_and_one_that_answers_is_promoted(
    space: Space, operator: Kubectl, small_dataset: Path, tmp_path: Path
) -> None:
    kubectl = space.kubectl
    space.dataset(faulty_dataset(small_dataset, tmp_path / "faulty"))
    manifest = space.manifest()
    manifest["spec"]["serving"] = {
        "takes": {},
        "env": [{"name": "PYTHONPATH", "value": "/opt/speechmodel:/dataset/fault"}],
    }
    model = space.apply(manifest)
    model.until_ready()
    first = model.status["model"]["version"]
    (served,) = (pod["metadata"]["name"] for pod in model.pods("server"))

    begun = publish(model, FAULTY, minutes=10)
    assert begun["serving"]["version"] == first != begun["latestVersion"]
    assert len(model.pods("canary")) == 1
    # the first requests end the canary, so they come after all of this was seen
    caller = Caller(model, f"{space.target.registry}/speechops/pipeline:{space.target.tag}")
    stalled = model.until_condition("Stalled", reason="CanaryFailed")["message"]
    assert f"version {first} is still served" in stalled
    canary = model.status["canary"]
    assert (canary["state"], canary["failed"]) == ("Failed", canary["requests"])
    assert f"{canary['failed']} of {canary['requests']} requests failed (100.00%)" in stalled
    kubectl.until(lambda: not model.pods("canary"), "the servers of the canary are gone")
    assert model.condition("Ready")["status"] == "True"
    assert model.condition("Promoted")["reason"] == "CanaryFailed"
    header, row = kubectl("get", "sm", "-o", "wide").splitlines()
    shown = [row[header.index(column) :].split()[0] for column in ("SERVING", "LATEST")]
    assert shown == [first, model.status["latestVersion"]]
    assert [entry["promotion"]["reason"] for entry in model.status["history"]] == ["CanaryFailed", "Promoted"]
    answered, failed = failed_requests(kubectl, served)
    assert answered > 0
    assert failed == 0, "the old version answered every request"
    _, errors = caller.so_far()
    assert len(errors) >= canary["failed"] > 0

    begun = publish(model, 78, minutes=1)
    operator("delete", "pods", "-l", "app.kubernetes.io/name=speechmodel-operator", "--grace-period=0", "--force")
    kubectl.until(lambda: counted(model), "the condition or the history counts the requests")
    model.until_ready()
    status = model.status
    assert status["canary"]["startedAt"] == begun["canary"]["startedAt"], "the canary went on after the operator's end"
    assert (status["canary"]["state"], status["canary"]["failed"]) == ("Passed", 0)
    assert status["canary"]["requests"] > 0
    assert status["serving"]["version"] == status["latestVersion"] != first
    kubectl.until(lambda: not model.pods("canary"), "the servers of the canary are gone")
    assert status["history"][0]["promotion"]["promoted"]
    _, later = caller.stop()
    assert later == errors, "no request failed in the second canary, nor in the rollout"
