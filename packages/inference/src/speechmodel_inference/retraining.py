"""Retraining: the server changes dataset.revision of its SpeechModel, and the operator trains with the takes."""

import logging
from datetime import UTC, datetime

from speechmodel_inference.errors import Conflict
from speechmodel_inference.own_model import OwnModel, OwnModelClient

log = logging.getLogger(__name__)

TRIES = 3
"""Changes that are tried while the operator writes the status in between."""
MADE = ("DatasetReady", "Trained", "Published")
"""Conditions that are True once a version is published for the current spec."""


def refusal(model: OwnModel) -> Conflict | None:
    """Return the reason why no training can be started now, or None."""
    if model.spec.suspend:
        return Conflict("The SpeechModel is suspended: set spec.suspend to false first.", code="suspended")
    if _works(model):
        return Conflict("A new version is already being made: wait until it is published.", code="already_training")
    if (owner := model.revision_owner) is not None:
        return Conflict(
            f"{owner} applies a manifest with dataset.revision and would undo the change: "
            f"change it in that manifest, or remove it there.",
            code="revision_owned",
            param=owner,
        )
    return None


def _works(model: OwnModel) -> bool:
    """Return True while the operator makes a version. It does not while a stage waits for a person."""
    status = model.status
    if status.observed_generation < model.metadata.generation:
        return True
    if status.true("Stalled"):
        return False
    return not all(map(status.true, MADE)) or any(stage.state == "Running" for stage in status.stages)


def prepared_at(model: OwnModel) -> datetime | None:
    """Return the time at which prepare began to read the dataset. None if the newest run of it did not succeed."""
    found = (stage for stage in model.status.stages if stage.name == "prepare" and stage.state == "Succeeded")
    return next((stage.started_at for stage in found), None)


def retrain(client: OwnModelClient) -> OwnModel:
    """Set dataset.revision to the current time, and return the SpeechModel. Call it in a thread.

    Raises Conflict when no training can be started now, and ClusterFailed.
    """
    for _ in range(TRIES):
        model = client.read()
        if (reason := refusal(model)) is not None:
            raise reason
        revision = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
        if (changed := client.set_revision(revision, model.metadata.resource_version)) is not None:
            log.info("a training was requested: dataset.revision is now %s", revision)
            return changed
    raise Conflict("The SpeechModel is being changed at the same time: try again.", code="changed")
