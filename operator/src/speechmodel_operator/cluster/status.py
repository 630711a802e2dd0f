"""Writing the status and posting Events: only what changed, and never over a newer copy."""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from speechmodel_api.crd import GROUP, KIND, VERSION
from speechmodel_api.status import SpeechModelStatus
from speechmodel_api.times import format_time
from speechmodel_plan.events import Event

from speechmodel_operator.cluster.api import EVENTS, FIELD_MANAGER, MODELS, Api, Object
from speechmodel_operator.cluster.errors import ClusterError

log = logging.getLogger(__name__)


async def write_status(api: Api, model: Object, status: SpeechModelStatus) -> Object | None:
    """PATCH what differs from the model's own copy; Conflict when the model changed since it was read. None: nothing was written,
    or the model is gone."""
    before = _document(SpeechModelStatus.model_validate(model.get("status") or {}))
    patch = merge_patch(before, _document(status))
    if not patch:
        return None
    metadata = model["metadata"]
    body = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch}
    return await api.merge_patch(MODELS, metadata["namespace"], metadata["name"], body, "/status")


async def post_events(api: Api, model: Object, events: Iterable[Event], now: datetime) -> None:
    """What `kubectl describe` shows. An Event that is refused, as all are in a namespace that is on its way out, is only logged."""
    metadata = model["metadata"]
    for event in events:
        time = format_time(now)
        body = {
            "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:1024],
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
        try:
            await api.create(EVENTS, metadata["namespace"], body)
        except ClusterError as error:
            log.warning(
                "%s/%s: %s: %s (no Event: %s)",
                metadata["namespace"],
                metadata["name"],
                event.reason,
                event.message,
                error,
            )


def merge_patch(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch that turns one into the other: removed fields are null, lists are replaced whole."""
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
