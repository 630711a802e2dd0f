"""Audio files that FFmpeg reads, by PyAV."""

from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np

from speechmodel_runtime.errors import AudioUnreadable
from speechmodel_runtime.headerless import Headerless
from speechmodel_runtime.readers import READABLE, Block, Header, damaged

FORMATS = "aac,ac3,amr,amrnb,amrwb,asf,avi,caf,flv,matroska,webm,mov,mp4,mpegts,nistsphere,ogg,wav,wv"
"""FFmpeg's names of the formats that it may read. A playlist is not among them, because it makes
FFmpeg open the files and addresses that it names."""


class FFmpegReader:
    """An audio file that FFmpeg reads."""

    def __init__(
        self, file: BinaryIO, called: str, headerless: Headerless | None = None, form: str | None = None
    ) -> None:
        """Read the header, unless the file is `headerless`. `form` is FFmpeg's name of the format if it is known.

        Raises AudioUnreadable.
        """
        self._file, self._called, self._headerless, self._form = file, called, headerless, form
        try:
            self.header = self._read_header()
        except (av.FFmpegError, StopIteration) as error:
            raise AudioUnreadable(called, f"is not readable audio; use {READABLE}") from error

    def _read_header(self) -> Header:
        with self._container() as container:
            stream = _audio(container)
            first = next(container.decode(stream))
            rate = first.sample_rate
            duration = stream.duration and stream.time_base and float(stream.duration * stream.time_base)
            frames = round(duration * rate) if duration and self._form is None else None  # or those of the first file
            name = container.format.name.split(",")[0]
            return Header(rate, first.layout.nb_channels, frames, f"{name} {stream.codec_context.name}")

    def blocks(self) -> Iterator[Block]:
        """Decode the file from its beginning. Raises AudioUnreadable where it is damaged."""
        frames, rate = 0, self.header.sample_rate
        try:
            with self._container() as container:
                convert = None
                for decoded in container.decode(_audio(container)):
                    convert = convert or av.AudioResampler("fltp", decoded.layout, rate)
                    for frame in convert.resample(decoded):
                        frames += frame.samples
                        yield frame.to_ndarray().T.astype(np.float32, copy=False)
        except (av.FFmpegError, ValueError) as error:  # ValueError: the channels change on the way
            raise damaged(self._called, frames / rate) from error

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
