"""publish, fetch and purge against a real S3."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import NoReturn

import pytest
from botocore.exceptions import ClientError
from speechmodel_api.dataset_spec import Split
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource, Scorer
from speechmodel_api.published import EpochLoss, VersionList, VersionManifest
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.convert import ConvertOutput
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.evaluate import EvaluateOutput
from speechmodel_api.stages.publish import FetchInput, PublishInput, PublishOutput, PurgeInput
from speechmodel_api.takes import speaker_hash
from speechmodel_api.workspace import VERSIONS
from speechmodel_cli.local.seaweedfs import Identity
from speechmodel_inference.version import load_version
from speechmodel_inference.version_files import VersionFiles
from speechmodel_pipeline import fetch as fetch_module
from speechmodel_pipeline.fetch import fetch
from speechmodel_pipeline.model_cache import MARGIN
from speechmodel_pipeline.publish import publish
from speechmodel_pipeline.purge import purge
from speechmodel_pipeline.s3 import version_list
from speechmodel_pipeline.s3.objects import Bucket
from speechmodel_pipeline.signing import signature_uri
from speechmodel_stagekit.dataset import PreparedDataset
from speechmodel_stagekit.errors import ArtefactMissing, BadData, BadInput, TryAgain
from support.cards import card
from support.graphs import deaf, edited
from support.phrase_heads import knowing_head
from support.ports import free_port
from support.programs import Ended, run_program
from support.seaweed import READER, WRITER, Seaweed
from support.signing_keys import KeyPair, key_pair
from support.tls import tls
from support.workspaces import BASE, BEAMS, CONVERT, DATA, FREE_TEXT, TRAIN, VERSION, Workspace, make_workspace

from .conftest import BUCKET


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, deepspeech: Path
) -> tuple[Workspace, ConvertOutput, EvaluateOutput]:
    workspace = make_workspace(tmp_path_factory.mktemp("finished"), deepspeech, Split())
    return workspace, *workspace.finish(Decoding(grammar=GrammarSource.DATASET, beam_width=BEAMS))


@pytest.fixture(autouse=True)
def _as_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    act_as(WRITER, monkeypatch)


def act_as(key: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in key.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def target(s3: Seaweed) -> S3Location:
    return S3Location(bucket=BUCKET, endpoint=s3.endpoint)


@pytest.fixture
def base(s3: Seaweed, request: pytest.FixtureRequest) -> Iterator[str]:
    """A model's own prefix. Its objects are removed afterwards."""
    prefix = f"team/{request.node.name[:60]}/espejo/uid-1"
    yield prefix
    for key in s3.keys(BUCKET):
        if key.startswith(prefix):
            s3.client().delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture
def publishing(
    finished: tuple[Workspace, ConvertOutput, EvaluateOutput], target: S3Location, base: str
) -> PublishInput:
    workspace, converted, evaluated = finished
    return workspace.publish_input(converted, evaluated, target, base)


def written_at(s3: Seaweed, prefix: str) -> dict[str, object]:
    listed = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return {entry["Key"]: entry["LastModified"] for entry in listed.get("Contents", ())}


def fetching(output: PublishOutput, target: S3Location, folder: Path) -> FetchInput:
    return FetchInput(
        target=target,
        version_uri=output.version_uri,
        version_sha256=output.version_sha256,
        folder=PurePosixPath(folder),
    )


def raw(s3: Seaweed, uri: str) -> bytes:
    key = uri.removeprefix(f"s3://{BUCKET}/")
    content: bytes = s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return content


