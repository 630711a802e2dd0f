"""GET /metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from speechmodel_inference.services import Injected

router = APIRouter()


@router.get("/metrics")
async def metrics(request: Request, services: Injected) -> Response:
    """Return all metrics in the format that the scraper accepts."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    services.telemetry.refresh()
    return Response(encode(services.telemetry.registry), media_type=content_type)
