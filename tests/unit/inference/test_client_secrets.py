"""Short-lived keys contain the settings of a session, and end with their time or with the API key of their request."""

import asyncio
import hashlib
import time
from collections.abc import Callable

import pytest
from itsdangerous import URLSafeSerializer
from speechmodel_inference.client_secrets import LONGEST, PREFIX, ClientSecrets
from speechmodel_inference.errors import BadRequest, Unauthorized
from speechmodel_inference.realtime_types import AudioInput, TranscriptionSettings, TurnDetection

SETTINGS = AudioInput(
    transcription=TranscriptionSettings(language="es", prompt="la señal"),
    turn_detection=TurnDetection(type="server_vad", silence_duration_ms=900),
)


@pytest.mark.parametrize("settings", [AudioInput(), SETTINGS, AudioInput(turn_detection=None)])
@pytest.mark.parametrize("keys", [None, [b"one"]])
async def test_another_replica_reads_the_settings(settings: AudioInput, keys: list[bytes] | None) -> None:
    api_keys = None if keys is None else lambda: keys
    key, _ = await ClientSecrets(api_keys).issue(settings, 60, keys[0] if keys else None)
    assert await ClientSecrets(api_keys).settings(key) == settings


async def test_a_key_is_over_when_its_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ClientSecrets(lambda: [b"one"])
    now = 1_800_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    key, end = await secrets.issue(SETTINGS, 60, b"one")
    assert end == now + 60
    now += 59
    assert await secrets.settings(key) == SETTINGS
    now += 1
    assert await secrets.settings(key) is None


@pytest.mark.parametrize(("requester", "other"), [(b"first", b"last"), (b"last", b"first")])
async def test_a_key_lives_as_long_as_the_api_key_of_its_request(requester: bytes, other: bytes) -> None:
    keys = [b"first", b"last"]
    secrets = ClientSecrets(lambda: keys)
    key, _ = await secrets.issue(SETTINGS, 60, requester)
    assert await secrets.settings(key) == SETTINGS
    keys.remove(other)
    keys.append(b"new")
    assert await secrets.settings(key) == SETTINGS
    keys.remove(requester)
    assert await secrets.settings(key) is None
    keys.clear()
    assert await secrets.settings(key) is None


async def test_a_replica_that_does_not_know_the_newest_api_key_reads_keys_of_the_others() -> None:
    key, _ = await ClientSecrets(lambda: [b"old", b"new"]).issue(SETTINGS, 60, b"old")
    assert await ClientSecrets(lambda: [b"old"]).settings(key) == SETTINGS


@pytest.mark.parametrize("keys", [[], [b"one"]])
async def test_no_key_is_issued_if_the_api_key_is_no_longer_valid(keys: list[bytes]) -> None:
    with pytest.raises(Unauthorized, match="The API key is missing or wrong"):
        await ClientSecrets(lambda: keys).issue(SETTINGS, 60, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key[:5] + ("A" if key[5] != "A" else "B") + key[6:],
        lambda key: key[3:],
        lambda key: "ek_",
        lambda key: "ek_" + "." * LONGEST,
    ],
)
async def test_a_key_that_was_changed_is_none(change: Callable[[str], str]) -> None:
    secrets = ClientSecrets(lambda: [b"one"])
    key, _ = await secrets.issue(SETTINGS, 60, b"one")
    assert await secrets.settings(change(key)) is None


async def test_a_signature_is_not_valid_for_another_content() -> None:
    secrets = ClientSecrets(lambda: [b"one"])
    short, _ = await secrets.issue(SETTINGS, 60, b"one")
    longer, _ = await secrets.issue(SETTINGS, 3600, b"one")
    assert await secrets.settings(f"{longer.rpartition('.')[0]}.{short.rpartition('.')[2]}") is None


SLOW = hashlib.scrypt(b"one", salt=b"speechmodel realtime", n=2**14, r=8, p=1, dklen=32)


@pytest.mark.parametrize(
    ("signing", "salt", "found"),
    [
        pytest.param(SLOW, "realtime", SETTINGS, id="as the server does"),
        pytest.param(SLOW, "other", None, id="for something else"),
        pytest.param(b"one", "realtime", None, id="with the API key itself, which a page could guess quickly"),
    ],
)
async def test_a_key_is_signed_slowly_and_for_realtime_sessions(
    signing: bytes, salt: str, found: AudioInput | None
) -> None:
    content = {"expires_at": int(time.time()) + 3600, "audio": SETTINGS.model_dump(mode="json")}
    serializer = URLSafeSerializer(signing, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})
    assert await ClientSecrets(lambda: [b"one"]).settings(PREFIX + serializer.dumps(content)) == found


async def test_the_slow_hash_is_computed_once_for_each_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def slow(api_key: bytes, **_: object) -> bytes:
        hashed.append(api_key)
        return b"derived from " + api_key

    monkeypatch.setattr(hashlib, "scrypt", slow)
    keys = [b"one", b"two"]
    secrets = ClientSecrets(lambda: keys)
    key, _ = await secrets.issue(SETTINGS, 60, b"two")
    await asyncio.gather(*(secrets.settings(given) for given in ("ek_wrong", key, "ek_wrong", key[:-1])))
    assert sorted(hashed) == [b"one", b"two"]
    keys.append(b"three")
    assert await secrets.settings(key) == SETTINGS
    assert sorted(hashed) == [b"one", b"three", b"two"]


async def test_settings_that_do_not_fit_into_a_header_are_refused() -> None:
    prompt = "".join(chr(0x4E00 + place % 20_000) for place in range(4000))
    with pytest.raises(BadRequest, match="too long for a short-lived key"):
        await ClientSecrets(None).issue(AudioInput(transcription=TranscriptionSettings(prompt=prompt)), 60, None)
