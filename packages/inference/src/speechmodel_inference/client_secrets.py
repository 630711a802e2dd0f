"""Short-lived keys of the realtime API. A web app fetches one for its page, which so never sees an API key.

Such a key contains its end and the settings of its session, signed with an API key. So every replica can check it, nothing is
kept, and it ends with the API key.
"""

import hashlib
import time
from collections.abc import Callable

from itsdangerous import BadData, URLSafeSerializer
from pydantic import BaseModel, ValidationError

from speechmodel_inference.errors import BadRequest
from speechmodel_inference.realtime_types import AudioInput

PREFIX = "ek_"
"""The beginning of a short-lived key, as OpenAI's have it."""
LONGEST = 4096
"""Characters of a short-lived key: browsers send it in a header."""
_UNSIGNED = [b""]
"""The key of servers that need none."""


class _Content(BaseModel):
    expires_at: int
    audio: AudioInput


class ClientSecrets:
    """Issues short-lived keys, and reads their settings."""

    def __init__(self, api_keys: Callable[[], list[bytes]] | None) -> None:
        """`api_keys` returns the valid API keys, the last of which signs. None for a server that needs no key."""
        self._api_keys = api_keys

    def issue(self, audio: AudioInput, seconds: int) -> tuple[str, int]:
        """Return a key for sessions that begin with these settings, and the time of its end in Unix seconds.

        Raises BadRequest if the settings are too long.
        """
        content = _Content(expires_at=int(time.time()) + seconds, audio=audio)
        key = PREFIX + self._serializer(self._signing()).dumps(content.model_dump(mode="json"))
        if len(key) > LONGEST:
            raise BadRequest(
                "session: the prompt and the keywords are too long for a short-lived key; send them with session.update.",
                param="session",
            )
        return key, content.expires_at

    def settings(self, key: str) -> AudioInput | None:
        """Return the settings of a valid short-lived key, and None for everything else."""
        if not key.startswith(PREFIX) or len(key) > LONGEST or not (signing := self._signing()):
            return None
        try:
            content = _Content.model_validate(self._serializer(signing).loads(key.removeprefix(PREFIX)))
        except (BadData, ValidationError):
            return None
        return content.audio if time.time() < content.expires_at else None

    def _signing(self) -> list[bytes]:
        return _UNSIGNED if self._api_keys is None else self._api_keys()

    @staticmethod
    def _serializer(signing: list[bytes]) -> URLSafeSerializer:
        return URLSafeSerializer(signing, salt="realtime", signer_kwargs={"digest_method": hashlib.sha256})
