"""A fetched version on disk, and real server processes that serve it."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self

import httpx
import openai
import pytest
from speechmodel_api.decoding_spec import GrammarSource, Scorer
from speechmodel_api.published import (
    ModelCard,
    PublishedConfidence,
    PublishedGrammar,
    PublishedNative,
    PublishedRejection,
    PublishedScorer,
    VersionManifest,
)
from speechmodel_api.stages.decoders import Calibration, Decoding
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, QUANTISED, SCORER, SELFTEST, VERSION
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_embedding import Head
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.convert.quantised import export_quantised_model
from speechmodel_runtime import Pcm, load, read_graph, save
from websockets.sync.client import ClientConnection, connect

from support.phrase_heads import export_head
from support.places import FIXTURES
from support.ports import free_port
from support.waiting import until, until_ended

OK_ESPEJO = FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"
PHRASES = ("ok espejo", "espejo llama a mi {quien}", "vale [espejo]")
"""A grammar for the clips of the fixture."""
WITHOUT_INTENT, INTENTS = ("ok espejo", "vale [espejo]"), {"CallPerson": ("espejo llama a mi {quien}",)}
"""The same grammar with an intent."""

# indirect: a server of a module would otherwise outlive the change of its engine
BOTH_ENGINES = pytest.mark.parametrize("engine", ["DeepSpeech", "Native"], indirect=True, scope="module")
"""Runs a test with a server of each engine, where the test asserts on what an engine has decoded."""
HANGS = 600
"""Seconds without an answer after which it will never come, however busy the machine is."""


class VersionFolder:
    """A model folder as fetch leaves it."""

    def __init__(self, path: Path, mapped: Path, speech_level: float | None = None) -> None:
        self.path = path
        self._speech_level = speech_level
        self._grammar: PublishedGrammar | None = None
        self._rejection: PublishedRejection | None = None
        self._decoding = Decoding(beam_width=100)
        self._scorer: PublishedScorer | None = None
        self._confidence: PublishedConfidence | None = None
        self._card: ModelCard | None = None
        self._native: PublishedNative | None = None
        path.mkdir()
        shutil.copy(mapped, path / MODEL)
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def decode_by_grammar(
        self,
        *phrases: str,
        intents: Mapping[str, tuple[str, ...]] | None = None,
        threshold: float = -0.05,
        head: Head | None = None,
        **lists: tuple[str, ...],
    ) -> None:
        """Add the files of a grammar, as a version that was published with one has them. With `head`, the phrase network
        decodes it.
        """
        graph = FIXTURES / "tf2_128.pb"
        if head is None:
            export_acoustic_model(graph, self.path / ACOUSTIC)
        else:
            export_head(head, self.path / ACOUSTIC)
        alphabet = [label.decode() for label in read_graph(graph).labels]
        intents = dict(intents or {})
        self._decoding = Decoding(grammar=GrammarSource.PHRASES, phrases=phrases, intents=intents, lists=lists)
        grammar = compile_grammar([], alphabet, templates=phrases, intents=intents, lists=lists)
        (self.path / GRAMMAR).write_bytes(grammar.to_bytes())
        self._grammar = PublishedGrammar(
            acoustic_uri="s3://models/home/espejo/acoustic.onnx",
            acoustic_sha256=self._digest(ACOUSTIC),
            acoustic_bytes=(self.path / ACOUSTIC).stat().st_size,
            grammar_uri="s3://models/home/espejo/grammar.zip",
            grammar_sha256=self._digest(GRAMMAR),
            grammar_bytes=(self.path / GRAMMAR).stat().st_size,
            calibration=Calibration(threshold=threshold, offset=-2.0, slope=1.5, word_offset=-2.0, word_slope=1.5),
            embedded=head is not None,
        )
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def reject_foreign_speech(self, threshold: float) -> None:
        """Add the acoustic model, as a version that was published with rejection in free text has it."""
        export_acoustic_model(FIXTURES / "tf2_128.pb", self.path / ACOUSTIC)
        self._rejection = PublishedRejection(
            acoustic_uri="s3://models/home/espejo/acoustic.onnx",
            acoustic_sha256=self._digest(ACOUSTIC),
            acoustic_bytes=(self.path / ACOUSTIC).stat().st_size,
            threshold=threshold,
        )
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def decode_with_scorer(self, hot_words: dict[str, float] | None = None) -> None:
        """Add the fixture's scorer, as a version that was published with one has it."""
        shutil.copy(FIXTURES / "es.scorer", self.path / SCORER)
        self._scorer = PublishedScorer(
            scorer_uri="s3://models/home/espejo/lm.scorer",
            scorer_sha256=self._digest(SCORER),
            scorer_bytes=(self.path / SCORER).stat().st_size,
            alpha=0.93,
            beta=1.18,
        )
        self._decoding = Decoding(beam_width=100, scorer=Scorer(path="es.scorer", hot_words=hot_words or {}))
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def decode_natively(self, differences: int = 0) -> None:
        """Add the network of the engine Native, as a version that was published with one has it."""
        export_quantised_model(FIXTURES / "tf2_128.pb", self.path / QUANTISED)
        self._native = PublishedNative(
            quantised_uri="s3://models/home/espejo/acoustic.int8.onnx",
            quantised_sha256=self._digest(QUANTISED),
            quantised_bytes=(self.path / QUANTISED).stat().st_size,
            clips=18,
            differences=differences,
        )
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def be_confident(self) -> None:
        """Add the confidences of free text, as a version that was published with them has them."""
        scores = {}
        if self._rejection is None:
            export_quantised_model(FIXTURES / "tf2_128.pb", self.path / QUANTISED)
            scores = {
                "quantised_uri": "s3://models/home/espejo/acoustic.int8.onnx",
                "quantised_sha256": self._digest(QUANTISED),
                "quantised_bytes": (self.path / QUANTISED).stat().st_size,
            }
        numbers = {"offset": -2.0, "slope": 1.5, "word_offset": -2.0, "word_slope": 1.5}
        self._confidence = PublishedConfidence.model_validate(scores | numbers)
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def describe(self, card: ModelCard) -> None:
        """Add a card, as a version that was published with one has it."""
        self._card = card
        self.selftest(load(OK_ESPEJO), "ok espejo")

    def selftest(self, pcm: Pcm, text: str) -> None:
        save(self.path / SELFTEST, pcm)
        manifest = VersionManifest(
            version="0123abcd",
            language="es-CL",
            decoding=self._decoding,
            grammar=self._grammar,
            rejection=self._rejection,
            scorer=self._scorer,
            confidence=self._confidence,
            native=self._native,
            model_uri="s3://models/home/espejo/output_graph.pbmm",
            model_sha256=self._digest(MODEL),
            model_bytes=(self.path / MODEL).stat().st_size,
            selftest_uri="s3://models/home/espejo/selftest.wav",
            selftest_sha256=self._digest(SELFTEST),
            selftest_text=text,
            report_uri="s3://models/home/espejo/report.json",
            speech_level=self._speech_level,
            wer=0.125,
            card=self._card,
        )
        (self.path / VERSION).write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")

    def _digest(self, name: str) -> str:
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()


