"""The speakers of recordings: each under one name, and guessed from file names where the dataset does not name them.

`ok_anna_2.wav` and `no_anna.wav` share `anna` after their ids. A word that is shared like this is
taken for a speaker if nearly every recording has one, and most are shared by several ids. Words that count
takes or chapters, dates, and folders of labels are no speakers. A room or a microphone that is named in
the same place is taken for a speaker too, so reports say beside their figures that the speakers are guessed.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from speechmodel_pipeline.prepare.layout import SEPARATORS, Reading
from speechmodel_pipeline.prepare.recordings import Recording

log = logging.getLogger(__name__)

SPEAKER_COLUMNS = ("speaker", "client_id", "speaker_id")
"""Columns of a table that may name the speaker. The second is Common Voice's, the third is usual on
Hugging Face."""
HASH = 8
"""Digits of the hexadecimal names that Speech Commands and others give to speakers."""
SHARED = 0.8
"""Least share of the recordings whose word is shared, and of topics whose names occur once."""


def with_one_name_each(recordings: Sequence[Recording]) -> tuple[Recording, ...]:
    """Return the recordings with one spelling of each speaker: that of most recordings, whatever their order.

    Ana and ana are one person. As two, one of them might be measured as a voice that training never hears.
    """
    rows = Counter(recording.speaker for recording in recordings if recording.speaker)
    spellings: dict[str, list[str]] = {}
    for speaker in sorted(rows, key=lambda each: (-rows[each], each)):
        spellings.setdefault(" ".join(unicodedata.normalize("NFKC", speaker).casefold().split()), []).append(speaker)
    chosen = {speaker: of_one[0] for of_one in spellings.values() for speaker in of_one}
    for of_one in spellings.values():
        if len(of_one) > 1:
            log.info("these names count as one speaker, %r: %s", of_one[0], ", ".join(map(repr, of_one)))
    return tuple(replace(recording, speaker=chosen.get(recording.speaker or "")) for recording in recordings)


def guess_speakers(readings: Mapping[str, Reading]) -> dict[str, str]:
    """Return the speaker of each recording, or nothing when the names do not tell.

    Words such as take1 and take2, or a and b, count the takes of an id if none occurs twice with it.
    """
    words = _words_of_speakers(readings)
    ids_of = Counter(word for word, _ in {(word, readings[name].id) for name, word in words.items()})
    files_of = Counter(words.values())
    several_ids = len({reading.id for reading in readings.values()}) > 1
    shared = sum(count for word, count in files_of.items() if (ids_of if several_ids else files_of)[word] > 1)
    once_per_id = len({(word, readings[name].id) for name, word in words.items()}) == len(words)
    if are_times(files_of) or (once_per_id and _count_takes(files_of)):
        return {}
    return words if len(files_of) > 1 and shared >= SHARED * len(readings) else {}


def guess_from_paths(transcripts: Mapping[str, str]) -> dict[str, str]:
    """Return the speaker of each file by its folder, or else by the first word of its name, or nothing
    when most of these are not shared by files, or all files share one.

    `transcripts` are those of the files. Words that each have one of their own are labels. Words that begin names before what
    is said, as in vm-goodbye and conf-full of telephone systems, are topics.
    """
    for word_of in (_folder, _beginning):
        words = {name: word for name in transcripts if (word := word_of(name))}
        counts = Counter(words.values())
        shared = sum(count for count in counts.values() if count > 1)
        if len(counts) < 2 or shared < SHARED * len(transcripts):
            continue
        said = {(word, " ".join(transcripts[name].casefold().split())) for name, word in words.items()}
        labels = len(said) == len(counts) == len({text for _, text in said})
        chapters = all(_CHAPTER.fullmatch(word) for word in counts)
        if not (labels or chapters or are_times(counts) or (word_of is _beginning and _are_topics(words))):
            return words
    return {}


def _are_topics(words: Mapping[str, str]) -> bool:
    """Return True when most names are words without digits behind their own word, and few of these occur with two: files of
    speakers have numbers, or the same words.
    """
    behind = {name: PurePosixPath(name).stem.removeprefix(word) for name, word in words.items()}
    named = sum(bool(_WORDS.search(rest)) and not any(map(str.isdigit, rest)) for rest in behind.values())
    of_one = len(set(behind.values())) / len({(behind[name], word) for name, word in words.items()})
    return of_one >= SHARED and 2 * named > len(words)


def are_times(words: Collection[str]) -> bool:
    """Return True when all words are dates, or times of the day with their seconds."""
    return bool(words) and all(_TIME.fullmatch(word) for word in words)


_TIME = re.compile(
    r"(19|20)\d\d([-_.]?(0[1-9]|1[0-2])([-_.]?(0[1-9]|[12]\d|3[01])([-_T ]?\d{4}(\d\d)?)?)?)?"  # 2024, 2024-05, 20240503T101500
    r"|(0[1-9]|[12]\d|3[01])[-_.]?(0[1-9]|1[0-2])[-_.]?(19|20)?\d\d"  # 03.05.2024, 030524
    r"|\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"  # 240503
    r"|([01]\d|2[0-3])[-_.]?[0-5]\d[-_.]?[0-5]\d"  # 101500
)
_WORDS = re.compile(r"[^\W\d_]{2}")
_TAKE = re.compile(r"(take|toma|rec|rep|try|prise|version)?\d{1,3}", re.IGNORECASE)
"""A word that counts takes. Numbers of speakers in large sets have more digits."""
_CHAPTER = re.compile(r"LJ\d{3}")
"""LJSpeech is one voice, and its names begin with the chapter."""


def _count_takes(words: Collection[str]) -> bool:
    """Return True for one word with several numbers, and for the first letters of the alphabet."""
    stems = {re.sub(r"\d+$", "", word.casefold()) for word in words}
    numbered = len(stems) == 1 and "" not in stems and all(word[-1].isdigit() for word in words)
    letters = sorted(word.casefold() for word in words)
    return numbered or letters == list("abcdefghijklmnopqrstuvwxyz"[: len(letters)])


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.name


def _beginning(name: str) -> str | None:
    """Return the first word of a name with several, unless it is a number."""
    words = [word for word in re.split(rf"[ {SEPARATORS}]+", PurePosixPath(name).stem) if word]
    return words[0] if len(words) > 1 and not words[0].isdigit() else None


def _words_of_speakers(readings: Mapping[str, Reading]) -> dict[str, str]:
    """Return the word of each name that may be its speaker: the first one behind the id, or the next one where the
    first one counts the takes of that speaker and id (`1_anna`, `take1_anna`) and the next ones do not (`1_a`, `01_take1`).
    """
    words = {name: words for name, reading in readings.items() if (words := _words(reading.rest))}
    lengths = {len(of_one[0]) for of_one in words.values()}
    if lengths == {HASH}:  # one in 43 hashes has digits only
        words |= {name: [reading.rest] for name, reading in readings.items() if _is_hash(reading.rest)}
    behind = {
        name: next((word for word in of_one[1:] if not word.isdigit()), "")
        for name, of_one in words.items()
        if _TAKE.fullmatch(of_one[0])
    }
    named = {name: word for name, word in behind.items() if word}
    once = len({(readings[name].id, words[name][0], word) for name, word in named.items()}) == len(named)
    counting = _count_takes(set(named.values()))
    return {name: of_one[0] for name, of_one in words.items()} | (named if once and not counting else {})


def _is_hash(rest: str) -> bool:
    return len(rest) == HASH and rest.isdigit()


def _words(rest: str) -> list[str]:
    """Return the words of a name without its id, or none if it is the number of a take."""
    words = [word for word in re.split(rf"[/ {SEPARATORS}]+", rest) if word]
    return [] if len(words) == 1 and words[0].isdigit() else words
