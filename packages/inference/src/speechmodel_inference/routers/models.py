"""GET /v1/models."""

from fastapi import APIRouter

from speechmodel_inference.errors import ModelNotFound
from speechmodel_inference.openai_types import ModelList, ModelObject
from speechmodel_inference.services import Injected, Services

router = APIRouter(prefix="/v1/models")


@router.get("")
async def list_models(services: Injected) -> ModelList:
    """Return the served model as a list of one."""
    return ModelList(data=[_served(services)])


@router.get("/{model:path}")
async def get_model(model: str, services: Injected) -> ModelObject:
    """Return the served model by its name, version or one of its aliases."""
    require_served(services, model)
    return _served(services)


def require_served(services: Services, model: str) -> None:
    """Raise ModelNotFound unless `model` is the served model's name, its version or one of its aliases.

    Raises NotReady while no model is served.
    """
    settings, version = services.settings, services.lifecycle.version.manifest.version
    if model not in (settings.name, version, *settings.model_aliases):
        raise ModelNotFound(model, services.settings.name)


def _served(services: Services) -> ModelObject:
    version = services.lifecycle.version
    return ModelObject(
        id=services.settings.name,
        created=version.fetched_at,
        version=version.manifest.version,
        language=version.manifest.language,
        wer=version.manifest.wer,
    )
