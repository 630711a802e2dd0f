"""The probes: /livez decides about a restart, /readyz about new requests."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from speechmodel_inference.services import Injected

router = APIRouter()


@router.get("/livez")
async def livez() -> Response:
    """Return 200 as long as the event loop runs."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(services: Injected) -> Response:
    """Return 200 from the passed self-test until SIGTERM, and else 503 with the reason."""
    problem = services.lifecycle.problem
    if problem is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "unavailable", "reason": problem}, 503)
