"""Comparison of transcripts. Evaluation and the command compare them in the same way."""

import unicodedata


def folded(transcript: str) -> str:
    """Return `transcript` without the differences that do not count: case, white space, and the
    composition of letters and accents.
    """
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", transcript).casefold()).split())
