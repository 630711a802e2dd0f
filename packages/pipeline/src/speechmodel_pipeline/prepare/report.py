"""report.json of prepare: the rows that were left out or changed, by file and row, with the reason
or the rules.
"""

from enum import StrEnum

from speechmodel_api.base import Document


class RejectionReason(StrEnum):
    """The reasons for leaving out a row or one of its recordings."""

    MALFORMED_ROW = "MalformedRow"
    """The row is not valid CSV, or has too few or too many cells."""
    DUPLICATE_ROW = "DuplicateRow"
    """An earlier row has the same id."""
    NO_RECORDING = "NoRecording"
    """No file belongs to the row."""
    EMPTY_AUDIO = "EmptyAudio"
    """The file has 0 bytes, no samples, or too few for one sample at 16 kHz."""
    NOT_AUDIO = "NotAudio"
    """libsndfile cannot read the file, it is damaged, or its sample rate is out of range."""
    SILENT = "Silent"
    """The recording is silent (SILENCE in clips.py)."""
    TOO_SHORT = "TooShort"
    """The recording has too few frames for its transcript, or is shorter than one window."""
    TOO_LONG = "TooLong"
    """The recording is longer than LONGEST_SECONDS (clips.py)."""
    DUPLICATE_RECORDING = "DuplicateRecording"
    """An earlier row has the same samples."""
    EMPTY_TRANSCRIPT = "EmptyTranscript"
    """The transcript is empty or has only punctuation."""
    NOT_SPELLED_OUT = "NotSpelledOut"
    """The transcript has digits or signs such as %. Only a person knows how they are spoken."""
    OUTSIDE_ALPHABET = "OutsideAlphabet"
    """The transcript has characters that `dataset.alphabet` does not have."""


class Rejection(Document):
    """A row, or one of its recordings, that is left out.

    A rejected transcript counts once, with all its recordings.
    """

    file: str
    """Relative to the dataset's folder."""
    row: int
    """Line in the file; the header is 1."""
    id: str | None = None
    """Id in the row; None when the row cannot be read."""
    recordings: tuple[str, ...] = ()
    """Recordings that are left out, relative to the dataset's folder; may be empty."""
    transcript: str | None = None
    """Transcript as given; None when the row cannot be read."""
    reason: RejectionReason
    message: str
    """One sentence about the problem and its correction."""

    def __str__(self) -> str:
        return f"{self.file} row {self.row}: {self.message}"


class Change(Document):
    """A transcript that the rules changed."""

    file: str
    row: int
    given: str
    used: str
    rules: tuple[str, ...]
    """Names of the rules (transcripts.py) in the order of their application."""


class AudioKind(Document):
    """Recordings of one kind. All but those of 16 kHz, 1 channel and PCM_16 were converted."""

    sample_rate: int
    """Hz."""
    channels: int
    format: str
    """libsndfile's names of container and encoding."""
    recordings: int
    """Number of recordings of this kind."""


class PrepareReport(Document):
    """report.json."""

    rows: int
    """Rows of the CSV files, without blank ones."""
    recordings: int
    """Recordings that the rows name."""
    clips: int
    """Recordings that are used."""
    negatives: int = 0
    """Clips of other speech, which training learns as the catch-all label."""
    parts: dict[str, int]
    """Clips by part."""
    alphabet: tuple[str, ...]
    audio: tuple[AudioKind, ...]
    """Kinds of recordings, the most frequent first."""
    rejected: tuple[Rejection, ...]
    normalised: tuple[Change, ...]
    unnamed_files: tuple[str, ...]
    """Recordings in the language's folder that no row names."""


def quoted(transcript: str, most: int = 60) -> str:
    """Return a transcript in quotation marks for a message, cut to `most` characters."""
    return repr(transcript if len(transcript) <= most else transcript[:most] + " ...")
