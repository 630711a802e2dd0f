"""A published version from which convert goes on if the graph of train was on a workspace claim that is gone."""

from speechmodel_api import keys
from speechmodel_api.status import ModelStatus, StageState

from speechmodel_plan.observed import Observed
from speechmodel_plan.records import Records
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.train import TRAIN

ATTEMPTS = 3
"""Failures in a row of convert after which the model is trained again: the version may be gone from its bucket."""


def published_model(seen: Observed, records: Records) -> ModelStatus | None:
    """Return a version with the network that train has made for the current spec. None if there is none, or if the files of train are
    there.

    The record of convert keeps the digest of the model in its output while it runs again.
    """
    trained, converted = records.get(TRAIN.name), records.get(CONVERT.name)
    if trained is None or converted is None or trained.state is not StageState.SUCCEEDED:
        return None
    if trained.claim_uid == (seen.claim.uid if seen.claim else None) or converted.failures >= ATTEMPTS:
        return None
    graph, model = TRAIN.parse(trained.output), CONVERT.parse(converted.output)
    if graph is None or model is None or converted.key not in keys.convert_keys(graph):
        return None
    versions = (seen.status.served, *seen.status.history)
    return next((version for version in versions if version and version.sha256 == model.model_sha256), None)
