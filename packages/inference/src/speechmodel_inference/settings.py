"""The server's settings are environment variables: SPEECHMODEL_ and the field's name in capitals.

No name ends like the variables that Kubernetes makes for a Service called speechmodel, such as
SPEECHMODEL_PORT and SPEECHMODEL_SERVICE_HOST.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from speechmodel_api.log_format import FIELDS_VARIABLE
from speechmodel_api.schema import S3Location
from speechmodel_api.serving_spec import Engine, Origin
from speechmodel_api.training_engine import COQUI_PYTHON
from speechmodel_runtime.library import VARIABLE as LIBRARY

PREFIX = "SPEECHMODEL_"
LARGEST_PORT = 65_535
STREAM_IDLE_SECONDS = 30.0
"""Default of stream_idle_seconds. Before it existed, upload_seconds was the limit of streams too, so a longer one still counts."""


def _by_comma(value: object) -> object:
    """Return the parts of a text between commas, without those that are empty."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _with_port(listen: str) -> str:
    if int(listen.rpartition(":")[2]) > LARGEST_PORT:
        raise ValueError(f"must have a port from 0 to {LARGEST_PORT}, not {listen!r}")
    return listen


Address = Annotated[str, Field(pattern=r"^.*:[0-9]{1,5}$"), AfterValidator(_with_port)]
"""`address:port`."""


