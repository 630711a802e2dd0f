"""The coverage part of report.json: what was recorded, how well, and what to record next.

Phrases count in a closed set: in the format Commands, and in others where transcripts are said twice
or more on average. Elsewhere only words count.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

from speechmodel_decoding.text.rejections import quoted
from speechmodel_decoding.text.scripts import SCRIPTS
from speechmodel_runtime import Speech
from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.split import FEWEST_SPEAKERS, is_closed_set
from speechmodel_pipeline.prepare_report import (
    Coverage,
    LevelCoverage,
    PhraseCoverage,
    RateCoverage,
    SuspiciousClip,
    WordCoverage,
)

FEWEST_TAKES = 5
"""Takes that a phrase or a word should have, so that some are left to measure it."""
QUIET = -45.0
"""dBFS. Quieter speech has little more than 8 of the 16 bits, so the noise of the recorder is heard
once it is brought to the usual level."""
SUSPICIOUS_FACTOR = 2.0
"""Ratio to the median length of speech of the same phrase from which a clip is suspicious."""
SUSPICIOUS_SECONDS = 0.25
"""Least difference to the median. One-syllable words differ by less among voices."""
RARE_SCRIPT = 0.05
"""Largest share of transcripts with letters of another script for which they are taken for an oversight."""
MOST_SENTENCES = 10
"""Sentences about what to record next."""
MOST_WORDS = 3
"""Words among them."""


@dataclass(frozen=True)
class Take:
    """A clip as it was recorded."""

    recording: str
    """Relative to the dataset's folder."""
    file: str
    row: int
    transcript: str
    """As it is trained."""
    speaker: str | None
    seconds: float
    sample_rate: int
    """Hz."""
    clipped: bool
    speech: Speech | None
    """None when no part of it is clearly louder than the rest."""


def measure_coverage(takes: Sequence[Take], *, closed_set: bool, unrecorded: Collection[str] = ()) -> Coverage:
    """Return the coverage of the clips.

    `unrecorded` has the transcripts of rows without a usable recording. With `closed_set`, phrases
    count although hardly one is repeated.
    """
    of_phrase: dict[str, list[Take]] = defaultdict(list)
    for take in takes:
        of_phrase[take.transcript].append(take)
    repeated = closed_set or is_closed_set(len(of_phrase), len(takes))
    missing = [phrase for phrase in dict.fromkeys(unrecorded) if phrase not in of_phrase]
    phrases = [_phrase(phrase, of_phrase.get(phrase, ())) for phrase in (*missing, *of_phrase)] if repeated else []
    rates = Counter(take.sample_rate for take in takes)
    measured = Coverage(
        clips=len(takes),
        seconds=round(sum(take.seconds for take in takes), 3),
        speakers=len({take.speaker for take in takes if take.speaker}),
        phrases=tuple(sorted(phrases, key=lambda phrase: (phrase.clips, phrase.phrase))),
        rare_words=_rare_words(takes),
        level=_level(takes),
        sample_rates=tuple(RateCoverage(sample_rate=rate, clips=clips) for rate, clips in rates.most_common()),
        suspicious=tuple(clip for of_one in of_phrase.values() for clip in _suspicious(of_one)),
    )
    sentences = list(_record_next(measured))
    if len(sentences) > MOST_SENTENCES:
        left = len(sentences) - MOST_SENTENCES + 1
        sentences = [*sentences[: MOST_SENTENCES - 1], f"and {left} more: see phrases and rareWords in the report"]
    return measured.model_copy(update={"record_next": tuple(sentences)})


def missing_parts(parts: Mapping[Part, int]) -> tuple[str, ...]:
    """Return a sentence for each part that has no clip, but that the model is measured or set with."""
    return tuple(
        f"more takes: no clip is left for the part {part}, which {purpose}; raise dataset.split.{part}Percent, or, "
        f"if the dataset names its parts, move rows to {part}"
        for part, purpose in _PURPOSES.items()
        if not parts.get(part)
    )


def untrained_phrases(clips: Sequence[tuple[str, Part]]) -> list[str]:
    """Return the phrases of a closed set that have no clip in training. `clips` are their phrases and parts."""
    trained = {phrase for phrase, part in clips if part is Part.TRAIN}
    return list(dict.fromkeys(phrase for phrase, _ in clips if phrase not in trained))


def more_takes(untrained: Sequence[str], *, divided: bool) -> tuple[str, ...]:
    """Return a sentence about phrases without a clip in training, if there are any. `divided` is True if `dataset.split`
    chose the part of some of their clips.
    """
    if not untrained:
        return ()
    several = len(untrained) > 1
    others = f" and of {_count(len(untrained) - 1, 'other phrase')}" if several else ""
    them, what = ("them", "phrases") if several else ("it", "a phrase")
    or_all = "; or set dataset.split.testPercent and devPercent to 0 to train on all takes without measuring"
    return (
        f"another take of {quoted(untrained[0])}{others}: training has none of {them}, so the model is measured on {what} "
        f"that it never heard{or_all if divided else ''}",
    )


