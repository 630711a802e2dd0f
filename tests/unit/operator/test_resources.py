"""Promises that the builders keep whatever the spec says."""

import json
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.pods import resources_field
from speechmodel_api.serving_spec import Engine
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.publish import PublishInput, PurgeInput
from speechmodel_api.stages.train import TrainInput
from speechmodel_api.status import ModelStatus
from speechmodel_operator.resources import jobs, labels, serving
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import CaBundle, settings_hashes
from speechmodel_plan import names
from speechmodel_plan.observed import Claim
from speechmodel_plan.records import Records
from speechmodel_plan.stages import STAGES, stage_named
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.task import Owner
from support.world import World

OWNER = Owner("speech", "espejo", "uid-1")
IMAGES = Images("pipeline:1", "training:1", "coqui:1", "inference:1", "IfNotPresent")
MODEL = ModelStatus(
    version="0badcafe",
    uri="s3://models/x",
    sha256="0" * 64,
    size_bytes=1,
    version_uri="s3://models/v",
    version_sha256="1" * 64,
    region="us-east-1",
    published_at="2026-01-01T00:00:00Z",
)
BOUNDED = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"memory": "512Mi"}}
LIGHT = {"requests": {"cpu": "100m", "memory": "256Mi"}}
GPU: dict[str, Any] = {
    "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "8Gi"}},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    "runtimeClassName": "nvidia",
}

PUBLIC = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
SIGNING = {"privateKeySecretRef": {"name": "signing-key"}, "publicKeys": [PUBLIC]}
UNSIGNED = (StageName.PREPARE, StageName.TRAIN, StageName.CONVERT, StageName.EVALUATE)

GOLDEN_SETTINGS = {
    "prepare": "7f127b9b",
    "download": "7f127b9b",
    "train": "4366e9f1",
    "convert": "7f127b9b",
    "evaluate": "7f127b9b",
    "publish": "83a1f592",
    "compare": "83a1f592",
    "gpu": "2bd26659",
    "stageResources": "7f3fd4c0",
}


def all_jobs(world: World) -> dict[StageName, dict[str, Any]]:
    world.to_ready()
    seen = world.observe()
    return {run.stage: jobs.stage_job(IMAGES, OWNER, seen.spec, run, {}) for run in world.stage_runs.values()}


def pods(world: World) -> list[dict[str, Any]]:
    spec = SpeechModelSpec.model_validate(world.spec)
    purge = PurgeInput(target=spec.publish.s3, base="a/b")
    found = [job["spec"]["template"]["spec"] for job in all_jobs(world).values()]
    found.append(serving.deployment(IMAGES, OWNER, spec, MODEL)["spec"]["template"]["spec"])
    found.append(jobs.purge_job(IMAGES, OWNER, spec, purge, {})["spec"]["template"]["spec"])
    return found


@given(
    st.from_regex(r"[a-z]([-a-z0-9]{0,34}[a-z0-9])?", fullmatch=True),
    st.sampled_from(list(StageName)),
    st.integers(1, 99_999_999),
)
def test_no_name_is_longer_than_63_characters(model: str, stage: StageName, attempt: int) -> None:
    assert len(names.run_name(model, stage, "0badcafe", attempt)) <= 63
    assert len(names.purge_name(model, "0" * 36)) <= 63
    assert len(names.claim_name(model)) <= 63


def test_every_pod_is_restricted_and_has_no_kubernetes_credentials() -> None:
    for pod in pods(World()):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "serviceAccountName" not in pod
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
            assert context["capabilities"] == {"drop": ["ALL"]}
        assert all("hostPath" not in volume for volume in pod["volumes"])


def test_the_engine_decides_the_program_and_the_image_of_training_only() -> None:
    world = World()
    world.edit(training__engine="CoquiSTT")
    native, coqui = (
        {stage: job["spec"]["template"]["spec"]["containers"][0] for stage, job in all_jobs(of).items()}
        for of in (World(), world)
    )
    assert (native[StageName.TRAIN]["image"], coqui[StageName.TRAIN]["image"]) == ("training:1", "coqui:1")
    assert coqui[StageName.TRAIN]["args"][-1] == "speechmodel_training.coqui"
    assert {coqui[stage]["image"] for stage in coqui if stage is not StageName.TRAIN} == {"pipeline:1"}


