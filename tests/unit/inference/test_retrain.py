"""POST /v1/retrain changes dataset.revision of the server's own SpeechModel, and says why it cannot."""

import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from speechmodel_api.takes import TAKES
from speechmodel_inference.app import create_app
from speechmodel_inference.settings import Settings
from support.own_model import PREPARED_AT, ModelServer, Object, model_server, ready

Edit = Callable[[ModelServer], object]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with model_server(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def cluster(running: ModelServer, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    """An API server whose SpeechModel is Ready."""
    running.model, running.allowed, running.answers, running.patches = ready(), True, None, []
    running.token, running.before_patch = "secret", lambda: None
    (running.account / "token").write_text("secret", encoding="utf-8")
    for name, value in {**running.environment, "HTTPS_PROXY": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    return running


def settings(cluster: ModelServer, dataset: Path, **others: Any) -> Settings:
    return Settings(name="espejo", takes=dataset, service_account=cluster.account, **others)


def client_of(given: Settings) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(given))  # which loads no model
    return httpx.AsyncClient(transport=transport, base_url="http://espejo")


@pytest.fixture
async def client(cluster: ModelServer, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(settings(cluster, tmp_path)) as client:
        yield client


async def test_the_revision_becomes_the_time_and_nothing_else_changes(
    client: httpx.AsyncClient, cluster: ModelServer
) -> None:
    answer = await client.post("/v1/retrain")
    assert answer.status_code == 202
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", cluster.revision)
    assert cluster.patches == [{"dataset": {"revision": cluster.revision}}]
    assert answer.json() | {"takes": 0, "phase": "Pending", "progress": None, "message": None} == answer.json()
    assert answer.json()["refusal"]["code"] == "already_training"


async def test_while_a_version_is_made_no_other_training_starts(
    client: httpx.AsyncClient, cluster: ModelServer
) -> None:
    await client.post("/v1/retrain")
    assert (await client.post("/v1/retrain")).json()["error"][
        "code"
    ] == "already_training"  # the operator did not see it
    waiting = [{"type": "DatasetReady", "status": "True"}, {"type": "Trained", "status": "False"}]
    working = {"type": "Reconciling", "status": "True", "message": "train is running in Job espejo-train-1"}
    cluster.write_status(phase="Training", progress="12/75", conditions=[*waiting, working])
    answer = await client.get("/v1/retrain")
    assert answer.json()["refusal"]["code"] == "already_training"
    seen = {"phase": "Training", "progress": "12/75", "message": "train is running in Job espejo-train-1"}
    assert answer.json() | seen == answer.json()
    refused = await client.post("/v1/retrain")
    assert (refused.status_code, len(cluster.patches)) == (409, 1)
    comparing = ready()["status"] | {"stages": [{"name": "compare", "state": "Running"}]}
    cluster.write_status(**comparing | {"observedGeneration": cluster.model["metadata"]["generation"]})
    assert (await client.post("/v1/retrain")).json()["error"]["code"] == "already_training"


async def test_a_training_that_waits_for_a_person_may_be_started_again(
    client: httpx.AsyncClient, cluster: ModelServer
) -> None:
    failed = [
        {"type": "DatasetReady", "status": "False", "message": "no recordings"},
        {"type": "Stalled", "status": "True", "message": "no recordings"},
    ]
    prepare = {"name": "prepare", "state": "Failed", "startedAt": PREPARED_AT}
    cluster.write_status(phase="Failed", conditions=failed, stages=[prepare])
    seen = (await client.get("/v1/retrain")).json()
    assert (seen["message"], seen["prepared_at"], seen["refusal"]) == ("no recordings", None, None)
    assert (await client.post("/v1/retrain")).status_code == 202


APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FIELDS: Object = {"f:spec": {"f:dataset": {"f:revision": {}}}}


def suspend(cluster: ModelServer) -> None:
    cluster.model["spec"]["suspend"] = True


def own(manager: str, operation: str = "Apply", fields: object = FIELDS) -> Edit:
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    return lambda cluster: cluster.model["metadata"].update(managedFields=[entry])


def applied(text: str) -> Edit:
    return lambda cluster: cluster.model["metadata"].update(annotations={APPLIED: text})


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (suspend, "suspended", "set spec.suspend to false"),
        (own("kustomize-controller"), "revision_owned", "kustomize-controller applies a manifest"),
        (applied(json.dumps({"spec": {"dataset": {"revision": "3"}}})), "revision_owned", "kubectl apply applies"),
    ],
)
async def test_a_change_that_would_have_no_effect_is_refused(
    client: httpx.AsyncClient, cluster: ModelServer, edit: Edit, code: str, words: str
) -> None:
    edit(cluster)
    seen = (await client.get("/v1/retrain")).json()["refusal"]
    refused = await client.post("/v1/retrain")
    assert refused.status_code == 409
    assert refused.json()["error"] == seen
    assert seen["code"] == code
    assert words in seen["message"]
    assert cluster.patches == []


@pytest.mark.parametrize(
    "edit",
    [
        own("kubectl-edit", "Update"),
        own("argocd-controller", fields={"f:spec": {"f:dataset": {"f:source": {}}}}),
        applied(json.dumps({"spec": {"dataset": {}}})),
        applied("not JSON"),
    ],
    ids=["edited by hand", "another field", "a manifest without it", "a broken annotation"],
)
async def test_a_manifest_without_the_revision_does_not_stand_in_the_way(
    client: httpx.AsyncClient, cluster: ModelServer, edit: Edit
) -> None:
    edit(cluster)
    assert (await client.post("/v1/retrain")).status_code == 202


async def test_a_status_that_is_written_in_between_does_not_matter_once(
    client: httpx.AsyncClient, cluster: ModelServer
) -> None:
    def once() -> None:
        cluster.before_patch = lambda: None
        cluster.write_status()

    cluster.before_patch = once
    assert (await client.post("/v1/retrain")).status_code == 202
    cluster.model, cluster.before_patch = ready(), cluster.write_status
    refused = await client.post("/v1/retrain")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "changed")
    assert len(cluster.patches) == 1


