"""A version decodes recordings at the level of the clips that it was trained on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.serving_spec import Engine
from speechmodel_cli.transcriptions import transcribe_here
from speechmodel_inference.decoders import DecodingOptions
from speechmodel_inference.version import load_version
from speechmodel_inference.version_files import VersionFiles
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import load, loudness, save
from support.places import FIXTURES
from support.servers import OK_ESPEJO, VersionFolder


def version(folder: Path, speech_level: float | None) -> Path:
    memory_map(FIXTURES / "tf2_128.pb", folder / "mapped.pbmm")
    return VersionFolder(folder / "models", folder / "mapped.pbmm", speech_level).path


def by_server(folder: Path, recording: Path) -> str:
    with recording.open("rb") as file:
        served = load_version(VersionFiles(folder))
        return served.transcribe(file, name="x", max_seconds=9, options=DecodingOptions()).text


def by_command(folder: Path, recording: Path) -> str:
    (transcription,) = transcribe_here(folder, [recording], Engine.AUTO)
    return transcription.text


@pytest.mark.parametrize("transcribe", [by_server, by_command])
def test_recordings_are_brought_to_the_level_of_the_version(
    transcribe: Callable[[Path, Path], str], tmp_path: Path
) -> None:
    """The clip of the fixture is recognised at its own level, and not 40 dB below."""
    trained = loudness(load(OK_ESPEJO))
    assert trained is not None
    (tmp_path / "own").mkdir()
    (tmp_path / "other").mkdir()
    assert transcribe(version(tmp_path / "own", trained), OK_ESPEJO) == "ok espejo"
    assert transcribe(version(tmp_path / "other", trained - 40), OK_ESPEJO) != "ok espejo"


@pytest.mark.parametrize("transcribe", [by_server, by_command])
def test_a_version_without_a_level_decodes_recordings_as_they_are(
    transcribe: Callable[[Path, Path], str], tmp_path: Path
) -> None:
    save(tmp_path / "quiet.wav", np.rint(load(OK_ESPEJO) * 0.01).astype(np.int16))
    folder = version(tmp_path, None)
    assert transcribe(folder, OK_ESPEJO) == "ok espejo"
    assert transcribe(folder, tmp_path / "quiet.wav") != "ok espejo"
