"""Negatives: speech that is no command, and that nothing but its words tells from one."""

from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.spec import Negatives
from speechmodel_api.workspace import CLIPS
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_pipeline.prepare.folder import PreparedClip
from speechmodel_pipeline.prepare.negatives import make_negatives
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_runtime import AudioInfo, Pcm, load, save
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData


def commands(folder: Path, count: int, *, rate: int = 16000, level: float = 1000) -> list[PreparedClip]:
    """Clips of noise, 0.4 to 3 s long, as prepare has made them."""
    (folder / CLIPS).mkdir(exist_ok=True)
    chance = np.random.default_rng(1)
    clips = []
    for number in range(count):
        pcm: Pcm = chance.normal(0, level, 6400 + number * 41600 // max(count - 1, 1)).astype(np.int16)
        file = write_clip(pcm, folder, AudioInfo(rate, 1, len(pcm), "WAV PCM_16"))
        recording = Recording("commands.csv", number + 2, "1", folder, f"{number}.wav", "ok espejo", None)
        clips.append(PreparedClip(recording, "ok espejo", file, Part.TRAIN))
    return clips


def samples(folder: Path, clip: PreparedClip) -> Pcm:
    return load(folder / clip.file.name)


@pytest.mark.slow
def test_the_built_in_words_are_trained_as_the_catch_all_label_and_some_are_kept_apart(tmp_path: Path) -> None:
    clips = commands(tmp_path, 40)
    made = make_negatives(clips, tmp_path, Negatives(), tmp_path)
    assert {clip.transcript for clip in made} == {CATCH_ALL}
    trained, apart = ([clip for clip in made if clip.part is part] for part in (Part.TRAIN, Part.NEGATIVES))
    assert (len(trained), len(apart)) == (10, 2)
    words = [{word for clip in part for word in clip.recording.name.split()} for part in (trained, apart)]
    assert words[0].isdisjoint(words[1])


def test_a_negative_has_the_length_and_the_level_of_a_command(tmp_path: Path) -> None:
    clips = commands(tmp_path, 40, level=300)
    lengths = {len(samples(tmp_path, clip)) for clip in clips}
    for clip in make_negatives(clips, tmp_path, Negatives(), tmp_path):
        pcm = samples(tmp_path, clip)
        assert len(pcm) in lengths
        assert np.std(pcm.astype(np.float32)) == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("rate, share", [(8000, (0, 1e-3)), (16000, (1e-3, 1))])
def test_a_negative_has_the_bandwidth_of_the_recordings(tmp_path: Path, rate: int, share: tuple[float, float]) -> None:
    made = make_negatives(commands(tmp_path, 40, rate=rate), tmp_path, Negatives(), tmp_path)
    power = np.array([np.abs(np.fft.rfft(samples(tmp_path, clip), 1 << 17)) ** 2 for clip in made])
    above = float(power[:, power.shape[1] * 4200 // 8000 :].sum() / power.sum())
    assert share[0] <= above < share[1]


@pytest.mark.slow
def test_recordings_of_ones_own_are_used_alone_or_with_the_built_in_words(tmp_path: Path) -> None:
    (tmp_path / "other" / "radio").mkdir(parents=True)
    chance = np.random.default_rng(2)
    for number in range(6):
        save(tmp_path / "other" / "radio" / f"{number}.wav", chance.normal(0, 900, 16000).astype(np.int16))
    clips = commands(tmp_path, 40)
    alone = make_negatives(clips, tmp_path, Negatives(built_in=False, path="other"), tmp_path)
    assert alone
    assert all(word.startswith("other/radio/") for clip in alone for word in clip.recording.name.split())
    both = make_negatives(commands(tmp_path, 400), tmp_path, Negatives(path="other"), tmp_path)
    names = [word for clip in both for word in clip.recording.name.split()]
    joined = [clip for clip in both if {"other/" in word for word in clip.recording.name.split()} == {True, False}]
    for clip in joined:  # neither kind drowns the other
        halves = np.array_split(samples(tmp_path, clip).astype(np.float32), 4)
        assert min(np.std(half) for half in halves) > 0.03 * max(np.std(half) for half in halves)
    assert joined
    assert 0 < sum(name.startswith("other/") for name in names) < len(names)


def test_the_same_dataset_gets_the_same_negatives(tmp_path: Path) -> None:
    first, second = (
        [clip.file.digest for clip in make_negatives(commands(tmp_path, 40), tmp_path, Negatives(), tmp_path)]
        for _ in range(2)
    )
    assert first == second


def test_a_word_that_is_spoken_in_a_transcript_is_no_negative(tmp_path: Path) -> None:
    clips = commands(tmp_path, 40)
    text = make_negatives(clips, tmp_path, Negatives(), tmp_path)[0].recording.name.split()[0].split("/")[1]
    taken = [PreparedClip(clip.recording, f"ok {text}", clip.file, clip.part) for clip in clips]
    for clip in make_negatives(taken, tmp_path, Negatives(), tmp_path):
        assert f"/{text}" not in clip.recording.name


def test_there_are_none_when_they_are_turned_off_or_the_clips_are_few(tmp_path: Path) -> None:
    assert make_negatives(commands(tmp_path, 40), tmp_path, Negatives(built_in=False), tmp_path) == []
    assert make_negatives(commands(tmp_path, 3), tmp_path, Negatives(), tmp_path) == []


def test_a_folder_without_usable_recordings_is_named(tmp_path: Path) -> None:
    clips, own = commands(tmp_path, 40), Negatives(path="other")
    with pytest.raises(BadData, match=r"dataset.negatives.path: other has no recordings; copy speech"):
        make_negatives(clips, tmp_path, own, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.wav").write_text("no audio")
    with pytest.raises(BadData, match=r"dataset.negatives.path: other/a.wav: is not readable audio"):
        make_negatives(clips, tmp_path, own, tmp_path)
