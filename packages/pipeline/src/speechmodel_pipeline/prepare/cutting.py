"""The utterances of a long recording -> clips. Each channel is decoded in blocks of about a second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_runtime import AudioWarning, Pcm, PcmReader, WarningKind, level, read_pcm, seconds, speech
from speechmodel_runtime.audio_warnings import silent
from speechmodel_runtime.errors import AudioError

from speechmodel_pipeline.prepare.clips import (
    LONGEST_SECONDS,
    REASONS,
    ClipFile,
    CutUnusable,
    RecordingUnusable,
    require_usable,
    write_clip,
)
from speechmodel_pipeline.prepare.recordings import Cut, Recording

OVERSHOOT_SECONDS = 0.5
"""Seconds that an utterance may end after its file, where it is cut off: as much as Kaldi's extract-segments allows,
because times are rounded."""

Utterance = tuple[Recording, str]
"""A recording with a cut, and its transcript as it is trained."""


@dataclass
class _Piece:
    """The samples of an utterance as far as they are decoded."""

    index: int
    cut: Cut
    blocks: list[Pcm] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The first sample."""
        return round(self.cut.start * SAMPLE_RATE)

    @property
    def last(self) -> int:
        """The sample after the last one. Without an end it is that of the longest clip, and one more, which is too long."""
        longest = self.first + LONGEST_SECONDS * SAMPLE_RATE + 1
        return longest if self.cut.end is None else min(round(self.cut.end * SAMPLE_RATE), longest)


def make_cut_clips(
    utterances: Sequence[Utterance], folder: Path, speech_level: float | None
) -> list[ClipFile | RecordingUnusable]:
    """Write the clips of utterances of one channel of one file below `folder`, as make_clip does. Return each clip, or the
    reason for leaving the utterance out.

    A doubt about the whole file is that of the first clip. Utterances before damage are used.
    """
    made: dict[int, ClipFile | RecordingUnusable] = {}
    path, channel = utterances[0][0].path, _cut(utterances[0]).channel
    try:
        with read_pcm(path, name=_file_name(utterances[0][0]), channel=channel) as reader:
            for piece, total in _pieces(reader, utterances):
                recording, transcript = utterances[piece.index]
                try:
                    pcm = _samples(piece, recording, total)
                    silence = silent(int(pcm.min()), int(pcm.max())) if len(pcm) else None
                    require_usable(pcm, (silence,) if silence else (), recording.name, transcript)
                except RecordingUnusable as problem:
                    made[piece.index] = problem
                    continue
                rate = reader.info.sample_rate
                source = replace(reader.info, frames=round(seconds(len(pcm)) * rate))
                made[piece.index] = replace(write_clip(level(pcm, speech_level), folder, source), speech=speech(pcm))
            _doubt(made, [each for each in reader.warnings if each.kind is not WarningKind.SILENT])
    except AudioError as error:
        unread = RecordingUnusable(REASONS[type(error)], str(error))
        for index in range(len(utterances)):
            made.setdefault(index, unread)
    return [made[index] for index in range(len(utterances))]


def _pieces(reader: PcmReader, utterances: Sequence[Utterance]) -> Iterator[tuple[_Piece, int | None]]:
    """Yield the utterances as soon as they are decoded, and the samples of the file with those that it ends before."""
    waiting = sorted((_Piece(i, _cut(each)) for i, each in enumerate(utterances)), key=lambda piece: -piece.first)
    begun: list[_Piece] = []
    position = 0
    for block in reader.blocks():
        end = position + len(block)
        while waiting and waiting[-1].first < end:
            begun.append(waiting.pop())
        for piece in begun:
            piece.blocks.append(block[max(piece.first - position, 0) : piece.last - position])
        for piece in [piece for piece in begun if piece.last <= end]:
            begun.remove(piece)
            yield piece, None
        position = end
    for piece in (*begun, *reversed(waiting)):
        yield piece, position


def _samples(piece: _Piece, recording: Recording, total: int | None) -> Pcm:
    """Return the samples of an utterance. `total` has the samples of its file, if the file ends before the utterance.

    Raises RecordingUnusable.
    """
    cut, name = piece.cut, _file_name(recording)
    if total is not None:
        ends = f"{name} ends after {seconds(total):.2f} s"
        if piece.first >= total:
            problem = f"{recording.id} begins at {cut.start:.2f} s, but {ends}; correct the times, or remove the row"
            raise CutUnusable(RejectionReason.TOO_SHORT, problem)
        if cut.end is not None and cut.end > seconds(total) + OVERSHOOT_SECONDS:
            problem = f"{recording.id} ends at {cut.end:.2f} s, but {ends}; correct the times, or copy the file again"
            raise CutUnusable(RejectionReason.TOO_SHORT, problem)
    pcm: Pcm = np.concatenate(piece.blocks)
    if len(pcm) > LONGEST_SECONDS * SAMPLE_RATE:
        problem = f"{recording.id} is longer than {LONGEST_SECONDS} s; divide it into shorter utterances"
        raise CutUnusable(RejectionReason.TOO_LONG, problem)
    return pcm


def _doubt(made: dict[int, ClipFile | RecordingUnusable], warnings: Sequence[AudioWarning]) -> None:
    for index, clip in sorted(made.items()):
        if isinstance(clip, ClipFile):
            made[index] = replace(clip, warnings=tuple(warnings))
            return


def _file_name(recording: Recording) -> str:
    return recording.name.removesuffix(f" {recording.cut}")


def _cut(utterance: Utterance) -> Cut:
    cut = utterance[0].cut
    assert cut is not None
    return cut