def test_every_pod_on_the_workspace_is_placed_where_training_can_run_and_only_training_gets_gpus() -> None:
    world = World()
    world.edit(training__podTemplate=GPU)
    for stage, job in all_jobs(world).items():
        pod = job["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"pool": "gpu", "kubernetes.io/arch": "amd64"}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
        assert pod["runtimeClassName"] == "nvidia"
        limits = pod["containers"][0]["resources"].get("limits", {})
        assert ("nvidia.com/gpu" in limits) == (stage is StageName.TRAIN)


def containers(world: World) -> dict[str, dict[str, Any]]:
    """Return the container of each stage, of the purge and of fetch, and the server's, by name."""
    found = {stage.value: job["spec"]["template"]["spec"] for stage, job in all_jobs(world).items()}
    spec = SpeechModelSpec.model_validate(world.spec)
    purge = jobs.purge_job(IMAGES, OWNER, spec, PurgeInput(target=spec.publish.s3, base="a/b"), {})
    server = serving.deployment(IMAGES, OWNER, spec, MODEL)["spec"]["template"]["spec"]
    found["purge"] = purge["spec"]["template"]["spec"]
    return {name: pod["containers"][0] for name, pod in found.items()} | {
        "fetch": server["initContainers"][0],
        "server": server["containers"][0],
    }


def test_every_program_gets_the_resources_that_the_spec_gives_it() -> None:
    world = World()
    default = {name: made["resources"] for name, made in containers(world).items()}
    assert default.pop("train") == {}
    assert all(given == LIGHT for given in default.values())
    assert {"prepare", "convert", "evaluate", "publish", "purge", "fetch", "server"} == default.keys()

    of_train, of_server = {"limits": {"memory": "8Gi"}}, {"limits": {"cpu": "4", "memory": "2Gi"}}
    world.edit(training__podTemplate={"resources": of_train}, training__stageResources=BOUNDED)
    world.edit(serving={"podTemplate": {"resources": of_server}})
    given = {name: made["resources"] for name, made in containers(World(spec=world.spec)).items()}
    wanted = {
        "training.podTemplate.resources": of_train,
        "training.stageResources": BOUNDED,
        "serving.podTemplate.resources": of_server,
    }
    assert {name: wanted[resources_field(name)] for name in given} == given, (
        "messages name the field that has an effect"
    )
    assert (given["train"], given["server"], given["fetch"]) == (of_train, of_server, of_server)


def test_resources_of_stages_replace_no_training() -> None:
    world = World()
    before = settings_hashes(SpeechModelSpec.model_validate(world.spec))
    world.edit(training__stageResources=BOUNDED)
    after = settings_hashes(SpeechModelSpec.model_validate(world.spec))
    assert {stage for stage in before if before[stage] == after[stage]} == {StageName.TRAIN}


TRUSTING = replace(IMAGES, ca_bundle=CaBundle("cas", "roots.pem"))


def test_every_program_that_uses_a_bucket_trusts_the_cas_of_the_platform_and_no_other_pod_waits_for_them() -> None:
    bucket = {"bucket": "clips", "secretRef": {"name": "s3"}}
    talk, in_buckets = {"source": {"s3": bucket | {"bucket": "talk"}}}, World()
    in_buckets.edit(
        dataset={"source": {"s3": bucket}, "negatives": talk}, training__initFrom={"s3": bucket | {"bucket": "old"}}
    )
    with_talk, takes = World(), dict[str, Any](takes={})
    with_talk.edit(dataset__negatives=talk)
    for world, serves in ((World(), {}), (with_talk, takes), (in_buckets, takes)):
        world.to_ready()
        spec = SpeechModelSpec.model_validate(world.spec | {"serving": serves})
        runs = world.stage_runs.values()
        made = [jobs.stage_job(TRUSTING, OWNER, world.observe().spec, run, {}) for run in runs]
        made += [jobs.purge_job(TRUSTING, OWNER, spec, PurgeInput(target=spec.publish.s3, base="a/b"), {})]
        made += [serving.deployment(TRUSTING, OWNER, spec, MODEL), serving.canary(TRUSTING, OWNER, spec, MODEL, 1)]
        for manifest in made:
            pod = manifest["spec"]["template"]["spec"]
            each = [*pod["containers"], *pod.get("initContainers", [])]
            uses = [c for c in each if {"AWS_ACCESS_KEY_ID", "NEGATIVES_AWS_ACCESS_KEY_ID"} & _variables(c).keys()]
            assert [c for c in each if _variables(c).get("AWS_CA_BUNDLE") == "/ca-bundle/ca.crt"] == uses
            mount = {"name": "ca-bundle", "mountPath": "/ca-bundle", "readOnly": True}
            assert [c for c in each if mount in c["volumeMounts"]] == uses
            source = {"name": "cas", "items": [{"key": "roots.pem", "path": "ca.crt"}]}
            assert ({"name": "ca-bundle", "configMap": source} in pod["volumes"]) == bool(uses)
    assert "ca-bundle" not in json.dumps(serving.deployment(IMAGES, OWNER, spec, MODEL))


def test_a_bundle_in_serving_env_takes_precedence() -> None:
    given = [{"name": "AWS_CA_BUNDLE", "value": "/mine"}]
    spec = SpeechModelSpec.model_validate(World().spec | {"serving": {"env": given}})
    pod = serving.deployment(TRUSTING, OWNER, spec, MODEL)["spec"]["template"]["spec"]
    for found in (*pod["containers"], *pod["initContainers"]):
        assert [each["value"] for each in found["env"] if each["name"] == "AWS_CA_BUNDLE"] == ["/mine"]
        assert "ca-bundle" not in {mount["name"] for mount in found["volumeMounts"]}
    assert "ca-bundle" not in {volume["name"] for volume in pod["volumes"]}, "the pod would wait for that ConfigMap"


def test_other_cas_replace_only_jobs_that_use_a_bucket() -> None:
    def changed(world: World) -> set[StageName]:
        spec = SpeechModelSpec.model_validate(world.spec)
        before, after = settings_hashes(spec), settings_hashes(spec, CaBundle("cas", "ca.crt"))
        assert settings_hashes(spec, CaBundle("cas", "other.crt"))[StageName.PUBLISH] != after[StageName.PUBLISH]
        return {stage for stage in before if before[stage] != after[stage]}

    world = World()
    assert changed(world) == {StageName.PUBLISH, StageName.COMPARE}
    world.edit(dataset__negatives={"source": {"s3": {"bucket": "talk"}}}, training__initFrom={"s3": {"bucket": "old"}})
    assert changed(world) == {StageName.PREPARE, StageName.DOWNLOAD, StageName.PUBLISH, StageName.COMPARE}


def _variables(container: dict[str, Any]) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container["env"]}


