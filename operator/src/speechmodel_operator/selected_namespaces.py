"""The namespaces that a label selector names, and the models in them."""

import asyncio
import logging

from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.supervisor import Supervisor

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
"""Longest time between two lists, because a watch may lose an event."""


async def follow_namespaces(api: Api, selector: str, supervisor: Supervisor, changed: asyncio.Event) -> None:
    """Manage the models of namespaces that match, and stop managing those of others, now and after every change.

    A list that fails changes nothing: it is repeated.
    """
    while True:
        changed.clear()
        try:
            supervisor.select(await api.namespaces(selector))
        except (ClusterError, NoAnswer) as error:
            log.warning("cannot list the namespaces with %s: %s", selector, error)
        try:
            await asyncio.wait_for(changed.wait(), RESYNC_SECONDS)
        except TimeoutError:
            continue
