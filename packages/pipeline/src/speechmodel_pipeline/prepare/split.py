"""Which part a clip belongs to: decided by its own samples and the seed, so it never moves when others are added or renamed."""

import hashlib
from collections.abc import Iterable

from speechmodel_api.spec import Split

from speechmodel_pipeline.prepare.samples import Part


def divide(digests: Iterable[str], split: Split) -> dict[str, Part]:
    """The part of each audio digest.

    With few clips all of them may fall to dev and test: the one that is furthest from them then goes to train, until others
    do by themselves.
    """
    places = {digest: place(digest, split.seed) for digest in digests}
    parts = {digest: _part(at, split) for digest, at in places.items()}
    if parts and Part.TRAIN not in parts.values():
        parts[max(places, key=lambda digest: (places[digest], digest))] = Part.TRAIN
    return parts


def place(digest: str, seed: int) -> float:
    """Where the clip lies from 0 to 100: test comes first, then dev, then train."""
    drawn = hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") / 2**64 * 100


def _part(at: float, split: Split) -> Part:
    if at < split.test_percent:
        return Part.TEST
    if at < split.test_percent + split.dev_percent:
        return Part.DEV
    return Part.TRAIN
