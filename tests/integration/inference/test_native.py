"""A server with the engine Native, which answers requests that arrive together as it answers each alone."""

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from speechmodel_stagekit.cpus import available_cpus
from support.places import FIXTURES
from support.servers import HANGS, Start, VersionFolder

HEARD = json.loads((FIXTURES / "tf2_128.expected.json").read_text(encoding="utf-8"))

MEBIBYTE = 1 << 20


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


def test_uploads_hold_no_more_memory_than_without_native(folder: VersionFolder, start: Start) -> None:
    """There is a place for four uploads for each CPU, and memory for one that has the largest size."""
    folder.decode_natively()
    server = start(waiting=0, max_upload_bytes=MEBIBYTE).until_ready()
    clip = FIXTURES / "clips" / next(iter(HEARD))

    def refused() -> bool:
        with ExitStack() as stack:  # again each time, since the server ends uploads that take too long
            for _ in range(available_cpus()):
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=HANGS)
                stack.callback(connection.close)
                connection.putrequest("POST", "/stt")
                connection.putheader("Content-Length", str(MEBIBYTE))
                connection.endheaders(b"x" * (MEBIBYTE - 1))
            return server.transcribe(clip).status_code == 429

    server.until(refused, "the bodies have arrived")
    server.until_metric("speechmodel_requests_in_flight", 0)
    assert server.transcribe(clip).status_code == 200


def test_decoders_and_the_engine_are_settings(folder: VersionFolder, start: Start) -> None:
    folder.decode_natively()
    server = start(decoders=3, engine="DeepSpeech").until_ready()
    assert "by the engine DeepSpeech" in server.log.read_text(encoding="utf-8")
    assert server.metric("speechmodel_decoders") == 3
