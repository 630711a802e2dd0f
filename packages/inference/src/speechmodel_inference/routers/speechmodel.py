"""GET /v1/speechmodel: the served version, for the page and for people."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from speechmodel_decoding import Grammar

from speechmodel_inference.card import PhraseList, PhraseMatches, SpeechModelCard
from speechmodel_inference.decoders import WithGrammar
from speechmodel_inference.services import Injected
from speechmodel_inference.version import ServedVersion

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
    return await asyncio.to_thread(PhraseList.of, version.manifest, _grammar(version))


@router.get("/phrases/search")
async def search(services: Injected, letters: Annotated[str, Query(min_length=1, max_length=100)]) -> PhraseMatches:
    """Return the phrases that have these letters, without regard to case and accents, also of a grammar with more
    phrases than are listed.
    """
    return await services.searches.find(_grammar(services.lifecycle.version), letters)


def _grammar(version: ServedVersion) -> Grammar | None:
    return version.decoder.recogniser.grammar if isinstance(version.decoder, WithGrammar) else None
