"""The parts of a running server, made once per app and injected into each request."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from speechmodel_inference.decoding_queue import DecodingQueue
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.settings import Settings
from speechmodel_inference.telemetry import Telemetry


@dataclass(frozen=True)
class Services:
    """The parts that routers use."""

    settings: Settings
    lifecycle: Lifecycle
    queue: DecodingQueue
    telemetry: Telemetry

    @classmethod
    def make(cls, settings: Settings) -> "Services":
        """Return the parts for `settings`. Nothing is loaded yet."""
        lifecycle = Lifecycle(settings.folder)
        queue = DecodingQueue(decoders=settings.decoders, waiting=settings.waiting)
        return cls(settings, lifecycle, queue, Telemetry(queue, lifecycle, settings.name))


def _of_request(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Injected = Annotated[Services, Depends(_of_request)]
"""The type of a router function's parameter that receives the services."""
