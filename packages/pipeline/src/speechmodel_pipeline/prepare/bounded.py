"""Texts about rows that fit into the result of a stage, of which Kubernetes keeps few bytes."""

import json
from collections.abc import Sequence
from itertools import accumulate

from speechmodel_pipeline.prepare.recordings import Listing
from speechmodel_pipeline.prepare_report import Rejection

NOTE_BYTES, ERROR_BYTES = 500, 1200
"""Bytes of JSON for rejections in a note and in an error, so that the result fits RESULT_LIMIT.
report.json and the log have all of them."""

NAME_BYTES = 300
"""Bytes of JSON for a file name in a note."""


def note(listing: Listing, rejected: Sequence[Rejection], untrained: int) -> str:
    """Return the first rejection and the first recording without a row, with their counts, and the number of phrases that
    are not trained.
    """
    notes = []
    if rejected:
        notes.append(f"{len(rejected)} rejected; first: {sentences(rejected[:1], NOTE_BYTES)}")
    if listing.unnamed_files:
        count = len(listing.unnamed_files)
        files = "recordings belong to no row" if count > 1 else "recording belongs to no row"
        notes.append(f"{count} {files}; first: {beginning(listing.unnamed_files[0], NAME_BYTES)}")
    if untrained:
        notes.append(
            f"training never hears {untrained} phrase{'s' * (untrained > 1)}, whose only takes are in test or dev"
        )
    return "; ".join(notes)


def sentences(rejected: Sequence[Rejection], most_bytes: int) -> str:
    """Return as many of the rejections as fit, and how many more there are.

    The first one is cut if it is too long.
    """
    text = ""
    for count, rejection in enumerate(rejected):
        sentence = f"; {rejection}" if text else beginning(str(rejection), most_bytes)
        if text and _json_bytes(text + sentence) > most_bytes:
            return f"{text}; and {len(rejected) - count} more"
        text += sentence
    return text


def beginning(text: str, most_bytes: int) -> str:
    """Return as much of `text` as fits into `most_bytes` of JSON."""
    if _json_bytes(text) <= most_bytes:
        return text
    fitting = sum(end <= most_bytes for end in accumulate(map(_json_bytes, text)))
    return f"{text[:fitting]} ..."


def _json_bytes(text: str) -> int:
    """Return the bytes of `text` in JSON, where a control character takes six."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - len('""')
