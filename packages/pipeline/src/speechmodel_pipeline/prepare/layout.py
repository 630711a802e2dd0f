"""The layout of the recordings: which part of a file's name is the id, the speaker and the take.

The layout is decided for the folder as a whole, never file by file. Each candidate reads every
name, and the one that explains most wins: the share of the ids that have a file, times the share of
the files that have an id. Where another one reads the files differently and explains them about as
well, that is an error (`_is_rival`), and so is a layout that gives nearly every file to one id.
`dataset.recordings.namePattern` decides it by hand.

Ids are compared by case after Unicode normalisation (NFC).
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath

import parse
from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.audio_files import AUDIO

SEPARATORS = "_-"
"""Characters between the parts of a file name."""
DOMINANT_SHARE = 0.8
"""Share of the files that one id may take before a layout is doubted."""
FEWEST_IDS = 3
"""Ids below which the shares say nothing."""
EXAMPLES = 3
"""File names that an error shows."""
FEWEST_OF_RIVAL = 0.8
"""Share of the best layout's files that a rival must read at least."""
SEVERAL = 10
"""Number of files from which one stray file no longer decides between two layouts."""


@dataclass(frozen=True)
class Reading:
    """The parts of a file name."""

    id: str
    speaker: str | None = None
    rest: str = ""
    """The name without the id: `anna_2` of `ok_anna_2`, from which a speaker may be guessed."""
    certain: bool = False
    """The id is the whole name or a folder, so no other reading is plausible."""


class Layout(ABC):
    """A way to read the names of recordings."""

    pattern: str
    """Description for reports and errors."""

    @abstractmethod
    def read(self, stem: str, ids: Collection[str]) -> Reading | None:
        """Return the parts of a name, or None if it does not fit.

        `stem` is the path below the language's folder without its ending.
        """


@dataclass(frozen=True)
class IdFirst(Layout):
    """`ok.wav`, `ok_anna.wav`, `ok-2.wav`, `ok/anna.wav`, `ok (2).wav`. The longest possible id counts."""

    pattern: str = "<id>, <id>_<take> or <id>/<file>"

    def read(self, stem: str, ids: Collection[str]) -> Reading | None:
        """Return the longest id that begins the name."""
        for end in _ends(stem, SEPARATORS + "/"):
            if stem[:end] in ids:
                return Reading(stem[:end], rest=stem[end + 1 :], certain=stem[end : end + 1] in ("", "/"))
        if (take := _WINDOWS_TAKE.fullmatch(stem)) and take[1] in ids:
            return Reading(take[1], rest=take[2])
        return None


@dataclass(frozen=True)
class IdBeforeTake(Layout):
    """`anna_ok_001.wav`: anything, an id and a number. The longest possible id counts."""

    pattern: str = "<anything>_<id>_<take>"

    def read(self, stem: str, ids: Collection[str]) -> Reading | None:
        """Return the longest id before the number at the end of the name."""
        folder, _, name = stem.rpartition("/")
        if not (take := re.fullmatch(rf"(.+)[{SEPARATORS}]\d+", name)):
            return None
        before = take[1]
        for start in sorted(match.end() for match in re.finditer(rf"[{SEPARATORS}]", before)):
            if before[start:] in ids and before[: start - 1]:
                return Reading(before[start:], rest=f"{folder}/{before[: start - 1]}".lstrip("/"))
        return None


@dataclass(frozen=True)
class IdLast(Layout):
    """`anna_ok.wav`, `12-ok.wav`, `ok.wav`: anything and an id. The longest possible id counts."""

    pattern: str = "<anything>_<id>"

    def read(self, stem: str, ids: Collection[str]) -> Reading | None:
        """Return the longest id that ends the name."""
        for start in (0, *(match.end() for match in re.finditer(rf"[/{SEPARATORS}]", stem))):
            if stem[start:] in ids:
                return Reading(stem[start:], rest=stem[: max(start - 1, 0)], certain=start == 0)
        return None


