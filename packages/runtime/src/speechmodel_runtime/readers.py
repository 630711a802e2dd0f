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
from speechmodel_runtime.partly_read import ffmpeg_format
from speechmodel_runtime.riff import RegularWav, WavChunks, wav_chunks

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


class Reader(Protocol):
    """An audio file that can be decoded."""

    header: Header

    def blocks(self) -> Iterator[Block]:
        """Decode the file from its beginning. Raises AudioUnreadable where it is damaged."""


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
            return _Libsndfile(file, called, chunks)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that means headerless data
            pass
    from speechmodel_runtime.ffmpeg import FFmpegReader  # PyAV takes a while to import, and few recordings need it

    return FFmpegReader(file, called, telephone, whole)


class _Libsndfile:
    def __init__(self, file: BinaryIO, called: str, chunks: WavChunks | None) -> None:
        self._file: BinaryIO | RegularWav = file if chunks is None or chunks.regular else RegularWav(file, chunks)
        self._called = called
        with soundfile.SoundFile(self._file) as opened:
            frames = _announced(opened.frames, chunks)
            self.header = Header(opened.samplerate, opened.channels, frames, f"{opened.format} {opened.subtype}")

    def blocks(self) -> Iterator[Block]:
        self._file.seek(0)
        with soundfile.SoundFile(self._file) as opened:
            while True:
                try:
                    block: Block = opened.read(opened.samplerate, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    raise damaged(self._called, opened.tell() / opened.samplerate) from error
                if not len(block):
                    return
                yield block


def _announced(frames: int, chunks: WavChunks | None) -> int | None:
    """Return the frames by the header. Of a wav file, libsndfile reports those that are there."""
    if chunks is None:
        return frames
    return None if chunks.announced is None else round(frames * chunks.announced / chunks.present)


def damaged(called: str, seconds: float) -> AudioUnreadable:
    """Return the error of a file that cannot be read on."""
    return AudioUnreadable(called, f"is damaged after {seconds:.2f} s; record or copy it again")
