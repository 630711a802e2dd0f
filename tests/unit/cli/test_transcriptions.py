"""Transcriptions by a version on this machine, with a grammar and in free text."""

import json
import os
from pathlib import Path

import pytest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_cli.errors import CommandError
from speechmodel_cli.listen import listen, read_spoken
from speechmodel_cli.local.state import ModelState
from speechmodel_cli.transcribe import transcribe
from speechmodel_cli.transcriptions import transcribe_here
from speechmodel_pipeline.graphdef.pbmm import memory_map
from support.manifests import DATASET
from support.phrase_heads import knowing_head
from support.places import FIXTURES
from support.servers import OK_ESPEJO, VersionFolder

HOLA = FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav"


@pytest.fixture
def version(tmp_path: Path) -> VersionFolder:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    return VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")


def stand_for_published(version: VersionFolder, monkeypatch: pytest.MonkeyPatch, state: Path, **settings: str) -> None:
    """Record a model whose promoted version is `version`, and whose manifest has these settings of the server."""
    spec = {
        "language": "es",
        "dataset": {"source": {"persistentVolumeClaim": {"claimName": "data"}}},
        "publish": {"s3": {"bucket": "models"}},
        "serving": {"settings": settings},
    }
    model = ModelState(state / "espejo")
    model.folder.mkdir()
    model.record(SpeechModelSpec.model_validate(spec))

    async def folder(model: ModelState) -> Path:
        return version.path

    monkeypatch.setattr("speechmodel_cli.published.published_folder", folder)


@pytest.mark.parametrize("engine", Engine)
def test_a_version_whose_grammar_the_phrase_network_decodes_answers_with_any_engine(
    version: VersionFolder, engine: Engine
) -> None:
    version.decode_by_grammar(intents={"Greet": ("ok espejo",)}, threshold=-0.5, head=knowing_head())
    ok, hola = transcribe_here(version.path, [OK_ESPEJO, HOLA], engine)
    assert ok.answer is not None
    assert (ok.text, ok.answer.intent, hola.text) == ("ok espejo", "Greet", "")


def test_a_version_with_a_grammar_answers_with_its_phrases_or_nothing(version: VersionFolder, tmp_path: Path) -> None:
    version.decode_by_grammar(intents={"Greet": ("ok {quien}",)}, quien=("espejo", "hija"))
    (tmp_path / "no.wav").write_text("no audio")
    ok, hola, broken = transcribe_here(version.path, [OK_ESPEJO, HOLA, tmp_path / "no.wav"], Engine.AUTO)
    assert ok.answer is not None and hola.answer is not None
    assert (ok.text, ok.answer.intent, ok.answer.slots) == ("ok espejo", "Greet", {"quien": "espejo"})
    assert ok.error is None
    assert ok.answer.confidence is not None and ok.answer.confidence > 0.9
    assert (hola.text, hola.answer.confidence, hola.answer.intent) == ("", None, None)
    assert broken.answer is None and "no.wav" in str(broken.error)


def test_a_version_without_a_grammar_answers_with_free_text(version: VersionFolder) -> None:
    (hola,) = transcribe_here(version.path, [HOLA], Engine.AUTO)
    assert hola.answer is not None
    assert (hola.text, hola.answer.confidence, hola.answer.candidates) == ("hola espejo", None, [])


def test_a_damaged_grammar_is_named(version: VersionFolder) -> None:
    version.decode_by_grammar("ok espejo")
    (version.path / "grammar.zip").write_bytes(b"PK")
    with pytest.raises(CommandError, match="the grammar is damaged"):
        list(transcribe_here(version.path, [OK_ESPEJO], Engine.AUTO))


def test_json_is_a_line_for_each_file(
    version: VersionFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    version.decode_by_grammar(intents={"Greet": ("ok espejo",)})
    stand_for_published(version, monkeypatch, tmp_path)
    assert transcribe([OK_ESPEJO, HOLA], state=tmp_path, model=None, url=None, as_json=True) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["intent"], first["candidates"][0]["intent"], second["intent"]) == ("Greet", "Greet", None)
    assert (first["file"], first["text"], first["candidates"][0]["text"]) == (str(OK_ESPEJO), "ok espejo", "ok espejo")
    assert (second["file"], second["text"]) == (str(HOLA), "")
    assert transcribe([OK_ESPEJO, HOLA], state=tmp_path, model=None, url=None, as_json=False) == 0
    assert capsys.readouterr().out == f"{OK_ESPEJO}: ok espejo\n{HOLA}: \n"


def test_what_was_listened_to_is_kept_with_its_confidence(
    version: VersionFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version.decode_by_grammar("ok espejo")
    heard = tmp_path / "heard"
    heard.mkdir()
    (heard / "ok.wav").write_bytes(OK_ESPEJO.read_bytes())
    (heard / "hola.wav").write_bytes(HOLA.read_bytes())
    (heard / "heard.csv").write_text("file,transcript\nok.wav,ok espejo\nhola.wav,\nnone.wav,ok\n")
    first = listen(version.path, read_spoken(heard), DATASET, Engine.AUTO)
    assert [(each.reference, each.hypothesis) for each in first[:2]] == [("ok espejo", "ok espejo"), ("", "")]
    assert first[0].confidence is not None and first[0].confidence > 0.9
    assert "none.wav" in first[2].hypothesis
    (heard / "none.wav").write_bytes(HOLA.read_bytes())
    (version.path / "grammar.zip").unlink()
    assert listen(version.path, read_spoken(heard), DATASET, Engine.AUTO)[:2] == first[:2], "nothing was decoded again"


def test_the_standard_input_is_transcribed_as_well(version: VersionFolder) -> None:
    before = os.dup(0)
    try:
        with OK_ESPEJO.open("rb") as recording:
            os.dup2(recording.fileno(), 0)
        (ok,) = transcribe_here(version.path, [Path("-")], Engine.AUTO)
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert (str(ok.file), ok.text) == ("-", "ok espejo")


@pytest.mark.parametrize(
    ("settings", "native"), [({}, True), ({"engine": "Native"}, True), ({"engine": "DeepSpeech"}, False)]
)
def test_the_engine_is_that_of_the_server(
    version: VersionFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    settings: dict[str, str],
    native: bool,
) -> None:
    """Only DeepSpeech answers, because the network of Native is damaged."""
    version.decode_natively()
    stand_for_published(version, monkeypatch, tmp_path, **settings)
    (version.path / "acoustic.int8.onnx").write_bytes(b"")
    code = transcribe([OK_ESPEJO], state=tmp_path, model=None, url=None, as_json=False)
    shown = capsys.readouterr()
    assert (code, shown.out) == ((1, "") if native else (0, "ok espejo\n"))
    assert ("acoustic.int8.onnx" in shown.err) == native


def test_another_engine_listens_again(version: VersionFolder, tmp_path: Path) -> None:
    version.decode_natively()
    heard = tmp_path / "heard"
    heard.mkdir()
    (heard / "ok.wav").write_bytes(OK_ESPEJO.read_bytes())
    (heard / "heard.csv").write_text("file,transcript\nok.wav,ok espejo\n")
    (first,) = listen(version.path, read_spoken(heard), DATASET, Engine.DEEP_SPEECH)
    assert first.hypothesis == "ok espejo"
    (version.path / "acoustic.int8.onnx").unlink()
    with pytest.raises(CommandError, match=r"acoustic\.int8\.onnx"):
        listen(version.path, read_spoken(heard), DATASET, Engine.NATIVE)