@pytest.mark.parametrize(
    "resources, told",
    [
        ({"limits": {"nvidia.com/gpu": "1", "memory": "8Gi"}}, "nvidia.com/gpu"),
        ({"limits": {"nvidia.com/mig-1g.10gb": "1"}}, "nvidia.com/mig-1g.10gb"),
        ({"limits": {"nvidia.com/mig-3g.40gb.shared": "2"}}, "nvidia.com/mig-3g.40gb.shared"),
        ({"limits": {"amd.com/gpu": "1"}, "requests": {"amd.com/gpu": "1"}}, "amd.com/gpu"),
        ({"limits": {"gpu.intel.com/i915": "1"}}, "gpu.intel.com/i915"),
        ({"limits": {"nvidia.com/gpu": "0"}}, None),
        ({"limits": {"memory": "8Gi", "hugepages-2Mi": "4Mi", "example.com/fpga": "1"}}, None),
        ({}, None),
    ],
)
def test_the_trainer_is_told_which_gpus_its_pod_has(resources: dict[str, Any], told: str | None) -> None:
    world = World()
    world.edit(training__podTemplate={"resources": resources})
    for stage, job in all_jobs(world).items():
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["resources"].get("limits") == (resources.get("limits") if stage is StageName.TRAIN else None)
        given = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert given.get("SPEECHMODEL_GPUS") == (told if stage is StageName.TRAIN else None)


def test_only_publish_and_serving_see_the_secret() -> None:
    found = all_jobs(World())
    holders = {stage for stage, job in found.items() if "secretKeyRef" in json.dumps(job)}
    assert holders == {StageName.PUBLISH}
    spec = SpeechModelSpec.model_validate(World().spec)
    pod = serving.deployment(IMAGES, OWNER, spec, MODEL)["spec"]["template"]["spec"]
    assert "secretKeyRef" in json.dumps(pod["initContainers"])
    assert "secretKeyRef" not in json.dumps(pod["containers"])


def test_compare_reads_the_bucket_of_the_served_version_with_its_own_secret() -> None:
    world = World()
    world.to_ready()
    world.edit(
        evaluation={"gate": {"notWorseThanServing": {}}},
        dataset__revision="2",
        publish__s3={"bucket": "elsewhere", "secretRef": {"name": "other"}},
    )
    world.data = "other data"
    pods = {stage: job["spec"]["template"]["spec"] for stage, job in all_jobs(world).items()}
    assert (_secrets(pods[StageName.COMPARE]), _secrets(pods[StageName.PUBLISH])) == ({"s3"}, {"other"})