class Settings(BaseSettings):
    """Every setting of the server.

    The sum of 4 x lame_duck_seconds, drain_seconds and 15 s must stay below the pod's grace period.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True)

    folder: Path = Path("/models")
    """Folder with output_graph.pbmm, selftest.wav and version.json, as fetch leaves it, and for a
    version with a grammar grammar.zip and acoustic.onnx, which is the phrase network if that decodes. acoustic.int8.onnx is the
    network of the engine Native."""
    name: Annotated[str, Field(min_length=1, max_length=253)] = "speechmodel"
    """The model's id in /v1/models."""
    model_aliases: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_by_comma)] = ("whisper-1", "gpt-4o-transcribe")
    """Other names of the model in requests, with commas between them: the names that clients send by default."""
    listen: Address = ":8080"
    """`address:port`. Without an address: every IPv4 and IPv6 address of the machine."""
    wyoming_listen: Address | None = None
    """`address:port` for the Wyoming protocol, which has no authentication. Without it, it is not served."""
    engine: Engine = Engine.AUTO
    """DeepSpeech, Native, or Auto: Native if it answered every test clip of the version as DeepSpeech did."""
    decoders: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Recordings decoded at once, and as many streams beside them. By default as many as CPUs, and four times as many with the
    engine Native. Lower it when other processes need the same CPUs."""
    waiting: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Requests that may wait for a decoder. Raise it for bursts.

    The bodies of all requests together may have max_upload_bytes times the sum of waiting and decoders, or of waiting
    and the number of CPUs if decoders is not set.
    """
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 25 * 1024 * 1024
    """Largest request body. The default is OpenAI's limit."""
    max_audio_seconds: Annotated[float, Field(gt=0)] = 7200.0
    """Longest recording. It bounds the time for which one request holds a decoder."""
    upload_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Time in which a body must arrive. Raise it for clients on slow lines."""
    stream_idle_seconds: Annotated[float, Field(gt=0)] | None = None
    """Time in which the next message of a stream must arrive: Vosk, realtime sessions and Wyoming. A stream holds a place. By default
    30 s, or upload_seconds if that is longer. Raise it for clients that send nothing while nobody speaks."""
    header_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Time in which the headers of a request must arrive. A slower connection is closed."""
    keep_alive_seconds: Annotated[int, Field(ge=1)] = 75
    """Time for which an idle connection stays open. A load balancer that keeps connections longer may send a request on
    one that is being closed, and answers it with 502. Most keep connections for 60 s."""
    connections: Annotated[int, Field(ge=1)] = 1000
    """Maximum number of open connections, over HTTP and Wyoming together; at most half of them are over Wyoming. At the
    limit, a new connection replaces the one that has been idle longest. If none is idle, it gets 503, except for probes.
    The limit is lower if the process may not open that many files."""
    api_keys: Path | None = None
    """A file with API keys, one a line, or a folder of such files: a mounted Secret. Without it, requests
    need no key."""
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_by_comma)] = ()
    """Origins whose web pages may use the API, with commas between them, such as https://home.example. `*` allows
    every page."""
    takes: Path | None = None
    """The folder of the dataset, in which takes that people record on the page are kept."""
    takes_bucket: S3Location | None = None
    """The bucket of the dataset instead, as JSON. Without either, nothing is kept."""
    takes_wanted: Annotated[int, Field(ge=1, le=1000)] = 5
    """Takes that the page asks each speaker for, of each sentence."""
    misheard_days: Annotated[int, Field(ge=1, le=365)] | None = None
    """Days for which clips that were rejected or doubtful are kept in the dataset. Without it, they
    are not kept, and those that are there are deleted. It needs `takes` or `takes_bucket`."""
    misheard_below: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Confidence below which an answer is doubtful."""
    misheard_mebibytes: Annotated[int, Field(ge=1)] = 200
    """Size of all these clips. The oldest are deleted to make room."""
    service_account: Path | None = None
    """Folder with token, ca.crt and namespace, by which the server may change its own SpeechModel, so that people can
    start a training. Without it, they cannot. It needs `takes` or `takes_bucket`."""
    root_path: Annotated[str, Field(pattern=r"^(/.*[^/])?$")] = ""
    """The path that a proxy removes from requests, such as /speech."""
    lame_duck_seconds: Annotated[float, Field(ge=0)] = 5.0
    """Time after SIGTERM, and after every request that still comes, in which new requests are served: load balancers
    notice it late. It ends after four times this time in any case."""
    drain_seconds: Annotated[int, Field(ge=0)] = 20
    """Time after that in which requests in flight may finish."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest severity that is logged."""

    @field_validator("misheard_days", "service_account")
    @classmethod
    def _needs_takes(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and not (info.data.get("takes") or info.data.get("takes_bucket")):
            raise ValueError(f"set {PREFIX}TAKES too, the folder in which takes are kept")
        return value

    def missing_paths(self) -> list[str]:
        """Return a sentence for each setting that names a file or folder that does not exist.

        The folder of the version is not among them: the server starts without it, and reports it.
        """
        named = {"api_keys": self.api_keys, "takes": self.takes, "service_account": self.service_account}
        return [
            f"{PREFIX}{name.upper()}: {path} does not exist; create it, or correct the setting"
            for name, path in named.items()
            if path is not None and not path.exists()
        ]

    @property
    def next_message_seconds(self) -> float:
        """Time in which the next message of a stream must arrive."""
        if self.stream_idle_seconds is not None:
            return self.stream_idle_seconds
        return max(STREAM_IDLE_SECONDS, self.upload_seconds)

    @property
    def keeps_takes(self) -> bool:
        """True if people may record takes."""
        return self.takes is not None or self.takes_bucket is not None


_HOST = "_SERVICE_HOST"
_OF_A_SERVICE = re.compile(r"SERVICE_(HOST|PORT(_.*)?)|PORT_\d+_.*")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that begin like a setting and are none, as a misspelt setting does. Those of other programs of
    the project are known: `speechmodel run` passes on what trainer and server need. So are those that Kubernetes makes for a
    Service whose name begins with speechmodel.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {LIBRARY, FIELDS_VARIABLE, COQUI_PYTHON}
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX) and name not in known}
    services = [name.removesuffix(_HOST) + "_" for name in environment if name.endswith(_HOST)]
    return sorted(name for name, value in ours.items() if not any(_is_of(each, name, value) for each in services))


def _is_of(service: str, name: str, value: str) -> bool:
    """Return True for a variable that Kubernetes makes for a Service. `..._PORT` may be somebody's number: its own is an address."""
    if not name.startswith(service):
        return False
    rest = name.removeprefix(service)
    return _OF_A_SERVICE.fullmatch(rest) is not None or (rest == "PORT" and _ADDRESS.fullmatch(value) is not None)
