"""What kopf tells us, and what we make of it: events wake the supervisor, nothing more."""

import logging
import ssl
from dataclasses import dataclass, fields
from typing import Any

import kopf
from speechmodel_api.crd import GROUP, KIND, PLURAL, VERSION

from speechmodel_operator.resources import labels
from speechmodel_operator.supervisor import Supervisor

log = logging.getLogger(__name__)

Signature = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Connection(kopf.ConnectionInfo):
    """kopf's, without what cluster/connection.py leaves out too: Python 3.13 refuses a CA without key usage."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """What is checked of the API server's certificate."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def register(registry: kopf.OperatorRegistry, supervisor: Supervisor) -> None:
    """Watch SpeechModels and their children. All handlers are `async def`: others would run in threads, without the loop."""
    seen: dict[str, Signature] = {}

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        found = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return None if found is None else Connection(**{f.name: getattr(found, f.name) for f in fields(found)})

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def model_changed(event: kopf.RawEvent, meta: kopf.Meta, **_: Any) -> None:
        uid, namespace, name = str(meta["uid"]), str(meta["namespace"]), str(meta["name"])
        signature = (
            meta.get("generation"),
            meta.get("deletionTimestamp"),
            tuple(sorted((meta.get("annotations") or {}).items())),
            tuple(meta.get("finalizers") or ()),
        )
        if event["type"] == "DELETED":
            seen.pop(uid, None)
            supervisor.wake(uid)
        elif seen.get(uid) != signature:  # our own status patches do not wake us
            seen[uid] = signature
            supervisor.notice(namespace, name, uid)

    async def child_changed(meta: kopf.Meta, **_: Any) -> None:
        for owner in meta.get("ownerReferences") or []:
            if owner.get("kind") == KIND:
                supervisor.wake(owner["uid"])
        wake_by_name(meta)

    def wake_by_name(meta: kopf.Meta) -> None:
        """Pods belong to a Job or a ReplicaSet, and the purge Job to nobody: they name the model by label."""
        name = (meta.get("labels") or {}).get(labels.MODEL)
        if name and not any(o.get("kind") == KIND for o in meta.get("ownerReferences") or []):
            supervisor.wake_named(str(meta["namespace"]), name)

    selector = {labels.MODEL: kopf.PRESENT}
    kopf.on.event("batch", "v1", "jobs", registry=registry, labels=selector)(child_changed)
    kopf.on.event("apps", "v1", "deployments", registry=registry, labels=selector)(child_changed)
    kopf.on.event("", "v1", "pods", registry=registry, labels=selector)(child_changed)
    kopf.on.event("", "v1", "services", registry=registry, labels=selector)(child_changed)

    @kopf.on.probe(registry=registry, id="standing-still", errors=kopf.ErrorsMode.PERMANENT, retries=1)
    async def standing_still(**_: Any) -> list[str]:
        if hanging := supervisor.standing_still():
            raise kopf.PermanentError(f"reconciling hangs: {', '.join(hanging)}")
        return []


def settings() -> kopf.OperatorSettings:
    """kopf only watches for us: it posts nothing, writes no annotation and sets no finalizer."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.persistence.finalizer = f"{GROUP}/kopf"
    for plural in ("jobs", "deployments", "pods", "services"):
        found.watching.label_selectors[plural] = labels.MODEL
    found.watching.server_timeout = 300
    found.watching.client_timeout = 330
    return found