def rare_script(clips: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return a sentence if few transcripts give the alphabet letters of another script. `clips` are names of recordings and
    their transcripts. Each such letter is a label that is hardly trained.
    """
    names = {script: [name for name, text in clips if letters.search(text)] for script, letters in SCRIPTS.items()}
    usual = max(names, key=lambda script: len(names[script]))
    for script, found in names.items():
        if script != usual and 0 < len(found) <= RARE_SCRIPT * len(names[usual]):
            letters = sorted({letter for _, text in clips for letter in SCRIPTS[script].findall(text)})
            transcripts, others, only = "a new transcript", "", "only it has"
            if len(found) > 1:
                transcripts, others, only = "new transcripts", f" and {len(found) - 1} more", "only they have"
            labels = "s {}, each of which becomes a label" if len(letters) > 1 else " {}, which becomes a label"
            return (
                f"{transcripts} for {found[0]}{others}: {only} the {script} letter{labels.format(', '.join(letters))}; "
                f"write the words in {usual} letters as they are spoken",
            )
    return ()


_PURPOSES = {
    Part.TEST: "measures the model",
    Part.DEV: "chooses the exported epoch and sets how much is rejected",
}


def summary(measured: Coverage) -> str:
    """Return the most important figures in one line."""
    parts = [f"{_count(measured.clips, 'clip')} ({measured.seconds / 60:.1f} minutes)"]
    if measured.phrases:
        fewest, most = measured.phrases[0].clips, measured.phrases[-1].clips
        takes = f"{fewest} to {most} takes" if fewest < most else _count(most, "take")
        parts.append(f"{_count(len(measured.phrases), 'phrase')} with {takes} each")
    parts.append(_count(measured.speakers, "known speaker"))
    if measured.rare_words:
        parts.append(f"{_count(len(measured.rare_words), 'word')} with fewer than {FEWEST_TAKES} takes")
    level = measured.level
    if level.median is not None:
        parts.append(f"level {level.median:.0f} dBFS ({level.lowest:.0f} to {level.highest:.0f})")
    for name, recordings in (("quiet", level.quiet), ("clipped", level.clipped), ("suspicious", measured.suspicious)):
        if recordings:
            parts.append(f"{len(recordings)} {name}")
    return ", ".join(parts)


def _phrase(phrase: str, takes: Sequence[Take]) -> PhraseCoverage:
    return PhraseCoverage(
        phrase=phrase,
        clips=len(takes),
        speakers=len({take.speaker for take in takes if take.speaker}),
        seconds=round(sum(take.seconds for take in takes), 3),
    )


def _rare_words(takes: Sequence[Take]) -> tuple[WordCoverage, ...]:
    counted = Counter(word for take in takes for word in set(take.transcript.split()))
    rare = sorted((clips, word) for word, clips in counted.items() if clips < FEWEST_TAKES)
    return tuple(WordCoverage(word=word, clips=clips) for clips, word in rare)


def _level(takes: Sequence[Take]) -> LevelCoverage:
    levels = {take.recording: take.speech.loudness for take in takes if take.speech is not None}
    found = levels.values()
    return LevelCoverage(
        lowest=round(min(found), 1) if levels else None,
        median=round(median(found), 1) if levels else None,
        highest=round(max(found), 1) if levels else None,
        quiet=tuple(recording for recording, loudness in levels.items() if loudness < QUIET),
        clipped=tuple(take.recording for take in takes if take.clipped),
        without_speech=tuple(take.recording for take in takes if take.speech is None),
    )


def _suspicious(takes: Sequence[Take]) -> Iterator[SuspiciousClip]:
    spoken = [(take, take.speech.seconds) for take in takes if take.speech is not None]
    if len(spoken) < 3:  # the median of two is between them
        return
    usual = median(length for _, length in spoken)
    for take, length in spoken:
        ratio = max(length, usual) / min(length, usual)
        if ratio >= SUSPICIOUS_FACTOR and math.fabs(length - usual) >= SUSPICIOUS_SECONDS:
            yield SuspiciousClip(
                recording=take.recording,
                file=take.file,
                row=take.row,
                phrase=take.transcript,
                speech_seconds=round(length, 2),
                median_seconds=round(usual, 2),
            )


def _record_next(measured: Coverage) -> Iterator[str]:
    for phrase in measured.phrases:
        if not phrase.clips:
            yield f"{FEWEST_TAKES} takes of {quoted(phrase.phrase)} (no usable one so far)"
    if not measured.speakers:
        yield "name the speakers in a column speaker, so that voices which training never hears can be measured"
    elif measured.speakers < FEWEST_SPEAKERS:
        more = _count(FEWEST_SPEAKERS - measured.speakers, "more speaker")
        what = "all phrases" if measured.phrases else "sentences"
        yield f"{what} by {more} ({measured.speakers} so far): training, dev and test need one each"
    for phrase in measured.phrases:
        if 0 < phrase.clips < FEWEST_TAKES:
            more = _count(FEWEST_TAKES - phrase.clips, "more take")
            yield f"{more} of {quoted(phrase.phrase)} ({phrase.clips} so far)"
    if measured.speakers >= FEWEST_SPEAKERS:
        for phrase in measured.phrases:
            if 0 < phrase.speakers < FEWEST_SPEAKERS <= phrase.clips:
                more = _count(FEWEST_SPEAKERS - phrase.speakers, "more speaker")
                yield f"{quoted(phrase.phrase)} by {more} ({phrase.speakers} so far)"
    level = measured.level
    for recordings, problem in (
        (level.clipped, "is clipped: lower the gain"),
        (level.quiet, "is quiet: come closer to the microphone or raise the gain"),
        (level.without_speech, "has no speech that stands out: record it in a quieter place"),
    ):
        if recordings:
            others = f" and {len(recordings) - 1} more" if len(recordings) > 1 else ""
            yield f"{recordings[0]}{others} again, which {problem}"
    if measured.suspicious:
        first, count = measured.suspicious[0], len(measured.suspicious)
        others = f" and {count - 1} more" if count > 1 else ""
        yield f"{first.recording}{others} again, if the speech in it is not {quoted(first.phrase)}"
    if not measured.phrases:
        for rare in islice(measured.rare_words, MOST_WORDS):
            more = _count(FEWEST_TAKES - rare.clips, "more sentence")
            yield f"{more} with the word {quoted(rare.word)} ({rare.clips} so far)"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
