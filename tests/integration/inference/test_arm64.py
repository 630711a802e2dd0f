"""The server on arm64, by qemu-user: the same answers as on x86-64, without libdeepspeech."""

from pathlib import Path

import pytest
from support import arm64
from support.servers import OK_ESPEJO, PHRASES, Server, Start, VersionFolder
from support.waiting import cpu_seconds

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("grammar", "processor"),
    [
        pytest.param(True, "cortex-a72", id="a grammar on the processor of a Raspberry Pi 4"),
        pytest.param(False, "cortex-a76", id="free text on the processor of a Raspberry Pi 5"),
    ],
)
def test_a_server_on_arm64_passes_its_self_test_and_answers_as_on_x86_64(
    folder: VersionFolder, start: Start, tmp_path: Path, grammar: bool, processor: str
) -> None:
    if grammar:
        folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo", "nuera"))
    folder.decode_natively()
    made, log = arm64.folder(), tmp_path / "arm64.log"
    environment = arm64.environment(made, processor)
    with Server(folder.path, log, {}, environment=environment, python=arm64.command(made)) as server:
        server.until_ready(moved=lambda: int(cpu_seconds(server.process.pid)))
        assert "by the engine Native; self-test: 'ok espejo'" in log.read_text(encoding="utf-8")
        answer = server.transcribe(OK_ESPEJO, response_format="verbose_json").json()
    assert answer == start().until_ready().transcribe(OK_ESPEJO, response_format="verbose_json").json()
