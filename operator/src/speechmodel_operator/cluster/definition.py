"""Wait for the CustomResourceDefinition, and compare the one that the API server serves with the one that this operator knows."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

from speechmodel_api.crd import GROUP, KIND, PLURAL, VERSION, schema
from speechmodel_api.reasons import Reason

from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.telemetry import Telemetry

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0
CHECK_SECONDS = 600.0


async def wait_until_served(api: Api) -> None:
    """Wait until the API server knows SpeechModels.

    An API server that cannot be reached ends the operator: Kubernetes restarts it, and `helm install --wait` keeps waiting.
    """
    while not await api.serves(GROUP, VERSION, PLURAL):
        log.warning(
            "the CustomResourceDefinition %s.%s is not installed; install it (helm upgrade with crds.enabled=true)",
            PLURAL,
            GROUP,
        )
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def watch_definition(api: Api, telemetry: Telemetry) -> None:
    """Check the definition now and every ten minutes. Fields that the API server drops are logged and counted.

    The operator goes on: models without these fields work as before.
    """
    while True:
        try:
            missing = await missing_fields(api)
        except (ClusterError, NoAnswer) as error:
            log.warning("cannot check the CustomResourceDefinition: %s", error)
        else:
            telemetry.definition_lacks(len(missing))
            if missing:
                text = "%s: the CustomResourceDefinition is older than the operator and lacks %s; upgrade it"
                log.warning(text, Reason.CRD_OUTDATED, ", ".join(missing))
        await asyncio.sleep(CHECK_SECONDS)


async def missing_fields(api: Api) -> tuple[str, ...]:
    """Return the fields that the operator knows and the API server drops. Raises ClusterError if it serves no SpeechModels."""
    schemas = (await api.openapi(GROUP, VERSION))["components"]["schemas"]
    served: dict[str, Any] = next(
        (schema for name, schema in schemas.items() if name.endswith(f".{VERSION}.{KIND}")), {}
    )
    return tuple(sorted(set(_fields(schema(described=False))) - set(_fields(served))))


def _fields(node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every property below `spec` and `status` of a schema."""
    for name, child in node.get("properties", {}).items():
        if path or name in ("spec", "status"):
            yield path + name
            yield from _fields(child, f"{path}{name}.")
    if "items" in node:
        yield from _fields(node["items"], path)
