"""`python -m speechmodel_operator` starts the operator."""

import asyncio
import logging
import sys
from datetime import timedelta

import kopf
from kubernetes.aio import client
from prometheus_client import start_http_server
from speechmodel_plan.task import Owner

from speechmodel_operator import handlers, logs
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.connection import load_configuration, wait_until_served
from speechmodel_operator.cluster.definition import watch_definition
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.settings import Settings, SettingsError
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry

log = logging.getLogger("speechmodel_operator")


async def operate(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    images = Images(
        settings.image_pipeline,
        settings.image_training,
        settings.image_inference,
        settings.image_pull_policy,
        settings.image_pull_secrets,
        settings.log_format,
    )
    telemetry = Telemetry()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=telemetry.registry)
    async with client.ApiClient(await load_configuration()) as connection:
        api = Api(connection, telemetry)
        await wait_until_served(api)

        def make_engine(owner: Owner) -> ClusterEngine:
            interval = timedelta(seconds=settings.progress_seconds)
            return ClusterEngine(api, images, owner, progress_interval=interval, telemetry=telemetry)

        supervisor = Supervisor(make_engine, telemetry)
        registry = kopf.OperatorRegistry()
        handlers.register(registry, supervisor)
        definition = asyncio.create_task(watch_definition(api, telemetry))
        log.info("watching %s", ", ".join(settings.namespaces) or "all namespaces")
        try:
            await kopf.operator(
                registry=registry,
                settings=handlers.settings(),
                standalone=True,
                clusterwide=not settings.namespaces,
                namespaces=settings.namespaces,
                liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz"
                if settings.liveness_port
                else None,
            )
        finally:
            definition.cancel()
            await supervisor.stop()


def main() -> int:
    """Start the operator. An invalid setting ends it with a message and exit code 78."""
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(f"speechmodel-operator: {error}", file=sys.stderr)
        return 78
    logs.set_up(settings.log_level, settings.log_format)
    logging.getLogger("kopf").setLevel(logging.DEBUG if settings.log_level == "DEBUG" else logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # probes
    asyncio.run(operate(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
