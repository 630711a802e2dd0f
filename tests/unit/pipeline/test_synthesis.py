"""Synthetic takes: voices of espeak-ng that differ, of the phrases, and for training only."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.dataset_spec import Synthesis
from speechmodel_api.workspace import CLIPS
from speechmodel_pipeline.prepare import synthesis
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_pipeline.prepare.folder import PreparedClip
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_pipeline.prepare.synthesis import synthesize_takes
from speechmodel_runtime import AudioInfo, Pcm, load, loudness
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadConfiguration

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
LEVEL = -22.0


def recorded(folder: Path, transcript: str, part: Part = Part.TRAIN, *, rate: int = 16000) -> PreparedClip:
    """A clip of noise, as prepare has made it."""
    (folder / CLIPS).mkdir(exist_ok=True)
    pcm: Pcm = np.random.default_rng(len(transcript)).normal(0, 900, 16000).astype(np.int16)
    file = write_clip(pcm, folder, AudioInfo(rate, 1, len(pcm), "WAV PCM_16"))
    recording = Recording("commands.csv", 2, "1", folder, "1.wav", transcript, None)
    return PreparedClip(recording, transcript, file, part)


def takes(
    folder: Path, *clips: PreparedClip, language: str = "es", closed_set: bool = True, **chosen: object
) -> list[PreparedClip]:
    settings = Synthesis.model_validate({"takesPerPhrase": 3, **chosen})
    return synthesize_takes(clips, folder, settings, language, speech_level=LEVEL, closed_set=closed_set).takes


def near_misses(
    folder: Path, *clips: PreparedClip, closed_set: bool = True, negatives: bool = True
) -> list[PreparedClip]:
    chosen = Synthesis(takes_per_phrase=6)
    return synthesize_takes(
        clips, folder, chosen, "es", speech_level=LEVEL, closed_set=closed_set, negatives=negatives
    ).near_misses


@needs_espeak
def test_every_phrase_gets_takes_by_different_voices_in_training_only(tmp_path: Path) -> None:
    clips = recorded(tmp_path, "ok espejo"), recorded(tmp_path, "pon música", Part.TEST)
    made = takes(tmp_path, *clips)
    assert [take.transcript for take in made] == ["ok espejo"] * 3 + ["pon música"] * 3
    assert {take.part for take in made} == {Part.TRAIN}
    assert len({take.recording.name for take in made}) == 6
    assert len({take.file.digest for take in made}) == 6
    assert all((tmp_path / take.file.name).is_file() for take in made)


@needs_espeak
def test_sentences_of_free_speech_that_are_held_out_are_never_trained(tmp_path: Path) -> None:
    trained, held_out = recorded(tmp_path, "hace frío"), recorded(tmp_path, "va a llover", Part.TEST)
    made = takes(tmp_path, trained, held_out, closed_set=False)
    assert {take.transcript for take in made} == {"hace frío"}
    recurring = takes(tmp_path, *[trained, held_out] * 2, closed_set=False)
    assert {take.transcript for take in recurring} == {"hace frío", "va a llover"}


@needs_espeak
def test_a_phrase_keeps_its_takes_when_another_is_added(tmp_path: Path) -> None:
    alone = takes(tmp_path, recorded(tmp_path, "ok espejo"))
    both = takes(tmp_path, recorded(tmp_path, "ok espejo"), recorded(tmp_path, "hola"))
    assert {take.recording.name for take in alone} <= {take.recording.name for take in both}


@needs_espeak
def test_a_phrase_of_several_words_gets_near_misses_with_the_catch_all_label_for_one_word(tmp_path: Path) -> None:
    made = near_misses(tmp_path, recorded(tmp_path, "pon música"), recorded(tmp_path, "hola"))
    assert {clip.transcript for clip in made} <= {f"pon {CATCH_ALL}", f"{CATCH_ALL} música"}
    assert [clip.part for clip in made] == [Part.TRAIN] * 3
    assert all((tmp_path / clip.file.name).is_file() for clip in made)


@needs_espeak
@pytest.mark.parametrize("without", ["closed_set", "negatives"])
def test_sentences_of_free_speech_and_sets_without_negatives_get_no_near_misses(tmp_path: Path, without: str) -> None:
    clips = recorded(tmp_path, "pon música"), recorded(tmp_path, "hola")
    assert near_misses(tmp_path, *clips, **{without: False}) == []


@needs_espeak
def test_near_misses_leave_the_takes_as_they_are(tmp_path: Path) -> None:
    phrases = recorded(tmp_path, "pon música"), recorded(tmp_path, "hola")
    without, with_near_misses = (
        synthesize_takes(
            phrases, tmp_path, Synthesis(takes_per_phrase=3), "es", speech_level=LEVEL, closed_set=True, negatives=each
        ).takes
        for each in (False, True)
    )
    assert [take.file.digest for take in with_near_misses] == [take.file.digest for take in without]


@needs_espeak
@pytest.mark.parametrize("rate, share", [(8000, (0, 1e-3)), (16000, (1e-3, 1))])
def test_a_take_has_the_level_and_the_bandwidth_of_the_recordings(
    tmp_path: Path, rate: int, share: tuple[float, float]
) -> None:
    made = [load(tmp_path / take.file.name) for take in takes(tmp_path, recorded(tmp_path, "sesiones", rate=rate))]
    assert [loudness(pcm) for pcm in made] == pytest.approx([LEVEL] * 3, abs=0.2)
    power = np.array([np.abs(np.fft.rfft(pcm, 1 << 16)) ** 2 for pcm in made])
    assert share[0] <= float(power[:, power.shape[1] * 4200 // 8000 :].sum() / power.sum()) < share[1]


@needs_espeak
@pytest.mark.parametrize(
    "language, first", [("es", {"es", "es-419"}), ("es-419", {"es-419"}), ("es-CL", {"es", "es-419"}), ("fi", {"fi"})]
)
def test_the_accents_are_those_of_the_language_or_of_its_region(tmp_path: Path, language: str, first: set[str]) -> None:
    made = takes(tmp_path, recorded(tmp_path, "ok espejo"), language=language, takesPerPhrase=20)
    assert {take.recording.name.split()[0].partition("+")[0] for take in made} == first


@needs_espeak
def test_every_accent_is_spoken_with_variants_that_sound_like_other_people(tmp_path: Path) -> None:
    made = takes(tmp_path, recorded(tmp_path, "ok espejo"), takesPerPhrase=20)
    variants = {take.recording.name.split()[0].partition("+")[2] for take in made}
    assert len(variants) > 10


@needs_espeak
def test_voices_can_be_named(tmp_path: Path) -> None:
    made = takes(tmp_path, recorded(tmp_path, "ok"), language="xx", voices=["pt+f2", "it"])
    assert {take.recording.name.split()[0] for take in made} <= {"pt+f2", "it"}


@needs_espeak
@pytest.mark.parametrize("voice", ["xx", "es+nobody"])
def test_a_voice_that_does_not_exist_is_refused(tmp_path: Path, voice: str) -> None:
    with pytest.raises(BadConfiguration) as refused:
        takes(tmp_path, recorded(tmp_path, "ok"), voices=["es", voice])
    assert f"dataset.synthesize.voices: espeak-ng has no voice {voice}; use names that" in str(refused.value)


@needs_espeak
def test_a_language_without_a_voice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="has no voice for the language xx; name voices of a similar language"):
        takes(tmp_path, recorded(tmp_path, "ok"), language="xx")


@needs_espeak
@pytest.mark.parametrize(
    ("language", "phrase"), [("ja", "電気をつけて"), ("ja", "ok 電気"), ("he", "הדלק את האור"), ("cmn-CN", "打开 灯")]
)
def test_a_phrase_that_would_be_spelled_in_english_gets_no_takes(language: str, phrase: str, tmp_path: Path) -> None:
    voices: dict[str, Any] = {"voices": ["cmn"]} if language == "cmn-CN" else {}
    with pytest.raises(BadConfiguration, match=f"for the language {language} can read any phrase, such as '{phrase}'"):
        takes(tmp_path, recorded(tmp_path, phrase), language=language, **voices)


@needs_espeak
def test_phrases_that_are_read_get_takes_beside_one_that_is_not(tmp_path: Path) -> None:
    clips = recorded(tmp_path, "電気をつけて"), recorded(tmp_path, "でんきを けして")
    synthesis = Synthesis.model_validate({"takesPerPhrase": 2})
    made = synthesize_takes(clips, tmp_path, synthesis, "ja", speech_level=LEVEL, closed_set=True)
    assert ({take.transcript for take in made.takes}, made.unread) == ({"でんきを けして"}, ("電気をつけて",))


@needs_espeak
@pytest.mark.parametrize(("language", "phrase"), [("zh", "打开灯"), ("ru", "включи wifi"), ("de", "downloaden")])
def test_only_voices_that_read_a_phrase_speak_it(language: str, phrase: str, tmp_path: Path) -> None:
    made = takes(tmp_path, recorded(tmp_path, phrase), language=language, takesPerPhrase=30)
    assert len(made) == 30
    assert "cmn" not in {take.recording.name.split(" ")[0].partition("+")[0] for take in made}


def test_without_the_program_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BadConfiguration, match=r"not installed; install it \(on Debian: apt-get install espeak-ng\)"
    ) as it:
        takes(tmp_path, recorded(tmp_path, "ok"))
    assert it.value.reason == "SynthesisUnavailable"


@needs_espeak
def test_voices_are_tried_once_for_each_phrase_and_at_the_same_time_as_takes_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, str]] = []
    run = synthesis._espeak

    def recording(*arguments: str, text: str = "") -> bytes:
        if "-x" in arguments:
            tried.append((text, threading.current_thread().name.partition("_")[0]))
        return run(*arguments, text=text)

    monkeypatch.setattr(synthesis, "_espeak", recording)
    phrases = "включи свет", "выключи лампу"
    made = takes(tmp_path, *(recorded(tmp_path, phrase) for phrase in phrases), language="ru", voices=["ru", "ru+f1"])
    assert len(made) == 6
    assert sorted(tried) == [(phrase, "take") for phrase in phrases]
