"""The reasons for leaving out a transcript or a recording."""

from enum import StrEnum


class RejectionReason(StrEnum):
    """The reasons for leaving out a row or one of its recordings."""

    MALFORMED_ROW = "MalformedRow"
    """The row is not valid CSV, or has too few or too many cells."""
    DUPLICATE_ROW = "DuplicateRow"
    """An earlier row has the same id."""
    NO_RECORDING = "NoRecording"
    """No file belongs to the row, or it cannot be opened."""
    EMPTY_AUDIO = "EmptyAudio"
    """The file has 0 bytes, no samples, or too few for one sample at 16 kHz."""
    NOT_AUDIO = "NotAudio"
    """The file is in no format that is read, it is damaged, or its sample rate is out of range."""
    SILENT = "Silent"
    """The recording has nothing but silence."""
    TOO_SHORT = "TooShort"
    """The recording has too few frames for its transcript, is shorter than one window, or has less speech than a clip."""
    TOO_LONG = "TooLong"
    """The recording is longer than LONGEST_SECONDS (clips.py)."""
    DUPLICATE_RECORDING = "DuplicateRecording"
    """An earlier row has the same samples."""
    EMPTY_TRANSCRIPT = "EmptyTranscript"
    """The transcript is empty or has only punctuation."""
    NOT_SPELLED_OUT = "NotSpelledOut"
    """The transcript has digits or signs such as %. Only a person knows how they are spoken."""
    ANNOTATION = "Annotation"
    """The transcript has text in brackets or asterisks, which may not be spoken."""
    MIXED_SCRIPTS = "MixedScripts"
    """A word has letters of several scripts that do not look alike."""
    WRONG_ENCODING = "WrongEncoding"
    """The transcript is UTF-8 that was read as Latin-1 or Windows-1252, such as niÃ±a for niña, or
    it lost letters, such as ni�a."""
    OUTSIDE_ALPHABET = "OutsideAlphabet"
    """The transcript has characters that `dataset.alphabet` does not have."""


def quoted(transcript: str, most: int = 60) -> str:
    """Return a transcript in quotation marks for a message, cut to `most` characters."""
    return repr(transcript if len(transcript) <= most else transcript[:most] + " ...")
