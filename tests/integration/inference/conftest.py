"""A fetched version on disk and real server processes in front of it."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from speechmodel_api.stages import Decoding, VersionManifest
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Pcm, load, save

FIXTURES = Path(__file__).parents[2] / "fixtures" / "deepspeech"
OK_ESPEJO = FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"

HANGS = 600
"""Seconds without an answer after which it will never come, however busy the machine is."""


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "output_graph.pbmm"
    memory_map(FIXTURES / "tf2_128.pb", path)
    return path


class VersionFolder:
    """What fetch leaves behind."""

    def __init__(self, path: Path, mapped: Path) -> None:
        self.path = path
        path.mkdir()
        shutil.copy(mapped, path / "output_graph.pbmm")
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def selftest(self, pcm: Pcm, text: str) -> None:
        save(self.path / "selftest.wav", pcm)
        manifest = VersionManifest(
            version="0123abcd",
            language="es-CL",
            decoding=Decoding(beam_width=100),
            model_uri="s3://models/home/espejo/output_graph.pbmm",
            model_sha256=self._digest("output_graph.pbmm"),
            model_bytes=(self.path / "output_graph.pbmm").stat().st_size,
            selftest_uri="s3://models/home/espejo/selftest.wav",
            selftest_sha256=self._digest("selftest.wav"),
            selftest_text=text,
            report_uri="s3://models/home/espejo/report.json",
            wer=0.125,
        )
        (self.path / "version.json").write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")

    def _digest(self, name: str) -> str:
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, mapped: Path) -> VersionFolder:
    return VersionFolder(tmp_path / "models", mapped)


@dataclass
class Server:
    """`python -m speechmodel_inference` in a process of its own."""

    folder: Path
    log: Path
    settings: dict[str, str]
    address: str = "127.0.0.1"
    port: int = field(default_factory=lambda: free_port())

    def __post_init__(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "SPEECHMODEL_FOLDER": str(self.folder),
            "SPEECHMODEL_NAME": "espejo",
            "SPEECHMODEL_LISTEN": f"{self.address}:{self.port}",
            **{f"SPEECHMODEL_{name.upper()}": value for name, value in self.settings.items()},
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "speechmodel_inference"], env=environment, stdout=log, stderr=log
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=HANGS)

    @property
    def url(self) -> str:
        return f"{self.client.base_url}"

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def transcribe(self, audio: Path | bytes, **fields: str) -> httpx.Response:
        raw = audio if isinstance(audio, bytes) else audio.read_bytes()
        name = "clip.wav" if isinstance(audio, bytes) else audio.name
        return httpx.post(
            f"{self.url}/v1/audio/transcriptions", files={"file": (name, raw)}, data=fields, timeout=HANGS
        )

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def metric(self, name: str, **labels: str) -> float:
        inside = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else ""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{name}{inside} "):
                return float(line.split()[-1])
        return 0.0

    def wait_until_answering(self) -> None:
        wait_for(lambda: self._answers("/livez"))

    def wait_until_ready(self) -> "Server":
        wait_for(lambda: self._answers("/readyz"), explain=lambda: self.log.read_text())
        return self

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.client.close()


Start = Callable[..., Server]


@pytest.fixture
def start(folder: VersionFolder, tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings of their own; all are ended with the test."""
    servers: list[Server] = []

    def starting(address: str = "127.0.0.1", **settings: object) -> Server:
        log = tmp_path / f"server-{len(servers)}.log"
        servers.append(Server(folder.path, log, {name: str(value) for name, value in settings.items()}, address))
        return servers[-1]

    yield starting
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """One server for all tests of a module that only ask it things."""
    base = tmp_path_factory.mktemp("server")
    limits = {"max_audio_seconds": "20", "max_upload_bytes": "2000000"}
    server = Server(VersionFolder(base / "models", mapped).path, base / "server.log", limits)
    try:
        yield server.wait_until_ready()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of speech: some seconds of work for a decoder."""
    clip = load(OK_ESPEJO)
    path = tmp_path_factory.mktemp("minute") / "minute.wav"
    save(path, np.tile(clip, 60 * 16000 // len(clip)))
    return path


@pytest.fixture(scope="session")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Work for a decoder that nobody wants to see the end of."""
    clip = load(OK_ESPEJO)
    path = tmp_path_factory.mktemp("long") / "long.wav"
    save(path, np.tile(clip, 299 * 16000 // len(clip)))
    return path.read_bytes()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], seconds: float = 30, explain: Callable[[], str] = lambda: "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s: {explain()}"
        time.sleep(0.02)