def test_a_version_is_named_by_its_content_and_names_all_that_a_server_needs(
    publishing: PublishInput, s3: Seaweed
) -> None:
    output = publish(publishing)
    folder = f"{publishing.base}/{publishing.model_sha256}"
    assert publishing.native is not None
    assert set(written_at(s3, publishing.base)) == {
        f"{folder}/output_graph.pbmm",
        f"{folder}/acoustic.onnx",
        f"{publishing.base}/{publishing.native.quantised_sha256}/acoustic.int8.onnx",
        f"{folder}/{VERSION}/grammar.zip",
        f"{folder}/{VERSION}/report.json",
        f"{folder}/{VERSION}/report.html",
        f"{folder}/{VERSION}/selftest.wav",
        f"{folder}/{VERSION}/version.json",
    }
    assert output.uri == f"s3://{BUCKET}/{folder}/output_graph.pbmm"
    assert hashlib.sha256(raw(s3, output.uri)).hexdigest() == publishing.model_sha256
    version = raw(s3, output.version_uri)
    assert hashlib.sha256(version).hexdigest() == output.version_sha256
    manifest = VersionManifest.model_validate_json(version)
    assert (manifest.model_sha256, manifest.language, manifest.wer) == (publishing.model_sha256, "es", 0.0)
    assert manifest.speech_level is None
    assert manifest.grammar is not None
    assert manifest.native is not None
    assert manifest.native.differences == 0
    for uri, size, sha256 in (
        (manifest.grammar.acoustic_uri, manifest.grammar.acoustic_bytes, manifest.grammar.acoustic_sha256),
        (manifest.grammar.grammar_uri, manifest.grammar.grammar_bytes, manifest.grammar.grammar_sha256),
        (manifest.native.quantised_uri, manifest.native.quantised_bytes, manifest.native.quantised_sha256),
    ):
        assert (len(raw(s3, uri)), hashlib.sha256(raw(s3, uri)).hexdigest()) == (size, sha256)
    assert hashlib.sha256(raw(s3, manifest.selftest_uri)).hexdigest() == manifest.selftest_sha256
    assert manifest.selftest_text == json.loads(raw(s3, manifest.report_uri))["selftest"]["text"]
    assert manifest.page_uri == output.page_uri == f"s3://{BUCKET}/{folder}/{VERSION}/report.html"
    assert s3.client().head_object(Bucket=BUCKET, Key=f"{folder}/{VERSION}/report.html")["ContentType"] == "text/html"
    head = s3.client().head_object(Bucket=BUCKET, Key=f"{folder}/output_graph.pbmm")
    assert head["Metadata"] == {"sha256": publishing.model_sha256}


def test_the_phrase_network_is_published_under_its_own_digest_and_fetched_as_the_network_of_the_grammar(
    tmp_path: Path, deepspeech: Path, target: S3Location, base: str, s3: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split())
    edited(deepspeech / "tf2_128.pb", workspace.graph, deaf)
    knowing_head().save(workspace.head)
    converted, evaluated = workspace.finish(Decoding(grammar=GrammarSource.DATASET, beam_width=BEAMS))
    pair = key_pair()
    monkeypatch.setenv("SIGNING_KEY", pair.private)
    task = workspace.publish_input(converted, evaluated, target, base)
    task = task.model_copy(update={"public_keys": (pair.public,)})
    output = publish(task)
    uri = f"s3://{BUCKET}/{base}/{converted.phrases_sha256}/phrases.onnx"
    assert output.phrases is not None
    assert (output.phrases.uri, output.phrases.sha256) == (uri, converted.phrases_sha256)
    assert output.phrases.size_bytes == len(raw(s3, uri))
    assert not [key for key in written_at(s3, base) if key.rpartition("/")[2].startswith("acoustic")]
    fetch(fetching(output, target, tmp_path / "fetched").model_copy(update={"public_keys": (pair.public,)}))
    version = load_version(VersionFiles(tmp_path / "fetched"))
    assert hashlib.sha256((tmp_path / "fetched" / "acoustic.onnx").read_bytes()).hexdigest() == converted.phrases_sha256
    assert version.manifest.embedded
    assert publish(task).version_sha256 == output.version_sha256
    s3.client().delete_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))
    publish(task)
    assert len(raw(s3, uri)) == output.phrases.size_bytes, "a lost object is sent again"
    (workspace.root / "exports" / CONVERT / "phrases.onnx").unlink()
    with pytest.raises(ArtefactMissing, match=r"phrases\.onnx"):
        publish(task)
    purge(PurgeInput(target=target, base=base))
    assert written_at(s3, base) == {}