@dataclass
class Server:
    """`python -m speechmodel_inference` in a process of its own, which ends with the context."""

    folder: Path
    log: Path
    settings: dict[str, str]
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside the settings."""
    python: Sequence[str] = (sys.executable,)
    """Command of Python."""

    def __post_init__(self) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "SPEECHMODEL_FOLDER": str(self.folder),
            "SPEECHMODEL_NAME": "espejo",
            "SPEECHMODEL_LISTEN": f"{self.address}:{self.port}",
            **{f"SPEECHMODEL_{name.upper()}": value for name, value in self.settings.items()},
            **self.environment,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.python, "-m", "speechmodel_inference"], env=environment, stdout=log, stderr=log
            )
        # each request has a connection of its own: the server closes one that is idle, perhaps just when it is used again
        unused = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=HANGS, limits=unused)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return str(self.client.base_url)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def transcribe(self, audio: Path | bytes, **fields: str) -> httpx.Response:
        raw = audio if isinstance(audio, bytes) else audio.read_bytes()
        name = "clip.wav" if isinstance(audio, bytes) else audio.name
        return self.client.post("/v1/audio/transcriptions", files={"file": (name, raw)}, data=fields)

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=HANGS)

    def websocket(self, path: str, **options: Any) -> ClientConnection:
        """Return a WebSocket to a path, which waits for a busy machine."""
        # a ping waits behind more than a MiB of audio, so a client that expects an answer to each would leave
        found: ClientConnection = connect(
            f"ws://127.0.0.1:{self.port}{path}", open_timeout=HANGS, ping_timeout=None, **options
        )
        return found

    def metric(self, name: str, **labels: str) -> float:
        inside = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else ""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{name}{inside} "):
                return float(line.split()[-1])
        return 0.0

    def until(self, look: Callable[[], bool], what: str, moved: Callable[[], Hashable] | None = None) -> None:
        """Wait until `look()` is true. A longer log of the server is progress, unless `moved` observes something else."""
        moved = moved or (lambda: self.log.stat().st_size)
        until(look, what, moved=moved, explain=self.log.read_text, every=0.02)

    def until_answering(self) -> None:
        self.until(lambda: self._answers("/livez"), "/livez answers")

    def until_ready(self, moved: Callable[[], Hashable] | None = None) -> Self:
        self.until(lambda: self._answers("/readyz"), "the server is ready", moved)
        return self

    def until_draining(self) -> None:
        self.until(lambda: self.get("/readyz").status_code == 503, "the server drains")

    def until_metric(self, name: str, value: float, **labels: str) -> None:
        self.until(lambda: self.metric(name, **labels) == value, f"{name} is {value:g}")

    def until_ended(self) -> int:
        """Return the exit code."""
        return until_ended(self.process)

    def _answers(self, path: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:
            return False

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the server while the block runs. What is sent to it meanwhile is there at once when it goes on."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.client.close()


class Upload:
    """A client that has sent its recording but for the last byte. It leaves when it is closed."""

    def __init__(self, server: Server, recording: Path | bytes, path: str = "/v1/audio/transcriptions") -> None:
        audio = recording if isinstance(recording, bytes) else recording.read_bytes()
        body: dict[str, Any] = {"content": audio} if path == "/stt" else {"files": {"file": audio}}
        request = httpx.Request("POST", f"{server.url}{path}", **body)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        content = request.read()
        self._last = content[-1:]
        self._connection = socket.create_connection(("127.0.0.1", server.port), timeout=HANGS)
        self._connection.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + content[:-1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def finish(self) -> Self:
        """Send the last byte."""
        self._connection.sendall(self._last)
        return self

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Return the status, the headers and the document of the answer."""
        found = HTTPResponse(self._connection)
        found.begin()
        return found.status, {name.lower(): value for name, value in found.getheaders()}, json.loads(found.read())


Start = Callable[..., Server]
"""Starts a server with the given settings."""
