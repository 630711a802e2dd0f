"""Streams that decode at the same time share runs of the network of Native."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding.shared_runs import Floats, SharedRuns
from speechmodel_inference import lifecycle, services
from speechmodel_inference.decoders import DecodingOptions, NativeFreeText
from speechmodel_inference.live import LiveTranscription
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import load
from support.places import FIXTURES
from support.servers import OK_ESPEJO, VersionFolder
from support.waiting import until

STREAMS = 4


@pytest.fixture
async def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The parts of a server with one CPU that has loaded a version for Native."""
    for module in (lifecycle, services):
        monkeypatch.setattr(module, "available_cpus", lambda: 1)
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    folder.decode_natively()
    loaded = Services.make(Settings(folder=folder.path))
    await loaded.load()
    return loaded


async def test_streams_whose_utterances_end_at_the_same_time_share_a_run(native: Services) -> None:
    version = native.lifecycle.version
    runs = cast(SharedRuns, cast(NativeFreeText, version.decoder).network._outputs.__self__)  # type: ignore[attr-defined]
    network, go_on, together = runs.run, threading.Event(), []

    def run(patches: Floats, h: Floats, c: Floats) -> object:
        together.append(patches.shape[1])
        go_on.wait()
        return network(patches, h, c)

    runs.run = run  # type: ignore[assignment]
    audio = np.concatenate([load(OK_ESPEJO), np.zeros(SAMPLE_RATE, np.int16)]).astype("<i2").tobytes()
    steps = [
        asyncio.create_task(native.queue.run_stream(partial(live.feed, audio, partial=False)))
        for live in (LiveTranscription(version, SAMPLE_RATE, DecodingOptions()) for _ in range(STREAMS))
    ]
    try:
        await asyncio.to_thread(
            until, lambda: together and len(runs._waiting) == STREAMS - together[0], "the others wait", every=0.01
        )
    finally:
        go_on.set()
    heard = await asyncio.gather(*steps)
    assert [segment.text for each in heard for segment in each.ended] == ["ok espejo"] * STREAMS
    assert max(together) == STREAMS
    await native.queue.close(60)