@dataclass(frozen=True)
class SpeakerFolder(Layout):
    """`anna/ok.wav`, `anna/ok_2.wav`, `anna/ok/2.wav`: a folder for each speaker."""

    pattern: str = "<speaker>/<id>, <speaker>/<id>_<take> or <speaker>/<id>/<file>"

    def read(self, stem: str, ids: Collection[str]) -> Reading | None:
        """Return the first folder as the speaker, and the longest id that begins the rest."""
        speaker, _, rest = stem.partition("/")
        reading = IdFirst().read(rest, ids) if rest else None
        return replace(reading, speaker=speaker) if reading else None


@dataclass(frozen=True)
class NamePattern(Layout):
    """A pattern of `dataset.recordings.namePattern`, in the syntax of the library parse.

    With a slash it is compared with the path below the language's folder, and without one with the
    file's name. Where several readings fit, the first one whose id has a row counts.
    """

    pattern: str

    def __post_init__(self) -> None:
        """Raise BadData (InvalidDataset) when it is not a pattern with the field id."""
        ending = PurePosixPath(self.pattern).suffix
        if ending.lower() in AUDIO:
            raise _invalid(f"{_FIELD} {self.pattern!r} ends with {ending}, but names are read without it; remove it")
        if self.pattern.startswith(_ORIGINAL):
            raise _invalid(
                f"{_FIELD} {self.pattern!r} begins with {_ORIGINAL}, but paths are read below the language's folder in it; "
                "remove both folders"
            )
        if "*" in self.pattern:
            raise _invalid(f"{_FIELD} {self.pattern!r} has a *, which stands for itself; write {{}} for any other part")
        if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", self.pattern)):
            raise _invalid(
                f"{_FIELD} {self.pattern!r} has a brace without its partner; close every field, as in {{id}}"
            )
        try:
            names = set(parse.compile(self.pattern).named_fields)
        except (ValueError, NotImplementedError, parse.RepeatedNameError, re.error) as error:
            raise _invalid(f"{_FIELD} {self.pattern!r} is not a valid pattern ({error})") from error
        if "id" not in names:
            raise _invalid(f"{_FIELD} {self.pattern!r} has no field {{id}}; add it where the id is in the file names")
        if unknown := sorted(names - {"id", "speaker", "take"}):
            raise _invalid(
                f"{_FIELD} {self.pattern!r} has the unknown field {{{unknown[0]}}}; "
                "use {id}, {speaker} and {take}, and {} for the other parts"
            )

    def read(self, stem: str, ids: Collection[str]) -> Reading | None:
        """Return the parts that the pattern names."""
        read = stem if "/" in self.pattern else stem.rpartition("/")[2]
        found = _compiled(self.pattern, frozenset(ids)).parse(read)
        if not found:
            return None
        speaker = found.spans.get("speaker")  # as it is written: {speaker:d} would make 1 of 01
        return Reading(found["id"], read[slice(*speaker)] if speaker else None)


_ORIGINAL = "original/"
_WINDOWS_TAKE = re.compile(r"(.+) \((\d+)\)")
"""The names that Windows gives to copies, and recorders to takes: `ok (2)`."""
CANDIDATES: tuple[Layout, ...] = (IdFirst(), IdBeforeTake(), SpeakerFolder(), IdLast())
"""The most usual first."""
_FIELD = "dataset.recordings.namePattern"
_PATTERNS = "a pattern such as {id}_{take}, {speaker}_{id}_{take} or {speaker}/{id}_{take}"


@dataclass(frozen=True)
class Assignment:
    """The files of each id by one layout."""

    layout: Layout
    readings: dict[str, Reading] = field(default_factory=dict)
    """By file name, relative to the language's folder."""

    @property
    def ids(self) -> frozenset[str]:
        """Ids that have at least one file."""
        return frozenset(reading.id for reading in self.readings.values())

    @property
    def score(self) -> int:
        """Number of ids with a file, times that of files with an id: more is better."""
        return len(self.ids) * len(self.readings)


