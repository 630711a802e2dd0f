"""The probes: /livez decides about a restart, /readyz about new requests."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from speechmodel_inference.services import Injected

router = APIRouter()

LOADING_SECONDS = 0.8
"""Longest time that /readyz waits while the version is loaded. kubelet asks once a second and waits 1 s for the answer, so a server
is ready within about 0.2 s of loading, and not at the next probe.
"""


@router.get("/livez")
async def livez() -> Response:
    """Return 200 as long as the event loop runs."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(services: Injected) -> Response:
    """Return 200 from the passed self-test until SIGTERM, and else 503 with the reason. While the version is loaded, the
    answer waits for up to LOADING_SECONDS.
    """
    await services.lifecycle.until_loaded(LOADING_SECONDS)
    problem = services.lifecycle.problem
    if problem is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "unavailable", "reason": problem}, 503)
