"""The SpeechModel of this server, read from the API server and changed there as the ServiceAccount of the pod."""

import json
import os
import ssl
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import JsonValue, ValidationError
from speechmodel_api.base import Document
from speechmodel_api.times import Time

from speechmodel_inference.errors import ClusterFailed
from speechmodel_inference.wording import first_problem

SECONDS = 10.0
"""Time in which the API server must answer."""
MANAGER = "speechmodel-server"
"""The name under which metadata.managedFields records the change."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class ManagedFields(Document):
    """The fields that a program has set."""

    manager: str = ""
    operation: str = ""
    fields_v1: dict[str, JsonValue] = {}


class Metadata(Document):
    """The metadata that decides on a change."""

    generation: int
    resource_version: str
    annotations: dict[str, str] = {}
    managed_fields: tuple[ManagedFields, ...] = ()


class Spec(Document):
    """The part of the spec that decides on a training."""

    suspend: bool = False


class Condition(Document):
    """A condition of the status."""

    type: str
    status: str
    message: str = ""


class Stage(Document):
    """The newest run of a stage."""

    name: str
    state: str
    started_at: Time | None = None


class Status(Document):
    """The state of the training. Words that a later operator may add are read as they are."""

    observed_generation: int = 0
    phase: str = "Pending"
    progress: str | None = None
    conditions: tuple[Condition, ...] = ()
    stages: tuple[Stage, ...] = ()

    def true(self, kind: str) -> Condition | None:
        """Return the condition of a type if it is True."""
        return next((each for each in self.conditions if each.type == kind and each.status == "True"), None)


class OwnModel(Document):
    """The SpeechModel, as far as the server needs it."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()

    @property
    def revision_owner(self) -> str | None:
        """The program that applies a manifest with dataset.revision, and would undo a change of it. None without one."""
        for entry in self.metadata.managed_fields:
            if entry.operation == "Apply" and _has(entry.fields_v1, "f:spec", "f:dataset", "f:revision"):
                return entry.manager
        applied = self.metadata.annotations.get(_LAST_APPLIED, "")
        return "kubectl apply" if _has(_parsed(applied), "spec", "dataset", "revision") else None


class OwnModelClient:
    """Calls the API server about one SpeechModel. Each call waits for the answer, so make it in a thread.

    Calls raise ClusterFailed.
    """

    def __init__(self, account: Path, name: str) -> None:
        """`account` is the folder with the files token, ca.crt and namespace. kubelet replaces the token in time, so it
        is read for each call.
        """
        self._account, self._name = account, name
        self._host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
        self._port = int(os.environ.get("KUBERNETES_SERVICE_PORT", "443"))

    def read(self) -> OwnModel:
        """Return the SpeechModel."""
        status, body = self._answer("GET")
        return self._model(status, body)

    def set_revision(self, revision: str, resource_version: str) -> OwnModel | None:
        """Set dataset.revision, and return the SpeechModel. None if it is not as it was in `resource_version` any more."""
        patch = {"metadata": {"resourceVersion": resource_version}, "spec": {"dataset": {"revision": revision}}}
        status, body = self._answer("PATCH", json.dumps(patch))
        return None if status == 409 else self._model(status, body)

    def _model(self, status: int, body: bytes) -> OwnModel:
        if status in (401, 403):  # 401 once the ServiceAccount is deleted
            raise ClusterFailed(
                f"The ServiceAccount of this server may not get and patch the SpeechModel {self._name}, or is gone "
                f"({status}): add the SpeechModel to retrain.models of the operator's chart.",
                code="retrain_forbidden",
            )
        if status != 200:
            raise ClusterFailed(f"The API server answered {status}: {_reason(body)}", code="cluster_failed")
        try:
            return OwnModel.model_validate_json(body)
        except ValidationError as error:
            place, wrong = first_problem(error)
            message = f"The API server sent something other than a SpeechModel: {place or 'the answer'} {wrong}."
            raise ClusterFailed(message, code="cluster_failed") from error

    def _answer(self, method: str, patch: str | None = None) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        from speechmodel_api.crd import GROUP, PLURAL, VERSION  # takes longer to import than the server

        try:
            token, namespace = ((self._account / name).read_text(encoding="utf-8") for name in ("token", "namespace"))
            trusted = ssl.create_default_context(cafile=self._account / "ca.crt")
            connection = HTTPSConnection(self._host, self._port, timeout=SECONDS, context=trusted)  # by no proxy
            path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace.strip()}/{PLURAL}/{quote(self._name, safe='')}"
            headers = {"Authorization": f"Bearer {token.strip()}", "Accept": "application/json"}
            if patch is not None:
                headers["Content-Type"] = "application/merge-patch+json"
                path += f"?fieldManager={MANAGER}"
            try:
                connection.request(method, path, patch, headers)
                response = connection.getresponse()
                return response.status, response.read()
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise ClusterFailed(f"The API server cannot be reached: {error}.", code="cluster_unreachable") from error


def _parsed(text: str | bytes) -> Any:
    """Return the value of a JSON text. None for any other text."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _has(value: Any, *path: str) -> bool:
    """Return True if there is something under a path of keys."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _reason(body: bytes) -> str:
    """Return the message of a Status, or what came instead of one."""
    status = _parsed(body)
    return str(status["message"]) if _has(status, "message") else body.decode(errors="replace")
