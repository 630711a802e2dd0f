"""Takes that people record on the page: they are checked, trimmed and kept in the folder of the dataset."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from pydantic import ValidationError
from speechmodel_api.audio import SAMPLE_RATE, frame_count, frames_needed
from speechmodel_api.takes import TAKES, Take
from speechmodel_decoding import cut_at_pauses
from speechmodel_runtime import Pcm, WarningKind, decode, loudness, seconds

from speechmodel_inference.errors import BadRequest
from speechmodel_inference.sounds import SoundStore, new_id, wav_of

FAINTEST = -45.0
"""dBFS of the speech in a take. Quieter recordings of usual microphones are more noise than speech."""
LONGEST_SECONDS = 30.0
"""Longest take: what the prepare stage takes."""
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
    return check_samples(decoded.pcm, clipped=any(each.kind is WarningKind.CLIPPED for each in decoded.warnings))


def check_samples(pcm: Pcm, *, clipped: bool) -> CheckedTake:
    """Return samples at 16 kHz without the silence around their speech. Raises BadRequest as check()."""
    spoken, level = cut_at_pauses(pcm), loudness(pcm)
    if not spoken or level is None:
        raise _refused("take_silent", "Nobody speaks in the recording; record it again.")
    if clipped:
        raise _refused("take_clipped", "The recording is clipped; speak from further away, or lower the gain.")
    if level < FAINTEST:
        raise _refused("take_faint", f"The speech is too quiet ({level:.0f} dBFS); come closer, or raise the gain.")
    first, last = spoken[0].start_seconds, spoken[-1].end_seconds
    pcm = pcm[round(SAMPLE_RATE * first) : round(SAMPLE_RATE * last)]
    if seconds(len(pcm)) > LONGEST_SECONDS:
        raise _refused(
            "take_too_long", f"The take is longer than {LONGEST_SECONDS:g} s; record one sentence at a time."
        )
    return CheckedTake(pcm, round(level, 1))


def require_room(duration: float, trained: str) -> None:
    """Raise BadRequest if speech is too short for its sentence, as prepare does."""
    if frame_count(round(duration * SAMPLE_RATE)) < frames_needed(trained):
        problem = f"The recording has {duration:.2f} s of speech, too short for this sentence"
        raise _refused("take_too_short", f"{problem}; correct the sentence, or record it again.")


class TakeStore:
    """The takes of a dataset. Methods raise OSError."""

    def __init__(self, store: SoundStore) -> None:
        self._store = store

    def add(self, take: Take, pcm: Pcm) -> str:
        """Keep a take and return its id."""
        identity = new_id(take.recorded_at)
        self._store.add(_name(take.speaker, identity), wav_of(pcm), take.model_dump_json(by_alias=True))
        return identity

    def remove(self, speaker: str, identity: str) -> bool:
        """Delete a take. Return False when there is none."""
        return self._store.remove(_name(speaker, identity))

    def forget(self, speaker: str) -> int:
        """Delete every take of a speaker and return their number."""
        count = len(self._store.names(_name(speaker, "*")))
        self._store.remove_folder(f"{TAKES}/{speaker}")
        return count

    def saved_after(self, time: datetime | None) -> int:
        """Return the number of takes that were saved after a time, or at any time."""
        pattern = _name("*", "*")
        return len(self._store.names(pattern)) if time is None else self._store.count_after(pattern, time)

    def count(self, trained: Callable[[str], str]) -> dict[str, Counter[str]]:
        """Return the number of takes by speaker and sentence. `trained` returns a sentence as it is trained."""
        counts: dict[str, Counter[str]] = {}
        for _, document in self._store.documents(self._store.names(_name("*", "*"))):
            try:
                take = Take.model_validate_json(document)
            except ValidationError:
                continue  # not a take, which the prepare stage reports
            counts.setdefault(take.speaker, Counter())[trained(take.text)] += 1
        return counts


def _name(speaker: str, identity: str) -> str:
    return f"{TAKES}/{speaker}/{identity}"


def _refused(code: str, message: str) -> BadRequest:
    return BadRequest(message, code=code, param="file")