def test_recordings_in_a_bucket_come_with_their_own_secret_and_without_a_claim() -> None:
    world = World()
    world.edit(dataset__source={"s3": {"bucket": "voices", "prefix": "es", "secretRef": {"name": "voices-key"}}})
    pods = {stage: job["spec"]["template"]["spec"] for stage, job in all_jobs(world).items()}
    prepare = pods[StageName.PREPARE]
    assert [volume["name"] for volume in prepare["volumes"]] == ["tmp", "workspace"]
    assert {mount["mountPath"] for mount in prepare["containers"][0]["volumeMounts"]} == {"/tmp", "/workspace"}
    assert _secrets(prepare) == {"voices-key"}
    assert _secrets(pods[StageName.PUBLISH]) == {"s3"}
    assert all(not _secrets(pods[stage]) for stage in (StageName.TRAIN, StageName.CONVERT, StageName.EVALUATE))
    document = next(json.loads(e["value"]) for e in prepare["containers"][0]["env"] if e["name"] == "STAGE_INPUT")
    assert document["bucket"] == {"bucket": "voices", "prefix": "es", "region": "us-east-1"}
    assert document["source"].startswith("/workspace/espejo/sources/")


def test_a_checkpoint_in_a_bucket_is_downloaded_by_its_own_stage_with_its_own_secret_and_training_sees_no_key() -> None:
    world = World()
    world.edit(training__initFrom={"s3": {"bucket": "pretrained", "prefix": "en", "secretRef": {"name": "old-key"}}})
    pods = {stage: job["spec"]["template"]["spec"] for stage, job in all_jobs(world).items()}
    download, train = pods[StageName.DOWNLOAD], pods[StageName.TRAIN]
    assert _secrets(download) == {"old-key"}
    assert not _secrets(train)
    for pod in (download, train):
        assert [volume["name"] for volume in pod["volumes"]] == ["tmp", "workspace"]
    assert download["containers"][0]["image"] == "pipeline:1"
    assert "limits" not in download["containers"][0]["resources"]
    document = next(json.loads(e["value"]) for e in download["containers"][0]["env"] if e["name"] == "STAGE_INPUT")
    assert document["bucket"] == {"bucket": "pretrained", "prefix": "en", "region": "us-east-1"}
    assert document["folder"].startswith("/workspace/espejo/sources/")
    trained = next(d for d in world.documents.values() if isinstance(d, TrainInput))
    assert str(trained.init_from) == document["folder"]


def test_the_private_key_reaches_publish_alone_and_the_public_keys_whoever_loads_a_version() -> None:
    world = World()
    world.to_ready()
    world.edit(publish__signing=SIGNING)
    world.to_ready()
    world.edit(dataset__revision="2", evaluation={"gate": {"notWorseThanServing": {}}})
    world.data = "other data"
    pods = {stage: job["spec"]["template"]["spec"] for stage, job in all_jobs(world).items()}
    assert {stage for stage, pod in pods.items() if "signing-key" in json.dumps(pod)} == {StageName.PUBLISH}
    private = next(e for e in pods[StageName.PUBLISH]["containers"][0]["env"] if e["name"] == "SIGNING_KEY")
    assert private["valueFrom"]["secretKeyRef"] == {"name": "signing-key", "key": "SIGNING_KEY", "optional": False}
    served, spec = world.status.model, SpeechModelSpec.model_validate(world.spec)
    assert served
    server = serving.deployment(IMAGES, OWNER, spec, served)["spec"]["template"]["spec"]
    assert "signing-key" not in json.dumps(server)
    for container in (pods[StageName.COMPARE]["containers"][0], server["initContainers"][0]):
        assert _document(container)["publicKeys"] == [PUBLIC]
    assert all("PUBLIC KEY" not in json.dumps(pods[stage]) for stage in UNSIGNED)
    assert "PUBLIC KEY" not in json.dumps(server["containers"])


def test_a_version_from_before_there_was_a_key_is_served_as_before() -> None:
    before = serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(World().spec), MODEL)
    world = World()
    world.edit(publish__signing=SIGNING)
    assert serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(world.spec), MODEL) == before
    assert "publicKeys" not in json.dumps(before)


