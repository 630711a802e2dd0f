"""A published version from which convert goes on if the graph of train was lost from the workspace."""

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.status import ModelStatus, StageState

from speechmodel_plan.observed import Observed
from speechmodel_plan.records import Records, StageRecord
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.train import TRAIN

ATTEMPTS = 3
"""Failures in a row of convert after which the model is trained again, if the version is missing from its bucket or damaged. With fewer
training.maxAttempts, those are enough."""


def published_model(seen: Observed, records: Records) -> ModelStatus | None:
    """Return a version with the network that train has made for the current spec, if possible with its phrase network too. None if
    there is none, or if the files of train are there.

    The record of convert keeps the digests in its output while it runs again.
    """
    trained, converted = records.get(TRAIN.name), records.get(CONVERT.name)
    if trained is None or converted is None or trained.state is not StageState.SUCCEEDED:
        return None
    there = seen.claim is not None and trained.claim_uid == seen.claim.uid
    if there or _given_up(seen, converted):
        return None
    graph, model = TRAIN.parse(trained.output), CONVERT.parse(converted.output)
    if graph is None or model is None or converted.key not in keys.convert_keys(graph):
        return None
    versions = (seen.status.served, *seen.status.history)
    same = (version for version in versions if version and version.sha256 == model.model_sha256)
    return max(same, key=lambda version: _phrases_of(version) == model.phrases_sha256, default=None)


def _phrases_of(version: ModelStatus) -> str | None:
    return version.phrases.sha256 if version.phrases else None


def lost(converted: StageRecord) -> bool:
    """Return True if convert found that the published version is missing or damaged when it ran last."""
    return converted.trouble is not None and converted.trouble.reason == Reason.PUBLISHED_MODEL_LOST


def _given_up(seen: Observed, converted: StageRecord) -> bool:
    """Return True once the version counts as lost. An S3 service that cannot be reached, or rejects the key, is waited for."""
    return lost(converted) and converted.failures >= min(ATTEMPTS, seen.spec.training.max_attempts)
