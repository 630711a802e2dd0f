"""The coverage of a dataset, and the sentences about what to record next."""

from dataclasses import replace

import pytest
from speechmodel_pipeline.prepare.coverage import (
    Take,
    measure_coverage,
    more_takes,
    rare_script,
    summary,
    untrained_phrases,
)
from speechmodel_runtime import Speech
from speechmodel_stagekit.dataset import Part

SPEAKERS = ("ana", "bo", "cy", "di", "eva")


def take(
    phrase: str, speaker: str | None = "ana", *, number: int = 0, speech_seconds: float = 1.0, loudness: float = -22.0
) -> Take:
    return Take(
        recording=f"{phrase}_{speaker}_{number}.wav",
        file="commands.csv",
        row=2,
        transcript=phrase,
        speaker=speaker,
        seconds=1.5,
        sample_rate=16_000,
        clipped=False,
        speech=Speech(loudness, speech_seconds),
    )


def takes(*phrases: str, speakers: tuple[str, ...] = SPEAKERS) -> list[Take]:
    return [take(phrase, speaker) for phrase in phrases for speaker in speakers]


def test_phrases_are_counted_with_their_speakers_and_seconds_the_rarest_first() -> None:
    found = measure_coverage([*takes("hola"), take("adiós"), take("adiós", number=1)], closed_set=True)
    assert [(one.phrase, one.clips, one.speakers, one.seconds) for one in found.phrases] == [
        ("adiós", 2, 1, 3.0),
        ("hola", 5, 5, 7.5),
    ]
    assert (found.clips, found.speakers, found.seconds) == (7, 5, 10.5)
    assert [(one.word, one.clips) for one in found.rare_words] == [("adiós", 2)]
    assert summary(found) == (
        "7 clips (0.2 minutes), 2 phrases with 2 to 5 takes each, 5 known speakers, 1 word with fewer than 5 takes, "
        "level -22 dBFS (-22 to -22)"
    )


def test_a_dataset_that_lacks_nothing_has_nothing_to_record() -> None:
    assert measure_coverage(takes("hola", "adiós"), closed_set=True).record_next == ()


def test_a_phrase_without_a_usable_recording_comes_first_and_missing_takes_are_counted() -> None:
    found = measure_coverage(
        [*takes("hola"), *takes("adiós", speakers=("ana", "bo"))], closed_set=True, unrecorded=["sí"]
    )
    assert found.phrases[0].clips == 0
    assert found.record_next == (
        "5 takes of 'sí' (no usable one so far)",
        "3 more takes of 'adiós' (2 so far)",
    )


def test_a_phrase_of_one_speaker_needs_others() -> None:
    one_voice = [take("sí", "ana", number=number) for number in range(5)]
    found = measure_coverage([*takes("hola"), *one_voice], closed_set=True)
    assert found.record_next == ("'sí' by 2 more speakers (1 so far)",)


@pytest.mark.parametrize(
    ("speakers", "sentence"),
    [
        (
            (None,) * 5,
            "name the speakers in a column speaker, so that voices which training never hears can be measured",
        ),
        (("ana",) * 5, "all phrases by 2 more speakers (1 so far): training, dev and test need one each"),
        (
            ("ana", "ana", "bo", "bo", "bo"),
            "all phrases by 1 more speaker (2 so far): training, dev and test need one each",
        ),
    ],
)
def test_speakers_that_are_unknown_or_too_few_are_asked_for(speakers: tuple[str | None, ...], sentence: str) -> None:
    given = [take("hola", speaker, number=number) for number, speaker in enumerate(speakers)]
    assert measure_coverage(given, closed_set=True).record_next == (sentence,)


@pytest.mark.parametrize(("length", "suspicious"), [(0.4, True), (0.6, False), (1.9, False), (2.1, True)])
def test_speech_of_less_than_half_or_more_than_twice_the_median_is_suspicious(length: float, suspicious: bool) -> None:
    found = measure_coverage([*takes("hola"), take("hola", number=1, speech_seconds=length)], closed_set=True)
    assert [str(clip) for clip in found.suspicious] == suspicious * [
        f"commands.csv row 2: hola_ana_1.wav has {length:.2f} s of speech, while the median for 'hola' is 1.00 s; "
        "check that it has these words"
    ]
    assert found.record_next == suspicious * ("hola_ana_1.wav again, if the speech in it is not 'hola'",)


