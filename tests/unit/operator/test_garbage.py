"""Cycles are freed although few objects are created."""

import asyncio
import gc
import weakref

import pytest
from speechmodel_operator import garbage
from support import waiting


class Cycle:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("searches", [1, 60])
async def test_an_operator_that_creates_few_objects_frees_cycles_too(
    searches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "SECONDS", 0.01)
    monkeypatch.setattr(garbage, "SEARCHES", searches)
    before = gc.get_threshold()
    garbage.search_seldom()
    try:
        cycle = Cycle()
        gc.collect(1 if searches > 1 else 2)  # it is old, so only a search of all objects finds it
        found = weakref.ref(cycle)
        del cycle
        assert found() is not None
        task = asyncio.create_task(garbage.search_at_intervals())
        await asyncio.to_thread(waiting.until, lambda: found() is None, "the cycle is freed")
        task.cancel()
    finally:
        gc.set_threshold(*before)
