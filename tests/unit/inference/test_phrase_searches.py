"""Searches for phrases at the same time."""

import asyncio
import threading

import pytest
from speechmodel_decoding import Grammar
from speechmodel_inference.card import PhraseMatches
from speechmodel_inference.errors import QueueFull
from speechmodel_inference.phrase_searches import MOST_WAITING, PhraseSearches

HANGS = 60


async def test_one_search_runs_at_a_time_and_a_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    go, running, most = threading.Event(), 0, 0

    def search(grammar: Grammar | None, letters: str) -> PhraseMatches:
        nonlocal running, most
        running += 1
        most = max(most, running)
        go.wait(HANGS)
        running -= 1
        return PhraseMatches(phrases=(letters,), intent_of={}, complete=True)

    monkeypatch.setattr(PhraseMatches, "of", search)
    searches = PhraseSearches()
    first = [asyncio.create_task(searches.find(None, str(number))) for number in range(1 + MOST_WAITING)]
    await asyncio.sleep(0)  # each has taken its place
    with pytest.raises(QueueFull) as full:
        await searches.find(None, "one more")
    assert int(full.value.headers["Retry-After"]) >= 3
    go.set()
    assert [found.phrases for found in await asyncio.gather(*first)] == [(str(n),) for n in range(1 + MOST_WAITING)]
    assert most == 1
    assert (await searches.find(None, "later")).phrases == ("later",)
