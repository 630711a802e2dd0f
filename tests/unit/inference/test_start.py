"""A server imports little before it is ready."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from speechmodel_inference import rest
from speechmodel_pipeline.graphdef.pbmm import memory_map
from support.places import FIXTURES
from support.servers import VersionFolder

NOT_NEEDED = (
    "av",
    "boto3",
    "botocore",
    "hassil",
    "langcodes",
    "opentelemetry.sdk",
    "speechmodel_inference.bucket_store",
    "speechmodel_inference.routers.misheard",
    "speechmodel_inference.routers.retrain",
    "speechmodel_inference.routers.takes",
    "speechmodel_inference.wyoming_server",
    "speechmodel_pipeline",
    "wyoming",
    "yaml",
)
UNTIL_READY = """
import sys
from pathlib import Path
from speechmodel_inference.server import create_app
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import load_version
from speechmodel_inference.version_files import VersionFiles
create_app(Settings())
load_version(VersionFiles(Settings().folder))
print(*sys.modules)
"""
"""Do what a server does until it is ready, without its sockets."""


@pytest.fixture
def folder(tmp_path: Path) -> VersionFolder:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    return VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm")


@pytest.mark.parametrize("grammar", [True, False])
def test_what_few_requests_need_is_not_imported_before_the_server_is_ready(
    folder: VersionFolder, grammar: bool
) -> None:
    if grammar:
        folder.decode_by_grammar("ok espejo", "hola espejo")
    program = [sys.executable, "-c", UNTIL_READY]
    environment = {"SPEECHMODEL_FOLDER": str(folder.path)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "speechmodel_inference.app" in modules
    assert modules.intersection(NOT_NEEDED) == set()


LOADED_WHILE_IMPORTING = """
import sys
from importlib.abc import MetaPathFinder
from speechmodel_inference import run
from speechmodel_inference.lifecycle import Lifecycle

class ServerIsImported(MetaPathFinder):
    def find_spec(self, name, *_):
        if name == "speechmodel_inference.server":
            sys.exit(begun[0].result(600).manifest.version)

begun, begin = [], Lifecycle.begin
Lifecycle.begin = lambda lifecycle: begun.append(begin(lifecycle))
sys.meta_path.insert(0, ServerIsImported())
run.run()
"""


def test_the_version_is_loaded_while_the_server_is_imported(folder: VersionFolder) -> None:
    program = [sys.executable, "-c", LOADED_WHILE_IMPORTING]
    environment = {"SPEECHMODEL_FOLDER": str(folder.path), "SPEECHMODEL_LISTEN": "127.0.0.1:0"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0123abcd"


UNTIL_LOADED = """
import asyncio, sys
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
services = Services.make(Settings())
asyncio.run(services.load())
assert services.lifecycle.loaded, services.lifecycle.problem
from speechmodel_decoding import speech_detector
assert speech_detector._session.cache_info().currsize == 1
print(*sys.modules)
"""


def test_it_is_imported_once_the_server_is_ready(folder: VersionFolder) -> None:
    program = [sys.executable, "-c", UNTIL_LOADED]
    environment = {"SPEECHMODEL_FOLDER": str(folder.path)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert {"av", "langcodes"} <= set(done.stdout.split())
    assert "cannot load" not in done.stderr


def test_a_part_that_cannot_be_loaded_is_named_and_the_others_are_loaded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = []
    monkeypatch.setattr(rest, "_load_av", failing)
    monkeypatch.setattr(rest, "is_language", lambda *_: loaded.append("languages"))
    monkeypatch.setattr(rest, "SpeechDetector", failing)
    rest.load_rest("es")
    assert loaded == ["languages"]
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "cannot load PyAV",
        "cannot load the detector of speech",
    ]
    assert "damaged network" in caplog.text


def failing() -> None:
    raise Exception("damaged network")  # as ONNX Runtime does


THREADS_OF_NUMPY = """
import sys, types
from threadpoolctl import threadpool_info

def run():
    import numpy
    print([pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"])

sys.modules["speechmodel_inference.run"] = types.SimpleNamespace(run=run)
from speechmodel_inference.__main__ import main
main()
"""


def test_the_products_of_numpy_are_small_and_stay_in_one_thread() -> None:
    ours = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS_OF_NUMPY], env=ours, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1]\n"


TYPES_OF_OPENAPI = """
import sys, types

def run():
    from fastapi.openapi.models import OpenAPI
    print(OpenAPI.__pydantic_complete__)

sys.modules["speechmodel_inference.run"] = types.SimpleNamespace(run=run)
from speechmodel_inference.__main__ import main
main()
"""


def test_types_that_few_clients_need_are_built_when_they_are_used() -> None:
    done = subprocess.run([sys.executable, "-c", TYPES_OF_OPENAPI], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
