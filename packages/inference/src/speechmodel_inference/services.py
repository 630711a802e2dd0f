"""The parts of a running server, made once per app and injected into each request."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from speechmodel_api.serving_spec import Engine
from speechmodel_stagekit.cpus import available_cpus

from speechmodel_inference.api_keys import ApiKeys
from speechmodel_inference.client_secrets import ClientSecrets
from speechmodel_inference.connections import Connections
from speechmodel_inference.decoding_queue import DecodingQueue
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.misheard import MisheardInbox
from speechmodel_inference.own_model import OwnModelClient
from speechmodel_inference.phrase_searches import PhraseSearches
from speechmodel_inference.rest import load_rest
from speechmodel_inference.settings import Settings
from speechmodel_inference.sounds import FolderStore, SoundStore
from speechmodel_inference.takes import TakeStore
from speechmodel_inference.telemetry import Telemetry
from speechmodel_inference.version_files import VersionFiles

STREAMS_PER_CPU = 4
"""Recordings, and as many streams, that share runs of the network of Native. With more, each is answered later, and few more a
second."""


@dataclass(frozen=True)
class Services:
    """The parts that routers use."""

    settings: Settings
    lifecycle: Lifecycle
    queue: DecodingQueue
    connections: Connections
    telemetry: Telemetry
    takes: TakeStore | None
    """None if no takes are kept."""
    misheard: MisheardInbox | None
    """None if no takes are kept. It may keep no clips."""
    own_model: OwnModelClient | None
    """None if the server may not start a training."""
    api_keys: ApiKeys | None
    """None if requests need no key."""
    client_secrets: ClientSecrets
    searches: PhraseSearches = field(default_factory=PhraseSearches)

    @classmethod
    def make(cls, settings: Settings, lifecycle: Lifecycle | None = None) -> "Services":
        """Return the parts for `settings`. Without `lifecycle`, nothing is loaded yet."""
        lifecycle = lifecycle or Lifecycle(VersionFiles(settings.folder, settings.engine))
        queue = DecodingQueue(
            decoders=settings.decoders or available_cpus(),
            waiting=settings.waiting,
            max_upload_bytes=settings.max_upload_bytes,
        )
        store = _store(settings)
        api_keys = ApiKeys(settings.api_keys) if settings.api_keys is not None else None
        return cls(
            settings,
            lifecycle,
            queue,
            Connections.allowed(settings.connections),
            Telemetry(queue, lifecycle, settings.name),
            takes=TakeStore(store) if store else None,
            misheard=MisheardInbox(store, settings) if store else None,
            own_model=OwnModelClient(settings.service_account, settings.name) if settings.service_account else None,
            api_keys=api_keys,
            client_secrets=ClientSecrets(api_keys.read if api_keys else None),
        )

    async def load(self) -> None:
        """Load the version. By default, Native decodes STREAMS_PER_CPU recordings and streams at once for each CPU, unless it runs
        the phrase network, whose runs are not shared.
        """
        await self.lifecycle.load()
        if not self.lifecycle.loaded:
            return
        version = self.lifecycle.version
        shares_runs = version.engine is Engine.NATIVE and not version.manifest.embedded
        if self.settings.decoders is None and shares_runs:
            self.queue.decode_at_once(STREAMS_PER_CPU * available_cpus())
        await asyncio.to_thread(load_rest, version.manifest.language)


def _store(settings: Settings) -> SoundStore | None:
    if settings.takes_bucket is not None:
        from speechmodel_inference.bucket_store import BucketStore  # boto3 takes longer to import than the server

        return BucketStore(settings.takes_bucket)
    return FolderStore(settings.takes) if settings.takes is not None else None


async def _of_request(request: Request) -> Services:  # FastAPI calls one that is not async in a thread
    services: Services = request.app.state.services
    return services


Injected = Annotated[Services, Depends(_of_request)]
"""The type of a router function's parameter that receives the services."""
