"""Audio files that FFmpeg reads, by PyAV."""

from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np

from speechmodel_runtime.errors import AudioUnreadable
from speechmodel_runtime.headerless import Headerless
from speechmodel_runtime.lengths import share_present
from speechmodel_runtime.readers import READABLE, Block, Header
from speechmodel_runtime.unfinished import missing_end

FORMATS = "aac,ac3,amr,amrnb,amrwb,asf,avi,caf,flv,matroska,webm,mov,mp4,mpegts,nistsphere,ogg,wav,wv"
"""FFmpeg's names of the formats that it may read. A playlist is not among them, because it makes
FFmpeg open the files and addresses that it names."""
_ESTIMATED = {"aac", "ac3", "amr", "amrnb", "amrwb"}
"""Formats without a length. FFmpeg estimates it from the bit rate of the first packets, and other packets have another."""


class FFmpegReader:
    """An audio file that FFmpeg reads."""

    damaged_seconds: float | None
    """The place of the first damage that the last pass has met so far."""

    def __init__(
        self, file: BinaryIO, called: str, headerless: Headerless | None = None, form: str | None = None
    ) -> None:
        """Read the header, unless the file is `headerless`. `form` is FFmpeg's name of the format if it is known.

        Raises AudioUnreadable.
        """
        self._file, self._headerless, self._form = file, headerless, form
        self._frames, self.damaged_seconds = 0, None
        try:
            self.header = self._read_header()
        except (av.FFmpegError, StopIteration) as error:
            raise AudioUnreadable(called, f"is not readable audio; use {READABLE}") from error

    def _read_header(self) -> Header:
        with self._container() as container:
            stream = _audio(container)
            first = next(self._decoded(container))
            rate = first.sample_rate
            duration = _duration(container, stream)
            frames = round(duration * rate) if duration and self._form is None else None  # or those of the first file
            name = container.format.name.split(",")[0]
            if frames and stream.codec_context.name.startswith("pcm_"):
                frames = round(frames / share_present(self._file))
            named = f"{name} {stream.codec_context.name}"
            return Header(rate, first.layout.nb_channels, frames, named, missing_end(self._file))

    def blocks(self) -> Iterator[Block]:
        """Decode the file from its beginning, and also what can be decoded behind damage."""
        self._frames, self.damaged_seconds = 0, None
        try:
            with self._container() as container:
                convert = None
                for decoded in self._decoded(container):
                    convert = convert or av.AudioResampler("fltp", decoded.layout, self.header.sample_rate)
                    for frame in convert.resample(decoded):
                        self._frames += frame.samples
                        yield frame.to_ndarray().T.astype(np.float32, copy=False)
        except (av.FFmpegError, ValueError):  # ValueError: the channels change on the way
            self._note_damage()

    def reaches(self, frame: int) -> bool:
        """Return True if the file has a packet for a frame. Packets between the place that FFmpeg finds and it are not decoded."""
        try:
            with self._container() as container:
                stream = _audio(container)
                base = float(stream.time_base or 0)
                begins, wanted = (stream.start_time or 0) * base, frame / self.header.sample_rate
                if base:
                    container.seek(round((begins + wanted) / base), stream=stream)
                ends = ((packet.pts or 0) + (packet.duration or 0) for packet in container.demux(stream) if packet.size)
                return any(end * base - begins > wanted for end in ends)
        except av.FFmpegError:
            return False

    def _decoded(self, container: "av.container.InputContainer") -> Iterator["av.AudioFrame"]:
        """Yield the frames of all packets, but not of those that are damaged."""
        for packet in container.demux(_audio(container)):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                self._note_damage()

    def _note_damage(self) -> None:
        if self.damaged_seconds is None:
            self.damaged_seconds = self._frames / self.header.sample_rate if self._frames else 0.0

    def _container(self) -> "av.container.InputContainer":
        self._file.seek(0)
        if self._headerless is None:
            form, options = self._form, {"format_whitelist": self._form or FORMATS}
        else:
            form, options = self._headerless.format, {"sample_rate": str(self._headerless.sample_rate)}
        return av.open(_Bytes(self._file), "r", format=form, options=options, metadata_errors="ignore")


class _Bytes:
    """The file without its name, which PyAV takes only as a str."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _audio(container: "av.container.InputContainer") -> "av.AudioStream":
    return next(iter(container.streams.audio))


def _duration(container: "av.container.InputContainer", stream: "av.AudioStream") -> float | None:
    """Return the seconds by the header, and None if it has none. Matroska has those of its longest stream instead, which
    may be a picture, so they count for a file with one stream."""
    if container.format.name in _ESTIMATED:
        return None
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1 and "matroska" in container.format.name:
        return float(container.duration / av.time_base)
    return None
