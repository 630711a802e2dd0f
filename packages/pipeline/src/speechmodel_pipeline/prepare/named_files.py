"""The recordings of tables that name the file of each row.

Paths stay below the folder of the dataset: a row with another one is left out and reported.
"""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePosixPath

from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.audio_files import HEADERLESS_BY_RANK, WITH_HEADER, audio_files
from speechmodel_pipeline.prepare.layout import nfc
from speechmodel_pipeline.prepare.recordings import (
    PARTS,
    Cut,
    Listing,
    Recording,
    is_absolute,
    is_file,
    path_below,
    printable,
)
from speechmodel_pipeline.prepare.speakers import guess_from_paths
from speechmodel_pipeline.prepare.table import Row, Table
from speechmodel_pipeline.prepare_report import Rejection, SpeakerSource

ANY_ENDING = ("", *sorted(WITH_HEADER), *HEADERLESS_BY_RANK)
"""Endings of a name in a table that lacks its own. Of several files without a header, it is the one that audio_files keeps."""


class NamedFiles:
    """The recordings and rejections of a dataset while its tables are read."""

    def __init__(self, source: Path) -> None:
        self._source = Path(os.path.abspath(source))  # noqa: PTH100 - links are followed, so they stay
        self._recordings: list[Recording] = []
        self._rejected: list[Rejection] = []
        self._left: list[tuple[Path, Cut | None]] = []
        self._rows = 0

    def count(self, table: Table) -> None:
        """Count the rows of a table, and reject those that cannot be read."""
        self._rows += len(table.rows) + len(table.malformed)
        self._rejected += table.malformed

    def add(
        self,
        table: Table,
        row: Row,
        name: str,
        transcript: str,
        *,
        folder: Path,
        endings: tuple[str, ...] = ("",),
        converted: bool = False,
        id_: str = "",
        part: Part | None = None,
        speaker: str | None = None,
        cut: Cut | None = None,
    ) -> None:
        """Add the recording `name` in `folder`, or the `cut` of it, whose name in the table may lack one of `endings`. If
        it may be `converted`, a file of this name with the ending of another format is taken too.
        """
        path = self._find(folder, name, endings)
        if path is None and converted:
            path = self._find(folder, name.removesuffix(PurePosixPath(name).suffix), ANY_ENDING[1:])
        if path is None:
            self.reject(table, row, id_ or name, self._problem(folder, name), transcript)
            return
        shown, speaker = self._shown(path, cut), nfc(speaker) if speaker else None
        self._recordings.append(
            Recording(table.name, row.line, id_ or name, path, shown, transcript, part, speaker, cut)
        )

    def reject(
        self,
        table: Table,
        row: Row,
        id_: str,
        problem: str,
        transcript: str | None = None,
        reason: RejectionReason = RejectionReason.NO_RECORDING,
    ) -> None:
        """Leave out a row."""
        self._rejected.append(
            Rejection(file=table.name, row=row.line, id=id_, transcript=transcript, reason=reason, message=problem)
        )

    def leave(self, folder: Path, name: str, cut: Cut | None = None) -> None:
        """Report the recording `name` in `folder`, or the `cut` of it, as one that no row names."""
        if path := self._find(folder, name, ("",)):
            self._left.append((path, cut))

    def listing(self, *, folders: Collection[Path] = (), speakers_from: SpeakerSource | None = None) -> Listing:
        """Return everything. Recordings in `folders` that no row names are listed.

        Speakers that nothing names are guessed.
        """
        recordings = self._recordings
        if not any(recording.speaker for recording in recordings):
            guessed = guess_from_paths({_below_part(each.id): each.transcript for each in recordings})
            recordings = [
                replace(recording, speaker=guessed.get(_below_part(recording.id))) for recording in recordings
            ]
            speakers_from = SpeakerSource.GUESSED if guessed else None
        named = {(recording.path, recording.cut) for recording in recordings}
        used = named | {(path, None) for path, _ in named}
        return Listing(
            rows=self._rows,
            recordings=tuple(recordings),
            rejected=tuple(self._rejected),
            unnamed_files=tuple(
                self._shown(path, cut)
                for path, cut in (
                    *self._left,
                    *((path, None) for folder in folders for path in audio_files(Path(os.path.abspath(folder)))),  # noqa: PTH100
                )
                if (path, cut) not in used
            ),
            speakers_from=speakers_from,
        )

    def _shown(self, path: Path, cut: Cut | None) -> str:
        shown = printable(path, self._source)
        return shown if cut is None else f"{shown} {cut}"

    def _find(self, folder: Path, name: str, endings: tuple[str, ...]) -> Path | None:
        for ending in dict.fromkeys(endings) if name else ():
            path = Path(os.path.abspath(path_below(folder, name + ending)))  # noqa: PTH100 - as above
            if path.is_relative_to(self._source) and is_file(path):
                return path
        return None

    def _problem(self, folder: Path, name: str) -> str:
        if not name:
            return "has no file name; give the path of the recording"
        where = printable(folder, self._source)
        relative = "the folder of the dataset" if where == "." else where
        if is_absolute(name) or not Path(os.path.abspath(path_below(folder, name))).is_relative_to(self._source):  # noqa: PTH100
            return f"the recording {name} is outside of the folder of the dataset; use a path relative to {relative}"
        return f"the recording {name} is missing; paths are relative to {relative}"


def _below_part(name: str) -> str:
    """Return a path without the folder of a part at its beginning."""
    first, _, rest = name.partition("/")
    return rest if rest and first.casefold() in PARTS else name
