"""The searches for phrases of a server. Each takes a CPU for up to half a second, so one runs at a time."""

import asyncio

from speechmodel_decoding import Grammar

from speechmodel_inference.card import PhraseMatches
from speechmodel_inference.errors import QueueFull

MOST_WAITING = 4
"""Searches that wait for the one that runs. People who type search rarely, so more of them are a client's fault."""
SEARCH_SECONDS = 0.5
"""Longest time of a search."""


class PhraseSearches:
    """Runs one search at a time, in a thread."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._taken = 0
        """Searches that run or wait."""

    async def find(self, grammar: Grammar | None, letters: str) -> PhraseMatches:
        """Return the phrases of a grammar that have `letters`. Raises QueueFull if MOST_WAITING searches wait already."""
        if self._taken > MOST_WAITING:
            raise QueueFull(self._taken * SEARCH_SECONDS)
        self._taken += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(PhraseMatches.of, grammar, letters)
        finally:
            self._taken -= 1
