"""report.json: what was left out and why, what was changed and how. Everything is named by file and row."""

from enum import StrEnum

from speechmodel_api.base import Document


class Reason(StrEnum):
    """Why a row, or one recording of it, is left out."""

    MALFORMED_ROW = "MalformedRow"
    """The row is no CSV, or has too few or too many cells."""
    DUPLICATE_ROW = "DuplicateRow"
    """An earlier row has the same id."""
    NO_RECORDING = "NoRecording"
    """No file belongs to the row."""
    EMPTY_AUDIO = "EmptyAudio"
    """0 bytes, no samples, or too few to make one at 16 kHz."""
    NOT_AUDIO = "NotAudio"
    """Nothing that libsndfile reads, damaged, or of an impossible sample rate."""
    SILENT = "Silent"
    """Nothing but silence (SILENCE in clips.py)."""
    TOO_SHORT = "TooShort"
    """Not enough frames for the transcript, or less than one window."""
    TOO_LONG = "TooLong"
    """Longer than LONGEST_SECONDS (clips.py)."""
    DUPLICATE_RECORDING = "DuplicateRecording"
    """An earlier row has the same samples."""
    EMPTY_TRANSCRIPT = "EmptyTranscript"
    """Nothing to learn, or nothing but punctuation."""
    NOT_SPELLED_OUT = "NotSpelledOut"
    """Digits and signs such as % are spoken as words that only a person knows."""
    OUTSIDE_ALPHABET = "OutsideAlphabet"
    """Characters that `dataset.alphabet` does not have."""


class Rejection(Document):
    """A row, or one recording of it, that is left out: a transcript that is refused counts once, with all its recordings."""

    file: str
    """Relative to the dataset's folder."""
    row: int
    """Line in the file; the header is 1."""
    id: str | None = None
    """What the row calls it; None when the row cannot be read."""
    recordings: tuple[str, ...] = ()
    """Those that are left out, relative to the dataset's folder; empty when the row has none."""
    transcript: str | None = None
    """As written; None when the row cannot be read."""
    reason: Reason
    message: str
    """One sentence: what is wrong and what to do."""

    def __str__(self) -> str:
        return f"{self.file} row {self.row}: {self.message}"


class Change(Document):
    """A transcript that the rules changed."""

    file: str
    row: int
    given: str
    used: str
    rules: tuple[str, ...]
    """Names of the rules (transcripts.py), in the order in which they were applied."""


class AudioKind(Document):
    """Recordings of one kind; every other than 16 kHz, 1 channel, PCM_16 was converted."""

    sample_rate: int
    """Hz."""
    channels: int
    format: str
    """libsndfile's names of container and encoding."""
    recordings: int


class PrepareReport(Document):
    """report.json."""

    rows: int
    """Rows of the CSV files, blank ones not counted."""
    recordings: int
    """Recordings that the rows name."""
    clips: int
    """Of them, those that are used."""
    parts: dict[str, int]
    """Clips by part."""
    alphabet: tuple[str, ...]
    audio: tuple[AudioKind, ...]
    """What the recordings were, most frequent first."""
    rejected: tuple[Rejection, ...]
    normalised: tuple[Change, ...]
    unnamed_files: tuple[str, ...]
    """Recordings in the language's folder that no row names."""


def quoted(transcript: str, most: int = 60) -> str:
    """A transcript in quotation marks, as messages name it: its beginning when it is long."""
    return repr(transcript if len(transcript) <= most else transcript[:most] + " ...")