def assign(names: Sequence[str], ids: Collection[str], name_pattern: str = "") -> Assignment:
    """Return the layout of the files `names` and the id of each file that has one.

    An id with an ending (`7.wav`) is the file of this name in every layout. Raises BadData
    (InvalidDataset) when the layout is ambiguous or one id takes nearly every file.
    """
    ids = frozenset(ids)  # a pattern is compiled for the ids, and finds those that it knows by their hash
    exact = {name: Reading(name, certain=True) for name in names if name in ids}
    others = [name for name in names if name not in exact]
    if name_pattern:
        return _assigned(NamePattern(name_pattern), exact, others, ids)
    candidates = [_assigned(layout, exact, others, ids) for layout in CANDIDATES]
    candidates = [candidate for candidate in candidates if not _hides_near_misses(candidate, others, ids)]
    best = max(candidates, key=lambda candidate: candidate.score)
    for other in candidates:
        if _is_rival(other, best, ids):
            raise _invalid(
                f"the names of the recordings can be read in two ways: {_shown(best, other)}; set {_FIELD} to {_PATTERNS}"
            )
    _require_spread(best, ids)
    return best


def near_misses(ids: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return, for ids without a file, the name of a file that nearly is theirs.

    Nearly means: but for case, leading zeros, `.0` or `,0` of a spreadsheet, invisible characters, or ` (copy)`; or else
    also but for accents, and spaces, `_` and `-`.
    """
    by_form: dict[str, str] = {}
    by_loose_form: dict[str, str] = {}
    for name in sorted(names):
        stem = str(PurePosixPath(name).with_suffix(""))
        for beginning in (name, *(stem[:end] for end in _ends(stem, SEPARATORS + "/"))):
            form = _form(beginning)
            by_form.setdefault(form, name)
            by_loose_form.setdefault(_loose(form), name)
    forms = {id_: _form(id_) for id_ in ids}
    found = {id_: by_form.get(form) or by_loose_form.get(_loose(form)) for id_, form in forms.items()}
    return {id_: name for id_, name in found.items() if name}


def nfc(text: str) -> str:
    """Return the text in Unicode's composed form, in which ids and file names are compared."""
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=1)
def _compiled(pattern: str, ids: frozenset[str]) -> parse.Parser:
    """Return the parser of a pattern whose field id matches one of `ids` only."""
    known = parse.with_pattern("|".join(re.escape(id_) for id_ in sorted(ids, key=len, reverse=True)))(lambda id_: id_)
    return parse.compile(pattern.replace("{id}", "{id:Known}"), {"Known": known}, case_sensitive=True)


def _ends(stem: str, separators: str) -> Iterator[int]:
    """Yield the ends of possible ids at the beginning of a name, the last first."""
    yield len(stem)
    yield from (index for index in range(len(stem) - 1, 0, -1) if stem[index] in separators)


def _assigned(layout: Layout, exact: dict[str, Reading], names: Iterable[str], ids: Collection[str]) -> Assignment:
    readings = {name: layout.read(str(PurePosixPath(name).with_suffix("")), ids) for name in names}
    return Assignment(layout, exact | {name: reading for name, reading in readings.items() if reading})


def _disagree(one: Assignment, other: Assignment) -> bool:
    return any(other.readings[name].id != one.readings[name].id for name in one.readings if name in other.readings)


def _is_rival(other: Assignment, best: Assignment, ids: Collection[str]) -> bool:
    """Return True when `other` reads the files differently from `best`, and `best` is not clearly better.

    With more files, `best` is beyond doubt. With more ids, it is if each has a file or if its layout is the more
    usual one: with the ids 1 to 20, the files 1_1 to 5_12 may be twelve takes of five ids or five takes of twelve.
    """
    if not _disagree(best, other):
        return False
    files, other_files = len(best.readings), len(other.readings)
    if other_files < FEWEST_OF_RIVAL * files:
        return False
    if _has_takes_of_few_ids(other) and len(other.ids) < len(best.ids):
        return True
    if _dominant(other, ids) and files >= FEWEST_OF_RIVAL * other_files:
        return False
    more_usual = CANDIDATES.index(best.layout) < CANDIDATES.index(other.layout)
    more_ids = len(best.ids) > len(other.ids) and (len(best.ids) == len(ids) or more_usual)
    stray = 1 if files >= SEVERAL else 0
    more_files = files > other_files + stray and len(best.ids) >= len(other.ids)
    return not (more_files or (more_ids and files + stray >= other_files))


