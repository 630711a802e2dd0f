"""The meaning of a manifest on this machine."""

import sys
from pathlib import Path

import pytest
from speechmodel_api.keys import publish_key
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_cli.local.embedded_s3 import ENDPOINT, EmbeddedStore
from speechmodel_cli.local.errors import (
    CheckpointMissing,
    ClaimMissing,
    CredentialsMissing,
    DatasetMissing,
    EngineMissing,
)
from speechmodel_cli.local.model import LocalModel, read_claims
from speechmodel_cli.local.object_store import ManifestStore, reading_access
from speechmodel_cli.run import RunOptions, run
from speechmodel_plan.task import negatives_bucket
from support.manifests import MANIFEST

SPEC = {
    "language": "es",
    "dataset": {"source": {"persistentVolumeClaim": {"claimName": "voices", "path": "2026/spring"}}},
    "publish": {
        "s3": {"bucket": "models", "prefix": "speech", "endpoint": "http://s3:9000", "secretRef": {"name": "key"}}
    },
}


def local(tmp_path: Path, **more: object) -> LocalModel:
    return LocalModel("espejo", "default", SpeechModelSpec.model_validate({**SPEC, **more}), tmp_path)


def test_a_claim_is_the_folder_of_its_name_beside_the_manifest(tmp_path: Path) -> None:
    model = local(tmp_path)
    assert model.dataset == tmp_path / "voices/2026/spring"
    with pytest.raises(
        DatasetMissing, match=r"voices/2026/spring of the dataset claim voices does not exist; .*--claim voices=FOLDER"
    ):
        model.require_dataset()
    model.dataset.mkdir(parents=True)
    model.require_dataset()


def test_a_claim_may_lie_elsewhere(tmp_path: Path) -> None:
    model = LocalModel("e", "default", SpeechModelSpec.model_validate(SPEC), tmp_path, {"voices": tmp_path / "there"})
    assert model.dataset == tmp_path / "there/2026/spring"


def test_a_claim_that_the_manifest_does_not_read_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.yaml").write_text(MANIFEST, encoding="utf-8")
    options = RunOptions(tmp_path / "m.yaml", tmp_path / "state", claims={"voice": tmp_path})
    assert run(options) == 1
    said = capsys.readouterr().err
    assert said == f"--claim voice: {tmp_path}/m.yaml reads no claim of this name (claims: voices); correct it\n"
    initial = {"initFrom": {"persistentVolumeClaim": {"claimName": "pretrained"}}}
    assert read_claims(local(tmp_path, training=initial).spec) == ("voices", "pretrained")


def test_recordings_in_a_bucket_need_the_keys_of_its_secret_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(s3: dict[str, object]) -> None:
        local(tmp_path, dataset={"source": {"s3": {"bucket": "voices", **s3}}}).require_dataset()

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    require({})
    with pytest.raises(
        CredentialsMissing,
        match=r"the Secret key \(dataset.source.s3.secretRef\) is read from the environment here, which lacks "
        r"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: set them",
    ):
        require({"secretRef": {"name": "key"}})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    require({"secretRef": {"name": "key"}})


def other_speech(tmp_path: Path, **source: object) -> LocalModel:
    """A model whose other speech is in a place of its own."""
    return local(tmp_path, dataset={**SPEC["dataset"], "negatives": {"source": source}})  # type: ignore[dict-item]


def test_other_speech_on_a_claim_is_the_folder_of_its_name_beside_the_manifest(tmp_path: Path) -> None:
    model = other_speech(tmp_path, persistentVolumeClaim={"claimName": "radio", "path": "es"})
    assert read_claims(model.spec) == ("voices", "radio")
    assert model.negatives == tmp_path / "radio/es"
    with pytest.raises(
        DatasetMissing,
        match=r"radio/es on the claim radio \(dataset.negatives.source\) does not exist; .*--claim radio=FOLDER",
    ):
        model.require_negatives()
    model.negatives.mkdir(parents=True)
    model.require_negatives()


def test_the_keys_of_other_speech_have_names_of_their_own_or_are_those_of_every_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    for name in (*names, *(f"NEGATIVES_{name}" for name in names)):
        monkeypatch.delenv(name, raising=False)
    model = other_speech(tmp_path, s3={"bucket": "radio", "secretRef": {"name": "key"}})
    with pytest.raises(
        CredentialsMissing,
        match=r"the Secret key \(dataset.negatives.source.s3.secretRef\) is read from the environment here, which lacks "
        r"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: set them, or NEGATIVES_AWS_ACCESS_KEY_ID and NEGATIVES_AWS_SECRET_ACCESS_KEY",
    ):
        model.require_negatives()

    def keys() -> dict[str, str]:
        model.require_negatives()
        access = reading_access(None, negatives_bucket(model.spec))
        assert access
        return {name: value for name, value in access.environment.items() if name in given}

    given = dict.fromkeys(names, "of all") | {f"NEGATIVES_{name}": "of all" for name in names}
    for name in names:
        monkeypatch.setenv(name, "of all")
    assert keys() == given
    monkeypatch.setenv("NEGATIVES_AWS_ACCESS_KEY_ID", "own")
    with pytest.raises(CredentialsMissing, match=r"lacks NEGATIVES_AWS_SECRET_ACCESS_KEY: set them$"):
        model.require_negatives()
    monkeypatch.setenv("NEGATIVES_AWS_SECRET_ACCESS_KEY", "own")
    assert keys() == given | {f"NEGATIVES_{name}": "own" for name in names}


