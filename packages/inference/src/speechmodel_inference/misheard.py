"""The inbox of clips that the server rejected or was not sure of. People play them, and turn them into takes."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from pydantic import ValidationError
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.takes import MISHEARD, TAKES, Misheard, Take
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime import Pcm, WarningKind, decode
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.errors import BadRequest
from speechmodel_inference.settings import Settings
from speechmodel_inference.sounds import SoundStore, is_id, new_id, time_of, wav_of
from speechmodel_inference.takes import LONGEST_UPLOAD_SECONDS, check_samples
from speechmodel_inference.transcribing import Segment, Transcript
from speechmodel_inference.upload import Upload
from speechmodel_inference.version import ServedVersion

log = logging.getLogger(__name__)

MOST_WAITING = 100
"""Clips that wait to be written. More are not kept, so that a slow disk costs no memory."""
MOST_LISTED = 200
ROUNDING_SECONDS = 0.005
"""Largest time that the length of a clip in its document may lack."""


class MisheardInbox:
    """The clips of one model beside its dataset. It takes clips from any thread and writes them in a thread of its own.

    Other methods are for any thread and raise OSError. Several servers of the model may share the clips.
    """

    def __init__(self, store: SoundStore, settings: Settings) -> None:
        self._folder = inbox_folder(settings.name)
        self._store, self._below = store, settings.misheard_below
        self._days, self._bytes = settings.misheard_days, settings.misheard_mebibytes * 2**20
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="misheard")
        self._places = threading.Semaphore(MOST_WAITING)
        self._unwritten: set[Future[None]] = set()

    @property
    def keeps(self) -> bool:
        """True if clips are kept. False deletes those that are there."""
        return self._days is not None

    # --- clips arrive ---

    def recording(self, version: ServedVersion, upload: Upload, transcript: Transcript) -> None:
        """Keep the doubtful segments of a recording of up to two minutes. Call it in a decoder thread."""
        doubtful = [each for each in transcript.segments if self._doubts(each)]
        if not doubtful or transcript.audio_seconds > LONGEST_UPLOAD_SECONDS:
            return
        upload.file.seek(0)
        try:
            decoded = decode(upload.audio(), name=upload.name, max_seconds=LONGEST_UPLOAD_SECONDS)
        except (SpeechRuntimeError, DecodingError) as error:  # rates on either side of a limit
            log.warning("a misheard clip is not kept: %s", error)
            return
        clipped = any(warning.kind is WarningKind.CLIPPED for warning in decoded.warnings)
        for segment in doubtful:
            first, last = (round(SAMPLE_RATE * each) for each in segment.utterance_seconds)
            self._keep(version, decoded.pcm[first:last], segment, clipped=clipped)

    def utterance(self, version: ServedVersion, pcm: Pcm, segment: Segment) -> None:
        """Keep an utterance of a stream, samples at 16 kHz, if it is doubtful."""
        if self._doubts(segment):
            self._keep(version, pcm, segment, clipped=False)

    def _doubts(self, segment: Segment) -> bool:
        accepted = segment.accepted
        unsure = accepted is not None and accepted.confidence < self._below
        return self.keeps and (not segment.text or unsure)

    def _keep(self, version: ServedVersion, pcm: Pcm, segment: Segment, *, clipped: bool) -> None:
        try:
            checked = check_samples(pcm, clipped=clipped)
        except BadRequest:
            return  # it could not become a take
        accepted = segment.accepted
        clip = Misheard(
            heard=segment.text,
            confidence=round(accepted.confidence, 4) if accepted else None,
            candidates=tuple(each.text for each in segment.candidates),
            language=version.manifest.language,
            version=version.manifest.version,
            seconds=checked.seconds,
            recorded_at=datetime.now(UTC),
        )
        if not self._places.acquire(blocking=False):
            log.warning("a misheard clip is not kept: %d are waiting for the disk", MOST_WAITING)
            return
        try:
            writing = self._writer.submit(self._written, clip, checked.pcm.copy())  # without the rest of the recording
        except RuntimeError:
            self._places.release()
            log.warning("a misheard clip is not kept: the server ends")
            return
        self._unwritten.add(writing)
        writing.add_done_callback(self._unwritten.discard)

    def _written(self, clip: Misheard, pcm: Pcm) -> None:
        try:
            wav = wav_of(pcm)
            self._make_room(len(wav))
            identity = new_id(clip.recorded_at)
            self._store.add(self._name(identity), wav, clip.model_dump_json(by_alias=True))
            log.info("kept the misheard clip %s: %.2f s", identity, clip.seconds)
        except OSError as error:
            log.warning("a misheard clip is not kept: %s", error.strerror or error)
        finally:
            self._places.release()

    def _make_room(self, size: int) -> None:
        """Delete the oldest clips until another one of `size` bytes fits."""
        sizes = self._sizes()
        over = sum(sizes.values()) + size - self._bytes
        for name, each in sizes.items():
            if over <= 0:
                break
            self._store.remove(name)
            over -= each

    def close(self, seconds: float | None = None) -> None:
        """Write what waits, for at most `seconds`. What arrives afterwards is not kept."""
        self._writer.shutdown(wait=False)
        if left := len(wait(set(self._unwritten), seconds).not_done):
            log.warning("%d misheard clips are not kept: they were not written within %g s", left, seconds)
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _name(self, identity: str) -> str:
        return f"{self._folder}/{identity}"

    def _names(self) -> list[str]:
        """Return the names of the clips. Other files in the folder belong to somebody else, so they stay."""
        return [name for name in self._store.names(self._name("*")) if is_id(_identity(name))]

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of the clips by name, the oldest first, also of those without a document."""
        sizes = self._store.sizes(self._name("*"))
        return {name: size for name, size in sizes.items() if is_id(_identity(name))}

    # --- people look at them ---

    def expire(self) -> None:
        """Delete the clips that are older than they may be, and all of them if none are kept. Clips that a server
        reserved before it ended return to the list.
        """
        self._store.release_old(self._name("*"))
        oldest = datetime.now(UTC) - timedelta(days=self._days or 0)
        for name in self._sizes():
            if time_of(_identity(name)) < oldest:
                self._store.remove(name)

    def newest(self) -> tuple[int, list[tuple[str, Misheard]]]:
        """Return the number of clips, and the newest MOST_LISTED with their ids."""
        names = self._names()
        return len(names), list(self._clips(names[: -MOST_LISTED - 1 : -1]))

    def _clips(self, names: Sequence[str]) -> Iterable[tuple[str, Misheard]]:
        for name, document in self._store.documents(names):
            if (clip := _parsed(name, document)) is not None:
                yield _identity(name), clip

    def sound(self, identity: str) -> bytes | None:
        """Return a clip as a wav file. None when there is none."""
        return self._store.sound(self._name(identity))

    def confirm(
        self, identity: str, *, text: str, speaker: str, consent: bool, require: Callable[[Take, float], object]
    ) -> Take | None:
        """Turn a clip into a take of the same id, and return it. None when it is no longer there, or is damaged.

        None too when somebody else confirms it at the same time. If a server ended in between before, the take is
        there already, and the clip is deleted now. `require` is called with the take and its seconds. Raises its errors,
        and ValidationError when the take cannot be valid.
        """
        name = self._name(identity)
        self._store.release_old(name)
        document = self._store.document(name)
        if document is None or (clip := _parsed(name, document)) is None:
            return None
        take = Take.model_validate(
            {
                "text": text,
                "speaker": speaker,
                "consent": consent,
                "language": clip.language,
                "recorded_at": clip.recorded_at,
            }
        )
        require(take, clip.seconds + ROUNDING_SECONDS)
        if not self._store.claim(name):
            return None
        try:
            added = self._added(identity, take)
        except OSError:
            self._store.release(name)
            raise
        self._store.remove(name)
        return take if added else None

    def _added(self, identity: str, take: Take) -> bool:
        """Add the take of a claimed clip. Return False when there is one of it, or its sound is gone."""
        sound = self._store.sound(self._name(identity))
        if sound is None or self._store.names(f"{TAKES}/*/{identity}"):
            return False
        self._store.add(f"{TAKES}/{take.speaker}/{identity}", sound, take.model_dump_json(by_alias=True))
        return True

    def drop(self, identity: str) -> bool:
        """Delete a clip. Return False when there is none."""
        return self._store.remove(self._name(identity))

    def drop_all(self) -> int:
        """Delete every clip and return their number. Sounds without a document are deleted too, and do not count."""
        return sum(map(self._store.remove, {*self._names(), *self._sizes()}))


def inbox_folder(model: str) -> str:
    """Return the folder of the clips of a model in that of its dataset. No name leads out of it."""
    return f"{MISHEARD}/{quote(model, safe='').replace('.', '%2E')}"


def _identity(name: str) -> str:
    return name.rpartition("/")[2]


def _parsed(name: str, document: bytes) -> Misheard | None:
    try:
        return Misheard.model_validate_json(document)
    except ValidationError:
        log.warning("%s.json is not the description of a misheard clip; delete it", name)
        return None
