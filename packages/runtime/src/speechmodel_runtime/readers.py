"""Readers of audio files: libsndfile for what it reads, FFmpeg by PyAV (ffmpeg.py) for the rest.

A reader decodes a file in blocks, so that a long recording needs little memory, and as often as it
is asked to.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechmodel_runtime.errors import AudioUnreadable
from speechmodel_runtime.headerless import headerless
from speechmodel_runtime.lengths import share_present
from speechmodel_runtime.partly_read import ffmpeg_format
from speechmodel_runtime.riff import RegularWav, WavChunks, wav_chunks
from speechmodel_runtime.unfinished import missing_end

Block: TypeAlias = NDArray[np.float32]
"""Samples `[frames, channels]`, where 1 is full scale."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
READABLE = "wav, flac, ogg, mp3, m4a, mp4, webm, aac, amr or wma"


@dataclass(frozen=True)
class Header:
    """The properties of an audio file before it is decoded."""

    sample_rate: int
    """Hz."""
    channels: int
    announced_frames: int | None
    """Samples per channel by the header. None when it does not say."""
    format: str
    """Container and encoding, in the names of libsndfile (`WAV PCM_16`) or FFmpeg (`mov aac`)."""
    missing_end: str | None = None
    """How the file shows that its end is missing, such as `has no end mark`. None for one that does not."""


class Reader(Protocol):
    """An audio file that can be decoded."""

    header: Header
    damaged_seconds: float | None
    """The place of the first damage that the last pass has met so far."""

    def blocks(self) -> Iterator[Block]:
        """Decode the file from its beginning, and also what can be decoded behind damage."""

    def reaches(self, frame: int) -> bool:
        """Return True if the file has audio at a frame, without decoding what is before it."""


def open_reader(file: BinaryIO, called: str) -> Reader:
    """Return a reader of the seekable `file`, which errors name `called`.

    Raises AudioUnreadable when neither library reads it.
    """
    chunks = wav_chunks(file)
    if chunks is not None and chunks.second is not None:
        problem = f"holds two {chunks.second.name}, the second from byte {chunks.second.offset} on"
        raise AudioUnreadable(called, f"{problem}; {chunks.second.advice}")
    if chunks is not None and chunks.without_bits:
        problem = "has a damaged header, which does not give the bits of a sample; record it or copy it again"
        raise AudioUnreadable(called, problem)
    file.seek(0)
    if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise AudioUnreadable(called, "is a pointer of Git LFS instead of a recording; run `git lfs pull`")
    telephone = headerless(file, called)
    whole = None if telephone else ffmpeg_format(file)
    file.seek(0)
    if telephone is None and whole is None:
        try:
            return _Libsndfile(file, chunks)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that means headerless data
            pass
    from speechmodel_runtime.ffmpeg import FFmpegReader  # PyAV takes a while to import, and few recordings need it

    return FFmpegReader(file, called, telephone, whole)


_FFMPEG = {"FLAC": "flac", "OGG": "ogg", "MPEG": "mp3"}
"""FFmpeg's names of formats by those of libsndfile, of those that can be damaged within."""


class _Libsndfile:
    def __init__(self, file: BinaryIO, chunks: WavChunks | None) -> None:
        share, unfinished = share_present(file), missing_end(file)
        file.seek(0)
        self._whole = file
        self._file: BinaryIO | RegularWav = file if chunks is None or chunks.regular else RegularWav(file, chunks)
        self.damaged_seconds: float | None = None
        with soundfile.SoundFile(self._file) as opened:
            frames = _announced(opened.frames, chunks, share)
            named = f"{opened.format} {opened.subtype}"
            self.header = Header(opened.samplerate, opened.channels, frames, named, unfinished)

    def blocks(self) -> Iterator[Block]:
        frames = 0
        self._file.seek(0)
        self.damaged_seconds = None
        with soundfile.SoundFile(self._file) as opened:
            while True:
                try:
                    block: Block = opened.read(opened.samplerate, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError:
                    self.damaged_seconds = opened.tell() / opened.samplerate
                    break
                if not len(block):
                    return
                frames += len(block)
                yield block
        yield from self._behind(frames)

    def reaches(self, frame: int) -> bool:
        """Return True if the file has audio at a frame. False in a file whose damage hides it."""
        self._file.seek(0)
        try:
            with soundfile.SoundFile(self._file) as opened:
                opened.seek(frame)
                return len(opened.read(1, dtype="float32", always_2d=True)) > 0
        except soundfile.LibsndfileError:
            return False

    def _behind(self, frames: int) -> Iterator[Block]:
        """Yield what FFmpeg decodes after so many frames. libsndfile decodes nothing from a block with damage on."""
        form = _FFMPEG.get(self.header.format.partition(" ")[0])
        if form is None:
            return
        from speechmodel_runtime.ffmpeg import FFmpegReader

        try:
            reader = FFmpegReader(self._whole, "", form=form)
        except AudioUnreadable:
            return
        for block in reader.blocks():
            skipped = min(frames, len(block))
            frames -= skipped
            if skipped < len(block):
                yield block[skipped:]
        self.damaged_seconds = reader.damaged_seconds or self.damaged_seconds


def _announced(frames: int, chunks: WavChunks | None, share: float) -> int | None:
    """Return the frames by the header. Of most files, libsndfile reports those that are there."""
    if chunks is None:
        return round(frames / share)
    return None if chunks.announced is None else round(frames * chunks.announced / chunks.present)
