"""Volumes that a manifest adds to the pods of stages and servers."""

from typing import Any

from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.publish import PurgeInput
from speechmodel_api.status import ModelStatus
from speechmodel_api.volumes import OUR_FOLDERS, OUR_VOLUMES
from speechmodel_operator.resources import jobs, serving
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import CaBundle, settings_hashes
from speechmodel_plan.task import Owner
from support.templates import CAS, VOLUMES
from support.world import World

OWNER = Owner("speech", "espejo", "uid-1")
IMAGES = Images(
    "pipeline:1", "training:1", "coqui:1", "inference:1", "IfNotPresent", ca_bundle=CaBundle("cas", "ca.crt")
)
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
ADDED = {volume["name"] for volume in VOLUMES["volumes"]}
EVERYTHING: dict[str, Any] = {
    "dataset__negatives": {"source": {"persistentVolumeClaim": {"claimName": "radio"}}},
    "training__initFrom": {"persistentVolumeClaim": {"claimName": "pretrained"}},
    "serving": {
        "apiKeysSecretRef": {"name": "keys"},
        "takes": {"retrain": {}},
        "cache": {"claimName": "models"},
    },
}
"""Fields by which pods get each volume of the operator."""


def pods(world: World) -> dict[str, dict[str, Any]]:
    """Return the pod of each stage, of the purge and of the server, by name."""
    world.to_ready()
    spec = world.observe().spec
    runs = world.stage_runs.values()
    made = {run.stage.value: jobs.stage_job(IMAGES, OWNER, spec, run, {}) for run in runs}
    made["purge"] = jobs.purge_job(IMAGES, OWNER, spec, PurgeInput(target=spec.publish.s3, base="a/b"), {})
    if spec.serving:
        made["server"] = serving.deployment(IMAGES, OWNER, spec, MODEL)
    return {name: manifest["spec"]["template"]["spec"] for name, manifest in made.items()}


def mounts(pod: dict[str, Any]) -> list[dict[str, dict[str, Any]]]:
    """Return the mounts of each container, by path."""
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    return [{mount["mountPath"]: mount for mount in each["volumeMounts"]} for each in containers]


def test_every_stage_the_server_and_its_download_mount_the_volumes_of_their_template() -> None:
    world = World()
    world.edit(training__podTemplate=VOLUMES, serving={"podTemplate": VOLUMES})
    for name, pod in pods(world).items():
        given = VOLUMES["volumes"]
        wanted = [each for each in given if name != "purge" or "persistentVolumeClaim" not in each]
        assert [each for each in pod["volumes"] if each["name"] in ADDED] == wanted
        paths = {"/etc/ssl/private", "/mnt/token/key", "/dev/shm", "/run/plugin.d", "/scratch"}
        for found in mounts(pod):
            assert found.keys() & (paths | {"/mnt/clips"}) == paths | (set() if name == "purge" else {"/mnt/clips"})
            assert found["/etc/ssl/private"] == VOLUMES["volumeMounts"][0]
            assert found["/mnt/token/key"]["subPath"] == "key"
    assert len(mounts(pods(world)["server"])) == 2


def test_templates_of_training_and_serving_are_independent() -> None:
    world = World()
    world.edit(training__podTemplate=VOLUMES, serving={})
    found = pods(world)
    assert not ADDED & {volume["name"] for volume in found["server"]["volumes"]}
    assert {volume["name"] for volume in found["train"]["volumes"]} >= ADDED


def test_a_claim_that_a_pod_has_already_stays_one_volume() -> None:
    world = World()
    again = {"name": "again", "persistentVolumeClaim": {"claimName": "espejo-workspace"}}
    template = {"volumes": [again], "volumeMounts": [{"name": "again", "mountPath": "/mnt/all", "readOnly": True}]}
    world.edit(training__podTemplate=template)
    pod = pods(world)["train"]
    claims = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
    assert [each["name"] for each in claims] == ["workspace"]
    assert mounts(pod)[0]["/mnt/all"] == {"name": "workspace", "mountPath": "/mnt/all", "readOnly": True}


def test_no_volume_of_a_manifest_can_take_the_name_or_the_path_of_one_of_ours() -> None:
    names: set[str] = set()
    paths: set[str] = set()
    for edits in (EVERYTHING, EVERYTHING | {"serving": {**EVERYTHING["serving"], "takes": None}}):
        world = World()
        world.edit(**edits)
        for pod in pods(world).values():
            names |= {volume["name"] for volume in pod["volumes"]}
            paths |= {path for found in mounts(pod) for path in found}
    assert names == set(OUR_VOLUMES)
    assert paths == set(OUR_FOLDERS)


def test_variables_of_a_manifest_reach_every_stage_and_do_not_replace_ours() -> None:
    world = World()
    given = [{"name": "HTTPS_PROXY", "value": "http://$(A)"}, {"name": "STAGE_INPUT", "value": "{}"}]
    world.edit(training__env=given)
    found = pods(world)
    assert "HTTPS_PROXY" not in {each["name"] for each in found.pop("server")["containers"][0]["env"]}
    for pod in found.values():
        variables = pod["containers"][0]["env"]
        assert {"name": "HTTPS_PROXY", "value": "http://$$(A)"} in variables
        assert [each["value"] for each in variables if each["name"] == "STAGE_INPUT"][-1] != "{}"


def test_a_bundle_of_a_manifest_takes_precedence_over_the_charts() -> None:
    world = World()
    volumes = {"volumes": [CAS], "volumeMounts": [{"name": "cas", "mountPath": "/mnt/cas"}]}
    world.edit(training__podTemplate=volumes, training__env=[{"name": "AWS_CA_BUNDLE", "value": "/mnt/cas/ca.crt"}])
    for name in ("publish", "purge"):
        pod = pods(world)[name]
        assert "ca-bundle" not in {volume["name"] for volume in pod["volumes"]}
        variables = [each for each in pod["containers"][0]["env"] if each["name"] == "AWS_CA_BUNDLE"]
        assert [each["value"] for each in variables] == ["/mnt/cas/ca.crt"]
        assert "/mnt/cas" in mounts(pod)[0]


def test_an_edit_of_volumes_or_variables_replaces_a_running_pod() -> None:
    def hashes(**edits: Any) -> dict[StageName, str]:
        world = World()
        world.edit(**edits)
        return settings_hashes(SpeechModelSpec.model_validate(world.spec))

    before = hashes()
    for edits in ({"training__podTemplate": VOLUMES}, {"training__env": [{"name": "HTTPS_PROXY", "value": "a"}]}):
        after = hashes(**edits)
        assert all(after[stage] != before[stage] for stage in before)
