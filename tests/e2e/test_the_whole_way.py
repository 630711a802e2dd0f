"""The example as a new user would run it: applied, trained, published, served, queried, and then edited."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_runtime.audio import load, save
from support import recordings, stock_deepspeech
from support.kube import Kubectl, Model, Object, curl, transcribe
from support.places import EXAMPLE
from support.spaces import Space, make_space, remove_space
from support.target import Target
from support.traffic import Caller


@pytest.fixture(scope="module")
def space(target: Target, operator: Kubectl) -> Iterator[Space]:
    made = make_space(target, "whole-way")
    yield made
    remove_space(made)


@pytest.fixture(scope="module")
def epochs_seen() -> list[str]:
    """The values of the EPOCH column, in order."""
    return []


@pytest.fixture(scope="module")
def model(space: Space, epochs_seen: list[str]) -> Model:
    """The example, ready."""
    space.dataset(recordings.DATASET, claim="espejo-dataset")
    manifest = yaml.safe_load((EXAMPLE / "speechmodel.yaml").read_text(encoding="utf-8"))
    s3 = manifest["spec"]["publish"]["s3"]
    s3 |= {"bucket": space.bucket, "endpoint": space.target.s3_endpoint, "secretRef": {"name": "s3"}}
    manifest["spec"]["serving"]["replicas"] = 1
    found = space.apply(manifest)

    progress = ""

    def watch() -> bool:
        nonlocal progress
        if (now := found.status.get("progress", "")) != progress:  # a call of kubectl needs a hundred times as much
            progress = now
            row = space.kubectl("get", "speechmodels", found.name, "--no-headers").split()
            if row[2] not in epochs_seen:
                epochs_seen.append(row[2])
        return found.condition("Ready").get("status") == "True"

    space.kubectl.until(watch, "the example is Ready")
    return found


def test_the_served_model_understands_voices_that_training_never_heard(model: Model) -> None:
    with model.kubectl.forward(f"service/{model.name}", 80) as url:
        said = [(words, transcribe(url, path)) for path, words in recordings.all_heard()]
    phrases = [(words, text) for words, text in said if words]
    wrong = [pair for pair in phrases if pair[0] != pair[1]]
    assert len(phrases) == 36
    assert len(wrong) <= 2, f"{wrong}; the README says that 36 of 36 are right"


def test_it_understands_what_is_said_after_a_silence(model: Model, tmp_path: Path) -> None:
    said = load(recordings.heard("ok espejo"))
    save(tmp_path / "late.wav", np.pad(said, (SAMPLE_RATE // 2, SAMPLE_RATE // 2)))
    with model.kubectl.forward(f"service/{model.name}", 80) as url:
        assert transcribe(url, tmp_path / "late.wav") == "ok espejo"


def test_kubectl_get_shows_the_epoch_move(model: Model, epochs_seen: list[str]) -> None:
    finished = [int(epoch.split("/")[0]) for epoch in epochs_seen]
    assert len(finished) >= 4, epochs_seen
    assert finished == sorted(finished)
    header, row = model.kubectl("get", "speechmodels").splitlines()
    assert header.split() == ["NAME", "PHASE", "EPOCH", "WER", "WER-UNSEEN", "VERSION", "READY", "AGE"]
    wanted = model.object["spec"]["training"]["maxEpochs"]
    assert row.split()[1:3] == ["Ready", f"{wanted}/{wanted}"]


def test_the_published_file_has_the_sha256_of_the_status_and_the_stock_command_reads_it(
    model: Model, space: Space, tmp_path: Path
) -> None:
    published = model.status["model"]
    key = published["uri"].removeprefix(f"s3://{space.bucket}/")
    target = tmp_path / "espejo.pbmm"
    space.s3.download_file(space.bucket, key, str(target))
    assert hashlib.sha256(target.read_bytes()).hexdigest() == published["sha256"]
    assert target.stat().st_size == published["sizeBytes"]
    assert stock_deepspeech.transcribe(target, recordings.heard("ok espejo"), tmp_path) == "ok espejo"


def test_changing_the_replicas_runs_no_job(model: Model) -> None:
    before = model.jobs()
    model.kubectl.patch(model.name, {"serving": {"replicas": 2}})
    model.until_ready()
    assert model.status["serving"]["readyReplicas"] == 2
    assert model.jobs() == before
    model.kubectl.patch(model.name, {"serving": {"replicas": 1}})
    model.until_ready()


def test_a_finished_job_deleted_by_hand_is_not_run_again(model: Model) -> None:
    for job in model.jobs():
        model.kubectl("delete", "job", job)
    model.kubectl.patch(model.name, {"training": {"maxAttempts": 7}})
    model.until_ready()  # for the new generation: the operator has looked at what is there
    assert model.jobs() == []


def test_a_service_deleted_by_hand_comes_back(model: Model) -> None:
    model.kubectl("delete", "service", model.name)
    model.kubectl.until(lambda: model.kubectl.get("service", model.name), "the Service is back")


def test_an_edit_of_the_phrases_trains_nothing_and_is_served(
    model: Model, space: Space, kept_in: Callable[[float], None]
) -> None:
    """The gate withholds it first, because sentences that are no phrase any more sound like one that still is."""
    before, trained, old = model.jobs(), model.stage("train"), model.status["model"]["version"]
    recorded = ["pon música", "buenas noches", "llama a mi hijo", "apaga la luz", "sube el volumen"]
    decoding = {"grammar": "Phrases", "phrases": [*recorded, "(apaga|enciende) el espejo"]}
    gate: Object = {"evaluation": {"gate": {"maxFalseAccept": 0}}}
    model.kubectl.patch(model.name, {"decoding": decoding} | gate)
    asked = time.monotonic()
    withheld = withheld_version(model, space, old)
    limit = f"it accepts {withheld['falseAccepts']:.1%} of foreign speech, which is above maxFalseAccept 0.0%"
    assert limit in model.condition("Stalled")["message"]
    jobs = model.jobs()
    model.kubectl.patch(model.name, {"evaluation": {"gate": {"maxFalseAccept": 1}}})
    model.until_ready()
    assert model.status["serving"]["version"] == withheld["version"]
    assert listed(model) == sorted([*recorded, "apaga el espejo", "enciende el espejo"])
    kept_in(time.monotonic() - asked)
    assert model.jobs() == jobs
    made = {job.removeprefix(f"{model.name}-").split("-")[0] for job in set(jobs) - set(before)}
    assert made == {"evaluate", "publish"}
    assert model.stage("train") == trained


def listed(model: Model) -> list[str]:
    """Return the phrases that the server can answer with."""
    with model.kubectl.forward(f"service/{model.name}", 80) as url:
        code, body = curl(f"{url}/v1/speechmodel/phrases")
    assert code == 200, body
    phrases: list[str] = json.loads(body)["phrases"]
    return phrases


def withheld_version(model: Model, space: Space, served: str) -> Object:
    """Return the entry in the history of a version that the gate withholds, once it does: it is published with its report, and
    the version before it is served.
    """
    model.until_condition("Stalled", reason="QualityGateFailed")
    status = model.status
    assert status["serving"]["version"] == served != status["latestVersion"]
    assert model.condition("Promoted")["reason"] == "QualityGateFailed"
    assert (model.condition("Published")["status"], model.condition("Ready")["status"]) == ("True", "True")
    found: Object = next(entry for entry in status["history"] if entry["version"] == status["latestVersion"])
    published = {f"s3://{space.bucket}/{key}" for key in space.objects()}
    assert {found["uri"], found["report"]} <= published
    return found


def test_edits_of_a_served_model(
    model: Model, space: Space, small_dataset: Path, kept_in: Callable[[float], None]
) -> None:
    """A restart token starts from the beginning, new data is a new lineage; the gate and the pin decide which version is served; no
    request fails meanwhile; and the workspace keeps what it must.
    """
    made = [keys_of(model)]
    caller = Caller(model, f"{space.target.registry}/speechops/pipeline:{space.target.tag}")
    first = model.status["model"]["version"]
    gate: Object = {"evaluation": {"gate": {"maxFalseAccept": None, "notWorseThanServing": {}}}}
    model.kubectl.patch(model.name, {"training": {"maxEpochs": 1, "restartToken": "again"}} | gate)
    wer = withheld_version(model, space, first)["wer"]
    assert f"its WER {wer:.1%} is above " in (message := model.condition("Stalled")["message"])
    assert f"of version {first} on the same" in message
    wide = dict(zip(*map(str.split, model.kubectl("get", "sm", "-o", "wide").splitlines()), strict=False))
    assert (wide["SERVING"], wide["LATEST"]) == (first, model.status["latestVersion"])
    jobs = model.jobs()
    assert not any("-compare-" in job for job in jobs), "it was measured on the same clips"
    model.kubectl.patch(model.name, {"evaluation": {"gate": {"maxWER": 0.5, "notWorseThanServing": None}}})
    assert withheld_version(model, space, first)["wer"] == wer
    assert f"its WER {wer:.1%} is above maxWER 50.0%; " in model.condition("Stalled")["message"]
    model.kubectl.patch(model.name, {"evaluation": None})
    model.until_ready()
    assert model.jobs() == jobs
    made.append(keys_of(model))
    restarted = model.stage("train")["output"]
    assert (restarted["epoch"], restarted["trainedEpochs"]) == (1, 1)

    space.kubectl("exec", "load-espejo-dataset", "--", "sh", "-c", "rm -rf /dataset/original /dataset/commands.csv")
    unpack = ("tar", "-C", "/dataset", "--no-same-owner", "-xf", "-")
    space.kubectl("exec", "-i", "load-espejo-dataset", "--", *unpack, stdin=recordings.archive(small_dataset))
    before = model.status["model"]["version"]
    data = model.stage("prepare")["output"]["datasetDigest"]
    gate = {"evaluation": {"gate": {"notWorseThanServing": {"margin": 1}}}}
    since = transitions(model)
    model.kubectl.patch(model.name, {"dataset": {"revision": "2"}, "decoding": None, "suspend": True} | gate)
    model.until_condition("Reconciling", reason="Suspended")  # until all of this is seen
    assert model.status["serving"]["version"] == before
    assert model.condition("Serving")["status"] == "True"
    assert model.condition("Ready")["status"] == "True"
    model.kubectl.patch(model.name, {"suspend": False})
    model.until_ready()
    assert transitions(model) == since, "they were not True all the time while a version was made and rolled out"
    assert model.stage("compare")["output"]["version"] == before
    assert model.stage("prepare")["output"]["datasetDigest"] != data
    assert model.stage("train")["output"]["trainedEpochs"] == 1
    assert model.status["serving"]["version"] == model.status["model"]["version"] not in (first, before)
    versions = [entry["version"] for entry in model.status["history"]]
    assert len(versions) == len(set(versions)) == 4

    jobs = model.jobs()
    model.kubectl.patch(model.name, {"serving": {"pinnedVersion": first}})
    asked = time.monotonic()
    model.until_ready()
    kept_in(time.monotonic() - asked)
    assert model.condition("Promoted")["reason"] == "PromotionHeld"
    assert model.status["serving"]["version"] == first
    assert model.jobs() == jobs

    made.append(keys_of(model))
    pinned, replaced, current = made
    exports, data = folders(space, model)
    assert {each.export for each in made} <= exports, "seven days have not passed"
    assert {pinned.data, current.data} <= data
    keep = {"training": {"storage": {"keepFor": "0h"}}, "decoding": {"beamWidth": 499}, "evaluation": None}
    model.kubectl.patch(model.name, keep)
    model.until_ready()
    assert model.status["serving"]["version"] == first
    exports, data = folders(space, model)
    assert {pinned.export, current.export} <= exports, "one is served, and the other one belongs to the spec"
    assert replaced.export not in exports
    assert data == {current.data}
    storage = model.status["storage"]
    assert storage["usedBytes"] > 0 < storage["freeBytes"]

    newest = model.status["latestVersion"]
    model.kubectl.patch(model.name, {"serving": {"pinnedVersion": None}})
    model.until_ready()
    assert model.status["serving"]["version"] == newest

    good, failed = caller.stop()
    assert failed == []
    assert good > 100


class Made(NamedTuple):
    """The keys of the folders of a version in the workspace."""

    data: str
    export: str


def keys_of(model: Model) -> Made:
    """Return the keys of the newest version."""
    return Made(*(model.stage(stage)["key"] for stage in ("prepare", "convert")))


def folders(space: Space, model: Model) -> tuple[set[str], set[str]]:
    """Return the names of the folders of exports and of data in the workspace."""
    claim = f"{model.name}-workspace"
    pod = recordings.loader(claim, f"{space.target.registry}/speechops/pipeline:{space.target.tag}", {})
    space.kubectl.apply(pod)
    space.kubectl.until_ready(f"load-{claim}")
    lists = (
        space.kubectl("exec", f"load-{claim}", "--", "ls", f"/dataset/{model.name}/{kind}")
        for kind in ("exports", "data")
    )
    exports, data = (set(found.split()) for found in lists)
    return exports, data


def transitions(model: Model) -> list[str]:
    """Return the times since when Ready and Serving have the status that they have."""
    return [model.condition(name)["lastTransitionTime"] for name in ("Ready", "Serving")]


def test_a_service_can_be_renamed_and_the_server_taken_away(model: Model) -> None:
    model.kubectl.patch(model.name, {"serving": {"service": {"name": "voice"}}})
    model.kubectl.until(lambda: model.kubectl.get("service", "voice"), "the Service has its new name")
    model.kubectl.until(lambda: not model.kubectl.get("service", model.name), "the old Service is gone")
    url = f"http://voice.{model.kubectl.namespace}.svc"
    model.kubectl.until(lambda: model.status["url"] == url, "the status has the new address")
    jobs = model.jobs()
    model.kubectl.patch(model.name, {"serving": None})
    assert model.until_ready()["reason"] == "Published"
    selector = f"speechops.dev/model={model.name}"
    model.kubectl.until(lambda: not model.kubectl.find("deployments,services", selector), "the server is gone")
    model.kubectl.until(lambda: "url" not in model.status, "the status has no address")
    assert model.jobs() == jobs


def test_the_claim_goes_with_the_model_as_long_as_the_policy_says_so(model: Model) -> None:
    def owners() -> list[Object]:
        claim = model.kubectl.get("pvc", f"{model.name}-workspace")
        assert claim
        found: list[Object] = claim["metadata"].get("ownerReferences", [])
        return found

    model.kubectl.patch(model.name, {"training": {"storage": {"retentionPolicy": "Delete"}}})
    model.kubectl.until(lambda: len(owners()) == 1, "the claim has an owner")
    model.kubectl.patch(model.name, {"training": {"storage": {"retentionPolicy": "Retain"}}})
    model.kubectl.until(lambda: owners() == [], "the claim has no owner")


def test_deleting_a_ready_model_keeps_its_objects_and_its_claim_by_default(model: Model, space: Space) -> None:
    published = space.objects()
    assert any(key.endswith(".pbmm") for key in published)
    model.kubectl("delete", "speechmodel", model.name, "--wait=false")
    selector = f"speechops.dev/model={model.name}"

    space.kubectl.until(lambda: space.kubectl.get("speechmodel", model.name) is None, "the model is gone")
    space.kubectl.until(
        lambda: not space.kubectl.find("jobs,pods,deployments,services", selector), "its children are gone"
    )
    assert space.objects() == published
    assert space.kubectl.get("pvc", f"{model.name}-workspace")