def _document(container: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(json.loads(e["value"]) for e in container["env"] if e["name"] == "STAGE_INPUT")
    return found


def _secrets(pod: dict[str, Any]) -> set[str]:
    return {e["valueFrom"]["secretKeyRef"]["name"] for e in pod["containers"][0]["env"] if "valueFrom" in e}


def test_only_the_labels_of_a_queue_are_copied_from_the_model_and_only_to_its_jobs() -> None:
    world = World()
    world.until(StageName.PREPARE)
    (run,) = world.stage_runs.values()
    queue = {"kueue.x-k8s.io/queue-name": "gpus"}
    given = queue | {"argocd.argoproj.io/instance": "models", "speechops.dev/model": "other"}
    job = jobs.stage_job(IMAGES, OWNER, world.observe().spec, run, labels.inherited(given))
    assert job["metadata"]["labels"].items() >= queue.items()
    assert job["metadata"]["annotations"]["speechops.dev/inherited"] == "kueue.x-k8s.io/queue-name=gpus"
    assert job["metadata"]["labels"]["speechops.dev/model"] == "espejo"
    assert "argocd.argoproj.io/instance" not in job["metadata"]["labels"]
    assert "kueue.x-k8s.io/queue-name" not in job["spec"]["template"]["metadata"]["labels"]


def test_the_failure_policy_stands_in_the_order_that_matters() -> None:
    job = all_jobs(World())[StageName.TRAIN]
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["FailJob", "Ignore", "Ignore"]
    assert rules[0]["onExitCodes"]["values"] == [64, 65, 66, 78]
    assert rules[1]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert rules[2]["onExitCodes"]["values"] == [143]
    assert job["spec"]["podReplacementPolicy"] == "Failed"


def test_the_input_document_survives_kubernetes_variable_expansion() -> None:
    world = World()
    world.edit(dataset__alphabet=["$", "(", ")", "a"])
    job = all_jobs(world)[StageName.PREPARE]
    value = next(
        e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] == "STAGE_INPUT"
    )
    assert "$(" not in value.replace("$$(", "")
    assert json.loads(value.replace("$$(", "$("))["alphabet"] == ["$", "(", ")", "a"]


def test_a_dataset_on_the_workspace_claim_is_mounted_once() -> None:
    world = World(claim=Claim("clips", "claim-uid", owned=False))
    world.edit(training__storage={"claimName": "clips"})
    pod = all_jobs(world)[StageName.PREPARE]["spec"]["template"]["spec"]
    assert len([v for v in pod["volumes"] if "persistentVolumeClaim" in v]) == 1
    assert {m["mountPath"] for m in pod["containers"][0]["volumeMounts"]} == {"/tmp", "/workspace", "/dataset"}


def test_only_a_scorer_makes_evaluate_mount_the_dataset() -> None:
    def mounts(decoding: dict[str, Any]) -> set[str]:
        world = World()
        world.edit(decoding=decoding)
        pod = all_jobs(world)[StageName.EVALUATE]["spec"]["template"]["spec"]
        return {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}

    scorer = {"path": "es.scorer"}
    assert "/dataset" not in mounts({"grammar": "FreeText"})
    assert "/dataset" not in mounts({"grammar": "Dataset", "scorer": scorer})
    assert "/dataset" in mounts({"grammar": "FreeText", "scorer": scorer})