def test_two_takes_and_short_words_are_not_suspicious() -> None:
    two = [take("sí"), take("sí", "bo", speech_seconds=9)]
    short = [take("no", speaker, speech_seconds=0.2) for speaker in SPEAKERS] + [
        take("no", number=1, speech_seconds=0.44)
    ]
    assert measure_coverage([*two, *short], closed_set=True).suspicious == ()


def test_levels_are_summed_up_and_bad_ones_are_named() -> None:
    given = takes("hola")
    given[0] = replace(given[0], speech=Speech(-50, 1.0))
    given[1] = replace(given[1], clipped=True, speech=Speech(-6, 1.0))
    given[2] = replace(given[2], speech=None, sample_rate=8_000)
    found = measure_coverage(given, closed_set=True)
    level = found.level
    assert (level.lowest, level.median, level.highest) == (-50, -22, -6)
    assert (level.quiet, level.clipped, level.without_speech) == tuple((one.recording,) for one in given[:3])
    assert [(rate.sample_rate, rate.clips) for rate in found.sample_rates] == [(16_000, 4), (8_000, 1)]
    assert found.record_next == (
        "hola_bo_0.wav again, which is clipped: lower the gain",
        "hola_ana_0.wav again, which is quiet: come closer to the microphone or raise the gain",
        "hola_cy_0.wav again, which has no speech that stands out: record it in a quieter place",
    )


def test_sentences_of_free_speech_are_no_phrases_but_their_words_count() -> None:
    given = [take(f"palabra {number} rara {number % 2}", SPEAKERS[number % 5]) for number in range(9)]
    found = measure_coverage(given, closed_set=False)
    assert found.phrases == ()
    assert found.rare_words[-1].word == "1" and found.rare_words[-1].clips == 4
    assert len(found.record_next) == 3 and found.record_next[0] == "4 more sentences with the word '2' (1 so far)"


def test_the_list_of_what_to_record_is_short_and_says_how_much_is_left_out() -> None:
    found = measure_coverage(
        takes(*(f"frase {number}" for number in range(14)), speakers=SPEAKERS[:3]), closed_set=True
    )
    assert len(found.record_next) == 10
    assert found.record_next[-1] == "and 5 more: see phrases and rareWords in the report"


def test_no_clip_at_all_has_no_level() -> None:
    assert measure_coverage([], closed_set=False).level.median is None


def test_phrases_that_only_test_and_dev_have_are_counted() -> None:
    clips = [("uno", Part.TRAIN), ("uno", Part.TEST), ("dos", Part.TEST), ("dos", Part.DEV), ("tres", Part.DEV)]
    (sentence,) = more_takes(untrained_phrases(clips), divided=True)
    assert sentence == (
        "another take of 'dos' and of 1 other phrase: training has none of them, so the model is measured on phrases that it "
        "never heard; or set dataset.split.testPercent and devPercent to 0 to train on all takes without measuring"
    )
    assert more_takes(untrained_phrases(clips[:2]), divided=True) == ()


def test_a_table_that_gives_the_parts_is_not_asked_to_change_the_split() -> None:
    assert more_takes(["dos"], divided=False) == (
        "another take of 'dos': training has none of it, so the model is measured on a phrase that it never heard",
    )


def test_a_few_transcripts_with_letters_of_another_script_are_named() -> None:
    cyrillic = [(f"{n}.wav", "привет") for n in range(40)]
    (sentence,) = rare_script([*cyrillic, ("a.wav", "сайт www org"), ("b.wav", "sms")])
    assert sentence == (
        "new transcripts for a.wav and 1 more: only they have the Latin letters g, m, o, r, s, w, each of which becomes a label; "
        "write the words in Cyrillic letters as they are spoken"
    )
    assert rare_script([*cyrillic, ("a.wav", "план b")]) == (
        "a new transcript for a.wav: only it has the Latin letter b, which becomes a label; "
        "write the words in Cyrillic letters as they are spoken",
    )
    assert rare_script(cyrillic) == ()
    assert rare_script([*cyrillic, *((f"l{n}.wav", "hello") for n in range(3))]) == ()  # two languages
