"""Negatives: speech that is no command, and that nothing but its words tells from one."""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.audio import SPEECH_LEVEL
from speechmodel_api.dataset_spec import Negatives
from speechmodel_api.workspace import CLIPS
from speechmodel_decoding import cut_at_pauses
from speechmodel_pipeline.prepare import negatives, other_speech
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_pipeline.prepare.folder import PreparedClip
from speechmodel_pipeline.prepare.other_speech import in_dataset
from speechmodel_pipeline.prepare.passages import Slot
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_runtime import AudioInfo, DecodedAudio, Pcm, decode, load, loudness, save
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData
from support.places import EXAMPLE


def commands(
    folder: Path, count: int, *, rate: int = 16000, level: float = 1000, longer: float = 1
) -> list[PreparedClip]:
    """Clips of noise, 0.4 to 3 s long or so many times `longer`, as prepare has made them."""
    (folder / CLIPS).mkdir(exist_ok=True)
    chance = np.random.default_rng(1)
    clips = []
    for number in range(count):
        pcm: Pcm = chance.normal(0, level, int(longer * (6400 + number * 41600 // max(count - 1, 1)))).astype(np.int16)
        file = write_clip(pcm, folder, AudioInfo(rate, 1, len(pcm), "WAV PCM_16"))
        recording = Recording("commands.csv", number + 2, "1", folder, f"{number}.wav", "ok espejo", None)
        clips.append(PreparedClip(recording, "ok espejo", file, Part.TRAIN))
    return clips


def make_negatives(clips: list[PreparedClip], folder: Path, chosen: Negatives, source: Path) -> negatives.Made:
    other = in_dataset(source, chosen.path) if chosen.path else None
    return negatives.make_negatives(clips, folder, other, built_in=chosen.built_in, speech_level=None)


def record_others(folder: Path, count: int, *, seconds: float = 1, level: float = 900) -> None:
    """Record other speech, as noise."""
    folder.mkdir(parents=True)
    chance = np.random.default_rng(int(level))
    for number in range(count):
        save(folder / f"{number}.wav", chance.normal(0, level, int(seconds * 16000)).astype(np.int16))


def digests(made: negatives.Made) -> list[str]:
    return [clip.file.digest for clip in made.clips]


def samples(folder: Path, clip: PreparedClip) -> Pcm:
    return load(folder / clip.file.name)


@pytest.mark.slow
def test_the_built_in_words_are_trained_as_the_catch_all_label_and_some_are_kept_apart(tmp_path: Path) -> None:
    clips = commands(tmp_path, 40)
    made = make_negatives(clips, tmp_path, Negatives(), tmp_path).clips
    assert {clip.transcript for clip in made} == {CATCH_ALL}
    trained, apart = ([clip for clip in made if clip.part is part] for part in (Part.TRAIN, Part.NEGATIVES))
    assert (len(trained), len(apart)) == (10, 2)
    words = [{word for clip in part for word in clip.recording.name.split()} for part in (trained, apart)]
    assert words[0].isdisjoint(words[1])


def test_a_negative_is_brought_to_the_level_of_the_dataset(tmp_path: Path) -> None:
    """Also the noise of level() would tell commands from negatives."""
    clips = commands(tmp_path, 40)
    made = negatives.make_negatives(clips, tmp_path, None, built_in=True, speech_level=SPEECH_LEVEL).clips
    levels = [found for clip in made if (found := loudness(samples(tmp_path, clip))) is not None]
    assert levels == pytest.approx([SPEECH_LEVEL] * len(levels), abs=0.2)
    assert len(levels) > len(made) / 2


@pytest.mark.slow
def test_a_negative_has_the_length_and_the_level_of_a_command(tmp_path: Path) -> None:
    clips = commands(tmp_path, 40, level=300)
    lengths = {len(samples(tmp_path, clip)) for clip in clips}
    for clip in make_negatives(clips, tmp_path, Negatives(), tmp_path).clips:
        pcm = samples(tmp_path, clip)
        assert len(pcm) in lengths
        assert np.std(pcm.astype(np.float32)) == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("rate, share", [(8000, (0, 1e-3)), (16000, (1e-3, 1))])
def test_a_negative_has_the_bandwidth_of_the_recordings(tmp_path: Path, rate: int, share: tuple[float, float]) -> None:
    made = make_negatives(commands(tmp_path, 40, rate=rate), tmp_path, Negatives(), tmp_path).clips
    power = np.array([np.abs(np.fft.rfft(samples(tmp_path, clip), 1 << 17)) ** 2 for clip in made])
    above = float(power[:, power.shape[1] * 4200 // 8000 :].sum() / power.sum())
    assert share[0] <= above < share[1]


@pytest.mark.slow
def test_recordings_of_ones_own_are_used_alone_or_beside_the_built_in_words(tmp_path: Path) -> None:
    record_others(tmp_path / "other" / "radio", 6)
    clips = commands(tmp_path, 40)
    built_in = digests(make_negatives(clips, tmp_path, Negatives(), tmp_path))
    alone = make_negatives(clips, tmp_path, Negatives(built_in=False, path="other"), tmp_path).clips
    assert len(alone) == 10 + 2
    assert all(word.startswith("other/radio/") for clip in alone for word in clip.recording.name.split())
    both = make_negatives(clips, tmp_path, Negatives(path="other"), tmp_path)
    assert digests(both)[: len(built_in)] == built_in
    own = both.clips[len(built_in) :]
    assert all(word.startswith("other/radio/") for clip in own for word in clip.recording.name.split())
    assert [clip.part for clip in own] == [*[Part.TRAIN] * 5, Part.NEGATIVES]


@pytest.mark.parametrize("built_in", [True, False])
def test_every_recording_is_trained_on_or_held_out(tmp_path: Path, built_in: bool) -> None:
    record_others(tmp_path / "other", 30, seconds=4)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=built_in), tmp_path).clips
    trained = [clip.recording.name for clip in made if clip.part is Part.TRAIN]
    own = [name for name in trained if name.startswith("other/")]
    assert (len(set(own)), len(own), len(trained) - len(own)) == (24, 24, 10 if built_in else 0)
    apart = {clip.recording.name for clip in made if clip.part is Part.NEGATIVES}
    assert len({name for name in apart if name.startswith("other/")}) == 5
    assert apart.isdisjoint(trained)


def test_training_gets_at_most_one_recording_for_each_clip_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_others(tmp_path / "other", 30, seconds=4)
    with caplog.at_level("INFO"):
        made = make_negatives(commands(tmp_path, 16), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    assert sum(clip.part is Part.TRAIN for clip in made) == 16
    assert "dataset.negatives.path: training has 16 of 24 recordings, one for each clip" in caplog.text


def test_recordings_that_are_joined_have_one_level(tmp_path: Path) -> None:
    record_others(tmp_path / "other", 5, level=3000)
    record_others(tmp_path / "other" / "faint", 5, level=30)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    joined = [clip for clip in made if {"faint" in name for name in clip.recording.name.split()} == {True, False}]
    for clip in joined:  # neither drowns the other
        parts = np.array_split(samples(tmp_path, clip).astype(np.float32), 4)
        assert min(np.std(part) for part in parts) > 0.03 * max(np.std(part) for part in parts)
    assert joined


def test_the_built_in_negatives_are_those_of_earlier_releases(tmp_path: Path) -> None:
    """A dataset that is prepared again has the same digest, so nothing is trained again."""
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(), tmp_path).clips
    text = "\n".join(f"{clip.part} {clip.recording.name} {clip.file.digest}" for clip in made)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f11910b804c9c515"


def test_the_same_dataset_gets_the_same_negatives(tmp_path: Path) -> None:
    first, second = (digests(make_negatives(commands(tmp_path, 40), tmp_path, Negatives(), tmp_path)) for _ in range(2))
    assert first == second


def test_a_word_that_is_spoken_in_a_transcript_is_no_negative(tmp_path: Path) -> None:
    clips = commands(tmp_path, 40)
    text = make_negatives(clips, tmp_path, Negatives(), tmp_path).clips[0].recording.name.split()[0].split("/")[1]
    taken = [PreparedClip(clip.recording, f"ok {text}", clip.file, clip.part) for clip in clips]
    for clip in make_negatives(taken, tmp_path, Negatives(), tmp_path).clips:
        assert f"/{text}" not in clip.recording.name


def test_there_are_none_when_they_are_turned_off_or_the_clips_are_few(tmp_path: Path) -> None:
    assert make_negatives(commands(tmp_path, 40), tmp_path, Negatives(built_in=False), tmp_path).clips == []
    assert make_negatives(commands(tmp_path, 3), tmp_path, Negatives(), tmp_path).clips == []


@pytest.mark.parametrize("built_in", [True, False])
def test_a_recording_that_cannot_be_used_is_rejected_and_the_others_are_used(tmp_path: Path, built_in: bool) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.wav").write_text("no audio")
    save(tmp_path / "other" / "mute.wav", np.full(2 * 16000, 900, np.int16))
    save(tmp_path / "other" / "hum.wav", (900 * np.sin(np.arange(31 * 16000) / 50)).astype(np.int16))
    for number in range(8):
        pcm = np.random.default_rng(number).normal(0, 900, 16000).astype(np.int16)
        save(tmp_path / "other" / f"{number}.wav", pcm)
    clips = commands(tmp_path, 400 if built_in else 40)
    made = make_negatives(clips, tmp_path, Negatives(path="other", built_in=built_in), tmp_path)
    assert {clip.part for clip in made.clips} == {Part.TRAIN, Part.NEGATIVES}
    rejected = sorted((rejection.recordings[0], rejection.reason, str(rejection)) for rejection in made.rejected)
    assert [(name, reason) for name, reason, _ in rejected] == [
        ("other/a.wav", "NotAudio"),
        ("other/hum.wav", "Silent"),
        ("other/mute.wav", "Silent"),
    ]
    assert rejected[0][2].startswith("dataset.negatives: other/a.wav: is not readable audio")
    assert rejected[1][2].endswith("other/hum.wav: nobody seems to speak in it; replace it or remove it")


def test_recordings_are_read_as_far_as_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_others(tmp_path / "other", 40, seconds=5)
    clips, read = commands(tmp_path, 16), []

    def counted(path: Path, **options: object) -> DecodedAudio:
        read.append(path.parent.name)
        return decode(path)

    monkeypatch.setattr(negatives, "decode", counted)
    made = make_negatives(clips, tmp_path, Negatives(path="other", built_in=False), tmp_path)
    assert (len(made.clips), read.count("other")) == (20, 20)


@pytest.mark.parametrize("built_in", [True, False])
def test_a_place_in_which_no_recording_can_be_used_is_refused(tmp_path: Path, built_in: bool) -> None:
    (tmp_path / "other").mkdir()
    for number in range(5):
        (tmp_path / "other" / f"{number}.wav").write_text("no audio")
    with pytest.raises(
        BadData, match=r"dataset.negatives.path: no recording in other can be used; the first: other/\d.wav"
    ):
        make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=built_in), tmp_path)


HEARD = sorted((EXAMPLE / "heard").glob("*.wav"))
"""Commands by synthetic voices."""


def talk(path: Path, seconds: float, *, silence: float = 0, first: int = 0) -> Pcm:
    """Record sentences with pauses, behind room noise of this length in seconds, and return the words alone."""
    chance = np.random.default_rng(first)
    words = [load(HEARD[(first + number) % len(HEARD)]) for number in range(int(seconds))]
    spoken = np.concatenate([np.concatenate([word, np.zeros(11200, np.int16)]) for word in words])
    spoken = spoken[: int(seconds * 16000)]
    pcm = np.concatenate([np.zeros(int(silence * 16000), np.int16), spoken])
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, (pcm + chance.normal(0, 20, len(pcm))).astype(np.int16))
    return spoken


