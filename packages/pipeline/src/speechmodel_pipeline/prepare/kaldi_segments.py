"""The files of a Kaldi data folder that cut recordings into utterances.

segments                    ana-1 call-A 0.50 2.75      seconds; an end of -1 is that of the recording
reco2file_and_channel       call-A call A               optional: the channel A or B of a recording with several
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.recordings import Cut, printable
from speechmodel_pipeline.prepare.table import KEY, VALUE, Row, Table, read_pairs

SEGMENTS, CHANNELS = "segments", "reco2file_and_channel"
_CHANNEL_NAMES = {"A": 0, "B": 1, "1": 0, "2": 1}
TO_THE_END = -1.0
"""The end of an utterance that ends with its recording."""


@dataclass(frozen=True)
class Segment:
    """An utterance."""

    recording: str
    """Id of its recording in wav.scp."""
    cut: Cut | None
    """The part of the recording, or None for all of it."""


@dataclass(frozen=True)
class WrongSegment:
    """A row of `segments` that cannot be used."""

    table: Table
    row: Row
    problem: str
    reason: RejectionReason

    @property
    def id(self) -> str:
        """The utterance."""
        return self.row.cells[KEY]


class Segments:
    """The rows of `segments` by utterance."""

    def __init__(self, folder: Path, source: Path, recordings: Collection[str]) -> None:
        """Read the files of a data folder. Raises BadData when one is not UTF-8, or a channel is unknown."""
        self.table = read_pairs(folder / SEGMENTS, printable(folder / SEGMENTS, source))
        self.repeated: list[WrongSegment] = []
        """The later rows of utterances that have several."""
        self.recordings = frozenset(cells[0] for row in self.table.rows if (cells := row.cells[VALUE].split()))
        """The recordings that a row names, even a wrong one."""
        self._in_wav_scp, self._channels = recordings, _channels(folder, source)
        self._rows: dict[str, Row] = {}
        for row in self.table.rows:
            if (earlier := self._rows.setdefault(row.cells[KEY], row)) is not row:
                problem = f"{row.cells[KEY]} is already in row {earlier.line}; give each utterance once"
                self.repeated.append(self._wrong(row, problem, RejectionReason.DUPLICATE_ROW))

    def find(self, id_: str) -> Segment | WrongSegment | None:
        """Return the utterance `id_`, or None when no row has it."""
        if (row := self._rows.get(id_)) is None:
            return None
        cells = row.cells[VALUE].split()
        if len(cells) != 3:
            has = "1 cell" if not cells else f"{1 + len(cells)} cells"
            return self._wrong(row, f"has {has}, a row has 4: write <utterance> <recording> <start> <end>")
        recording, *given = cells
        if recording not in self._in_wav_scp:
            problem = f"wav.scp has no row for the recording {recording}; add one or correct this row"
            return self._wrong(row, problem, RejectionReason.NO_RECORDING)
        start, end = map(_seconds, given)
        if start is None or end is None:
            wrong = given[0] if start is None else given[1]
            return self._wrong(row, f"has the time {wrong}, which is not a number of seconds; correct it")
        if start < 0:
            return self._wrong(row, f"{id_} begins at {given[0]} s, before its recording; correct the start")
        if end != TO_THE_END and end <= start:
            return self._wrong(row, f"{id_} ends at {given[1]} s, but begins at {given[0]} s; correct the times")
        stop = None if end == TO_THE_END else end
        return Segment(recording, Cut(self.table.name, row.line, start, stop, self._channels.get(recording)))

    def without(self, ids: Collection[str]) -> Iterator[Segment]:
        """Yield the usable utterances that are none of `ids`."""
        for id_ in self._rows:
            if id_ not in ids and isinstance(segment := self.find(id_), Segment):
                yield segment

    def _wrong(self, row: Row, problem: str, reason: RejectionReason = RejectionReason.MALFORMED_ROW) -> WrongSegment:
        return WrongSegment(self.table, row, problem, reason)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _channels(folder: Path, source: Path) -> dict[str, int]:
    """Return the channel of each recording that has one, from 0. Raises BadData for another than the first two."""
    path = folder / CHANNELS
    if not path.is_file():
        return {}
    table = read_pairs(path, printable(path, source))
    channels: dict[str, int] = {}
    for row in table.rows:
        *_, name = row.cells[VALUE].split() or [""]
        if name not in _CHANNEL_NAMES:
            raise BadData(
                Reason.INVALID_DATASET,
                f"{table.name} row {row.line}: {row.cells[KEY]} has the channel {name or '(none)'}; write <recording> "
                "<file> <channel> with the channel A or B",
            )
        channels[row.cells[KEY]] = _CHANNEL_NAMES[name]
    return channels
