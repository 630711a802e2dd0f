"""Sentences for people about settings that have no effect."""

from typing import Any

import pytest
from speechmodel_api.learning import LearningSettings
from speechmodel_api.training_spec import EarlyStop, ReduceOnPlateau, Schedule, ScheduleType
from speechmodel_training.unused_settings import unused_settings

CHOSEN = LearningSettings(
    hidden_units=16,
    batch_size=8,
    learning_rate=0.001,
    dropout=0.1,
    consistency=0.2,
    max_epochs=9,
    schedule=ScheduleType.COSINE,
)
CONSTANT = {"schedule": ScheduleType.CONSTANT}


def sentences(schedule: Schedule | None = None, *, changed: dict[str, Any] | None = None, **given: Any) -> list[str]:
    usual = {"clips": 100, "dev_clips": 10, "early_stop": None, "reduce_on_plateau": None, "augmentation": ["pitch"]}
    settings = CHOSEN.model_copy(update=changed or {})
    return list(unused_settings(settings, schedule or Schedule(), **(usual | given)))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"workers": 16},
            "numWorkers is 16, but a batch has 8 clips, so 8 of the workers have nothing to compute; lower",
        ),
        ({"workers": 16, "clips": 3}, "numWorkers is 16, but a batch has 3 clips, so 13 of the workers"),
        (
            {"workers": 5},
            "numWorkers is 5, but a batch has 8 clips, so some workers get only one clip; lower numWorkers or",
        ),
        (
            {"dev_clips": 0, "early_stop": EarlyStop()},
            "earlyStop and reduceOnPlateau have no effect, because there are no",
        ),
        (
            {"reduce_on_plateau": ReduceOnPlateau()},
            "earlyStop and reduceOnPlateau are meant for a constant learning rate",
        ),
        (
            {"schedule": Schedule(warmup_percent=5), "changed": CONSTANT},
            "schedule.warmupPercent and floorPercent have no effect, because the learning rate is constant; remove them",
        ),
        (
            {"augmentation": [], "changed": {"dropout": 0.0}},
            "consistency has no effect, because both versions of a clip are the same without augmentation and dropout",
        ),
    ],
)
def test_a_setting_without_effect_has_a_sentence(given: dict[str, Any], sentence: str) -> None:
    assert [text[: len(sentence)] for text in sentences(**given)][-1:] == [sentence]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"workers": 4},
        {"early_stop": EarlyStop(), "schedule": Schedule(type=ScheduleType.COSINE)},
        {"early_stop": EarlyStop(), "schedule": Schedule(type=ScheduleType.CONSTANT), "changed": CONSTANT},
        {"schedule": Schedule(warmup_percent=5)},
        {"augmentation": []},
        {"changed": {"dropout": 0.0}},
        {"augmentation": [], "changed": {"dropout": 0.0, "consistency": None}},
    ],
)
def test_settings_that_work_have_none(given: dict[str, Any]) -> None:
    assert sentences(**given) == []
