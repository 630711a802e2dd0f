"""Times that differ a little, so that what happened together is not repeated together."""

import random


def jittered(seconds: float, share: float = 0.1) -> float:
    """Return `seconds` and at most that share of them more."""
    return seconds * random.uniform(1, 1 + share)  # noqa: S311 - nobody gains from guessing it
