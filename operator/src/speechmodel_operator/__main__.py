"""`python -m speechmodel_operator` starts the operator."""

import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

from speechmodel_api.tracing import PASSED_ON, end_tracing, provider, set_up_tracing
from speechmodel_plan.task import Owner

from speechmodel_operator import logs
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.cache import Rehearsal
from speechmodel_operator.cluster.connection import connect, load_configuration
from speechmodel_operator.cluster.definition import wait_until_served, watch_definition
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.cluster.policies import Policies
from speechmodel_operator.endpoints import endpoints
from speechmodel_operator.garbage import search_at_intervals, search_seldom
from speechmodel_operator.lease import Lease, LeaseLost
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import CaBundle
from speechmodel_operator.selected_namespaces import follow_namespaces
from speechmodel_operator.settings import PREFIX, Settings, SettingsError
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.upgrades import Upgrades
from speechmodel_operator.watches import Watches

log = logging.getLogger("speechmodel_operator")


async def operate(settings: Settings) -> None:
    """Run until cancelled. Raises LeaseLost when another operator has to go on, and SettingsError."""
    telemetry = Telemetry()
    async with connect(await load_configuration()) as connection:
        api = Api(connection, telemetry)
        watches = Watches(settings.namespaces, settings.watch_seconds, telemetry)
        rehearsal = Rehearsal(api, watches.cache)
        upgrades = Upgrades(settings.server_upgrades_at_once, telemetry, wake=lambda uid: supervisor.wake(uid))
        wanted = settings.network_policies
        policies = Policies(api, wanted, telemetry) if wanted is not None else None
        engines = _engines(api, rehearsal, settings, telemetry, upgrades, policies)
        supervisor = Supervisor(engines, telemetry, upgrades, policies)
        defined = asyncio.Event()
        async with endpoints(settings, supervisor, telemetry, defined):
            await wait_until_served(api)  # the liveness probe would end an operator that waits for it without an answer
            defined.set()
            work = partial(_watch, api, settings, supervisor, watches, telemetry)
            if settings.lease:
                namespace, _, name = settings.lease.partition("/")
                identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
                await Lease(api, namespace, name, identity).hold(work)
            else:
                await work()


def images_of(settings: Settings) -> Images:
    """Return the images of the Jobs and servers, and what their containers get from the settings."""
    config_map = settings.ca_bundle_config_map
    return Images(
        settings.image_pipeline,
        settings.image_training,
        settings.image_coqui,
        settings.image_inference,
        settings.image_pull_policy,
        settings.image_pull_secrets,
        settings.log_format,
        tuple((name, os.environ[name]) for name in PASSED_ON if os.environ.get(name)) if provider() else (),
        CaBundle(config_map, settings.ca_bundle_key) if config_map else None,
    )


def _engines(
    api: Api,
    rehearsal: Rehearsal,
    settings: Settings,
    telemetry: Telemetry,
    upgrades: Upgrades,
    policies: Policies | None,
) -> Callable[[Owner], ClusterEngine]:
    images = images_of(settings)
    interval = timedelta(seconds=settings.progress_seconds)
    return lambda owner: ClusterEngine(
        api,
        images,
        owner,
        progress_interval=interval,
        telemetry=telemetry,
        rehearsal=rehearsal,
        upgrades=upgrades,
        policies=policies,
    )


async def _watch(api: Api, settings: Settings, supervisor: Supervisor, watches: Watches, telemetry: Telemetry) -> None:
    """Follow the SpeechModels of the watched namespaces, until cancelled."""
    telemetry.lead(leading=True)
    selector, changed = settings.namespace_selector, asyncio.Event()
    if selector:
        supervisor.select(await _first_namespaces(api, selector))
    else:
        log.info("watching %s", ", ".join(settings.namespaces) or "all namespaces")
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_definition(api, telemetry))
            tasks.create_task(search_at_intervals())
            tasks.create_task(watches.run(api, supervisor, selector, changed.set if selector else None))
            if selector:
                tasks.create_task(follow_namespaces(api, selector, supervisor, changed))
    finally:
        telemetry.lead(leading=False)
        await supervisor.stop()


async def _first_namespaces(api: Api, selector: str) -> frozenset[str]:
    """Return the namespaces that match. Raises SettingsError for a selector that the API server rejects."""
    try:
        return await api.namespaces(selector)
    except ClusterError as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            raise
        raise SettingsError(
            f"{PREFIX}NAMESPACE_SELECTOR={selector!r} is not a valid label selector: {error}"
        ) from error


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Wait for `work`. SIGTERM and SIGINT cancel it, which is no error."""
    task = asyncio.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


def main() -> int:
    """Start the operator. An invalid setting ends it with a message and exit code 78, a lost Lease with 1."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(f"speechmodel-operator: {error}", file=sys.stderr)
        return 78
    logs.set_up(settings.log_level, settings.log_format)
    set_up_tracing("speechmodel-operator")
    search_seldom()
    try:
        asyncio.run(_until_stopped(operate(settings)))
    except SettingsError as error:
        print(f"speechmodel-operator: {error}", file=sys.stderr)
        return 78
    except (LeaseLost, ClusterError, NoAnswer) as error:
        log.error("%s", error)
        return 1
    finally:
        end_tracing()
    return 0


if __name__ == "__main__":
    sys.exit(main())
