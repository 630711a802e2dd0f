"""`speechmodel validate --dataset`: prepare's report on a dataset, without a workspace and without training."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from speechmodel_api.takes import Take
from speechmodel_cli.command_line import main
from support.manifests import MANIFEST
from support.places import FIXTURES
from support.tones import tone
from support.waiting import until_ended

pytestmark = pytest.mark.slow
PHRASES = {"hola": "¡Hola!", "luz": "Enciende la luz", "nunca": "Nunca grabada"}


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a manifest beside the folder of its claim, with a folder of its own for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    dataset(tmp_path / "voices", PHRASES)
    (tmp_path / "model.yaml").write_text(MANIFEST, encoding="utf-8")
    return tmp_path / "model.yaml"


def dataset(folder: Path, phrases: Mapping[str, str]) -> Path:
    for number, (id_, speaker) in enumerate((id_, who) for id_ in ("hola", "luz") for who in ("ana", "bo", "cy")):
        tone(folder / "original" / "es" / speaker / f"{id_}.wav", 300 + 10 * number)
    rows = "".join(f"{id_},{text}\n" for id_, text in phrases.items())
    (folder / "commands.csv").write_text(f"id,es\n{rows}", encoding="utf-8")
    return folder


def test_the_coverage_is_shown_and_nothing_is_left_behind(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(manifest.parent.rglob("*"))
    assert main(["validate", str(manifest), "--dataset"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{manifest}: espejo valid"
    assert shown[1].startswith("used     6 clips (0.1 minutes), 3 phrases with 0 to 3 takes each, 3 known speakers")
    for line in (
        "speakers 3, from folders or file names",
        "parts    2 train, 2 dev, 2 test, no negatives",
        "audio    6 of 16000 Hz WAV PCM_16",
        "nunca grabada         0          0       0.0",
        "rows left out: 1",
        "record next",
        "  5 takes of 'nunca grabada' (no usable one so far)",
        "  2 more takes of 'hola' (3 so far)",
    ):
        assert line in shown
    assert any(line.startswith("  commands.csv row 4: no recording of nunca") for line in shown)
    assert sorted(manifest.parent.rglob("*")) == before


def test_speakers_of_takes_are_shown(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voices = manifest.parent / "voices"
    shutil.rmtree(voices)
    tone(voices / "original" / "es" / "hola.wav")
    (voices / "commands.csv").write_text("id,es\nhola,Hola\n", encoding="utf-8")
    take = Take(text="Hola", speaker="ana", language="es", recorded_at=datetime.now(UTC), consent=True)
    document = tone(voices / "takes" / "ana" / "a.wav", 600).with_suffix(".json")
    document.write_text(take.model_dump_json(by_alias=True), encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 0
    assert "speakers 1, from recorded takes" in capsys.readouterr().out.splitlines()


def test_utterances_that_kaldi_cuts_are_counted_and_wrong_times_are_shown(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace("dataset: {", "dataset: {format: Kaldi, "), encoding="utf-8"
    )
    voices = manifest.parent / "voices"
    tone(voices / "call.wav", seconds=4)
    for name, content in {
        "wav.scp": "call call.wav\n",
        "segments": "u1 call 0 1.5\nu2 call 1.5 3\nu3 call 3 9\n",
        "text": "u1 hola\nu2 enciende la luz\nu3 adiós\n",
    }.items():
        (voices / name).write_text(content, encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 0
    shown = capsys.readouterr().out
    assert "used     2 clips" in shown and "rows left out: 1" in shown
    assert "segments row 3: u3 ends at 9.00 s, but call.wav ends after 4.00 s" in shown


def test_json_is_the_report_of_prepare_and_nothing_else(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(manifest), "--dataset", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["clips"], len(report["rejected"]), report["coverage"]["speakers"]) == (6, 1, 3)


def test_another_folder_may_be_given(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = dataset(tmp_path / "other", {"hola": "Hola", "luz": "Luz"})
    assert main(["validate", str(manifest), "--dataset", str(other)]) == 0
    assert "2 phrases with 3 takes each" in capsys.readouterr().out


def test_a_claim_may_be_elsewhere_if_a_manifest_reads_it(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(dataset(tmp_path / "other", {"hola": "Hola", "luz": "Luz"}))
    assert main(["validate", str(manifest), "--dataset", "--claim", f"voices={other}"]) == 0
    assert "2 phrases with 3 takes each" in capsys.readouterr().out
    assert main(["validate", str(manifest), "--dataset", "--claim", "voice=x"]) == 1
    said = capsys.readouterr().err
    assert said == "--claim voice: no manifest reads a claim of this name (claims: voices); correct it\n"
    assert main(["validate", str(manifest), "--dataset", other, "--claim", "voices=x"]) == 1
    assert "--dataset and --claim voices both give a folder of the dataset claim; keep one" in capsys.readouterr().err


def test_a_claim_of_an_invalid_manifest_is_not_called_unknown(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = manifest.with_name("bad.yaml")
    bad.write_text(MANIFEST.replace("voices", "radio") + '  suspend: "yes"\n', encoding="utf-8")
    assert main(["validate", str(bad), "--dataset", "--claim", f"radio={manifest.parent}"]) == 1
    assert capsys.readouterr().err == "1 problem\n"
    assert main(["validate", str(bad), str(manifest), "--dataset", "--claim", f"radio={manifest.parent}"]) == 1
    said = capsys.readouterr()
    assert said.err == "1 problem\n" and "used     6 clips" in said.out, "the dataset of the valid manifest is reported"


def test_a_dataset_without_a_usable_row_is_invalid(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (manifest.parent / "voices" / "commands.csv").write_text("id,es\nnunca,Nunca\n", encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{manifest.parent}/voices: InvalidDataset: no usable row is left: 1 rejected of 1 rows; ")


def test_a_rejected_row_is_an_error_where_the_policy_is_fail(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(MANIFEST.replace("dataset: {", "dataset: {invalidSamplePolicy: Fail, "), encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 1
    said = capsys.readouterr()
    assert "1 rejected and dataset.invalidSamplePolicy is Fail" in said.err and "record next" in said.out


def test_a_phrase_that_no_transcript_can_spell_is_named(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest.write_text(MANIFEST + "  decoding: {phrases: ['¡Hola!', 'kilo']}\n", encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 1
    said = capsys.readouterr().err
    assert "decoding.phrases: the phrase 'kilo': the model's alphabet does not contain 'k'" in said
    manifest.write_text(MANIFEST + "  decoding: {intents: {Weigh: [kilo]}}\n", encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 1
    said = capsys.readouterr().err
    assert "decoding.intents: the phrase 'kilo' of the intent 'Weigh': the model's alphabet does not contain" in said


@pytest.mark.parametrize(
    "found, problem",
    [
        (b"", "is empty; copy it again"),
        (None, "cannot be read (No such file or directory); check the path"),
        (FIXTURES / "es.scorer", "has a label 15, and the last of the model's alphabet is 11"),
    ],
)
def test_a_scorer_that_does_not_fit_is_named_before_the_training(
    found: bytes | Path | None, problem: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(MANIFEST + "  decoding: {grammar: FreeText, scorer: {path: es.scorer}}\n", encoding="utf-8")
    scorer = manifest.parent / "voices" / "es.scorer"
    if found is not None:
        scorer.write_bytes(found.read_bytes() if isinstance(found, Path) else found)
    assert main(["validate", str(manifest), "--dataset"]) == 1
    assert f"decoding.scorer.path: {scorer}: {problem}" in capsys.readouterr().err


def test_a_missing_folder_is_named_and_a_bad_manifest_stops_before(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(manifest), "--dataset", str(tmp_path / "none")]) == 1
    assert f"the folder {tmp_path}/none of the dataset claim voices does not exist" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text(MANIFEST.replace("language: es", "language: no"), encoding="utf-8")
    assert main(["validate", str(tmp_path / "bad.yaml"), "--dataset", "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "spec.language: must be a string" in said.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--dataset", "model.yaml"], "Missing argument 'MANIFEST...'; write it before --dataset."),
        (["model.yaml", "--json"], "--json shows the report of --dataset; add --dataset"),
        ([], "Missing argument 'MANIFEST...'."),
    ],
)
def test_a_wrong_command_line_says_what_to_write(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *arguments]) == 2
    assert problem in capsys.readouterr().err


def test_one_folder_is_not_the_dataset_of_two_models(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(manifest), str(manifest), "--dataset", str(manifest.parent / "voices")]) == 1
    assert "one folder is given for the datasets of espejo, espejo; validate them one by one" in capsys.readouterr().err


def test_a_folder_is_not_the_dataset_of_a_manifest_with_a_bucket(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "source: {s3: {bucket: recordings, prefix: es}}"
    manifest.write_text(
        MANIFEST.replace("source: {persistentVolumeClaim: {claimName: voices}}", source), encoding="utf-8"
    )
    assert main(["validate", str(manifest), "--dataset", str(manifest.parent / "voices")]) == 1
    assert (
        "the recordings are in a bucket (dataset.source.s3); give --dataset without a folder" in capsys.readouterr().err
    )


def test_other_speech_on_a_claim_elsewhere_is_counted(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "negatives: {builtIn: false, source: {persistentVolumeClaim: {claimName: radio, path: es}}}"
    all_train = "split: {devPercent: 0, testPercent: 0}"
    manifest.write_text(MANIFEST.replace("dataset: {", f"dataset: {{{other}, {all_train}, "), encoding="utf-8")
    for number in range(2):
        tone(tmp_path / "shared" / "es" / f"{number}.wav", 900 + 50 * number)
    assert main(["validate", str(manifest), "--dataset"]) == 1
    said = capsys.readouterr().err
    assert f"the folder {tmp_path}/radio/es on the claim radio (dataset.negatives.source) does not exist" in said
    claim = f"radio={tmp_path / 'shared'}"
    assert main(["validate", str(manifest), "--dataset", "--claim", claim]) == 0
    assert "parts    6 train, no dev, no test, 2 negatives" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_an_interrupted_analysis_leaves_nothing_behind(number: signal.Signals, code: int, manifest: Path) -> None:
    temporary, voices = manifest.parent / "temporary", manifest.parent / "voices" / "original" / "es"
    for recording in sorted(voices.rglob("*.wav")):
        for take in range(1000):  # so many that the analysis does not end before the signal comes
            recording.with_stem(f"{recording.stem}_{take}").hardlink_to(recording)
        recording.unlink()
    program = [sys.executable, "-c", "import sys; from speechmodel_cli.command_line import main; sys.exit(main())"]
    with subprocess.Popen(
        [*program, "validate", str(manifest), "--dataset"],
        preexec_fn=lambda: signal.signal(
            number, signal.SIG_DFL
        ),  # a shell in the background, or nohup, ignores some of them
    ) as running:
        while not any(temporary.glob("speechmodel-*")):
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(number)
        assert until_ended(running) == code
    assert list(temporary.iterdir()) == []


def test_the_checkpoint_of_init_from_is_looked_for_where_its_claim_is_here(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    initial = "  training: {initFrom: {persistentVolumeClaim: {claimName: old, path: train-9}}}\n"
    manifest.write_text(MANIFEST + initial, encoding="utf-8")
    assert main(["validate", str(manifest), "--dataset"]) == 0
    problem = f"not checked: training.initFrom: the folder {tmp_path}/old of the claim old does not exist"
    assert problem in capsys.readouterr().err
    (tmp_path / "old").mkdir()
    assert main(["validate", str(manifest), "--dataset"]) == 1
    assert f"training.initFrom: {tmp_path}/old/train-9 does not exist; correct its path" in capsys.readouterr().err
