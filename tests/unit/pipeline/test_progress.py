"""Progress records are few, and the first and the last are always there."""

import pytest
from speechmodel_api.progress import StepProgress, parse_progress
from speechmodel_pipeline.progress import Steps


def records(printed: str) -> list[StepProgress]:
    return [record for line in printed.splitlines() if isinstance(record := parse_progress(line), StepProgress)]


def test_many_steps_within_a_second_are_reported_by_the_first_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps(5000, "clips")
    for _ in range(5000):
        steps.advance()
    assert [(record.done, record.total, record.unit) for record in records(capsys.readouterr().out)] == [
        (0, 5000, "clips"),
        (5000, 5000, "clips"),
    ]


def test_slow_steps_are_reported_in_between(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100, 1))
    monkeypatch.setattr("speechmodel_pipeline.progress.time.monotonic", lambda: next(clock) * 0.6)
    steps = Steps(6, "clips")
    for _ in range(6):
        steps.advance()
    assert [record.done for record in records(capsys.readouterr().out)] == [0, 2, 4, 6]
