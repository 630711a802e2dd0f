"""Read from the API server's audit log who wrote what.

The policy records every request that may change something, at level Metadata, once it is answered; reads
(get, list, watch) are left out. A line is written when its request is answered, within milliseconds of it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubecluster.layout import Layout
from kubecluster.shell import Options

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}
# questions that are asked by POST and store nothing
QUESTIONS = ("authentication.k8s.io", "authorization.k8s.io")
ROTATE_AT_MB = 1000


@dataclass(frozen=True)
class Write:
    """A request that changed something, or tried to."""

    at: datetime  # when the API server received it, UTC
    user: str  # such as system:serviceaccount:speechops:operator
    user_agent: str
    verb: str  # create, update, patch, delete, deletecollection
    group: str  # API group, empty for the core group
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int  # HTTP status of the answer


def writes(
    layout: Layout,
    since: datetime,
    until: datetime | None = None,
    *,
    user: str = "",
    user_agent: str = "",
    resource: str = "",
    namespace: str = "",
) -> list[Write]:
    """Return the writes received in [since, until), oldest first.

    `user` and `user_agent` match when they occur anywhere in the request's; `resource` (plural, with
    /subresource if wanted, such as speechmodels/status) and `namespace` match whole; empty ones match all.
    Dry runs and access reviews do not count. Times must be timezone-aware.
    """
    found = [
        write
        for write in map(_write, _events(_logs(layout)))
        if write is not None
        and since <= write.at
        and (until is None or write.at < until)
        and user in write.user
        and user_agent in write.user_agent
        and resource in ("", write.resource, f"{write.resource}/{write.subresource}")
        and namespace in ("", write.namespace)
    ]
    return sorted(found, key=lambda write: write.at)


def now() -> datetime:
    """Return the current time, as a bound for `writes`."""
    return datetime.now(UTC)


def apiserver_flags(layout: Layout) -> Options:
    """Write the policy and return the API server's options for it."""
    policy = layout.state / "audit-policy.json"
    policy.write_text(json.dumps(POLICY))
    return {
        "audit-policy-file": policy,
        "audit-log-path": layout.audit_log,
        "audit-log-maxsize": ROTATE_AT_MB,
        "audit-log-mode": "blocking",
    }


def _logs(layout: Layout) -> list[Path]:
    return sorted(layout.logs.glob(f"{layout.audit_log.stem}*{layout.audit_log.suffix}"))


def _events(logs: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for log in logs:
        with log.open() as lines:
            # the last line may be in the middle of being written
            yield from (json.loads(line) for line in lines if line.endswith("\n"))


def _write(event: dict[str, Any]) -> Write | None:
    target = event.get("objectRef", {})
    if not target.get("resource") or target.get("apiGroup") in QUESTIONS or "dryRun=" in event["requestURI"]:
        return None
    return Write(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        user=event["user"].get("username", ""),
        user_agent=event.get("userAgent", ""),
        verb=event["verb"],
        group=target.get("apiGroup", ""),
        resource=target["resource"],
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
    )
