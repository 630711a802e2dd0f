"""Clients that people have, each with the program that docs/clients.md shows for it."""

import re
from pathlib import Path

import pytest
import soundfile
from speechmodel_runtime import load
from support.client_programs import run_client
from support.places import ROOT
from support.servers import OK_ESPEJO, Server

pytestmark = pytest.mark.slow

PROGRAMS = dict(
    re.findall(
        r"^### (.+?)\n.*?^```python\n(.*?)^```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL | re.MULTILINE
    )
)
"""The Python program under each heading."""


@pytest.fixture(autouse=True)
def take(tmp_path: Path) -> None:
    """Write take.wav at 44.1 kHz, the rate of most recorders: LangChain makes mp3 of it, which is poor at 16 kHz."""
    soundfile.write(tmp_path / "take.wav", load(OK_ESPEJO, sample_rate=44_100), 44_100)


@pytest.mark.parametrize("client", ["The package openai", "LiteLLM", "SpeechRecognition", "LangChain"])
def test_a_client_gets_the_words_by_the_program_in_the_documentation(
    client: str, grammar_server: Server, tmp_path: Path
) -> None:
    program = PROGRAMS[client].replace("http://espejo", grammar_server.url)
    assert grammar_server.url in program
    assert "ok espejo" in run_client(program, tmp_path).splitlines()


def test_the_agents_sdk_gets_the_words_from_a_realtime_session(grammar_server: Server, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "take.wav", load(OK_ESPEJO, sample_rate=24_000), 24_000)
    program = PROGRAMS["OpenAI's Agents SDK"].replace("http://espejo", grammar_server.url)
    assert grammar_server.url in program
    assert run_client(program, tmp_path).splitlines() == ["ok espejo"]


def test_the_command_of_vosk_writes_subtitles_of_a_server(grammar_server: Server, tmp_path: Path) -> None:
    """The command connects to port 2700 only, which may be in use here, and downloads a model that it does not need."""
    program = f"""
import sys
from vosk.transcriber import cli, transcriber

transcriber.Model = lambda **_: None
cli.parser.set_defaults(server="{grammar_server.url.replace("http", "ws", 1).rstrip("/")}")
sys.argv = ["vosk-transcriber", "--input", "take.wav", "--output-type", "srt"]
cli.main()
"""
    _, times, words = run_client(program, tmp_path).strip().splitlines()
    assert words == "ok espejo"
    start, end = (time.split(",")[0] for time in times.split(" --> "))
    assert "00:00:00" <= start <= end < "00:00:03"


def test_litellm_gets_the_words_asynchronously_and_with_their_times(grammar_server: Server, tmp_path: Path) -> None:
    program = f"""
import asyncio, litellm

async def main():
    server = {{"model": "openai/whisper-1", "api_base": "{grammar_server.url}/v1", "api_key": "none"}}
    with open("take.wav", "rb") as file:
        answer = await litellm.atranscription(
            file=file, language="es", response_format="verbose_json", timestamp_granularities=["word"], **server
        )
    print(answer.text)
    print([word["word"] for word in answer.words])

asyncio.run(main())
"""
    assert run_client(program, tmp_path).splitlines() == ["ok espejo", "['ok', 'espejo']"]