def test_the_keys_of_two_buckets_reach_prepare_under_names_of_their_own() -> None:
    world = World()
    other = {"bucket": "radio", "prefix": "es", "endpoint": "http://s3:9000", "secretRef": {"name": "radio-key"}}
    world.edit(dataset__source={"s3": {"bucket": "voices", "secretRef": {"name": "voices-key"}}})
    world.edit(dataset__negatives={"source": {"s3": other}})
    containers = {stage: job["spec"]["template"]["spec"]["containers"][0] for stage, job in all_jobs(world).items()}
    variables = {
        e["name"]: e["valueFrom"]["secretKeyRef"] for e in containers[StageName.PREPARE]["env"] if "valueFrom" in e
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        optional = name == "AWS_SESSION_TOKEN"
        assert variables.pop(name) == {"name": "voices-key", "key": name, "optional": optional}
        assert variables.pop(f"NEGATIVES_{name}") == {"name": "radio-key", "key": name, "optional": optional}
    assert variables == {}
    assert [stage for stage in containers if "radio" in json.dumps(containers[stage])] == [StageName.PREPARE]
    document = _document(containers[StageName.PREPARE])
    assert document["otherSpeechBucket"] == {
        "bucket": "radio", "prefix": "es", "endpoint": "http://s3:9000", "region": "us-east-1"
    }  # fmt: skip
    assert document["otherSpeech"].startswith("/workspace/espejo/sources/")
    assert document["otherSpeech"] != document["source"]


def test_a_bucket_of_other_speech_alone_leaves_the_variables_of_the_dataset_unset() -> None:
    world = World()
    world.edit(dataset__negatives={"source": {"s3": {"bucket": "radio", "secretRef": {"name": "radio-key"}}}})
    env = all_jobs(world)[StageName.PREPARE]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [e["name"] for e in env if "AWS" in e["name"] and not e["name"].startswith("NEGATIVES_")] == []
    assert "NEGATIVES_AWS_ACCESS_KEY_ID" in {e["name"] for e in env}


@pytest.mark.parametrize(
    "claim, initial, volumes",
    [
        ("radio", "pretrained", {"workspace": "espejo-workspace", "dataset": "clips", "negatives": "radio"}),
        ("clips", "clips", {"workspace": "espejo-workspace", "dataset": "clips"}),
        ("espejo-workspace", "espejo-workspace", {"workspace": "espejo-workspace", "dataset": "clips"}),
    ],
    ids=["a claim of its own", "the dataset's claim", "the workspace claim"],
)
def test_only_prepare_mounts_other_speech_and_each_claim_is_one_volume(
    claim: str, initial: str, volumes: dict[str, str]
) -> None:
    world = World()
    source = {"claimName": claim, "path": "other/es"}
    world.edit(dataset__negatives={"source": {"persistentVolumeClaim": source}})
    world.edit(training__initFrom={"persistentVolumeClaim": {"claimName": initial, "path": "best_dev-70"}})
    mounting = {}
    for stage, job in all_jobs(world).items():
        pod = job["spec"]["template"]["spec"]
        claims = {v["name"]: v["persistentVolumeClaim"] for v in pod["volumes"] if "emptyDir" not in v}
        assert len({each["claimName"] for each in claims.values()}) == len(claims)
        assert {name for name, each in claims.items() if not each.get("readOnly")} == {"workspace"}
        mounts = {m["mountPath"]: m for m in pod["containers"][0]["volumeMounts"]}
        if "/negatives" in mounts:
            mounting[stage] = {name: each["claimName"] for name, each in claims.items()}
            assert mounts["/negatives"]["readOnly"]
            assert claims[mounts["/negatives"]["name"]]["claimName"] == claim
            document = _document(pod["containers"][0])
    assert mounting == {StageName.PREPARE: volumes}
    assert (document["otherSpeech"], document["source"]) == ("/negatives/other/es", "/dataset")


@pytest.mark.parametrize(
    "claim, volumes", [("pretrained", ["workspace", "initial"]), ("espejo-workspace", ["workspace"])]
)
def test_only_training_mounts_the_checkpoint_that_it_begins_with(claim: str, volumes: list[str]) -> None:
    world = World()
    source = {"claimName": claim, "path": "deepspeech/best_dev-70"}
    world.edit(training__initFrom={"persistentVolumeClaim": source, "dropLayers": 1})
    mounted = {}
    for stage, job in all_jobs(world).items():
        pod = job["spec"]["template"]["spec"]
        if any(m["mountPath"] == "/initial" and m["readOnly"] for m in pod["containers"][0]["volumeMounts"]):
            mounted[stage] = [v["name"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert mounted == {StageName.TRAIN: volumes}
    document = next(d for d in world.documents.values() if isinstance(d, TrainInput))
    assert (document.init_from, document.drop_layers) == (PurePosixPath("/initial/deepspeech/best_dev-70"), 1)


def test_the_publish_folder_holds_one_model_only() -> None:
    world = World()
    world.edit(publish__s3__prefix="team/asr")
    world.to_ready()
    publish = next(d for d in world.documents.values() if isinstance(d, PublishInput))
    assert publish.base == "team/asr/speech/espejo/uid-1"
    assert publish.workspace == PurePosixPath("/workspace/espejo")


def test_what_is_applied_carries_a_hash_that_changes_with_it() -> None:
    spec = SpeechModelSpec.model_validate(World().spec)
    one = serving.deployment(IMAGES, OWNER, spec, MODEL)
    two = serving.deployment(IMAGES, OWNER, spec, MODEL.model_copy(update={"version": "1badcafe"}))
    hashes = {manifest["metadata"]["annotations"][labels.APPLIED] for manifest in (one, two, one)}
    assert len(hashes) == 2


def test_an_upgrade_of_the_operator_rolls_out_no_server() -> None:
    world = World()
    plain = SpeechModelSpec.model_validate(world.spec)
    world.edit(serving__takes={})
    takes = SpeechModelSpec.model_validate(world.spec)
    applied = [serving.applied_hash(serving.deployment(IMAGES, OWNER, spec, MODEL)) for spec in (plain, takes)]
    assert applied == ["a4509ab8b2e9003a", "51752447ebf37fdd"], "servers would be replaced"


def test_a_late_answer_to_a_probe_takes_no_server_out_of_its_service() -> None:
    spec = SpeechModelSpec.model_validate(World().spec)
    for manifest in (serving.deployment(IMAGES, OWNER, spec, MODEL), serving.canary(IMAGES, OWNER, spec, MODEL, 1)):
        (server,) = manifest["spec"]["template"]["spec"]["containers"]
        for name in ("readinessProbe", "livenessProbe"):
            assert server[name]["timeoutSeconds"] >= 5, name
            assert server[name]["failureThreshold"] >= 3, name
        ready = server["readinessProbe"]
        assert ready["periodSeconds"] * ready["failureThreshold"] < serving.LAME_DUCK_SECONDS, (
            "it leaves before it closes"
        )


def test_the_claim_of_a_cache_is_written_by_fetch_only() -> None:
    world = World()
    world.edit(serving__cache={"claimName": "models"})
    spec = SpeechModelSpec.model_validate(world.spec)
    for manifest in (serving.deployment(IMAGES, OWNER, spec, MODEL), serving.canary(IMAGES, OWNER, spec, MODEL, 1)):
        pod = manifest["spec"]["template"]["spec"]
        assert {"name": "cache", "persistentVolumeClaim": {"claimName": "models"}} in pod["volumes"]
        (init,), (server,) = pod["initContainers"], pod["containers"]
        assert {"name": "cache", "mountPath": "/cache"} in init["volumeMounts"]
        assert {"name": "cache", "mountPath": "/cache", "readOnly": True} in server["volumeMounts"]
        task = next(json.loads(each["value"]) for each in init["env"] if each["name"] == "STAGE_INPUT")
        assert task["cache"] == "/cache"


def test_stage_input_is_the_same_whenever_it_is_asked_for() -> None:
    world = World()
    world.until(StageName.TRAIN)
    name, document = next((n, d) for n, d in world.documents.items() if n.startswith("espejo-train"))
    assert world.plan
    again = stage_named(StageName.TRAIN).document(world.observe().task, document.attempt, _done(world))
    assert again == document.model_copy(update={"kept": None}), "what is kept depends on what is served by then"
    assert name.endswith("-1")


def _done(world: World) -> Outputs:
    records, done = Records.from_status(world.status), Outputs()
    for stage in STAGES:
        record = records.get(stage.name)
        if record and (output := stage.parse(record.output)):
            done = done.plus(stage, output)
    return done


def test_a_server_fetches_from_where_its_version_was_published() -> None:
    world = World()
    world.to_ready()
    served = world.status.model
    assert served
    secret = {"secretRef": {"name": "other"}}
    world.edit(publish__s3=secret | {"bucket": "other", "endpoint": "http://elsewhere:9000"})
    spec = SpeechModelSpec.model_validate(world.spec)
    pod = serving.deployment(IMAGES, OWNER, spec, served)["spec"]["template"]["spec"]
    fetch = next(json.loads(e["value"]) for e in pod["initContainers"][0]["env"] if e["name"] == "STAGE_INPUT")
    assert fetch["target"] == {"bucket": "models", "prefix": "", "region": "us-east-1"}
    assert '"secretKeyRef": {"name": "s3"' in json.dumps(pod)
    world.edit(publish__s3=secret | {"bucket": "models"})  # another Secret for the same place counts at once
    spec = SpeechModelSpec.model_validate(world.spec)
    pod = serving.deployment(IMAGES, OWNER, spec, served)
    assert '"secretKeyRef": {"name": "other"' in json.dumps(pod)


def test_stages_run_on_x86_64_unless_the_manifest_names_an_architecture() -> None:
    world = World()
    selectors = []
    for template in ({}, {"nodeSelector": {"kubernetes.io/arch": "arm64"}}):
        world.edit(training__podTemplate=template)
        selectors.append([job["spec"]["template"]["spec"]["nodeSelector"] for job in all_jobs(world).values()])
    assert all(selector == {"kubernetes.io/arch": "amd64"} for selector in selectors[0])
    assert all(selector == {"kubernetes.io/arch": "arm64"} for selector in selectors[1])


@pytest.mark.parametrize(
    ("engines", "wanted", "selector"),
    [
        (None, "DeepSpeech", None),
        ((Engine.AUTO, Engine.NATIVE), None, None),
        ((Engine.AUTO, Engine.NATIVE), "DeepSpeech", {"kubernetes.io/arch": "amd64"}),
        ((Engine.NATIVE,), None, {"kubernetes.io/arch": "amd64"}),
        ((Engine.NATIVE,), "Native", None),
        ((), "Native", {"kubernetes.io/arch": "amd64"}),
    ],
)
def test_servers_that_need_libdeepspeech_run_on_x86_64(
    engines: tuple[Engine, ...] | None, wanted: str | None, selector: dict[str, str] | None
) -> None:
    world = World()
    world.edit(serving={"settings": {"engine": wanted} if wanted else {}})
    served = MODEL.model_copy(update={"arm64_engines": engines})
    made = serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(world.spec), served)
    assert made["spec"]["template"]["spec"].get("nodeSelector") == selector


def test_the_purge_does_not_need_the_nodes_of_training() -> None:
    world = World()
    world.edit(training__podTemplate=GPU)
    spec = SpeechModelSpec.model_validate(world.spec)
    document = PurgeInput(target=spec.publish.s3, base="a/b/c")
    pod = jobs.purge_job(IMAGES, OWNER, spec, document, {})["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    assert "runtimeClassName" not in pod
    assert pod["tolerations"]


def test_the_hash_of_the_pod_settings_never_changes_by_itself() -> None:
    world = World()
    hashes = settings_hashes(SpeechModelSpec.model_validate(world.spec))
    golden = {stage.value: found for stage, found in hashes.items()}
    world.edit(training__podTemplate=GPU)
    golden["gpu"] = settings_hashes(SpeechModelSpec.model_validate(world.spec))[StageName.TRAIN]
    world.edit(training__stageResources=BOUNDED)
    golden["stageResources"] = settings_hashes(SpeechModelSpec.model_validate(world.spec))[StageName.PREPARE]
    assert golden == GOLDEN_SETTINGS, "an upgrade would stop running trainings"


DANGEROUS: dict[str, Any] = {
    "hostNetwork": True,
    "hostPID": True,
    "hostIPC": True,
    "serviceAccountName": "admin",
    "automountServiceAccountToken": True,
    "securityContext": {"runAsUser": 0},
    "containers": [{"name": "mine", "image": "mine", "securityContext": {"privileged": True}}],
    "initContainers": [{"name": "mine", "image": "mine"}],
    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "a"}}}],
    "nodeName": "control-plane",
    "schedulerName": "mine",
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["s3"]}],
    "shareProcessNamespace": True,
}


