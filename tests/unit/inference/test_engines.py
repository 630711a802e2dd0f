"""The engine that serves a version: Native by itself if it answers alike, and DeepSpeech where Native cannot."""

import logging
import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest
from speechmodel_api.published import VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.stages import contract
from speechmodel_inference.engines import choose_engine
from speechmodel_inference.errors import ModelFolderError, NoEngine
from speechmodel_inference.run import run
from speechmodel_inference.version import load_version
from speechmodel_inference.version_files import VersionFiles
from speechmodel_operator.cluster import pods
from speechmodel_operator.cluster.views import Pod
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import library
from support.phrase_heads import knowing_head
from support.places import FIXTURES
from support.servers import VersionFolder

AUTO, DEEP_SPEECH, NATIVE = Engine.AUTO, Engine.DEEP_SPEECH, Engine.NATIVE


@pytest.fixture
def folder(tmp_path: Path) -> VersionFolder:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    return VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm")


def manifest(folder: VersionFolder) -> VersionManifest:
    return VersionManifest.model_validate_json((folder.path / "version.json").read_bytes())


@pytest.mark.parametrize(
    ("differences", "wanted", "engine"),
    [
        (0, AUTO, NATIVE),
        (0, DEEP_SPEECH, DEEP_SPEECH),
        (1, AUTO, DEEP_SPEECH),
        (1, NATIVE, NATIVE),
        (None, AUTO, DEEP_SPEECH),
        (None, NATIVE, DEEP_SPEECH),
    ],
)
def test_the_engine_is_native_by_itself_if_every_test_clip_was_answered_alike(
    folder: VersionFolder, differences: int | None, wanted: Engine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    if differences is not None:
        folder.decode_natively(differences)
    assert choose_engine(manifest(folder), wanted) is engine


@pytest.mark.parametrize(
    ("scorer", "said"), [(True, "has a scorer, which only libdeepspeech"), (False, "was published without a network")]
)
def test_a_version_that_native_cannot_decode_says_why(
    folder: VersionFolder, scorer: bool, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    if scorer:
        folder.decode_with_scorer()
    with caplog.at_level(logging.WARNING):
        choose_engine(manifest(folder), NATIVE)
    assert said in caplog.text
    assert "the engine is DeepSpeech" in caplog.text


@pytest.mark.parametrize(("wanted", "engine"), [(AUTO, NATIVE), (NATIVE, NATIVE), (DEEP_SPEECH, DEEP_SPEECH)])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_engine_decodes_a_grammar_by_the_phrase_network(
    folder: VersionFolder,
    wanted: Engine,
    engine: Engine,
    machine: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder.decode_by_grammar("ok espejo", "hola espejo", threshold=-1, head=knowing_head())
    version = load_version(VersionFiles(folder.path, wanted))
    assert version.engine is engine
    assert version.decoder.has_grammar
    assert not (folder.path / "acoustic.int8.onnx").exists()
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert choose_engine(manifest(folder), wanted) is engine
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("wanted", Engine)
def test_on_arm64_free_text_without_a_network_for_native_is_refused(
    folder: VersionFolder, wanted: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(NoEngine, match=r"does not run on aarch64; serve the version on x86-64 nodes \(.*amd64"):
        choose_engine(manifest(folder), wanted)


@pytest.mark.parametrize("wanted", [AUTO, NATIVE])
def test_on_arm64_free_text_is_native_whatever_differs(
    folder: VersionFolder, wanted: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    folder.decode_natively(differences=3)
    assert choose_engine(manifest(folder), wanted) is NATIVE


def test_on_arm64_the_engine_deepspeech_is_refused_in_free_text(
    folder: VersionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    folder.decode_natively()
    with pytest.raises(NoEngine, match=r"set serving\.settings\.engine to Auto or Native, or serve .* on x86-64 nodes"):
        choose_engine(manifest(folder), DEEP_SPEECH)


def test_a_server_without_an_engine_ends_with_code_78_and_the_reason(
    folder: VersionFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setenv("SPEECHMODEL_FOLDER", str(folder.path))
    monkeypatch.setenv("SPEECHMODEL_LISTEN", "127.0.0.1:0")
    with caplog.at_level(logging.ERROR):
        assert run() == 78
    assert "was published without a network for the engine Native" in caplog.text


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        (
            {"DECODERS": "0", "WAITING": "many"},
            ("SPEECHMODEL_DECODERS: must be at least 1", "; SPEECHMODEL_WAITING: must be an integer", "'many'"),
        ),
        ({"DECODER": "1"}, ("SPEECHMODEL_DECODER: no setting has this name; correct or remove it",)),
        ({"LISTEN": "192.0.2.1:80"}, ("cannot listen on 192.0.2.1:80: ",)),
        ({"ENGINE": "DeepSpeech"}, ("set serving.settings.engine to Auto or Native",)),
    ],
)
def test_in_a_pod_the_operator_gets_the_sentences_of_a_server_that_cannot_start(
    folder: VersionFolder,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    settings: dict[str, str],
    sentences: tuple[str, ...],
) -> None:
    folder.decode_natively()
    if "ENGINE" in settings:
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for name, value in {"FOLDER": str(folder.path), "LISTEN": "127.0.0.1:0", **settings}.items():
        monkeypatch.setenv(f"SPEECHMODEL_{name}", value)
    status = tmp_path / "termination-log"
    monkeypatch.setattr(contract, "TERMINATION_LOG", str(status))
    assert (run(), status.exists()) == (78, False), "outside of a pod"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert run() == 78
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"exitCode": 78, "message": status.read_text(encoding="utf-8")}}
    server = {"name": "server", "state": state, "lastState": last}
    pod = Pod.read({"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": [server]}})
    trouble = pods.trouble(pod, datetime.now(UTC))
    assert trouble is not None and trouble.reason == "InvalidServerSettings"
    assert trouble.message.startswith("container server: ")
    assert [sentence for sentence in sentences if sentence not in trouble.message] == []


def test_a_grammar_needs_no_libdeepspeech_on_arm64(folder: VersionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    folder.decode_by_grammar("ok espejo")
    assert choose_engine(manifest(folder), AUTO) is DEEP_SPEECH


@pytest.mark.parametrize("grammar", [True, False])
def test_native_serves_without_libdeepspeech_and_without_the_network_in_floats(
    folder: VersionFolder, grammar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(library.VARIABLE, "/nowhere/libdeepspeech.so")
    if grammar:
        folder.decode_by_grammar("ok espejo", "hola espejo")
    folder.decode_natively()
    (folder.path / "acoustic.onnx").unlink(missing_ok=True)
    assert load_version(VersionFiles(folder.path)).engine is NATIVE
    with pytest.raises(ModelFolderError, match="acoustic.onnx" if grammar else "libdeepspeech"):
        load_version(VersionFiles(folder.path, DEEP_SPEECH))


def test_a_damaged_network_of_native_is_refused(folder: VersionFolder) -> None:
    folder.decode_natively()
    path = folder.path / "acoustic.int8.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelFolderError, match=r"acoustic\.int8\.onnx has the sha256"):
        load_version(VersionFiles(folder.path))


def test_a_damaged_model_is_refused_by_native_too(folder: VersionFolder) -> None:
    folder.decode_natively()
    path = folder.path / "output_graph.pbmm"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ModelFolderError, match=r"output_graph\.pbmm has the sha256"):
        load_version(VersionFiles(folder.path))
