"""convert with the real runtime: what comes out is served, what the runtime cannot run never comes out."""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from speechmodel_api.audio import STRIDE
from speechmodel_api.dataset_spec import Split
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.convert import PublishedModel
from speechmodel_decoding import AcousticModel
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.convert.trial import trial_beam_width, try_model
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Model, load, read_graph
from speechmodel_stagekit.errors import ArtefactMissing, BadData
from support.graphs import Edit, deaf, edited, with_alphabet, with_unknown_attribute, without
from support.phrase_heads import ignorant_head
from support.programs import run_program
from support.seaweed import WRITER, Seaweed
from support.waiting import STALLED_SECONDS
from support.workspaces import CONVERT, Workspace, make_workspace

from .conftest import BUCKET


@pytest.fixture
def workspace(tmp_path: Path, deepspeech: Path) -> Workspace:
    return make_workspace(tmp_path, deepspeech, Split())


def heard(model: Path, clips: Path) -> dict[str, tuple[str, list[int], float]]:
    """Text, timesteps and confidence by clip."""
    with Model(model) as loaded:
        transcripts = {path.name: loaded.transcribe(load(path)) for path in sorted(clips.glob("*.wav"))}
    return {
        name: (transcript.text, [token.timestep for token in transcript.tokens], transcript.confidence)
        for name, transcript in transcripts.items()
    }


def expected(deepspeech: Path) -> dict[str, object]:
    raw = json.loads((deepspeech / "tf2_128.expected.json").read_text(encoding="utf-8"))
    return {
        name: (said["text"], said["timesteps"], pytest.approx(said["confidence"], abs=1e-5))
        for name, said in raw.items()
    }


def test_the_converted_model_hears_what_the_graph_was_known_to_hear(
    workspace: Workspace, deepspeech: Path, tmp_path: Path
) -> None:
    ended = run_program("convert", workspace.convert_input(), tmp_path)
    assert ended.code == 0, ended.log
    model = workspace.root / "exports" / CONVERT / "output_graph.pbmm"
    raw = model.read_bytes()
    acoustic = model.with_name("acoustic.onnx").read_bytes()
    assert ended.output == {
        "modelSha256": hashlib.sha256(raw).hexdigest(),
        "sizeBytes": len(raw),
        "acousticSha256": hashlib.sha256(acoustic).hexdigest(),
        "quantisedSha256": hashlib.sha256(model.with_name("acoustic.int8.onnx").read_bytes()).hexdigest(),
    }
    assert "acoustic.onnx agrees with the runtime" in ended.log
    assert len(expected(deepspeech)) == 18
    assert heard(model, deepspeech / "clips") == expected(deepspeech)


def test_a_graph_that_upstreams_trainer_exported_hears_the_same(deepspeech: Path, tmp_path: Path) -> None:
    graph, target = deepspeech / "upstream_64.pb", tmp_path / "upstream.pbmm"
    assert by_hand(graph, target).returncode == 0
    assert heard(target, deepspeech / "clips") == heard(graph, deepspeech / "clips")
    with (deepspeech / "clips.csv").open(encoding="utf-8", newline="") as file:
        said = {Path(row["wav_filename"]).name: row["transcript"] for row in csv.DictReader(file)}
    assert {name: text for name, (text, _, _) in heard(target, deepspeech / "clips").items()} == said


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (with_unknown_attribute, "loads, but the runtime cannot run its graph: Invalid argument: .*bad_indices_policy"),
        (without("mfccs"), "lacks the nodes mfccs"),
        (
            with_alphabet(*"abcdefghijklmnopqrstuvwxyz"),
            "alphabet has 26 labels, so layer_6/bias must have the shape .27., not .17.",
        ),
        (with_alphabet(*"abc"), "alphabet has 3 labels"),
    ],
)
def test_a_graph_that_the_runtime_cannot_run_is_refused_with_the_reason(
    edit: Edit, problem: str, workspace: Workspace, tmp_path: Path
) -> None:
    edited(workspace.graph, workspace.graph, edit)
    ended = run_program("convert", workspace.convert_input(), tmp_path)
    assert (ended.code, ended.reason) == (65, "ModelUnusable"), ended.log
    assert re.search(problem, ended.message)
    assert not (workspace.root / "exports" / CONVERT).exists()


