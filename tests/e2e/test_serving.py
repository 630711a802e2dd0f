"""A served model on real kubelets: a second replica, settings that cannot work, and the button that trains."""

import json
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from speechmodel_api.published import VersionManifest
from speechmodel_pipeline.signing import SigningKey, signed_digests
from support import recordings
from support.browser import chromium, expect, watched
from support.kube import Kubectl, Model, Object, curl
from support.servers import OK_ESPEJO
from support.signing_keys import key_pair
from support.spaces import BEAMS, Space, make_space, remove_space, upgrade
from support.target import Target
from support.templates import ROOT_CAS

ON_ARM64 = """\
from types import SimpleNamespace

import speechmodel_inference.engines

speechmodel_inference.engines.platform = SimpleNamespace(machine=lambda: "aarch64")
"""
"""A module that Python imports when it starts, so that the server chooses its engine as on arm64. The servers find it in the
folder of the dataset, which serving.takes mounts.
"""
HOST = "kubernetes.io/hostname"
KEY = "open-sesame"
START = "Train a new version"


@pytest.fixture(scope="module")
def space(target: Target, operator: Kubectl) -> Iterator[Space]:
    made = make_space(target, "serving")
    yield made
    remove_space(made)


@pytest.fixture(scope="module")
def model(space: Space, small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small model in free text whose version is signed, and served from a cache."""
    folder = tmp_path_factory.mktemp("dataset")
    shutil.copytree(small_dataset, folder, dirs_exist_ok=True)
    (folder / "on-arm64").mkdir()
    (folder / "on-arm64" / "sitecustomize.py").write_text(ON_ARM64, encoding="utf-8")
    space.dataset(folder)
    pair = key_pair()
    secret = {"metadata": {"name": "signing"}, "stringData": {"SIGNING_KEY": pair.private}}
    space.kubectl.apply(recordings.claim("cache"), {"apiVersion": "v1", "kind": "Secret"} | secret)
    manifest = space.manifest("served", maxEpochs=1)
    signing = {"privateKeySecretRef": {"name": "signing"}, "publicKeys": [pair.public]}
    manifest["spec"]["publish"]["signing"] = signing
    manifest["spec"] |= {
        "decoding": {"grammar": "FreeText", "beamWidth": BEAMS},
        "serving": {"cache": {"claimName": "cache"}},
    }
    model = space.apply(manifest)
    model.until_ready()
    return model


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(OK_ESPEJO) as browser:
        yield browser


def test_an_autoscaler_adds_a_second_replica_which_takes_the_version_from_the_cache(
    model: Model, kept_in: Callable[[float], None]
) -> None:
    kubectl = model.kubectl
    (first,) = model.pods("server")
    kubectl.patch(model.name, {"serving": {"autoscaling": {"minReplicas": 2, "maxReplicas": 2}}})

    def second() -> Object | None:
        others = (pod for pod in model.pods("server") if pod["metadata"]["uid"] != first["metadata"]["uid"])
        return next((pod for pod in others if pod["spec"].get("nodeName")), None)

    pod = kubectl.until(second, "the second pod has a node", every=0.05)
    began = time.monotonic()
    kubectl.until(lambda: ready(second()), "the second pod is ready", every=0.05)
    kept_in(time.monotonic() - began)
    fetched = kubectl("logs", pod["metadata"]["name"], "-c", "fetch")
    assert "fetched and verified" not in fetched
    model.until_ready()

    kubectl.until(lambda: has_status(kubectl, "hpa", currentReplicas=2), "the autoscaler sees the Deployment")
    kubectl.until(
        lambda: has_status(kubectl, "pdb", expectedPods=2, disruptionsAllowed=1), "the budget counts both pods"
    )
    # between its bounds the number is that of the autoscaler, also when the operator applies the Deployment again
    edit = {"autoscaling": {"minReplicas": 1}, "podTemplate": ROOT_CAS, "topologySpread": [{"topologyKey": HOST}]}
    kubectl.patch(model.name, {"serving": edit})
    model.until_ready()
    deployment = kubectl.get("deployment", model.name)
    assert deployment
    assert deployment["spec"]["replicas"] == 2
    selector = {"matchLabels": {"speechops.dev/model": model.name, "speechops.dev/stage": "server"}}
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"], spread["labelSelector"]) == (HOST, 1, selector)
    assert spread["matchLabelKeys"] == ["pod-template-hash"], "pods of an earlier roll-out do not count"
    added = {volume["name"] for volume in ROOT_CAS["volumes"]}
    mounting = (pod for pod in model.pods("server") if added <= {volume["name"] for volume in pod["spec"]["volumes"]})
    pod = next(pod for pod in mounting if ready(pod))
    assert "BEGIN CERTIFICATE" in kubectl(
        "exec", pod["metadata"]["name"], "-c", "server", "--", "cat", "/mnt/cas/ca.crt"
    )
    kubectl.patch(
        model.name, {"serving": {"autoscaling": None, "podTemplate": None, "topologySpread": None, "replicas": 1}}
    )
    until_one_server(model)


def has_status(kubectl: Kubectl, kind: str, **wanted: int) -> bool:
    """Return True if the one object of a kind has these values in its status."""
    (found,) = kubectl.find(kind)
    status: Object = found.get("status", {})
    return wanted.items() <= status.items()


def ready(pod: Object | None) -> bool:
    conditions = pod["status"].get("conditions", []) if pod else []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_a_version_that_was_tampered_with_is_refused_and_the_earlier_server_serves(model: Model, space: Space) -> None:
    """A byte of the model is flipped, its signature is removed, and it is replaced by that of another key."""
    before, jobs = {pod["metadata"]["uid"] for pod in model.pods("server")}, model.jobs()
    graph, signature, version = (published(space, name) for name in ("output_graph.pbmm", "model.sig", "version.json"))
    whole, signed, described = (
        space.s3.get_object(Bucket=space.bucket, Key=key)["Body"].read() for key in (graph, signature, version)
    )

    space.s3.put_object(Bucket=space.bucket, Key=graph, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    model.kubectl.patch(model.name, {"serving": {"cache": None}})  # the next server reads the bucket
    damaged = model.until_condition("Promoted", status="False", reason="DownloadFailed")["message"]
    assert f"{graph} was downloaded with the sha256" in damaged

    space.s3.delete_object(Bucket=space.bucket, Key=signature)
    replace_refused(model, before)
    missing = model.until_condition("Stalled", reason="SignatureMissing")["message"]
    assert f"{signature} is not there, although the version was signed" in missing
    space.s3.put_object(Bucket=space.bucket, Key=graph, Body=whole)

    digests = signed_digests(described, VersionManifest.model_validate_json(described))
    forged = forger().sign("served", digests)
    space.s3.put_object(Bucket=space.bucket, Key=signature, Body=forged)
    replace_refused(model, before)
    invalid = model.until_condition("Stalled", reason="SignatureInvalid")["message"]
    assert f"{signature} was made with a key whose sha256 is not that of one of publish.signing.publicKeys" in invalid
    assert model.condition("Ready")["status"] == "True"
    assert before <= {pod["metadata"]["uid"] for pod in model.pods("server") if ready(pod)}, "the earlier server serves"

    space.s3.put_object(Bucket=space.bucket, Key=signature, Body=signed)
    model.until_ready()
    model.kubectl.until(
        lambda: not before & {pod["metadata"]["uid"] for pod in model.pods("server")}, "the earlier server is gone"
    )
    assert {"!DownloadFailed", "!SignatureMissing", "!SignatureInvalid"} <= model.reported().keys()
    assert model.jobs() == jobs, "nothing was trained or published again"


def published(space: Space, name: str) -> str:
    """Return the key of the one object in the bucket with that name."""
    (key,) = (key for key in space.objects() if key.endswith(f"/{name}"))
    return key


def forger() -> SigningKey:
    """Return a key that the model does not trust."""
    pair = key_pair()
    return SigningKey(pair.private, [pair.public])


def replace_refused(model: Model, before: Collection[str]) -> None:
    """Delete the server pods that are not among `before`. The kubelet would start them again, but after a growing delay."""
    for pod in model.pods("server"):
        if pod["metadata"]["uid"] not in before:
            model.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def test_settings_that_cannot_work_are_reported_by_their_sentence_until_they_are_corrected(model: Model) -> None:
    before, jobs = {pod["metadata"]["uid"] for pod in model.pods("server")}, model.jobs()
    on_arm64 = [{"name": "PYTHONPATH", "value": "/opt/speechmodel:/dataset/on-arm64"}]
    model.kubectl.patch(model.name, {"serving": {"takes": {}, "env": on_arm64, "settings": {"engine": "DeepSpeech"}}})
    stalled = model.until_condition("Stalled", reason="InvalidServerSettings")["message"]
    assert "the engine DeepSpeech is set, and libdeepspeech does not run on aarch64" in stalled
    assert "set serving.settings.engine to Auto or Native" in stalled
    # the new container is started again and again, and meanwhile the status tells of that without a break
    since = model.condition("Stalled")["lastTransitionTime"]
    model.until_condition("Promoted", status="False", reason="InvalidServerSettings")
    until_restarted(model, besides=before)
    assert model.condition("Stalled")["lastTransitionTime"] == since
    model.until_reported_once("!InvalidServerSettings")
    assert model.condition("Ready")["status"] == "True"
    model.kubectl.until(
        lambda: before == {pod["metadata"]["uid"] for pod in model.pods("server") if ready(pod)},
        "the earlier server serves, and no other",
    )

    model.kubectl.patch(model.name, {"serving": {"env": None}})  # on x86-64 again, as the message says too
    model.until_ready()
    model.kubectl.until(
        lambda: not before & {pod["metadata"]["uid"] for pod in model.pods("server")}, "the earlier server is gone"
    )
    assert model.condition("Promoted")["reason"] == "Promoted"
    assert model.jobs() == jobs, "nothing was trained again"


def until_restarted(model: Model, besides: Collection[str]) -> None:
    """Wait until a server pod whose uid is not among `besides` has started one of its containers again three times."""

    def restarts() -> int:
        found = [pod["status"] for pod in model.pods("server") if pod["metadata"]["uid"] not in besides]
        containers = (each for status in found for each in status.get("initContainerStatuses", []))
        servers = (each for status in found for each in status.get("containerStatuses", []))
        return max((int(each["restartCount"]) for each in (*containers, *servers)), default=0)

    model.kubectl.until(lambda: restarts() >= 3, "a container was started again three times")


def until_one_server(model: Model) -> None:
    model.until_ready()
    model.kubectl.until(lambda: len(model.pods("server")) == 1, "one server pod is left")


def test_a_server_without_enough_memory_says_so_once_and_how_much_to_give_it(model: Model) -> None:
    before, jobs = {pod["metadata"]["uid"] for pod in model.pods("server")}, model.jobs()
    model.kubectl.patch(model.name, {"serving": {"podTemplate": {"resources": {"limits": {"memory": "48Mi"}}}}})
    killed = model.until_condition("Promoted", status="False", reason="OutOfMemory")["message"]
    assert "exceeded its memory limit 48Mi" in killed
    assert "set serving.podTemplate.resources.limits.memory to 96Mi" in killed
    until_restarted(model, besides=before)
    assert model.condition("Promoted")["reason"] == "OutOfMemory"
    model.until_reported_once("!OutOfMemory")
    assert model.condition("Ready")["status"] == "True", "the earlier server serves"

    model.kubectl.patch(model.name, {"serving": {"podTemplate": {"resources": None}}})
    until_one_server(model)
    assert model.jobs() == jobs, "nothing was trained again"


def test_a_server_whose_api_keys_are_missing_names_their_secret(model: Model) -> None:
    kubectl = model.kubectl
    kubectl.patch(model.name, {"serving": {"apiKeysSecretRef": {"name": "later"}}})
    missing = model.until_condition("Stalled", reason="CredentialsMissing")["message"]
    assert 'secret "later" not found' in missing
    assert model.condition("Ready")["status"] == "True", "the earlier server serves"
    kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"}, "stringData": {"key": KEY}})
    # the kubelet looks for the Secret again within two minutes, and for that of a new pod at once
    (waiting,) = (pod["metadata"]["name"] for pod in model.pods("server") if not ready(pod))
    kubectl("delete", "pod", waiting, "--wait=false")
    until_one_server(model)  # and keeps its key: another roll-out would show nothing


def test_a_roll_out_whose_pods_a_policy_rejects_is_blocked_until_they_are_allowed(model: Model) -> None:
    before = {pod["metadata"]["uid"] for pod in model.pods("server")}
    with pods_rejected(model.kubectl, "team", "it names no team that pays"):
        model.kubectl.patch(model.name, {"serving": {"podTemplate": {"annotations": {"team": "unknown"}}}})
        blocked = model.until_condition("Promoted", status="False", reason="RolloutBlocked")["message"]
        assert "it names no team that pays" in blocked
        assert model.condition("Ready")["status"] == "True"
        assert before == {pod["metadata"]["uid"] for pod in model.pods("server")}
    model.until_ready()
    model.until_condition("Promoted", status="True")
    model.kubectl.until(
        lambda: not before & {pod["metadata"]["uid"] for pod in model.pods("server")}, "the earlier server is gone"
    )
    model.until_reported_once("!RolloutBlocked")


@contextmanager
def pods_rejected(kubectl: Kubectl, annotation: str, message: str) -> Iterator[None]:
    """Let the API server reject pods with an annotation in this namespace while the block runs."""
    name = f"without-{annotation}-{kubectl.namespace}"
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kubectl.namespace}}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    absent = f"!has(object.metadata.annotations) || !('{annotation}' in object.metadata.annotations)"
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": here | {"resourceRules": [pods]},
        "validations": [{"expression": absent, "message": message}],
    }
    kind, version = "ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1"
    binding = {"policyName": name, "validationActions": ["Deny"]}
    objects = ((kind, policy), (f"{kind}Binding", binding))
    (deployment,) = kubectl.find("deployments")
    trial = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", "annotations": {annotation: "trial"}}}
    trial |= {"spec": deployment["spec"]["template"]["spec"]}

    def rejected() -> bool:  # a policy holds some seconds after it was created
        try:
            kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(trial))
        except AssertionError as error:
            return message in str(error)
        return False

    try:
        kubectl.apply(*({"apiVersion": version, "kind": k, "metadata": {"name": name}, "spec": s} for k, s in objects))
        kubectl.until(rejected, "the policy rejects a pod")
        yield
    finally:
        for k, _ in objects:
            kubectl("delete", k, name, "--ignore-not-found")


def test_the_button_trains_once_the_chart_allows_it(
    model: Model, space: Space, target: Target, operator: Kubectl, browser: Browser
) -> None:
    kubectl = model.kubectl
    kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"key": KEY}})
    button: Object = {"apiKeysSecretRef": {"name": "keys"}, "takes": {"retrain": {}}, "env": None, "settings": None}
    kubectl.patch(model.name, {"serving": button})
    rejected = kubectl.until(lambda: promoted_says(model, "served-retrain"), "the status names the account")
    assert "not found" in rejected
    assert model.condition("Ready")["status"] == "True", "the earlier server serves"

    allowed = (f"retrain.models[0].namespace={kubectl.namespace}", f"retrain.models[0].name={model.name}")
    upgrade(target, *allowed)
    try:
        model.until_ready()
        version = model.status["model"]["version"]
        with kubectl.forward(f"service/{model.name}", 80) as url:
            press(browser, url)
        revision = model.object["spec"]["dataset"]["revision"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", revision)
        model.until_ready()
        assert model.status["model"]["version"] != version, "it was trained with the take"
    finally:
        upgrade(target)
    with kubectl.forward(f"service/{model.name}", 80) as url:
        code, body = curl(f"{url}/v1/retrain", "-H", f"Authorization: Bearer {KEY}", "-X", "POST")
    assert code == 502
    assert "add the SpeechModel to retrain.models" in json.loads(body)["error"]["message"]
    assert model.object["spec"]["dataset"]["revision"] == revision


def promoted_says(model: Model, word: str) -> str | None:
    """Return the message of the condition Promoted once it has a word."""
    message: str = model.condition("Promoted")["message"]
    return message if word in message else None


def press(browser: Browser, url: str) -> None:
    """Save a take, and press the button of the page /record."""
    form = ("-F", "text=ok espejo", "-F", "speaker=Ana", "-F", "consent=true")
    take = ("-F", f"file=@{recordings.heard('ok espejo')}")
    code, body = curl(f"{url}/v1/takes", "-H", f"Authorization: Bearer {KEY}", *form, *take)
    assert code == 201, body
    with watched(browser, url) as page:
        page.get_by_label("This server asks for an API key").fill(KEY)
        page.get_by_role("button", name="Use this key").click()
        expect(page.locator("#name")).to_have_text("served")
        page.goto(f"{url}/record")
        expect(page.locator("#retrain-takes")).to_have_text("New takes: 1.")
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name=START).click()
        expect(page.locator("#retrain-state")).to_have_text("A training has been requested…")