def assert_spoken(folder: Path, clips: list[PreparedClip]) -> None:
    """Fail unless somebody speaks in each clip."""
    assert [clip.recording.name for clip in clips if not cut_at_pauses(samples(folder, clip))] == []


def test_the_silence_before_the_words_of_a_recording_is_no_negative(tmp_path: Path) -> None:
    for number in range(10):
        talk(tmp_path / "other" / f"{number}.wav", 8, silence=4, first=number)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    assert [clip.part for clip in made].count(Part.NEGATIVES) == 2
    assert_spoken(tmp_path, made)


def test_each_clip_gets_another_passage_of_a_recording(tmp_path: Path) -> None:
    talk(tmp_path / "other" / "0.wav", 20)
    talk(tmp_path / "other" / "1.wav", 20)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    trained = [samples(tmp_path, clip).astype(np.float32) for clip in made if clip.part is Part.TRAIN]
    assert len({clip.recording.name for clip in made if clip.part is Part.TRAIN}) == 1
    assert len(trained) == 10
    for one, other in itertools.combinations(trained, 2):
        size = min(len(one), len(other))
        assert abs(np.corrcoef(one[:size], other[:size])[0, 1]) < 0.9


def test_a_long_recording_makes_several_negatives_and_its_end_is_held_out_if_it_is_alone(tmp_path: Path) -> None:
    talk(tmp_path / "other" / "radio.wav", 90, silence=5)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path)
    assert made.rejected == []
    counted = Counter(clip.part for clip in made.clips)
    assert counted == {Part.TRAIN: 8, Part.NEGATIVES: 2}
    assert {clip.recording.name for clip in made.clips} == {"other/radio.wav"}
    assert_spoken(tmp_path, made.clips)


