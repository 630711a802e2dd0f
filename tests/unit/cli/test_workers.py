"""The programs of a local run start and end together."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from speechmodel_cli.local.workers import Workers
from support.waiting import STALLED_SECONDS

PROGRAM = """
import json, os, pathlib, signal, sys, time
index = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print(f"worker {index} of {os.environ.get('TF_CONFIG')}", flush=True)
code = json.loads(sys.argv[1])[index]
if code is None:
    time.sleep(600)
if code is not None and code != 137:
    pathlib.Path(os.environ["RESULT"]).write_text(f"worker {index}")
sys.exit(code)
"""


class Ended:
    """The lines of the first program, and the end of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.result = folder, folder / "result.json"
        self.lines: list[str] = []
        self.codes: list[int] = []

    async def start(self, *codes: int | None) -> Workers:
        """Start programs that end with these codes; None for one that waits."""
        return await Workers.start(
            len(codes),
            [sys.executable, "-c", PROGRAM, json.dumps(codes)],
            environment=self.environment,
            folder=self.folder,
            log=self.folder / "log",
            result=self.result,
            grace_seconds=600,
            on_line=self.lines.append,
            on_end=self.codes.append,
        )

    @staticmethod
    def environment(result: Path) -> dict[str, str]:
        return {"RESULT": str(result)}


@pytest.fixture
def ended(tmp_path: Path) -> Ended:
    return Ended(tmp_path)


async def test_a_single_program_knows_nothing_of_workers(ended: Ended) -> None:
    await (await ended.start(0)).wait()
    assert ended.lines == ["worker 0 of None"]
    assert (ended.codes, ended.result.read_text()) == ([0], "worker 0")


async def test_workers_get_ports_of_their_own_and_the_first_one_speaks(ended: Ended) -> None:
    await (await ended.start(0, 0, 0)).wait()
    assert (ended.codes, ended.result.read_text()) == ([0], "worker 0")
    (line,) = ended.lines
    cluster = json.loads(line.partition(" of ")[2])["cluster"]["worker"]
    assert len(set(cluster)) == 3
    assert all(address.startswith("127.0.0.1:") for address in cluster)
    assert "worker 2 of" in (ended.folder / "log-2").read_text()


@pytest.mark.parametrize(("code", "result"), [(78, "worker 1"), (137, None)])
async def test_a_worker_that_fails_ends_the_others_and_says_why(ended: Ended, code: int, result: str | None) -> None:
    ended.result.write_text("of an earlier program")
    workers = await ended.start(None, code, None)
    await workers.wait()
    assert ended.codes == [code]
    assert (ended.result.read_text() if ended.result.exists() else None) == result


async def test_a_stop_reaches_all(ended: Ended) -> None:
    workers = await ended.start(None, None)
    async with asyncio.timeout(STALLED_SECONDS):
        while not ended.lines or "worker 1" not in (ended.folder / "log-1").read_text():
            await asyncio.sleep(0.05)
    assert not workers.stopping
    workers.stop()
    assert workers.stopping
    await workers.wait()
    assert ended.codes == [143]
    assert not workers.running
