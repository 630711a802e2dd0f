"""The handlers that kopf calls: events wake the supervisor and do nothing else."""

import asyncio
import logging
import ssl
from dataclasses import dataclass, fields
from typing import Any

import kopf
from speechmodel_api.crd import GROUP, KIND, PLURAL, VERSION
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels
from speechmodel_operator.supervisor import Supervisor

log = logging.getLogger(__name__)

Signature = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Connection(kopf.ConnectionInfo):
    """kopf's connection without strict verification: Python 3.13 rejects a CA without key usage (see cluster/connection.py)."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Return the context that checks the API server's certificate."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def register(
    registry: kopf.OperatorRegistry, supervisor: Supervisor, namespaces_changed: asyncio.Event | None = None
) -> None:
    """Watch SpeechModels and their children, and with `namespaces_changed`, namespaces.

    All handlers are `async def`: others would run in threads without the loop.
    """
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
            supervisor.gone(uid)
        elif seen.get(uid) != signature:  # a status patch of ours does not wake us
            seen[uid] = signature
            supervisor.notice(Owner(namespace, name, uid))

    async def child_changed(meta: kopf.Meta, **_: Any) -> None:
        for owner in meta.get("ownerReferences") or []:
            if owner.get("kind") == KIND:
                supervisor.wake(owner["uid"])
        wake_by_name(meta)

    def wake_by_name(meta: kopf.Meta) -> None:
        """Wake by label: pods belong to a Job or a ReplicaSet, and the purge Job has no owner."""
        name = (meta.get("labels") or {}).get(labels.MODEL)
        if name and not any(o.get("kind") == KIND for o in meta.get("ownerReferences") or []):
            supervisor.wake_named(str(meta["namespace"]), name)

    selector = {labels.MODEL: kopf.PRESENT}
    kopf.on.event("batch", "v1", "jobs", registry=registry, labels=selector)(child_changed)
    kopf.on.event("apps", "v1", "deployments", registry=registry, labels=selector)(child_changed)
    kopf.on.event("", "v1", "pods", registry=registry, labels=selector)(child_changed)
    kopf.on.event("", "v1", "services", registry=registry, labels=selector)(child_changed)
    kopf.on.event("", "v1", "persistentvolumeclaims", registry=registry, labels=selector)(child_changed)

    if namespaces_changed is not None:
        changed = namespaces_changed

        @kopf.on.event("", "v1", "namespaces", registry=registry)
        async def namespace_changed(**_: Any) -> None:
            changed.set()


def settings(namespace_selector: str = "") -> kopf.OperatorSettings:
    """Return settings with which kopf only watches: it posts nothing, writes no annotation and sets no finalizer.

    Of namespaces, only those with the labels are watched: one that loses them is reported as deleted.
    """
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.persistence.finalizer = f"{GROUP}/kopf"
    for plural in ("jobs", "deployments", "pods", "services", "persistentvolumeclaims"):
        found.watching.label_selectors[plural] = labels.MODEL
    if namespace_selector:
        found.watching.label_selectors["namespaces"] = namespace_selector
    found.watching.server_timeout = 300
    found.watching.client_timeout = 330
    return found