def long_recordings(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make files that pass for recordings of 40 s in which somebody always speaks, and return the names of those that
    are read.
    """
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.wav").touch()
    read: list[str] = []

    def noise(path: Path, name: str, slots: Sequence[Slot]) -> Iterator[Pcm]:
        read.append(name)
        chance = np.random.default_rng(len(read))
        yield from (chance.normal(0, 900, slot.samples).astype(np.int16) for slot in slots)

    monkeypatch.setattr(other_speech, "heard_seconds", lambda *_: 40.0)
    monkeypatch.setattr(negatives, "passages", noise)
    return read


def test_training_gets_at_most_one_passage_for_each_clip_and_no_other_long_recording_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = long_recordings(tmp_path / "other", 300, monkeypatch)
    with caplog.at_level("INFO"):
        made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    assert Counter(clip.part for clip in made) == {Part.TRAIN: 40, Part.NEGATIVES: 8}
    assert len(read) == 48
    assert "dataset.negatives.path: training has passages of 40 of 300 long recordings" in caplog.text


def test_a_single_short_recording_takes_no_share_of_the_long_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_recordings(tmp_path / "other", 60, monkeypatch)
    monkeypatch.setattr(other_speech, "heard_seconds", lambda path, _: 2.0 if path.name == "short.wav" else 40.0)
    save(tmp_path / "other" / "short.wav", np.random.default_rng(1).normal(0, 900, 32000).astype(np.int16))
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    assert sum(clip.part is Part.TRAIN for clip in made) == 40


def test_long_clips_get_passages_of_their_length(tmp_path: Path) -> None:
    spoken = np.concatenate([load(path) for path in itertools.islice(itertools.cycle(HEARD), 100)])[: 60 * 16000]
    (tmp_path / "other").mkdir()
    save(tmp_path / "other" / "radio.wav", spoken)
    clips = commands(tmp_path, 40, longer=4)[-10:]  # 10 to 12 s
    made = make_negatives(clips, tmp_path, Negatives(path="other", built_in=False), tmp_path)
    assert {clip.part for clip in made.clips} == {Part.TRAIN, Part.NEGATIVES}
    assert min(len(samples(tmp_path, clip)) for clip in made.clips) > 9 * 16000


def test_a_long_recording_with_less_speech_than_a_clip_is_not_called_silent(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    quiet = np.random.default_rng(0).normal(0, 20, 60 * 16000)
    spoken = np.concatenate([load(path) for path in HEARD[:4]])
    quiet[16000 : 16000 + len(spoken)] += spoken
    save(tmp_path / "other" / "call.wav", quiet.astype(np.int16))
    save(tmp_path / "other" / "short.wav", np.random.default_rng(1).normal(0, 900, 32000).astype(np.int16))
    clips = commands(tmp_path, 40, longer=4)[-10:]
    made = make_negatives(clips, tmp_path, Negatives(path="other", built_in=False), tmp_path)
    ((reason, message),) = [(each.reason, str(each)) for each in made.rejected]
    assert reason == "TooShort"
    assert re.search(
        r"other/call.wav: nobody speaks long enough; from \d+ s to \d+ s, it has [1-9]\.\d s of speech without pauses, "
        r"and a clip of the dataset has 1[0-2]\.\d s; replace it or remove it",
        message,
    )


def test_of_several_long_recordings_whole_ones_are_held_out_and_short_ones_are_used_beside_them(tmp_path: Path) -> None:
    for number in range(3):
        talk(tmp_path / "other" / f"call{number}.wav", 40, first=number)
    record_others(tmp_path / "other" / "short", 5)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other", built_in=False), tmp_path).clips
    calls = {
        part: {clip.recording.name for clip in made if clip.part is part and "call" in clip.recording.name}
        for part in (Part.TRAIN, Part.NEGATIVES)
    }
    assert (len(calls[Part.TRAIN]), len(calls[Part.NEGATIVES])) == (2, 1)
    assert calls[Part.TRAIN].isdisjoint(calls[Part.NEGATIVES])
    assert any("short" in clip.recording.name for clip in made)


def test_a_single_recording_is_held_out_and_the_log_says_that_training_has_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_others(tmp_path / "other", 1, seconds=4)
    made = make_negatives(commands(tmp_path, 40), tmp_path, Negatives(path="other"), tmp_path).clips
    assert [clip.part for clip in made if clip.recording.name.startswith("other/")] == [Part.NEGATIVES]
    assert (
        "dataset.negatives.path: the recordings that can be used are held out, so training has none; add" in caplog.text
    )