async def test_somebody_who_was_faster_is_not_overtaken(client: httpx.AsyncClient, cluster: ModelServer) -> None:
    def edited() -> None:
        cluster.model["metadata"] |= {"generation": 5, "resourceVersion": "101"}

    cluster.before_patch = edited
    assert (await client.post("/v1/retrain")).json()["error"]["code"] == "already_training"
    assert cluster.patches == []


def forbid(cluster: ModelServer) -> None:
    cluster.allowed = False


def delete_account(cluster: ModelServer) -> None:
    cluster.token = "another"


def lose(cluster: ModelServer) -> None:
    (cluster.account / "token").unlink()


def garble(cluster: ModelServer) -> None:
    cluster.answers = b"<html>"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (forbid, "retrain_forbidden", "add the SpeechModel to retrain.models of the operator's chart"),
        (delete_account, "retrain_forbidden", "or is gone (401): add the SpeechModel to retrain.models"),
        (garble, "cluster_failed", "something other than a SpeechModel"),
        (lose, "cluster_unreachable", "No such file or directory"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_failure_of_the_cluster_is_explained(
    client: httpx.AsyncClient, cluster: ModelServer, fault: Edit, code: str, words: str, method: str
) -> None:
    fault(cluster)
    answer = await client.request(method, "/v1/retrain")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == code
    assert words in answer.json()["error"]["message"]


async def test_an_api_server_that_is_away_or_is_another_one_is_not_trusted(
    cluster: ModelServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server(tmp_path_factory.mktemp("another")) as another:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(another.port))
        async with client_of(settings(cluster, tmp_path)) as client:
            answer = await client.post("/v1/retrain")
        assert answer.json()["error"]["code"] == "cluster_unreachable"
        assert "certificate verify failed" in answer.json()["error"]["message"]
        assert another.patches == []
    async with client_of(settings(cluster, tmp_path)) as client:
        assert "refused" in (await client.post("/v1/retrain")).json()["error"]["message"]


async def test_a_token_that_kubelet_replaced_is_used_at_once(client: httpx.AsyncClient, cluster: ModelServer) -> None:
    await client.get("/v1/retrain")
    cluster.token = "renewed"
    (cluster.account / "token").write_text("renewed\n", encoding="utf-8")
    assert (await client.post("/v1/retrain")).status_code == 202


async def test_takes_count_that_were_saved_since_the_dataset_was_read(
    client: httpx.AsyncClient, cluster: ModelServer, tmp_path: Path
) -> None:
    folder = tmp_path / TAKES / "Ana"
    folder.mkdir(parents=True)
    prepared = datetime.fromisoformat(PREPARED_AT).timestamp()
    # the second one is a misheard clip of December that was confirmed after the dataset was read
    for name, age in (("20260101-000000-0a1b2c", -9), ("20251201-000000-0a1b2c", 9), ("20260201-000000-0a1b2c", 99)):
        path = folder / f"{name}.json"
        path.write_text("{}", encoding="utf-8")
        os.utime(path, (prepared + age, prepared + age))
    seen = (await client.get("/v1/retrain")).json()
    assert (seen["takes"], datetime.fromisoformat(seen["prepared_at"])) == (2, datetime.fromtimestamp(prepared, UTC))
    cluster.model["status"]["stages"] = []
    assert (await client.get("/v1/retrain")).json()["takes"] == 3


async def test_only_the_servers_own_page_and_holders_of_a_key_may_ask(cluster: ModelServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("open-sesame\n", encoding="utf-8")
    async with client_of(settings(cluster, tmp_path, api_keys=keys)) as client:
        assert (await client.post("/v1/retrain")).status_code == 401
        held = {"Authorization": "Bearer open-sesame"}
        foreign = await client.post("/v1/retrain", headers=held | {"Origin": "https://other.example"})
        assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "cross_site")
        assert cluster.patches == []
        assert (await client.post("/v1/retrain", headers=held)).status_code == 202


async def test_without_a_service_account_there_is_no_such_path(tmp_path: Path) -> None:
    async with client_of(Settings(takes=tmp_path)) as client:
        assert (await client.post("/v1/retrain")).status_code == 404
