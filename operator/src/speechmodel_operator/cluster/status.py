"""Write the changes of the status, never over a newer copy, and post Events."""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from speechmodel_api.crd import GROUP, KIND, VERSION
from speechmodel_api.status import SpeechModelStatus
from speechmodel_api.times import format_time
from speechmodel_plan.events import Event
from speechmodel_plan.messages import in_event

from speechmodel_operator.cluster.api import EVENTS, FIELD_MANAGER, MODELS, Api
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.cluster.views import Model

log = logging.getLogger(__name__)


async def write_status(api: Api, model: Model, status: SpeechModelStatus) -> Model | None:
    """Patch what differs from the model's own copy; return None when nothing was written or the model is gone.

    Raises Conflict when the model changed since it was read.
    """
    if status == model.status:  # as after most events
        return None
    patch = merge_patch(_document(model.status), _document(status))
    if not patch:
        return None
    metadata = model.metadata
    body = {"metadata": {"resourceVersion": metadata.resource_version}, "status": patch}
    return await api.merge_patch(MODELS, metadata.namespace, metadata.name, body, "/status")


async def post_events(api: Api, model: Model, events: Iterable[Event], now: datetime) -> None:
    """Post Events. One that is rejected, as all are in a namespace that is being deleted, is only logged."""
    metadata = model.metadata
    time = format_time(now)
    for event in events:
        message = in_event(event.message)
        body = {
            "metadata": {"name": f"{metadata.name}.{uuid.uuid4().hex[:16]}", "namespace": metadata.namespace},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "name": metadata.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": message,
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        try:
            await api.create(EVENTS, metadata.namespace, body)
        except (ClusterError, NoAnswer) as error:
            place = f"{metadata.namespace}/{metadata.name}"
            log.warning("%s: %s: %s (no Event: %s)", place, event.reason, message, error)


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch from one document to another: removed fields are null, lists are replaced whole."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := merge_patch(old, value):
                patch[name] = inner
        elif value != old:
            patch[name] = value
    return patch


def _document(status: SpeechModelStatus) -> dict[str, Any]:
    return status.model_dump(by_alias=True, exclude_none=True, mode="json")
