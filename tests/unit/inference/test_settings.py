import os
import socket

import pytest
from pydantic import ValidationError
from speechmodel_inference.listening import listening_socket
from speechmodel_inference.settings import PREFIX, Settings, unknown_variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_an_empty_environment_gives_a_server_that_works() -> None:
    settings = Settings()
    assert (str(settings.folder), settings.listen, settings.name) == ("/models", ":8080", "speechmodel")
    assert (settings.decoders, settings.engine) == (None, "Auto")


def test_every_setting_comes_from_its_variable_and_empty_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHMODEL_DECODERS", "3")
    monkeypatch.setenv("SPEECHMODEL_MAX_AUDIO_SECONDS", "12.5")
    monkeypatch.setenv("SPEECHMODEL_NAME", "")
    settings = Settings()
    assert (settings.decoders, settings.max_audio_seconds, settings.name) == (3, 12.5, "speechmodel")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 30),
        ({"upload_seconds": 600}, 600),
        ({"upload_seconds": 5}, 30),
        ({"upload_seconds": 600, "stream_idle_seconds": 60}, 60),
    ],
    ids=["default", "a longer upload, as before the setting existed", "a shorter upload", "the setting itself"],
)
def test_a_stream_may_be_idle_as_long_as_an_upload_unless_the_setting_says_otherwise(
    given: dict[str, float], seconds: float
) -> None:
    assert Settings.model_validate(given).next_message_seconds == seconds


@pytest.mark.parametrize("given", [{"misheard_days": 3}, {"service_account": "/account"}])
def test_what_needs_takes_is_refused_without_them(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="set SPEECHMODEL_TAKES too"):
        Settings.model_validate(given)


def test_the_variables_of_a_service_called_speechmodel_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    without = Settings()
    service = {
        "SPEECHMODEL_PORT": "tcp://10.0.0.1:80",
        "SPEECHMODEL_SERVICE_HOST": "10.0.0.1",
        "SPEECHMODEL_SERVICE_PORT": "80",
        "SPEECHMODEL_SERVICE_PORT_HTTP": "80",
        "SPEECHMODEL_PORT_80_TCP": "tcp://10.0.0.1:80",
        "SPEECHMODEL_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    assert Settings() == without
    assert unknown_variables(service) == []
    assert unknown_variables({name.replace("MODEL", "MODEL_WEB"): value for name, value in service.items()}) == []


def test_variables_of_the_other_programs_are_known_and_misspelt_settings_are_not() -> None:
    passed_on = dict.fromkeys(["SPEECHMODEL_COQUI_PYTHON", "SPEECHMODEL_LIBDEEPSPEECH", "SPEECHMODEL_LOG_FIELDS"], "x")
    assert unknown_variables(passed_on | {"SPEECHMODEL_DECODER": "1"}) == ["SPEECHMODEL_DECODER"]


@pytest.mark.parametrize("name", ["PORT", "HTTP_PORT", "WYOMING_PORT", "WYOMING_SERVICE_PORT", "PORT_80_TCP"])
@pytest.mark.parametrize("service", [{}, {"SPEECHMODEL_SERVICE_HOST": "10.0.0.1"}], ids=["no Service", "a Service"])
def test_a_port_that_somebody_sets_is_not_taken_for_one_of_a_service(name: str, service: dict[str, str]) -> None:
    variable = f"SPEECHMODEL_{name}"
    of_a_service = bool(service) and name == "PORT_80_TCP"
    assert unknown_variables(service | {variable: "9000"}) == ([] if of_a_service else [variable])


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DECODERS", "0"), ("DECODERS", "two"), ("LISTEN", "8080"), ("LOG_LEVEL", "loud"), ("MAX_AUDIO_SECONDS", "0")],
)
def test_an_impossible_value_is_refused_by_name(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"SPEECHMODEL_{variable}", value)
    with pytest.raises(ValidationError, match=variable.lower()):
        Settings()


@pytest.mark.parametrize("origin", ["https://home.example:8123", "capacitor://localhost", "app://-", "null", "*"])
def test_pages_and_apps_of_every_scheme_may_use_the_api(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHMODEL_CORS_ORIGINS", f"http://localhost,{origin}")
    assert Settings().cors_origins == ("http://localhost", origin)


@pytest.mark.parametrize("origin", ["https://home.example/", "home.example", "https://home example"])
def test_an_origin_that_no_browser_sends_is_refused(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHMODEL_CORS_ORIGINS", origin)
    with pytest.raises(ValidationError, match="cors_origins"):
        Settings()


@pytest.mark.parametrize("listen", [":0", "127.0.0.1:0", "localhost:0", "0.0.0.0:0"])
def test_every_form_of_an_address_can_be_listened_on(listen: str) -> None:
    with listening_socket(listen) as listening:
        assert listening.getsockname()[1] > 0


@pytest.mark.parametrize("listen", ["127.0.0.1:0", ":0"])
def test_an_answer_in_several_packets_does_not_wait_for_their_acknowledgement(listen: str) -> None:
    with listening_socket(listen) as listening, socket.create_connection(("127.0.0.1", listening.getsockname()[1])):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
