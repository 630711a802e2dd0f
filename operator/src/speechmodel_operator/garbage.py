"""The times at which Python searches for unreachable cycles of objects."""

import asyncio
import gc
import itertools

OBJECTS = 50_000
"""Dictionaries, lists and instances that Python creates until it searches, instead of 2,000 (700 before Python 3.13). Those of an
answer have no cycles, and a page of a list is made of some 35,000. With 700, searching took half of the processor time of a list.
"""
SECONDS = 60.0
"""Time between two searches of an operator that creates fewer. A connection that has ended is a cycle of asyncio's with about 2 kB:
where connections broke once a second, ten minutes of them were 1 % of the operator's memory.
"""
SEARCHES = 60
"""Every so many searches, once an hour, all objects are searched, which takes some 0.1 s for 100 MB: a connection that lived for minutes is
among the old ones.
"""


def search_seldom() -> None:
    """Let Python search after OBJECTS new objects."""
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


async def search_at_intervals() -> None:
    """Search the two younger generations of objects every SECONDS, and at times all, until cancelled."""
    for number in itertools.count(1):
        await asyncio.sleep(SECONDS)
        gc.collect(1 if number % SEARCHES else 2)
