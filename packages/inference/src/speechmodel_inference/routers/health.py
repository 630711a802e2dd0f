"""/livez and /readyz: whether to restart this server, and whether to send it requests."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from speechmodel_inference.services import Injected

router = APIRouter()


@router.get("/livez")
async def livez() -> Response:
    """200 as long as the event loop turns."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(services: Injected) -> Response:
    """200 once the model heard its self-test clip, until SIGTERM; else 503 and why."""
    problem = services.lifecycle.problem
    if problem is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": "unavailable", "reason": problem}, 503)
