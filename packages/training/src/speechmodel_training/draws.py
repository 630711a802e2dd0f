"""Chance that a restart repeats: a draw depends on nothing but its name."""

import hashlib


def uniform(name: str) -> float:
    """0...1 by sha256: the same in every version of Python, unlike `random`."""
    return number(name) / 2**64


def number(name: str) -> int:
    """0...2^64 - 1: a seed for a generator."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
