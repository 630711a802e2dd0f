"""/v1/retrain: train a new version with the takes. The routes exist where the setting service_account is set."""

import asyncio
from functools import partial

from fastapi import APIRouter, Depends
from pydantic import BaseModel
from speechmodel_api.times import Time

from speechmodel_inference.openai_types import ErrorObject, error_object
from speechmodel_inference.own_model import OwnModel, OwnModelClient
from speechmodel_inference.retraining import prepared_at, refusal, retrain
from speechmodel_inference.routers.keeping import same_site, stored
from speechmodel_inference.services import Injected, Services

router = APIRouter(prefix="/v1/retrain", dependencies=[Depends(same_site)])


class Retraining(BaseModel):
    """The answer of GET and POST /v1/retrain."""

    takes: int
    """Takes that were saved since prepare last began to read the dataset; all of them if its newest run did not
    succeed."""
    prepared_at: Time | None
    """Time at which prepare last began to read the dataset. null if its newest run did not succeed."""
    phase: str
    """Phase of the SpeechModel, such as Training or Ready. Pending until the operator has seen the last edit."""
    progress: str | None
    """Finished epochs and all of them, such as 12/75. null outside of training."""
    message: str | None
    """The operator's explanation of what it works on or waits for. null once the spec is in effect."""
    refusal: ErrorObject | None
    """The reason why no training can be started now: the error that POST would answer with. null if one can be."""


@router.get("")
async def look(services: Injected) -> Retraining:
    """Return the state of the training."""
    return await _described(services, await asyncio.to_thread(_client(services).read))


@router.post("", status_code=202)
async def start(services: Injected) -> Retraining:
    """Start a training with the takes that there are."""
    return await _described(services, await asyncio.to_thread(retrain, _client(services)))


async def _described(services: Services, model: OwnModel) -> Retraining:
    assert services.takes is not None  # the routes exist only then
    status, since, why_not = model.status, prepared_at(model), refusal(model)
    seen = status.observed_generation == model.metadata.generation
    phase = status.phase if seen else "Pending"
    pending = status.true("Stalled") or status.true("Reconciling")
    return Retraining(
        takes=await stored(partial(services.takes.saved_after, since)),
        prepared_at=since,
        phase=phase,
        progress=status.progress if phase == "Training" else None,
        message=pending.message if pending and seen else None,
        refusal=error_object(why_not) if why_not else None,
    )


def _client(services: Services) -> OwnModelClient:
    assert services.own_model is not None  # the routes exist only then
    return services.own_model
