"""Random draws that a restart repeats: a draw depends only on its name."""

import hashlib


def uniform(name: str) -> float:
    """Return a number from 0 to 1, the same in every version of Python, unlike `random`."""
    return number(name) / 2**64


def number(name: str) -> int:
    """Return an integer from 0 to 2^64 - 1, to seed a generator."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
