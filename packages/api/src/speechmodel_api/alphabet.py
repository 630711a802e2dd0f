"""The label for speech and sound that is not part of any transcript."""

from collections.abc import Sequence

CATCH_ALL = "\ue000"
"""Label that a model emits for everything but its own transcripts: other people's speech, music,
noise. Training adds it after the alphabet of the transcripts when there are negatives. It is a
private use character of Unicode, so it occurs in no language and changes under no normal form.
Free text never shows it."""


def spoken(labels: Sequence[str]) -> list[int]:
    """Return the places of `labels` that are not the catch-all label, nor a space that it leaves behind: at
    either end, or two in a row. Without a catch-all label, all places are returned, or none if every label is a space.
    """
    if CATCH_ALL not in labels:
        return list(range(len(labels))) if any(label != " " for label in labels) else []
    kept: list[int] = []
    for place, label in enumerate(labels):
        if label != CATCH_ALL and not (label == " " and (not kept or labels[kept[-1]] == " ")):
            kept.append(place)
    return kept[:-1] if kept and labels[kept[-1]] == " " else kept