def test_a_service_with_a_certificate_of_a_private_ca_is_used_with_that_ca_alone(
    publishing: PublishInput, s3: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(work: Callable[[], object]) -> str:
        with pytest.raises(TryAgain) as caught:
            work()
        return str(caught.value)

    monkeypatch.setattr(fetch_module, "PAUSES", ())
    expired = tmp_path / "expired"
    expired.mkdir()
    with tls(s3.endpoint, tmp_path) as service:
        target = S3Location(bucket=BUCKET, endpoint=service.endpoint)
        task = publishing.model_copy(update={"target": target})
        message = refused(lambda: publish(task))
        assert f"bucket {BUCKET} at {service.endpoint}: SSL validation failed" in message
        assert (
            "set caBundle of the operator's chart to a ConfigMap with that CA; in a local run, set AWS_CA_BUNDLE"
            in message
        )
        assert written_at(s3, publishing.base) == {}
        plain = target.model_copy(update={"endpoint": s3.endpoint.replace("http://", "https://")})
        message = refused(lambda: publish(publishing.model_copy(update={"target": plain})))
        assert "correct publish.s3.endpoint (http:// for a service without TLS)" in message

        monkeypatch.setenv("AWS_CA_BUNDLE", str(service.ca))
        output = publish(task)
        fetch(fetching(output, target, tmp_path / "fetched"))
        fetched = (tmp_path / "fetched" / "output_graph.pbmm").read_bytes()
        assert hashlib.sha256(fetched).hexdigest() == publishing.model_sha256
        elsewhere = target.model_copy(update={"endpoint": service.endpoint.replace("localhost", "127.0.0.1")})
        again = fetching(output, elsewhere, tmp_path / "again")
        assert "correct publish.s3.endpoint to a name that the certificate has" in refused(lambda: fetch(again))

        again = fetching(output, target, tmp_path / "again")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "absent.pem"))
        assert f"must be in {tmp_path / 'absent.pem'}, which AWS_CA_BUNDLE names" in refused(lambda: fetch(again))
        monkeypatch.delenv("AWS_CA_BUNDLE")
        assert "set caBundle of the operator's chart" in refused(lambda: fetch(again))
        removal = PurgeInput(target=target, base=publishing.base)
        assert "set caBundle of the operator's chart" in refused(lambda: purge(removal))
    with tls(s3.endpoint, expired, valid=timedelta(days=-1)) as service:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(service.ca))
        again = fetching(output, S3Location(bucket=BUCKET, endpoint=service.endpoint), tmp_path / "again")
        assert "renew the certificate of the S3 service" in refused(lambda: fetch(again))


def test_the_network_of_the_confidences_of_free_text_is_published_and_fetched(
    tmp_path: Path, deepspeech: Path, target: S3Location, base: str
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split())
    converted, evaluated = workspace.finish(FREE_TEXT)
    task = workspace.publish_input(converted, evaluated.model_copy(update={"native": None}), target, base)
    output = publish(task)
    fetch(fetching(output, target, tmp_path / "fetched"))
    manifest = VersionManifest.model_validate_json((tmp_path / "fetched" / "version.json").read_bytes())
    assert manifest.confidence is not None
    assert evaluated.confidence is not None
    assert manifest.confidence.slope == evaluated.confidence.slope
    network = (tmp_path / "fetched" / "acoustic.int8.onnx").read_bytes()
    assert hashlib.sha256(network).hexdigest() == manifest.confidence.quantised_sha256 == converted.quantised_sha256
    assert len(network) == manifest.confidence.quantised_bytes


def test_the_card_says_how_the_version_was_made_and_measured(
    finished: tuple[Workspace, ConvertOutput, EvaluateOutput], publishing: PublishInput, s3: Seaweed
) -> None:
    workspace, _, evaluated = finished
    training = card().training
    task = publishing.model_copy(update={"train_key": TRAIN, "dataset": workspace.dataset, "training": training})
    history = workspace.graph.with_name("training.csv")
    history.write_text("epoch,step,loss,dev_loss,seconds,clips_per_second\n1,9,3.5,,2,4\n2,18,1.25,1.5,2,4\n")
    manifest = VersionManifest.model_validate_json(raw(s3, publish(task).version_uri))
    assert manifest.card is not None
    assert manifest.card.evaluation == evaluated
    assert (manifest.card.dataset, manifest.card.training) == (workspace.dataset, training)
    assert manifest.card.epochs == (EpochLoss(epoch=1, loss=3.5), EpochLoss(epoch=2, loss=1.25, dev_loss=1.5))


