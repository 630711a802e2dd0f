"""Takes that people record on the page: they are checked, trimmed and kept in the folder of the dataset."""

import errno
import secrets
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.takes import TAKES, Take
from speechmodel_decoding import cut_at_pauses
from speechmodel_runtime import Pcm, WarningKind, decode, loudness, save, seconds
from speechmodel_stagekit.durable import replace_file, sync

from speechmodel_inference.errors import BadRequest

FAINTEST = -45.0
"""dBFS of the speech in a take. Quieter recordings of usual microphones are more noise than speech."""
LONGEST_SECONDS = 30.0
"""Longest take: what the prepare stage takes."""
LEAST_FREE_BYTES = 100 * 2**20
"""Space that takes leave on the claim, for the stages that write there."""
LONGEST_UPLOAD_SECONDS = 120.0
"""Longest recording before its silence is removed."""


@dataclass(frozen=True)
class CheckedTake:
    """A recording that is good enough to train with."""

    pcm: Pcm
    """16 kHz, with at most 0.3 s of silence around the speech."""
    level: float
    """Loudness of the speech in dBFS."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return round(seconds(len(self.pcm)), 2)


def check(source: BinaryIO, name: str) -> CheckedTake:
    """Return a recording without the silence around its speech.

    Raises AudioError when it cannot be read, and BadRequest when it is silent, too quiet, clipped or too long.
    """
    decoded = decode(source, name=name, max_seconds=LONGEST_UPLOAD_SECONDS)
    spoken, level = cut_at_pauses(decoded.pcm), loudness(decoded.pcm)
    if not spoken or level is None:
        raise _refused("take_silent", "Nobody speaks in the recording; record it again.")
    if any(warning.kind is WarningKind.CLIPPED for warning in decoded.warnings):
        raise _refused("take_clipped", "The recording is clipped; speak from further away, or lower the gain.")
    if level < FAINTEST:
        raise _refused("take_faint", f"The speech is too quiet ({level:.0f} dBFS); come closer, or raise the gain.")
    first, last = spoken[0].start_seconds, spoken[-1].end_seconds
    pcm = decoded.pcm[round(SAMPLE_RATE * first) : round(SAMPLE_RATE * last)]
    if seconds(len(pcm)) > LONGEST_SECONDS:
        raise _refused(
            "take_too_long", f"The take is longer than {LONGEST_SECONDS:g} s; record one sentence at a time."
        )
    return CheckedTake(pcm, round(level, 1))


class TakeStore:
    """The takes in the folder of a dataset. Several servers may share it. Methods raise OSError."""

    def __init__(self, dataset: Path) -> None:
        self._folder = dataset / TAKES

    def add(self, take: Take, pcm: Pcm) -> str:
        """Keep a take and return its id: the time, so that the files are in the order of recording, and some
        digits that differ between servers.
        """
        folder = self._folder / take.speaker
        folder.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder).free) < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"only {free // 2**20} MiB are free; delete takes or enlarge the claim")
        identity = f"{take.recorded_at:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        sound = folder / f"{identity}.wav"
        try:
            save(sound, pcm)
            sync(sound)
            replace_file(sound.with_suffix(".json"), take.model_dump_json(by_alias=True))
        except OSError:
            sound.unlink(missing_ok=True)
            raise
        return identity

    def remove(self, speaker: str, identity: str) -> bool:
        """Delete a take. Return False when there is none."""
        document = self._folder / speaker / f"{identity}.json"
        try:
            document.unlink()
        except FileNotFoundError:
            return False
        document.with_suffix(".wav").unlink(missing_ok=True)
        return True

    def forget(self, speaker: str) -> int:
        """Delete every take of a speaker and return their number."""
        folder = self._folder / speaker
        count = len(list(folder.glob("*.json")))
        if folder.is_dir():
            shutil.rmtree(folder)
        return count

    def count(self) -> dict[str, Counter[str]]:
        """Return the number of takes by speaker and sentence."""
        counts: dict[str, Counter[str]] = {}
        for document in self._folder.glob("*/*.json"):
            try:
                take = Take.model_validate_json(document.read_bytes())
            except (FileNotFoundError, ValidationError):
                continue  # deleted just now, or not a take, which the prepare stage reports
            counts.setdefault(take.speaker, Counter())[take.text] += 1
        return counts


def _refused(code: str, message: str) -> BadRequest:
    return BadRequest(message, code=code, param="file")
