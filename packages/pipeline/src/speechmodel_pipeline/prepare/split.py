"""The part of a clip.

It depends only on its own samples and the seed, so it stays when others are added or renamed.
"""

import hashlib
from collections.abc import Iterable

from speechmodel_api.spec import Split
from speechmodel_stagekit.dataset import Part


def divide(digests: Iterable[str], split: Split) -> dict[str, Part]:
    """Return the part of each audio digest.

    Few clips may all be drawn for dev and test. The one with the highest draw then goes to train.
    """
    draws = {digest: _draw(digest, split.seed) for digest in digests}
    parts = {digest: _part(draw, split) for digest, draw in draws.items()}
    if parts and Part.TRAIN not in parts.values():
        parts[max(draws, key=lambda digest: (draws[digest], digest))] = Part.TRAIN
    return parts


def _draw(digest: str, seed: int) -> float:
    """Return a number from 0 to 100: the lowest are test, then dev, then train."""
    drawn = hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") / 2**64 * 100


def _part(draw: float, split: Split) -> Part:
    if draw < split.test_percent:
        return Part.TEST
    if draw < split.test_percent + split.dev_percent:
        return Part.DEV
    return Part.TRAIN
