"""Fixtures: a fetched version and servers that serve it."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import load
from support.browser import chromium
from support.places import FIXTURES
from support.servers import INTENTS, OK_ESPEJO, WITHOUT_INTENT, Server, Start, VersionFolder


@pytest.fixture(scope="session")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("converted") / "output_graph.pbmm"
    memory_map(FIXTURES / "tf2_128.pb", path)
    return path


@pytest.fixture
def folder(tmp_path: Path, mapped: Path) -> VersionFolder:
    return VersionFolder(tmp_path / "models", mapped)


@pytest.fixture
def start(folder: VersionFolder, tmp_path: Path) -> Iterator[Start]:
    """Start servers with settings of their own. All are ended with the test."""
    number = count()
    with ExitStack() as ending:

        def starting(address: str = "127.0.0.1", **settings: object) -> Server:
            log = tmp_path / f"server-{next(number)}.log"
            named = {name: str(value) for name, value in settings.items()}
            return ending.enter_context(Server(folder.path, log, named, address))

        yield starting


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of the servers of a test: DeepSpeech, unless the test has the mark BOTH_ENGINES."""
    return str(getattr(request, "param", "DeepSpeech"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mapped: Path, engine: str) -> Iterator[Server]:
    """One server of free text for all tests of a module that only send requests."""
    base = tmp_path_factory.mktemp("server")
    folder = VersionFolder(base / "models", mapped)
    if engine == "Native":
        folder.decode_natively()
    limits = {"max_audio_seconds": "20", "max_upload_bytes": "2000000"}
    with Server(folder.path, base / "server.log", limits) as server:
        yield server.until_ready()


@pytest.fixture(scope="module")
def grammar_server(tmp_path_factory: pytest.TempPathFactory, mapped: Path, engine: str) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("grammar")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*WITHOUT_INTENT, intents=INTENTS, quien=("hija", "hijo", "nuera"))
    if engine == "Native":
        folder.decode_natively()
    with Server(folder.path, base / "server.log", {}) as server:
        yield server.until_ready()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, whose microphone hears OK_ESPEJO."""
    with chromium(OK_ESPEJO) as browser:
        yield browser


@pytest.fixture(scope="session")
def eight_channels() -> bytes:
    """Five minutes of eight channels at 96 kHz: a small file that takes some seconds to read."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 96_000, 8, format="FLAC") as flac:
        for _ in range(300):
            flac.write(np.zeros((96_000, 8), np.int16))
    return file.getvalue()


@pytest.fixture(scope="session")
def long_recording() -> bytes:
    """25 minutes of speech, the most that an upload may have: more work than a test waits for, even if it is stopped meanwhile."""
    clip, file = load(OK_ESPEJO), io.BytesIO()
    soundfile.write(file, np.tile(clip, 1500 * 16000 // len(clip)), 16_000, format="FLAC")
    return file.getvalue()
