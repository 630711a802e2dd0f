"""The prepared dataset, as later stages read it."""

import wave
from pathlib import Path

import pytest
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_stagekit.alphabet import write_alphabet
from speechmodel_stagekit.artefacts import seal
from speechmodel_stagekit.dataset import Part, open_dataset
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_stagekit.wav import read_pcm, sample_count

DIGEST = "0" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset with one test clip of 832 samples."""
    (tmp_path / "clips").mkdir()
    with wave.open(str(tmp_path / "clips" / "abc.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(range(64)) * 26)
    for part in Part:
        rows = "clips/abc.wav,1708,llama\n" if part is Part.TEST else ""
        (tmp_path / f"{part}.csv").write_text(f"wav_filename,wav_filesize,transcript\n{rows}", encoding="utf-8")
    write_alphabet(tmp_path / "alphabet.txt", "alm")
    counts = {"labels": 3, "train_clips": 0, "dev_clips": 0, "test_clips": 1}
    seal(tmp_path, PrepareOutput(dataset_digest=DIGEST, alphabet_digest=DIGEST, audio_seconds=0.052, **counts))
    return tmp_path


def test_a_clip_knows_its_transcript_part_and_frames(folder: Path) -> None:
    dataset = open_dataset(folder, DIGEST)
    (clip,) = dataset.clips(Part.TEST)
    assert (clip.name, clip.transcript, clip.part) == ("abc", "llama", Part.TEST)
    assert (clip.frames, clip.frames_needed) == (3, 6)
    assert read_pcm(clip.path) == bytes(range(64)) * 26
    assert sample_count(clip.path) == 832
    assert dataset.clips(Part.TRAIN) == ()
    assert dataset.alphabet() == ("a", "l", "m")


def test_a_dataset_with_another_digest_is_prepared_again(folder: Path) -> None:
    with pytest.raises(ArtefactMissing, match=f"holds the dataset {DIGEST} instead of 1.*prepared again") as missing:
        open_dataset(folder, "1" * 64)
    assert missing.value.reason == "ArtefactDamaged"


@pytest.mark.parametrize("name", ["manifest.json", "test.csv", "alphabet.txt", "clips/abc.wav"])
def test_a_missing_file_sends_prepare_back_to_work(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtefactMissing, match=f"{name} is missing") as missing:
        dataset = open_dataset(folder)
        dataset.alphabet()
        assert dataset.clips(Part.TEST)[0].frames
    assert missing.value.reason == "ArtefactMissing"


@pytest.mark.parametrize(
    ("name", "content"), [("manifest.json", "{"), ("test.csv", "a,b\n1,2\n"), ("clips/abc.wav", "?")]
)
def test_a_damaged_file_sends_prepare_back_to_work(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(ArtefactMissing, match="again") as damaged:
        assert open_dataset(folder).clips(Part.TEST)[0].frames
    assert damaged.value.reason == "ArtefactDamaged"


def test_the_speakers_of_takes_are_those_of_any_part_whose_recordings_are_takes(folder: Path) -> None:
    rows = [
        "source,speaker,clip,part",
        "takes/Ana/1.json,ANA,clips/a.wav,train",
        "takes/Luz/2.json,Luz,clips/b.wav,test",
        "takes/Eva/3.json,Eva,,",  # left out
        "commands.csv,Pedro,clips/c.wav,train",
    ]
    (folder / "registry.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert open_dataset(folder).take_speakers() == {"Ana", "Luz"}