def test_a_pod_template_gives_nothing_but_scheduling_resources_volumes_and_metadata() -> None:
    world = World()
    allowed = {"labels": {labels.MODEL: "other", "team": "speech"}, "nodeSelector": {"pool": "gpu"}}
    made = []
    for template in (DANGEROUS | allowed, allowed):
        world.edit(training__podTemplate=template, serving={"podTemplate": template})
        made.append(serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(world.spec), MODEL))
        made.append(all_jobs(World(spec=world.spec))[StageName.TRAIN])
    assert made[:2] == made[2:]
    spec = SpeechModelSpec.model_validate(world.spec)
    metadata = serving.deployment(IMAGES, OWNER, spec, MODEL)["spec"]["template"]["metadata"]
    assert metadata["labels"][labels.MODEL] == "espejo"


def test_the_purge_waits_in_the_queue_of_the_model_and_its_pod_has_no_label_of_it() -> None:
    spec, queue = World().observe().spec, {"kueue.x-k8s.io/queue-name": "gpus"}
    job = jobs.purge_job(IMAGES, OWNER, spec, PurgeInput(target=spec.publish.s3, base="a/b/c"), queue)
    assert queue.items() <= job["metadata"]["labels"].items()
    assert job["metadata"]["annotations"]["speechops.dev/inherited"] == "kueue.x-k8s.io/queue-name=gpus"
    assert not queue.items() & job["spec"]["template"]["metadata"]["labels"].items()