def test_a_checkpoint_in_a_bucket_needs_the_keys_of_its_secret_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    in_bucket = local(tmp_path, training={"initFrom": {"s3": {"bucket": "old", "secretRef": {"name": "key"}}}})
    assert in_bucket.init_from is None
    with pytest.raises(CredentialsMissing, match=r"the Secret key \(training.initFrom.s3.secretRef\) is read from"):
        in_bucket.require_checkpoint_keys()
    on_claim = local(tmp_path, training={"initFrom": {"persistentVolumeClaim": {"claimName": "old", "path": "en"}}})
    assert on_claim.init_from == tmp_path / "old/en"


def test_a_checkpoint_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    model = local(
        tmp_path, training={"initFrom": {"persistentVolumeClaim": {"claimName": "old", "path": "en/train-9"}}}
    )
    with pytest.raises(ClaimMissing, match=r"/old of the claim old does not exist; .* --claim old=FOLDER"):
        model.require_checkpoint()
    (tmp_path / "old/en").mkdir(parents=True)
    with pytest.raises(CheckpointMissing, match=r"/old/en/train-9 does not exist; correct its path"):
        model.require_checkpoint()
    (tmp_path / "old/en/train-9.index").touch()
    model.require_checkpoint()


def test_the_python_of_coqui_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = local(tmp_path, training={"engine": "CoquiSTT"})
    monkeypatch.delenv("SPEECHMODEL_COQUI_PYTHON", raising=False)
    with pytest.raises(
        EngineMissing, match="SPEECHMODEL_COQUI_PYTHON does not name a program; set it to the python of an"
    ):
        model.require_engine()
    local(tmp_path).require_engine()
    monkeypatch.setenv("SPEECHMODEL_COQUI_PYTHON", sys.executable)
    model.require_engine()


def test_fields_that_only_a_cluster_can_make_true_are_named_when_they_are_given(tmp_path: Path) -> None:
    model = local(
        tmp_path,
        training={
            "podTemplate": {"nodeSelector": {"gpu": "yes"}},
            "stageResources": {"limits": {"memory": "2Gi"}},
            "storage": {"claimName": "fast"},
            "maxEpochs": 3,
        },
        serving={"replicas": 1},
    )
    embedded = EmbeddedStore(tmp_path, "models")
    assert model.without_effect(embedded, serve=True) == (
        "training.storage",
        "training.podTemplate",
        "training.stageResources",
        "serving.replicas",
        "publish.s3.endpoint",
        "publish.s3.secretRef",
    )
    assert "publish.s3.endpoint" not in model.without_effect(ManifestStore(model.spec.publish.s3), serve=True)
    assert local(tmp_path).without_effect(ManifestStore(model.spec.publish.s3), serve=True) == ()


def test_the_embedded_server_has_one_name_in_keys_whatever_its_port(tmp_path: Path) -> None:
    model = local(tmp_path)
    specs = [model.local_spec(EmbeddedStore(tmp_path / str(call), "models"), serve=False) for call in range(2)]
    assert specs[0].publish.s3.endpoint == ENDPOINT
    assert specs[0].publish.s3.bucket == "models"
    assert specs[0].publish.s3.prefix == "speech"
    assert len({publish_key(spec, "aaaaaaaa", "base") for spec in specs}) == 1


def test_nothing_is_served_unless_asked_for_here(tmp_path: Path) -> None:
    model = local(tmp_path, serving={"replicas": 3})
    store = ManifestStore(model.spec.publish.s3)
    assert model.local_spec(store, serve=False).serving is None
    serving = model.local_spec(store, serve=True).serving
    assert serving is not None
    assert serving.replicas == 1


async def test_a_file_of_cas_is_found_from_the_folders_of_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", "certs/ca.pem")
    access = await ManifestStore(local(tmp_path).spec.publish.s3).open()
    assert access.environment["AWS_CA_BUNDLE"] == str(tmp_path / "certs" / "ca.pem")


def test_a_secret_stands_for_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ManifestStore(local(tmp_path).spec.publish.s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(CredentialsMissing, match=r"the Secret key .* lacks AWS_SECRET_ACCESS_KEY: set them"):
        store.require(local(tmp_path).spec.publish.s3)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store.require(local(tmp_path).spec.publish.s3)


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        (
            "engine: CoquiSTT",
            "training.engine is CoquiSTT, but the environment variable SPEECHMODEL_COQUI_PYTHON does not",
        ),
        ("initFrom: {persistentVolumeClaim: {claimName: old}}", "training.initFrom: the folder "),
    ],
)
def test_what_training_lacks_ends_a_run_before_its_recordings_are_prepared(
    training: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SPEECHMODEL_COQUI_PYTHON", raising=False)
    (tmp_path / "voices").mkdir()
    (tmp_path / "model.yaml").write_text(f"{MANIFEST}  training: {{{training}}}\n", encoding="utf-8")
    assert run(RunOptions(tmp_path / "model.yaml", tmp_path / "state")) == 1
    assert capsys.readouterr().err.startswith(sentence)
    assert not list(tmp_path.glob("state/espejo/runs/*"))