def test_whose_takes_are_in_each_version_is_published_and_listed_for_a_server(
    finished: tuple[Workspace, ConvertOutput, EvaluateOutput],
    publishing: PublishInput,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    workspace = finished[0]
    monkeypatch.setattr(PreparedDataset, "take_speakers", lambda _: frozenset({"Ana Ruiz", "Luz"}))
    card_of = {"dataset": workspace.dataset, "training": card().training}
    publish(publishing.model_copy(update={"version": "0000000a"}))  # without a card
    publish(publishing.model_copy(update=card_of | {"version": "0000000b", "data_key": DATA}))
    gone = publish(publishing.model_copy(update=card_of | {"version": "0000000c", "data_key": "ffffffff"}))
    task = fetching(gone, publishing.target, tmp_path / "models")
    fetch(task)
    assert not (tmp_path / "models" / VERSIONS).exists()
    fetch(task.model_copy(update={"list_versions": True}))
    listed = VersionList.model_validate_json((tmp_path / "models" / VERSIONS).read_bytes()).versions
    speakers = tuple(sorted([speaker_hash("Ana Ruiz"), speaker_hash("Luz")]))
    assert {each.version: each.take_speakers for each in listed} == {
        "0000000a": None,
        "0000000b": speakers,
        "0000000c": None,
    }
    assert [each.published_at for each in listed] == sorted((each.published_at for each in listed), reverse=True)


def test_versions_that_may_not_be_listed_keep_no_server_from_starting(
    publishing: PublishInput, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = publish(publishing)

    def refused(*_: object) -> NoReturn:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")

    monkeypatch.setattr(version_list, "_listed", refused)
    fetch(fetching(output, publishing.target, tmp_path / "models").model_copy(update={"list_versions": True}))
    assert (tmp_path / "models" / "version.json").exists()
    assert not (tmp_path / "models" / VERSIONS).exists()
    assert "cannot be listed" in caplog.text


@pytest.mark.parametrize("history", [None, "no table", "epoch,loss\n1,much\n"])
def test_a_training_history_that_cannot_be_read_leaves_the_losses_out(
    history: str | None,
    finished: tuple[Workspace, ConvertOutput, EvaluateOutput],
    publishing: PublishInput,
    s3: Seaweed,
) -> None:
    workspace = finished[0]
    task = publishing.model_copy(update={"train_key": TRAIN, "dataset": workspace.dataset, "training": card().training})
    path = workspace.graph.with_name("training.csv")
    path.unlink(missing_ok=True)
    if history is not None:
        path.write_text(history)
    manifest = VersionManifest.model_validate_json(raw(s3, publish(task).version_uri))
    assert manifest.card is not None
    assert manifest.card.epochs == ()


def test_the_threshold_of_free_text_is_published_with_the_acoustic_model_that_it_needs(
    tmp_path: Path, deepspeech: Path, target: S3Location, base: str, s3: Seaweed
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split())
    _, evaluated = done = workspace.finish(Decoding(beam_width=BEAMS, foreign_speech=ForeignSpeech.REJECT))
    output = publish(workspace.publish_input(*done, target, base))
    manifest = VersionManifest.model_validate_json(raw(s3, output.version_uri))
    assert manifest.grammar is None
    assert evaluated.rejection is not None and manifest.rejection is not None
    assert manifest.rejection.threshold == evaluated.rejection.threshold < 0
    fetched = tmp_path / "fetched"
    fetch(fetching(output, target, fetched))
    assert hashlib.sha256((fetched / "acoustic.onnx").read_bytes()).hexdigest() == manifest.rejection.acoustic_sha256


def test_a_scorer_is_published_beside_the_model(
    tmp_path: Path, deepspeech: Path, target: S3Location, base: str, s3: Seaweed
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split())
    shutil.copy(deepspeech / "es.scorer", workspace.source)
    done = workspace.finish(Decoding(beam_width=BEAMS, scorer=Scorer(path="es.scorer", alpha=0.9, beta=1.2)))
    output = publish(workspace.publish_input(*done, target, base))
    manifest = VersionManifest.model_validate_json(raw(s3, output.version_uri))
    assert manifest.scorer is not None
    assert (manifest.scorer.alpha, manifest.scorer.beta) == (0.9, 1.2)
    fetch(fetching(output, target, tmp_path / "fetched"))
    assert (tmp_path / "fetched" / "lm.scorer").read_bytes() == (deepspeech / "es.scorer").read_bytes()


def test_the_level_of_the_clips_is_published_for_servers(
    tmp_path: Path, deepspeech: Path, target: S3Location, base: str, s3: Seaweed
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split(), speech_level=-20.0)
    output = publish(workspace.publish_input(*workspace.finish(), target, base))
    assert VersionManifest.model_validate_json(raw(s3, output.version_uri)).speech_level == -20


def without_storage(output: PublishOutput) -> PublishOutput:
    """Return the output without the use of the volume, which other programs change."""
    return output.model_copy(update={"storage": None})


def test_what_is_there_is_not_sent_again(publishing: PublishInput, s3: Seaweed, tmp_path: Path) -> None:
    first, before = publish(publishing), written_at(s3, publishing.base)
    time.sleep(1.1)  # S3 gives times in seconds
    assert without_storage(publish(publishing)) == without_storage(first)
    assert written_at(s3, publishing.base) == before


@pytest.mark.parametrize(
    "name",
    [
        "output_graph.pbmm",
        "acoustic.onnx",
        "acoustic.int8.onnx",
        "grammar.zip",
        "selftest.wav",
        "report.json",
        "version.json",
    ],
)
@pytest.mark.parametrize("damage", ["gone", "other bytes of the same size"])
def test_what_is_gone_or_damaged_is_sent_again(name: str, damage: str, publishing: PublishInput, s3: Seaweed) -> None:
    first = publish(publishing)
    (key,) = (key for key in written_at(s3, publishing.base) if key.endswith(name))
    content = raw(s3, f"s3://{BUCKET}/{key}")
    if damage == "gone":
        s3.client().delete_object(Bucket=BUCKET, Key=key)
    else:
        metadata = s3.client().head_object(Bucket=BUCKET, Key=key)["Metadata"]
        s3.client().put_object(Bucket=BUCKET, Key=key, Body=b"x" * len(content), Metadata=metadata)
    assert without_storage(publish(publishing)) == without_storage(first)
    assert raw(s3, f"s3://{BUCKET}/{key}") == content


def test_a_version_that_is_served_never_changes(publishing: PublishInput, s3: Seaweed, tmp_path: Path) -> None:
    first = publish(publishing)
    version_key = first.version_uri.removeprefix(f"s3://{BUCKET}/")
    older = VersionManifest.model_validate_json(raw(s3, first.version_uri)).model_copy(update={"wer": 0.25})
    content = older.model_dump_json(by_alias=True).encode()
    s3.client().put_object(Bucket=BUCKET, Key=version_key, Body=content)
    assert publish(publishing).version_sha256 == hashlib.sha256(content).hexdigest()
    assert raw(s3, first.version_uri) == content


@pytest.mark.parametrize(
    ("key", "bucket", "said", "advice"),
    [
        (
            Identity(WRITER.access_key, "wrong"),
            BUCKET,
            "SignatureDoesNotMatch: The request signature",
            "correct AWS_SECRET_ACCESS_KEY",
        ),
        (Identity("nobody", "wrong"), BUCKET, "InvalidAccessKeyId: The access key ID", "correct AWS_ACCESS_KEY_ID"),
        (READER, BUCKET, "AccessDenied: Access Denied", "allow this access key"),
        (WRITER, "no-such-bucket", "NoSuchBucket: The specified bucket does not exist", "create the bucket"),
    ],
)
def test_a_refusal_is_reported_in_s3s_own_words_with_what_to_do(
    key: Identity,
    bucket: str,
    said: str,
    advice: str,
    publishing: PublishInput,
    s3: Seaweed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act_as(key, monkeypatch)
    task = publishing.model_copy(update={"target": publishing.target.model_copy(update={"bucket": bucket})})
    with pytest.raises(TryAgain) as refused:
        publish(task)
    assert refused.value.reason == "UploadFailed"
    assert f"bucket {bucket} at {s3.endpoint}: {said}" in str(refused.value) and advice in str(refused.value)
    assert not written_at(s3, publishing.base)


def test_as_a_program_it_ends_with_75_and_continues_after_the_secret_is_corrected(
    publishing: PublishInput, tmp_path: Path
) -> None:
    ended = run_program("publish", publishing, tmp_path, Identity(WRITER.access_key, "wrong").environment)
    assert (ended.code, ended.reason) == (75, "UploadFailed")
    assert "SignatureDoesNotMatch" in ended.message
    ended = run_program("publish", publishing, tmp_path, WRITER.environment)
    assert ended.code == 0 and ended.output["version"] == VERSION
    assert ended.progress[-1].done == ended.progress[-1].total > 0


def test_without_credentials_the_error_names_the_variables(
    publishing: PublishInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in WRITER.environment:
        monkeypatch.delenv(name)
    with pytest.raises(TryAgain, match="locate credentials; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        publish(publishing)


def test_an_unreachable_endpoint_ends_within_bounds(publishing: PublishInput, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)  # between its attempts
    endpoint = f"http://127.0.0.1:{free_port()}"
    task = publishing.model_copy(update={"target": publishing.target.model_copy(update={"endpoint": endpoint})})
    with pytest.raises(TryAgain, match=f"at {endpoint} cannot be reached: ") as refused:
        publish(task)
    assert 0 < sum(waited) < 60
    assert refused.value.reason == "UploadFailed"


def signed(publishing: PublishInput, monkeypatch: pytest.MonkeyPatch, pair: KeyPair) -> PublishOutput:
    monkeypatch.setenv("SIGNING_KEY", pair.private)
    return publish(publishing.model_copy(update={"public_keys": (pair.public,)}))


def test_a_signed_version_is_fetched_with_its_public_key(
    publishing: PublishInput, target: S3Location, s3: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned, pair = publish(publishing), key_pair()
    output = signed(publishing, monkeypatch, pair)
    assert output == unsigned.model_copy(update={"signed_by": hashlib.sha256(pair.public.encode()).hexdigest()})
    monkeypatch.delenv("SIGNING_KEY")
    act_as(READER, monkeypatch)
    task = fetching(output, target, tmp_path / "model").model_copy(update={"public_keys": (pair.public,)})
    fetch(task)
    assert (tmp_path / "model" / "model.sig").read_bytes() == raw(s3, signature_uri(output.version_uri))
    fetch(fetching(output, target, tmp_path / "by a server that verifies none"))


def test_a_signature_stays_until_another_key_signs(
    publishing: PublishInput, s3: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, other = key_pair(), key_pair()
    output = signed(publishing, monkeypatch, pair)
    first, written = raw(s3, signature_uri(output.version_uri)), written_at(s3, publishing.base)
    assert signed(publishing, monkeypatch, pair) == output
    assert written_at(s3, publishing.base) == written
    assert signed(publishing, monkeypatch, other).signed_by != output.signed_by
    assert raw(s3, signature_uri(output.version_uri)) != first
    assert raw(s3, output.version_uri)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("signature is missing", "SignatureMissing"),
        ("signature is of another key", "SignatureInvalid"),
        ("signature has a flipped byte", "SignatureInvalid"),
        ("version.json has a flipped byte", "SignatureInvalid"),
    ],
)
def test_a_version_whose_signature_does_not_hold_is_not_fetched(
    damage: str,
    reason: str,
    publishing: PublishInput,
    target: S3Location,
    s3: Seaweed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = key_pair()
    output = signed(publishing, monkeypatch, pair)
    task = fetching(output, target, tmp_path / "model")
    task = task.model_copy(update={"public_keys": (pair.public,)})
    uri = signature_uri(output.version_uri)
    key = uri.removeprefix(f"s3://{BUCKET}/")
    if damage == "signature is missing":
        s3.client().delete_object(Bucket=BUCKET, Key=key)
    elif damage == "signature is of another key":
        signed(publishing, monkeypatch, key_pair())
    elif damage == "signature has a flipped byte":
        bundle = json.loads(raw(s3, uri))
        whole = bundle["dsseEnvelope"]["signatures"][0]["sig"]
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = whole[:20] + ("A" if whole[20] != "A" else "B") + whole[21:]
        s3.client().put_object(Bucket=BUCKET, Key=key, Body=json.dumps(bundle).encode())
    else:  # by someone who can also change the digest in the status
        version = raw(s3, output.version_uri).replace(b'"wer": 0.0', b'"wer": 0.1')
        s3.client().put_object(Bucket=BUCKET, Key=output.version_uri.removeprefix(f"s3://{BUCKET}/"), Body=version)
        task = task.model_copy(update={"version_sha256": hashlib.sha256(version).hexdigest()})
        assert task.version_sha256 != output.version_sha256
    ended = run_program("fetch", task, tmp_path, READER.environment)
    assert (ended.code, ended.reason) == (65, reason), ended.log
    assert uri in ended.message
    assert [path.name for path in (tmp_path / "model").iterdir()] == []


def test_large_objects_go_in_parts_and_are_read_back(s3: Seaweed, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (40 << 12))  # 40 MiB: three parts
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    counted: list[int] = []
    bucket = Bucket.connect(S3Location(bucket=BUCKET, endpoint=s3.endpoint))
    assert bucket.ensure("large/object", path, digest, counted.append)
    assert sum(counted) == 2 * path.stat().st_size
    assert s3.client().head_object(Bucket=BUCKET, Key="large/object")["ETag"].endswith('-3"')
    assert not bucket.ensure("large/object", path, digest)


def test_without_its_report_the_model_is_evaluated_again(publishing: PublishInput) -> None:
    with pytest.raises(ArtefactMissing, match="is missing or damaged; the model is evaluated again"):
        publish(publishing.model_copy(update={"report_sha256": "0" * 64}))


class TestFetch:
    @pytest.fixture(autouse=True)
    def _as_the_reader(self, publishing: PublishInput, monkeypatch: pytest.MonkeyPatch) -> None:
        self.output = publish(publishing)
        act_as(READER, monkeypatch)
        monkeypatch.setattr(fetch_module, "PAUSES", (0, 0))

    def task(self, publishing: PublishInput, folder: Path) -> FetchInput:
        return FetchInput(
            target=publishing.target,
            version_uri=self.output.version_uri,
            version_sha256=self.output.version_sha256,
            folder=PurePosixPath(folder),
        )

    def test_a_version_is_fetched_whole_and_only_what_is_missing_again(
        self, publishing: PublishInput, tmp_path: Path
    ) -> None:
        folder = tmp_path / "model"
        ended = run_program("fetch", self.task(publishing, folder), tmp_path, READER.environment)
        assert ended.code == 0 and ended.output["modelSha256"] == publishing.model_sha256
        assert {path.name for path in folder.iterdir()} == {
            *("output_graph.pbmm", "acoustic.onnx", "acoustic.int8.onnx"),
            *("grammar.zip", "selftest.wav", "verified.json", "version.json"),
        }
        model = folder / "output_graph.pbmm"
        assert hashlib.sha256(model.read_bytes()).hexdigest() == publishing.model_sha256
        before = model.stat().st_mtime_ns
        (folder / "selftest.wav").write_bytes(b"damaged")
        fetch(self.task(publishing, folder))
        assert model.stat().st_mtime_ns == before
        assert (folder / "selftest.wav").stat().st_size > 1000

    @pytest.mark.parametrize("damaged", [False, True])
    def test_an_interrupted_download_goes_on_and_is_verified(
        self, damaged: bool, publishing: PublishInput, s3: Seaweed, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder, content = tmp_path / "model", raw(s3, self.output.uri)
        folder.mkdir()
        (folder / ".output_graph.pbmm.partial").write_bytes(b"x" * 500_000 if damaged else content[:500_000])
        fetch(self.task(publishing, folder))
        assert (folder / "output_graph.pbmm").read_bytes() == content
        assert ("it is fetched again" in caplog.text) == damaged

    def test_a_version_with_another_digest_is_never_used(self, publishing: PublishInput, tmp_path: Path) -> None:
        task = self.task(publishing, tmp_path / "model").model_copy(update={"version_sha256": "0" * 64})
        with pytest.raises(TryAgain, match="has the sha256") as refused:
            fetch(task)
        assert refused.value.reason == "DownloadFailed"
        assert not list((tmp_path / "model").iterdir())

    def test_a_refusal_is_reported_in_s3s_own_words(
        self, publishing: PublishInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        act_as(Identity(READER.access_key, "wrong"), monkeypatch)
        with pytest.raises(TryAgain, match="SignatureDoesNotMatch") as refused:
            fetch(self.task(publishing, tmp_path / "model"))
        assert refused.value.reason == "DownloadFailed"


class TestCache:
    """Server pods that share a claim."""

    @pytest.fixture(autouse=True)
    def _as_the_reader(self, publishing: PublishInput, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.output = publish(publishing)
        self.claim = tmp_path / "claim"
        self.claim.mkdir()
        act_as(READER, monkeypatch)
        monkeypatch.setattr(fetch_module, "PAUSES", ())

    def task(self, target: S3Location, folder: Path) -> FetchInput:
        return fetching(self.output, target, folder).model_copy(update={"cache": PurePosixPath(self.claim)})

    def test_two_pods_that_start_together_download_a_version_once_and_a_third_needs_no_s3(
        self, target: S3Location, tmp_path: Path
    ) -> None:
        def start(name: str) -> Ended:
            (tmp_path / name).mkdir()
            return run_program(
                "fetch", self.task(target, tmp_path / name / "models"), tmp_path / name, READER.environment
            )

        with ThreadPoolExecutor(2) as pods:
            both = list(pods.map(start, ("one", "two")))
        assert [pod.code for pod in both] == [0, 0], both
        cache = self.claim / "speechmodel-cache"
        files = VersionManifest.model_validate_json((tmp_path / "one" / "models" / "version.json").read_bytes()).files
        for file in files:
            assert (tmp_path / "two" / "models" / file.name).resolve() == cache / file.sha256
            assert sum(pod.log.count(f"{file.uri} fetched and verified") for pod in both) == 1
        nowhere = target.model_copy(update={"endpoint": f"http://127.0.0.1:{free_port()}"})
        third = tmp_path / "third"
        assert fetch(self.task(nowhere, third)).version == VERSION
        assert third.joinpath("version.json").read_bytes() == (tmp_path / "one/models/version.json").read_bytes()
        VersionFiles(third).opened().verify()
        # a pod that uses a file removes the mark that no server uses it
        digests = {self.output.version_sha256, *(file.sha256 for file in files)}
        assert {path.name for path in cache.iterdir()} == {".lock", *digests, *(f".{each}.lock" for each in digests)}

    def test_a_damaged_file_of_the_cache_is_replaced_and_an_interrupted_download_goes_on(
        self,
        target: S3Location,
        publishing: PublishInput,
        s3: Seaweed,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        content, cache = raw(s3, self.output.uri), self.claim / "speechmodel-cache"
        cache.mkdir()
        (cache / f".{publishing.model_sha256}.partial").write_bytes(content[:500_000])
        fetch(self.task(target, tmp_path / "one"))
        assert "it is fetched again" not in caplog.text
        model = cache / publishing.model_sha256
        model.write_bytes(content[:-1] + b"?")
        fetch(self.task(target, tmp_path / "two"))
        assert model.read_bytes() == content
        assert f"{model} is damaged" in caplog.text

    def test_a_pod_whose_cache_is_full_has_files_of_its_own(
        self, target: S3Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000 + MARGIN))
        folder = tmp_path / "models"
        fetch(self.task(target, folder))
        assert "are free; enlarge the claim" in caplog.text
        assert not (folder / "output_graph.pbmm").is_symlink()
        assert (folder / "selftest.wav").is_symlink(), "there is room for this one"
        VersionFiles(folder).opened().verify()

    def test_a_signature_is_read_from_s3_whatever_the_cache_has(self, target: S3Location, tmp_path: Path) -> None:
        fetch(self.task(target, tmp_path / "unsigned"))
        pair = key_pair()
        signed = self.task(target, tmp_path / "signed").model_copy(update={"public_keys": (pair.public,)})
        with pytest.raises(BadData, match=r"model\.sig is not there"):
            fetch(signed)


class TestPurge:
    def test_everything_below_the_base_goes_and_nothing_else(
        self, publishing: PublishInput, s3: Seaweed, tmp_path: Path
    ) -> None:
        publish(publishing)
        client, neighbour = s3.client(), f"{publishing.base}0/object"
        client.put_object(Bucket=BUCKET, Key=neighbour, Body=b"stays")
        client.create_multipart_upload(Bucket=BUCKET, Key=f"{publishing.base}/unfinished")
        client.create_multipart_upload(Bucket=BUCKET, Key=f"{publishing.base}0/unfinished")
        task = PurgeInput(target=publishing.target, base=publishing.base)
        ended = run_program("purge", task, tmp_path, WRITER.environment)
        assert (ended.code, ended.output) == (0, {"objects": 8}), ended.log
        assert [key for key in s3.keys(BUCKET) if key.startswith(publishing.base)] == [neighbour]
        uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix=publishing.base)["Uploads"]
        assert [upload["Key"] for upload in uploads] == [f"{publishing.base}0/unfinished"]
        assert purge(task).objects == 0

    def test_every_version_goes_where_the_bucket_keeps_versions(self, s3: Seaweed, target: S3Location) -> None:
        client = s3.client()
        client.create_bucket(Bucket="versioned")
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        for body in (b"1", b"2", b"3"):
            client.put_object(Bucket="versioned", Key=f"{BASE}/object", Body=body)
        client.delete_object(Bucket="versioned", Key=f"{BASE}/object")
        task = PurgeInput(target=target.model_copy(update={"bucket": "versioned"}), base=BASE)
        assert purge(task).objects == 4
        left = client.list_object_versions(Bucket="versioned")
        assert not left.get("Versions") and not left.get("DeleteMarkers")

    @pytest.mark.parametrize(
        "base", ["", "/", "team", "team/espejo", "team//uid", "team/../espejo", "team/espejo/uid/"]
    )
    def test_a_base_that_is_not_one_models_is_refused(self, base: str, s3: Seaweed, target: S3Location) -> None:
        s3.client().put_object(Bucket=BUCKET, Key="team/espejo/uid/object", Body=b"stays")
        with pytest.raises(BadInput, match="nothing was removed"):
            purge(PurgeInput(target=target, base=base))
        assert "team/espejo/uid/object" in s3.keys(BUCKET)

    def test_more_objects_than_one_request_takes_all_go(self, s3: Seaweed, target: S3Location, base: str) -> None:
        client = s3.client()
        for number in range(1010):
            client.put_object(Bucket=BUCKET, Key=f"{base}/{number}", Body=b"")
        assert purge(PurgeInput(target=target, base=base)).objects == 1010
        assert not [key for key in s3.keys(BUCKET) if key.startswith(base)]

    def test_a_bucket_that_is_gone_holds_nothing(self, target: S3Location) -> None:
        task = PurgeInput(target=target.model_copy(update={"bucket": "long-gone"}), base=BASE)
        assert purge(task).objects == 0

    def test_an_access_key_that_may_not_delete_is_reported(
        self, publishing: PublishInput, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(publishing)
        act_as(READER, monkeypatch)
        with pytest.raises(TryAgain, match="AccessDenied") as refused:
            purge(PurgeInput(target=publishing.target, base=publishing.base))
        assert refused.value.reason == "PurgeFailed"