def test_a_model_that_honestly_hears_nothing_passes(workspace: Workspace, tmp_path: Path) -> None:
    edited(workspace.graph, workspace.graph, deaf)
    assert run_program("convert", workspace.convert_input(), tmp_path).code == 0
    model = workspace.root / "exports" / CONVERT / "output_graph.pbmm"
    clips = sorted((workspace.root / "data").rglob("*.wav"))[:2]
    assert [(clip.text, clip.confidence) for clip in try_model(model, clips)] == [("", 0.0)] * 2


def test_a_crash_of_the_runtime_becomes_an_error_that_names_it(
    deepspeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "sitecustomize.py"
    crashing.write_text("import faulthandler, sys\nif sys.argv[0] == '-m': faulthandler._sigsegv()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    memory_map(deepspeech / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    with pytest.raises(BadData, match=r"output_graph.pbmm crashes the runtime \(SIGSEGV\)"):
        try_model(tmp_path / "output_graph.pbmm", [])


def test_a_graph_that_is_not_the_one_that_was_trained_is_made_again(workspace: Workspace, tmp_path: Path) -> None:
    task = workspace.convert_input()
    raw = bytearray(workspace.graph.read_bytes())
    raw[len(raw) // 2] ^= 1
    workspace.graph.write_bytes(raw)
    ended = run_program("convert", task, tmp_path)
    assert (ended.code, ended.reason) == (66, "ArtefactDamaged")
    workspace.graph.write_bytes(raw[:-5000])
    ended = run_program("convert", task, tmp_path)
    assert (ended.code, ended.reason) == (66, "ArtefactDamaged")
    workspace.graph.unlink()
    assert run_program("convert", task, tmp_path).code == 66


def test_a_graph_that_was_exported_damaged_is_refused_by_name_and_place(workspace: Workspace, tmp_path: Path) -> None:
    workspace.graph.write_bytes(workspace.graph.read_bytes()[:500_000])
    ended = run_program("convert", workspace.convert_input(), tmp_path)
    assert (ended.code, ended.reason) == (65, "ModelUnusable")
    assert "output_graph.pb: is truncated, damaged or not a model (the field at byte" in ended.message


def test_without_the_dataset_it_is_prepared_again(workspace: Workspace, tmp_path: Path) -> None:
    task = workspace.convert_input()
    (workspace.root / "data").rename(tmp_path / "away")
    ended = run_program("convert", task, tmp_path)
    assert (ended.code, ended.reason) == (66, "ArtefactMissing")


def test_a_finished_model_is_not_made_again(workspace: Workspace, tmp_path: Path) -> None:
    first = run_program("convert", workspace.convert_input(), tmp_path)
    task = workspace.convert_input()
    workspace.graph.unlink()  # not needed any more
    assert run_program("convert", task, tmp_path).output == first.output


def by_hand(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "speechmodel_pipeline.convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_by_hand_it_converts_a_file_and_leaves_nothing_when_it_fails(deepspeech: Path, tmp_path: Path) -> None:
    done = by_hand(deepspeech / "tf2_128.pb", tmp_path / "model.pbmm")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(hashlib.sha256((tmp_path / "model.pbmm").read_bytes()).hexdigest())
    broken = edited(deepspeech / "tf2_128.pb", tmp_path / "broken.pb", with_unknown_attribute)
    done = by_hand(broken, tmp_path / "broken.pbmm")
    assert done.returncode == 65 and "broken.pbmm loads, but the runtime cannot run its graph" in done.stderr
    assert by_hand(tmp_path / "none.pb", tmp_path / "none.pbmm").returncode == 66
    assert by_hand(deepspeech / "tf2_128.pb", tmp_path / "model.bin").returncode == 2
    assert {path.name for path in tmp_path.iterdir()} == {"model.pbmm", "broken.pb"}


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    script = r"""
import re, sys
from pathlib import Path
from speechmodel_pipeline.graphdef.encode import bytes_field, bytes_head, number_field
from speechmodel_pipeline.graphdef.pbmm import memory_map
folder, size = Path(sys.argv[1]), 128 << 20
shape = bytes_field(2, bytes_field(2, number_field(1, size // 4)))
tensor = number_field(1, 1) + shape + bytes_head(4, size)
value = bytes_field(1, b"value") + bytes_head(2, len(bytes_head(8, len(tensor) + size)) + len(tensor) + size)
value += bytes_head(8, len(tensor) + size) + tensor
node = bytes_field(1, b"w") + bytes_field(2, b"Const") + bytes_head(5, len(value) + size) + value
with (folder / "large.pb").open("wb") as file:
    file.write(bytes_head(1, len(node) + size) + node)
    file.truncate(file.tell() + size)
def kilobytes(line):
    return int(re.search(line + r":\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1))
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before = kilobytes("VmRSS")
made = memory_map(folder / "large.pb", folder / "large.pbmm")
print(made.mapped_bytes, kilobytes("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    mapped, grown_kb = map(int, done.stdout.split())
    assert mapped == 128 << 20
    assert 0 < grown_kb < 14_000


@pytest.mark.parametrize(
    ("labels", "wanted", "beams"),
    [
        (28, None, 500),
        (100, None, 500),
        (1_217, None, 41),
        (60_000, None, 10),
        (28, 50, 50),
        (1_217, 20, 20),
        (1_217, 1000, 41),
        (28, 1, 1),
    ],
)
def test_a_trial_uses_the_wanted_beam_width_and_less_for_a_large_alphabet_so_that_it_ends(
    labels: int, wanted: int | None, beams: int, deepspeech: Path
) -> None:
    graph = replace(read_graph(deepspeech / "tf2_128.pb"), labels=(b"a",) * labels)
    assert trial_beam_width(graph, wanted) == beams


@pytest.mark.slow
def test_a_trial_that_starts_after_convert_has_ended_ends_too(deepspeech: Path) -> None:
    model, nobody = str(deepspeech / "tf2_128.pb"), "1" if os.getppid() != 1 else "2"
    trial = [sys.executable, "-m", "speechmodel_pipeline.convert.trial", nobody, "10", model]
    assert subprocess.run(trial, capture_output=True, check=False).returncode == 128 + signal.SIGKILL


def test_a_trial_ends_when_convert_is_stopped(workspace: Workspace, deepspeech: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.wav")
    program = (
        "from pathlib import Path; from speechmodel_pipeline.convert.trial import try_model; "
        f"try_model(Path({str(deepspeech / 'tf2_128.pb')!r}), [Path({str(tmp_path / 'never.wav')!r})])"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as convert:
        opened = os.open(tmp_path / "never.wav", os.O_WRONLY)  # returns when the trial reads it
        (trial,) = psutil.Process(convert.pid).children()
        convert.terminate()
        convert.wait()
        trial.wait(STALLED_SECONDS)
    os.close(opened)


def test_a_graph_that_was_lost_is_made_again_from_the_model_in_the_bucket(
    workspace: Workspace, s3: Seaweed, tmp_path: Path
) -> None:
    ignorant_head().save(workspace.head)
    task = workspace.convert_input()
    before = run_program("convert", task, tmp_path)
    export = workspace.root / "exports" / CONVERT
    model = export / "output_graph.pbmm"
    s3.client().upload_file(str(model), BUCKET, "convert/output_graph.pbmm")
    s3.client().upload_file(str(export / "phrases.onnx"), BUCKET, "convert/phrases.onnx")
    phrases = PublishedModel(
        target=S3Location(bucket=BUCKET, endpoint=s3.endpoint),
        uri=f"s3://{BUCKET}/convert/phrases.onnx",
        sha256=before.output["phrasesSha256"],
        size_bytes=(export / "phrases.onnx").stat().st_size,
    )
    published = PublishedModel(
        target=S3Location(bucket=BUCKET, endpoint=s3.endpoint),
        uri=f"s3://{BUCKET}/convert/output_graph.pbmm",
        sha256=before.output["modelSha256"],
        size_bytes=before.output["sizeBytes"],
    )
    workspace.graph.unlink()
    workspace.head.unlink()
    shutil.rmtree(export)
    task = task.model_copy(update={"published": published, "published_phrases": phrases})
    gone = task.model_copy(update={"published": published.model_copy(update={"uri": f"{published.uri}.gone"})})
    other = task.model_copy(update={"published": published.model_copy(update={"sha256": "0" * 64})})
    nowhere = S3Location(bucket="no-such-bucket", endpoint=s3.endpoint)
    no_bucket = task.model_copy(update={"published": published.model_copy(update={"target": nowhere})})
    no_phrases = phrases.model_copy(update={"uri": f"{phrases.uri}.gone"})
    half_gone = task.model_copy(update={"published_phrases": no_phrases})
    for lost in (gone, other, no_bucket, half_gone):
        ended = run_program("convert", lost, tmp_path, WRITER.environment)
        assert (ended.code, ended.reason) == (75, "PublishedModelLost"), ended.log
    closed = S3Location(bucket=BUCKET, endpoint="http://127.0.0.1:9")
    unreachable = task.model_copy(update={"published": published.model_copy(update={"target": closed})})
    for refused, environment, reason in (
        (unreachable, WRITER.environment, "DownloadFailed"),
        (task, replace(WRITER, secret_key="wrong").environment, "DownloadFailed"),
        (task, {}, "CredentialsMissing"),
    ):
        ended = run_program("convert", refused, tmp_path, environment)
        assert (ended.code, ended.reason) == (75, reason), ended.log
    workspace.graph.write_bytes(b"damaged")
    ended = run_program("convert", task, tmp_path, WRITER.environment)
    assert ended.code == 0, ended.log
    assert ended.output == before.output, "the files for other runtimes are the same too"
    names = {"manifest.json", "output_graph.pbmm", "acoustic.onnx", "acoustic.int8.onnx"}
    assert {path.name for path in export.iterdir()} == {*names, "phrases.onnx"}
    shutil.rmtree(export)
    without = task.model_copy(update={"published_phrases": None})
    ended = run_program("convert", without, tmp_path, WRITER.environment)
    assert ended.code == 0, ended.log
    assert "the published version has no phrase network, so the network of DeepSpeech decodes a grammar" in ended.log
    assert {path.name for path in export.iterdir()} == names


def test_the_head_of_training_becomes_a_phrase_network_that_runs(workspace: Workspace, deepspeech: Path) -> None:
    ignorant_head().save(workspace.head)
    made = convert(workspace.convert_input())
    network = workspace.root / "exports" / CONVERT / "phrases.onnx"
    assert made.phrases_sha256 == hashlib.sha256(network.read_bytes()).hexdigest()
    pcm = load(deepspeech / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav")
    frames = AcousticModel(network).log_probabilities(pcm)
    assert frames.shape[0] * STRIDE == pytest.approx(len(pcm), abs=4 * STRIDE)
    assert np.exp(frames).sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_a_head_that_is_gone_or_changed_is_made_again(workspace: Workspace) -> None:
    ignorant_head().save(workspace.head)
    task = workspace.convert_input()
    ignorant_head(seed=1).save(workspace.head)
    with pytest.raises(ArtefactMissing, match=r"phrase_head\.npz"):
        convert(task)
    workspace.head.unlink()
    with pytest.raises(ArtefactMissing, match=r"phrase_head\.npz"):
        convert(task)


@pytest.mark.parametrize("head", ["other labels", "no numbers", "no head"])
def test_a_head_that_gives_no_log_probabilities_of_the_labels_is_refused(head: str, workspace: Workspace) -> None:
    damaged = ignorant_head(classes=5)
    problem = r"gives \d+ frames of 5 classes for .+, and not \d+ of 17; train the model again"
    if head == "no numbers":
        damaged, problem = ignorant_head(), "phrases.onnx gives frames that are not numbers; train the model again"
        damaged.output_bias[0] = np.nan
    damaged.save(workspace.head)
    if head == "no head":
        workspace.head.write_bytes(b"PK")
        problem = r"phrase_head\.npz is not a valid head \(.+\); train the model again"
    with pytest.raises(BadData, match=problem):
        convert(workspace.convert_input())
    assert not (workspace.root / "exports" / CONVERT).exists()