def _has_takes_of_few_ids(assignment: Assignment) -> bool:
    """Return True when the names are one or two ids and a number, as where little is recorded so far: with the ids 1 to
    7, the files 2_1 to 2_12 are more likely twelve takes of the id 2 than seven ids by the speaker 2.
    """
    takes = all((reading.rest or "0").isdigit() for reading in assignment.readings.values())
    return isinstance(assignment.layout, IdFirst) and takes and len(assignment.ids) < FEWEST_IDS


def _hides_near_misses(assignment: Assignment, names: Collection[str], ids: Collection[str]) -> bool:
    """Return True for ids at the end of names that nearly begin with ids: with the ids 1 to 12, the files 01_1 to 12_3
    are near misses.
    """
    if not isinstance(assignment.layout, IdLast):
        return False
    forms = {_form(id_): id_ for id_ in ids}
    readings = {name: IdFirst().read(_form(str(PurePosixPath(name).with_suffix(""))), forms) for name in names}
    nearly = {name: replace(reading, id=forms[reading.id]) for name, reading in readings.items() if reading}
    more = len(nearly) > len(_assigned(IdFirst(), {}, names, ids).readings)
    return more and _is_rival(Assignment(IdFirst(), nearly), assignment, ids)


def _require_spread(assignment: Assignment, ids: Collection[str]) -> None:
    if dominant := _dominant(assignment, ids):
        id_, count = dominant
        raise _invalid(
            f"{count} of {len(assignment.readings)} recordings would belong to the id {id_}, and "
            f"{len(ids) - len(assignment.ids)} of {len(ids)} ids would have none: {_shown(assignment)}; "
            f"set {_FIELD} to {_PATTERNS}, or remove the rows that have no recordings yet"
        )


def _dominant(assignment: Assignment, ids: Collection[str]) -> tuple[str, int] | None:
    """Return the id that takes nearly every file while most others have none, and the number of its files."""
    if len(ids) < FEWEST_IDS or 2 * len(assignment.ids) >= len(ids):
        return None
    doubted = Counter(reading.id for reading in assignment.readings.values() if not reading.certain)
    id_, count = max(doubted.items(), key=lambda item: item[1], default=("", 0))
    return (id_, count) if count and count >= DOMINANT_SHARE * len(assignment.readings) else None


def _shown(*assignments: Assignment) -> str:
    """Return how each layout reads three of the files, first of all those that they read differently."""
    names = list(dict.fromkeys(name for assignment in assignments for name in assignment.readings))
    names.sort(key=lambda name: len({_id_of(assignment, name) for assignment in assignments}) == 1)
    return " or ".join(
        f"{assignment.layout.pattern} ({', '.join(f'{name}: {_id_of(assignment, name)}' for name in names[:EXAMPLES])})"
        for assignment in assignments
    )


def _id_of(assignment: Assignment, name: str) -> str:
    reading = assignment.readings.get(name)
    return f"id {reading.id}" if reading else "no id"


def _form(name: str) -> str:
    visible = "".join(character for character in nfc(name) if unicodedata.category(character) != "Cf")
    name = re.sub(r"\s*(\(\w+\)|- \w+)$", "", visible.casefold().strip())
    name = re.sub(r"[.,]0+$", "", name)
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)


def _loose(form: str) -> str:
    """Return a form without accents, and with one kind of separator."""
    plain = "".join(
        character for character in unicodedata.normalize("NFD", form) if not unicodedata.combining(character)
    )
    return re.sub(rf"[\s{SEPARATORS}]+", "_", plain)


def _invalid(problem: str) -> BadData:
    return BadData(Reason.INVALID_DATASET, problem)
