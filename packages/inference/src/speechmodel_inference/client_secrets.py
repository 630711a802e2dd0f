"""Short-lived keys of the realtime API. A web app fetches one for its page, so the page never sees an API key.

Such a key contains its expiry time and the settings of its session. It is signed with the API key of the request, so every
replica that knows that key accepts it, and it ends early when that key is removed from the Secret.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable

from itsdangerous import BadData, URLSafeSerializer
from pydantic import BaseModel, ValidationError

from speechmodel_inference.errors import BadRequest, Unauthorized
from speechmodel_inference.realtime_types import AudioInput

PREFIX = "ek_"
"""The beginning of a short-lived key, as OpenAI's have it."""
LONGEST = 4096
"""Maximum length of a short-lived key in characters, because browsers send it in a header."""
_PUBLIC = b""
"""The signing key of servers that need no API key."""


class _Content(BaseModel):
    expires_at: int
    audio: AudioInput


class ClientSecrets:
    """Issues short-lived keys, and reads their settings."""

    def __init__(self, api_keys: Callable[[], list[bytes]] | None) -> None:
        """`api_keys` returns the valid API keys. None for a server that needs no key."""
        self._api_keys = api_keys
        self._derived: dict[bytes, bytes] = {}
        """The signing keys by API key, so that a wrong short-lived key costs no derivation."""
        self._deriving = asyncio.Lock()

    async def issue(self, audio: AudioInput, seconds: int, api_key: bytes | None) -> tuple[str, int]:
        """Return a key for sessions that begin with these settings, and its expiry time in Unix seconds.

        `api_key` is that of the request. Raises Unauthorized if it is None and the server needs one, and BadRequest if the
        settings are too long.
        """
        content = _Content(expires_at=int(time.time()) + seconds, audio=audio)
        signing = await self._signing_key(api_key)
        key = PREFIX + _serializer([signing]).dumps(content.model_dump(mode="json"))
        if len(key) > LONGEST:
            raise BadRequest(
                "session: the prompt and the keywords are too long for a short-lived key; send them with session.update.",
                param="session",
            )
        return key, content.expires_at

    async def settings(self, key: str) -> AudioInput | None:
        """Return the settings of a valid short-lived key, and None for everything else."""
        if not key.startswith(PREFIX) or len(key) > LONGEST or not (signing := await self._signing_keys()):
            return None
        try:
            content = _Content.model_validate(_serializer(signing).loads(key.removeprefix(PREFIX)))
        except (BadData, ValidationError):
            return None
        return content.audio if time.time() < content.expires_at else None

    async def _signing_key(self, api_key: bytes | None) -> bytes:
        if self._api_keys is None:
            return _PUBLIC
        if api_key is None:
            raise Unauthorized
        async with self._deriving:
            return await self._derive(api_key)

    async def _signing_keys(self) -> list[bytes]:
        """Return the signing keys of all API keys, and forget those of others."""
        if self._api_keys is None:
            return [_PUBLIC]
        async with self._deriving:
            self._derived = {each: await self._derive(each) for each in self._api_keys()}
            return list(self._derived.values())

    async def _derive(self, api_key: bytes) -> bytes:
        """Return the signing key of an API key. Call it with the lock, so that it takes its 50 ms once for each API key."""
        if api_key not in self._derived:
            self._derived[api_key] = await asyncio.to_thread(_slow_hash, api_key)
        return self._derived[api_key]


def _slow_hash(api_key: bytes) -> bytes:
    """Return the signing key of an API key (32 bytes). It is slow, because a page can test guesses of the API key with it."""
    return hashlib.scrypt(api_key, salt=b"speechmodel realtime", n=2**14, r=8, p=1, dklen=32)


def _serializer(signing: list[bytes]) -> URLSafeSerializer:
    return URLSafeSerializer(signing, salt="realtime", signer_kwargs={"digest_method": hashlib.sha256})
