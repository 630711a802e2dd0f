"""Progress and ages in words."""

from datetime import UTC, datetime, timedelta

import pytest
from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_cli import wording

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "shown"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=9, seconds=59), "9m59s"),
        (timedelta(minutes=10, seconds=30), "10m"),
        (timedelta(hours=2, minutes=59), "179m"),
        (timedelta(hours=3), "3h"),
        (timedelta(hours=7, minutes=5), "7h5m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=2, hours=3), "2d3h"),
        (timedelta(days=100), "100d"),
        (timedelta(days=800), "2y70d"),
    ],
)
def test_ages_are_those_of_kubectl(passed: timedelta, shown: str) -> None:
    assert wording.age(NOW - passed, NOW) == shown


def test_progress_tells_epochs_and_the_losses_that_are_known() -> None:
    record = TrainProgress(epoch=0, max_epochs=75, step=1, fraction=0.1, time="2026-01-01T00:00:00Z")
    assert wording.progress(record) == "epoch 0/75  "
    known = record.model_copy(update={"epoch": 3, "loss": 12.3456, "dev_loss": 14.0})
    assert wording.progress(known) == "epoch 3/75  loss 12.35  dev 14"
    assert wording.progress(StepProgress(done=2, total=9, unit="clips", time="2026-01-01T00:00:00Z")) == "2/9 clips"
    sent = StepProgress(done=95_000_000, total=190_000_000, unit="bytes", time="2026-01-01T00:00:00Z")
    assert wording.progress(sent) == "95.0 MB of 190.0 MB"
