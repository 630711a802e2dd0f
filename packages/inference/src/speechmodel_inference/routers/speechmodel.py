"""GET /v1/speechmodel: the served version, for the page and for people."""

import asyncio

from fastapi import APIRouter

from speechmodel_inference.card import PhraseList, SpeechModelCard
from speechmodel_inference.decoders import WithGrammar
from speechmodel_inference.services import Injected

router = APIRouter(prefix="/v1/speechmodel")


@router.get("", response_model_by_alias=False)
async def speechmodel(services: Injected) -> SpeechModelCard:
    """Return how the served version was made, and how well it works."""
    version = services.lifecycle.version
    return SpeechModelCard.of(version.manifest, services.settings, version.fetched_at, version.engine)


@router.get("/phrases")
async def phrases(services: Injected) -> PhraseList:
    """Return the phrases that the served version can answer with."""
    version = services.lifecycle.version
    grammar = version.decoder.recogniser.grammar if isinstance(version.decoder, WithGrammar) else None
    return await asyncio.to_thread(PhraseList.of, version.manifest, grammar)
