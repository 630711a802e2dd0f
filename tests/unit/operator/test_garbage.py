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


async def test_an_operator_that_creates_few_objects_frees_cycles_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "SECONDS", 0.01)
    before = gc.get_threshold()
    garbage.search_seldom()
    try:
        gc.collect()
        found = weakref.ref(Cycle())
        assert found() is not None
        task = asyncio.create_task(garbage.search_at_intervals())
        await asyncio.to_thread(waiting.until, lambda: found() is None, "the cycle is freed", stalled=10)
        task.cancel()
    finally:
        gc.set_threshold(*before)
