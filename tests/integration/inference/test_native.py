"""A server with the engine Native, which answers requests that arrive together as it answers each alone."""

import json
from concurrent.futures import ThreadPoolExecutor

from speechmodel_stagekit.cpus import available_cpus
from support.places import FIXTURES
from support.servers import Start, VersionFolder

HEARD = json.loads((FIXTURES / "tf2_128.expected.json").read_text(encoding="utf-8"))


def test_requests_that_arrive_together_get_the_texts_that_libdeepspeech_gives_each(
    folder: VersionFolder, start: Start
) -> None:
    folder.decode_natively()
    server = start(libdeepspeech="/nowhere").until_ready()
    assert "by the engine Native" in server.log.read_text(encoding="utf-8")
    assert server.metric("speechmodel_decoders") == 4 * available_cpus()
    clips = {name: FIXTURES / "clips" / name for name in HEARD}
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda path: server.transcribe(path).json()["text"], clips.values())
        assert dict(zip(clips, answers, strict=True)) == {name: heard["text"] for name, heard in HEARD.items()}


def test_decoders_and_the_engine_are_settings(folder: VersionFolder, start: Start) -> None:
    folder.decode_natively()
    server = start(decoders=3, engine="DeepSpeech").until_ready()
    assert "by the engine DeepSpeech" in server.log.read_text(encoding="utf-8")
    assert server.metric("speechmodel_decoders") == 3
