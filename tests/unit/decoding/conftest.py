"""The acoustic model of the fixture's graph, and what the runtime hears in its clips."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from speechmodel_decoding import AcousticModel
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_runtime import Pcm, load, read_graph
from support.places import FIXTURES


@dataclass(frozen=True)
class Heard:
    """A clip, and the transcript and log score that libdeepspeech gives for it."""

    pcm: Pcm
    text: str
    confidence: float


@pytest.fixture(scope="session")
def acoustic_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("acoustic") / "acoustic.onnx"
    export_acoustic_model(FIXTURES / "tf2_128.pb", path)
    return path


@pytest.fixture(scope="session")
def acoustic(acoustic_file: Path) -> AcousticModel:
    return AcousticModel(acoustic_file)


@pytest.fixture(scope="session")
def alphabet() -> tuple[str, ...]:
    return tuple(label.decode() for label in read_graph(FIXTURES / "tf2_128.pb").labels)


@pytest.fixture(scope="session")
def heard() -> list[Heard]:
    expected = json.loads((FIXTURES / "tf2_128.expected.json").read_text(encoding="utf-8"))
    return [Heard(load(FIXTURES / "clips" / name), each["text"], each["confidence"]) for name, each in expected.items()]
