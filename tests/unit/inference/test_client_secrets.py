"""Short-lived keys contain the settings of a session, and end with their time or with the API key."""

import time
from collections.abc import Callable

import pytest
from speechmodel_inference.client_secrets import LONGEST, ClientSecrets
from speechmodel_inference.errors import BadRequest
from speechmodel_inference.realtime_types import AudioInput, TranscriptionSettings, TurnDetection

SETTINGS = AudioInput(
    transcription=TranscriptionSettings(language="es", prompt="la señal"),
    turn_detection=TurnDetection(type="server_vad", silence_duration_ms=900),
)


@pytest.mark.parametrize("settings", [AudioInput(), SETTINGS, AudioInput(turn_detection=None)])
@pytest.mark.parametrize("keys", [None, [b"one"]])
def test_another_replica_reads_the_settings(settings: AudioInput, keys: list[bytes] | None) -> None:
    api_keys = None if keys is None else lambda: keys
    key, _ = ClientSecrets(api_keys).issue(settings, 60)
    assert ClientSecrets(api_keys).settings(key) == settings


def test_a_key_is_over_when_its_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ClientSecrets(lambda: [b"one"])
    now = 1_800_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    key, end = secrets.issue(SETTINGS, 60)
    assert end == now + 60
    now += 59
    assert secrets.settings(key) == SETTINGS
    now += 1
    assert secrets.settings(key) is None


def test_a_key_lives_as_long_as_the_api_key_that_signed_it() -> None:
    keys = [b"old"]
    secrets = ClientSecrets(lambda: keys)
    key, _ = secrets.issue(SETTINGS, 60)
    keys.append(b"new")
    assert secrets.settings(key) == SETTINGS, "one by one, clients change to the new key"
    keys.remove(b"old")
    assert secrets.settings(key) is None
    keys.clear()
    assert secrets.settings(key) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key[3:],
        lambda key: "ek_",
        lambda key: "ek_" + "." * LONGEST,
    ],
)
def test_a_key_that_was_changed_is_none(change: Callable[[str], str]) -> None:
    secrets = ClientSecrets(lambda: [b"one"])
    key, _ = secrets.issue(SETTINGS, 60)
    assert secrets.settings(change(key)) is None


def test_settings_that_do_not_fit_into_a_header_are_refused() -> None:
    prompt = "".join(chr(0x4E00 + place % 20_000) for place in range(4000))
    with pytest.raises(BadRequest, match="too long for a short-lived key"):
        ClientSecrets(None).issue(AudioInput(transcription=TranscriptionSettings(prompt=prompt)), 60)
