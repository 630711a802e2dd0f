"""The loop around reconcile() on this machine: one model, until nothing is due."""

import asyncio
from contextlib import suppress

from speechmodel_plan.reconcile import reconcile

from speechmodel_cli.local.engine import LocalEngine


async def drive(engine: LocalEngine) -> None:
    """Reconcile until the model matches the manifest, cannot progress, or was interrupted and everything has ended.

    A server that was requested runs until interrupt(). Raises a LocalError.
    """
    while True:
        engine.changed.clear()
        look_again = await reconcile(engine)
        if engine.changed.is_set():
            continue
        if engine.settled(look_again):
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(engine.changed.wait(), look_again.total_seconds() if look_again else None)
