"""The rule of docs/training.md, row by row."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.learning import LearningSettings, TrainingFacts, choose_settings
from speechmodel_api.training_spec import Hyperparameters, ScheduleType

EXAMPLE = TrainingFacts(clips=338, hours=0.15, speakers=25, labels=24)
DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"


def facts(clips: int, hours: float, speakers: int | None = 100, labels: int = 30) -> TrainingFacts:
    return TrainingFacts(clips=clips, hours=hours, speakers=speakers, labels=labels)


@pytest.mark.parametrize(
    "dataset, units, batch, rate, plain_rate, dropout, epochs, plain_epochs",
    [
        (facts(20, 0.01), 192, 16, 0.005, 0.0015, 0.05, 300, 300),
        (EXAMPLE, 192, 16, 0.005, 0.0015, 0.05, 37, 228),
        (facts(1250, 0.3), 192, 16, 0.005, 0.0015, 0.05, 20, 64),
        (facts(4000, 1.5), 256, 16, 0.004, 0.001, 0.1, 20, 20),
        (facts(8000, 5), 512, 32, 0.003, 0.001, 0.15, 20, 20),
        (facts(30_000, 50), 1024, 32, 0.002, 0.0007, 0.2, 20, 20),
        (facts(300_000, 400), 2048, 64, 0.001, 0.0005, 0.25, 20, 20),
        (facts(338, 0.15, speakers=1), 192, 16, 0.005, 0.0015, 0.1, 37, 228),
        (facts(338, 0.15, speakers=None), 192, 16, 0.005, 0.0015, 0.05, 37, 228),
        (facts(4000, 1.5, labels=3000), 512, 16, 0.003, 0.001, 0.1, 20, 20),
        (facts(300_000, 400, labels=3000), 2048, 64, 0.001, 0.0005, 0.25, 20, 20),
    ],
    ids=str,
)
def test_the_settings_follow_from_the_dataset(
    dataset: TrainingFacts,
    units: int,
    batch: int,
    rate: float,
    plain_rate: float,
    dropout: float,
    epochs: int,
    plain_epochs: int,
) -> None:
    normed = LearningSettings(
        hidden_units=units,
        layer_norm=True,
        batch_size=batch,
        gradient_clip_norm=10,
        learning_rate=rate,
        dropout=dropout,
        max_epochs=epochs,
        schedule=ScheduleType.COSINE,
    )
    plain = {
        "layer_norm": False,
        "gradient_clip_norm": None,
        "learning_rate": plain_rate,
        "max_epochs": plain_epochs,
    }
    assert choose_settings(dataset, layer_norm=True) == normed
    assert choose_settings(dataset) == normed.model_copy(update=plain)


@pytest.mark.parametrize(
    "dataset, batch, epochs",
    [
        (facts(20, 0.01), 8, 150),
        (EXAMPLE, 8, 117),
        (facts(2587, 0.4), 8, 16),
        (facts(8000, 5), 16, 10),
        (facts(300_000, 400), 32, 10),
    ],
    ids=str,
)
def test_two_versions_of_each_clip_take_half_of_the_clips_and_epochs(
    dataset: TrainingFacts, batch: int, epochs: int
) -> None:
    one, two = choose_settings(dataset), choose_settings(dataset, two_versions=True)
    assert two == one.model_copy(update={"batch_size": batch, "max_epochs": epochs, "consistency": 0.2})
    normed = choose_settings(dataset, layer_norm=True)
    assert choose_settings(dataset, layer_norm=True, two_versions=True) == normed


@pytest.mark.parametrize(
    ("dataset", "units", "rate", "plain_rate"),
    [
        (EXAMPLE, 32, 0.005, 0.0015),
        (EXAMPLE, 300, 0.004, 0.001),
        (EXAMPLE, 2048, 0.001, 0.0005),
        (EXAMPLE, 4096, 0.001, 0.0005),
        (facts(300_000, 400), 192, 0.001, 0.0005),
    ],
    ids=str,
)
def test_a_wide_network_on_little_data_has_the_rate_of_its_width(
    dataset: TrainingFacts, units: int, rate: float, plain_rate: float
) -> None:
    normed, plain = (choose_settings(dataset, layer_norm=each, hidden_units=units) for each in (True, False))
    assert (normed.hidden_units, normed.learning_rate, plain.learning_rate) == (units, rate, plain_rate)
    assert plain.batch_size == choose_settings(dataset).batch_size


def test_consistency_goes_with_a_batch_size_that_is_given_and_is_turned_off_by_0() -> None:
    chosen = choose_settings(EXAMPLE, two_versions=True)
    assert chosen.with_given(Hyperparameters(), 30, ScheduleType.AUTO).consistency == 0.2
    assert chosen.with_given(Hyperparameters(batch_size=16), None, ScheduleType.AUTO).consistency is None
    assert chosen.with_given(Hyperparameters(batch_size=16, consistency=1), None, ScheduleType.AUTO).consistency == 1
    assert chosen.with_given(Hyperparameters(consistency=0), None, ScheduleType.AUTO).consistency == 0


@given(
    st.integers(1, 10**7), st.floats(0.001, 10_000), st.one_of(st.none(), st.integers(0, 10**5)), st.integers(1, 255)
)
def test_every_choice_may_be_written_into_a_manifest(
    clips: int, hours: float, speakers: int | None, labels: int
) -> None:
    chosen = choose_settings(TrainingFacts(clips, hours, speakers, labels))
    Hyperparameters.model_validate(chosen.model_dump(exclude={"max_epochs", "schedule"}))
    assert 1 <= chosen.max_epochs <= 100_000


def test_a_value_of_the_manifest_wins_over_the_choice() -> None:
    chosen = choose_settings(EXAMPLE)
    mixed = chosen.with_given(Hyperparameters(hidden_units=64, dropout=0.0), 7, ScheduleType.CONSTANT)
    assert (mixed.hidden_units, mixed.dropout, mixed.max_epochs, mixed.schedule) == (64, 0.0, 7, ScheduleType.CONSTANT)
    assert (mixed.batch_size, mixed.learning_rate) == (chosen.batch_size, chosen.learning_rate)
    assert chosen.with_given(Hyperparameters(), None, ScheduleType.AUTO) == chosen


def test_the_documented_table_is_the_rule() -> None:
    number = r" ([\d.]+) \|"
    rows = re.findall(rf"^\| (?:below ([\d.]+)|more) \|{number * 5}$", DOCUMENT.read_text(encoding="utf-8"), re.M)
    assert len(rows) == 5
    for below, *values in rows:
        dataset = facts(1000, float(below or 1e6) - 0.01)
        chosen, plain = choose_settings(dataset, layer_norm=True), choose_settings(dataset)
        rates = [chosen.learning_rate, plain.learning_rate]
        assert [chosen.hidden_units, chosen.batch_size, *rates, chosen.dropout] == list(map(float, values))
