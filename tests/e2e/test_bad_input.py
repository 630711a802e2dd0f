"""Bad recordings, bad credentials: told by row and by name, and nothing is lost."""

import json
import wave
from pathlib import Path

import pytest
from support import recordings
from support.kube import Model
from support.spaces import Space


@pytest.fixture
def mixed_dataset(tmp_path: Path) -> Path:
    """Good clips, and one of every kind that is not."""
    import numpy
    import soundfile

    folder = recordings.small(tmp_path / "mixed")
    clips = folder / "original" / "es"
    (clips / "empty-file.wav").write_bytes(b"")
    with wave.open(str(clips / "stereo.wav"), "wb") as stereo:
        stereo.setparams((2, 2, 44100, 0, "NONE", ""))
        tone = (numpy.sin(numpy.arange(44100 * 2) / 30) * 9000).astype("<i2")
        stereo.writeframes(numpy.stack([tone, tone], axis=1).tobytes())
    soundfile.write(clips / "silent-words.wav", numpy.zeros(16000), 16000)
    table = folder / "commands.csv"
    rows = [
        "nobody,falta el archivo",
        "stereo,Enciende la Luz!",
        "silent-words,",
        "empty-file,hola espejo",
        '"an open quote,no csv',
    ]
    table.write_text(table.read_text(encoding="utf-8").rstrip("\n") + "\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


def report(space: Space, model: Model) -> str:
    """report.json of prepare, read from the workspace."""
    key = model.stage("prepare")["key"]
    claim = f"{model.name}-workspace"
    pod = recordings.loader(claim, f"{space.target.registry}/speechops/pipeline:{space.target.tag}", {})
    space.kubectl.apply(pod)
    space.kubectl.until_ready(f"load-{claim}")
    return space.kubectl("exec", f"load-{claim}", "--", "cat", f"/dataset/{model.name}/data/{key}/report.json")


def test_bad_rows_are_reported_and_good_ones_are_used(space: Space, mixed_dataset: Path) -> None:
    space.dataset(mixed_dataset)
    model = space.apply(space.manifest())
    prepared = model.until_done("prepare")
    assert sum(prepared[f"{part}Clips"] for part in ("train", "dev", "test", "seen")) == 12 * 2 + 1
    assert "4 rejected" in model.condition("DatasetReady")["message"]
    told = json.loads(report(space, model))
    first = len((recordings.DATASET / "commands.csv").read_text(encoding="utf-8").splitlines()) + 1
    found = {entry["row"]: (entry.get("id"), entry["reason"]) for entry in told["rejected"]}
    assert found == {
        first: ("nobody", "NoRecording"),
        first + 2: ("silent-words", "EmptyTranscript"),
        first + 3: ("empty-file", "EmptyAudio"),
        first + 4: (None, "MalformedRow"),
    }
    assert {"file": "commands.csv", "row": first + 1} == {k: told["normalised"][0][k] for k in ("file", "row")}
    assert told["normalised"][0]["used"] == "enciende la luz"


def test_a_dataset_without_a_usable_row_is_invalid_and_not_tried_again_until_it_is_corrected(
    space: Space, tmp_path: Path, small_dataset: Path
) -> None:
    folder = tmp_path / "bad"
    (folder / "original" / "es").mkdir(parents=True)
    (folder / "original" / "es" / "a.wav").write_bytes(b"no sound")
    (folder / "commands.csv").write_text("id,es\na,hola\nb,adios\n", encoding="utf-8")
    space.dataset(folder)
    model = space.apply(space.manifest())
    condition = model.until_condition("Ready", status="False", reason="InvalidDataset")
    assert "a.wav" in condition["message"] or "row" in condition["message"], condition["message"]
    assert model.condition("Stalled")["reason"] == "InvalidDataset"
    assert model.status["phase"] == "Failed"
    stage = model.stage("prepare")
    assert (stage["attempt"], stage["state"]) == (1, "Failed")
    assert "retryAt" not in stage
    assert len(model.jobs()) == 1
    # a default install has policies wherever it has a model
    owners = [policy["metadata"]["ownerReferences"][0] for policy in space.kubectl.find("networkpolicies")]
    assert [(owner["kind"], owner["name"]) for owner in owners] == [("ClusterRole", "speechmodel-operator-net")] * 5

    space.dataset(small_dataset)
    space.kubectl.patch(model.name, {"dataset": {"revision": "2"}})
    model.until_done("prepare")
    assert model.condition("Stalled") == {}
    model.until_reported_once("!InvalidDataset")


def test_a_wrong_secret_says_what_s3_said_and_once_corrected_nothing_is_trained_again(
    space: Space, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    space.secret(secret_key="wrong")
    model = space.apply(space.manifest())
    condition = model.until_condition("Published", status="False", reason="UploadFailed")
    assert "SignatureDoesNotMatch" in condition["message"]
    warnings = ("get", "events", "--field-selector=type=Warning", "-o", "jsonpath={.items[*].reason}")
    space.kubectl.until(lambda: "UploadFailed" in space.kubectl(*warnings), "an Event reports UploadFailed")
    space.secret()
    model.until_ready()  # nobody asks for another try
    assert model.stage("train")["attempt"] == 1
    assert model.stage("publish")["attempt"] >= 2
