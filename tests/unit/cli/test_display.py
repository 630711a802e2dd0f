"""The bars of `speechmodel run` on a terminal."""

import io
import re
from datetime import UTC, datetime

from rich.console import Console
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import StageState, StageStatus
from speechmodel_cli.display import Bars


def test_a_long_message_wraps_and_leaves_the_stage_and_its_bar_whole() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    failed = StageStatus(
        name=StageName.PUBLISH,
        key="0123abcd",
        attempt=1,
        failures=1,
        state=StageState.WAITING,
        reason="UploadFailed",
        message="the bucket answered " + "x" * 200,
        retry_at=datetime(2026, 1, 31, tzinfo=UTC),
    )
    with Bars(console) as bars:
        bars.begin(failed, again=False)
        bars.end(failed)
    assert isinstance(console.file, io.StringIO)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).split("! publish   ")[-1]
    assert re.match(r"[━╸╺ ]{24} \d:\d\d:\d\d UploadFailed: the bucket answered", shown), shown
    assert shown.count("x") == 200
    assert "retrying at 2026-01-31T00:00:00Z, press Ctrl-C to stop" in " ".join(shown.split())
