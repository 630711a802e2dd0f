"""Settings that training.engine CoquiSTT does not have: refused by the types and, where it can see them, by the API server."""

import re
from typing import Any

import cel
import pytest
from pydantic import ValidationError
from speechmodel_api.training_engine import ENGINE_RULES
from speechmodel_api.training_spec import NO_GPUS_MESSAGE, NO_GPUS_RULE, Training

REFUSED = {
    "schedule.type must be Constant or Auto": {"schedule": {"type": "Cosine"}},
    "hyperparameters.gradientClipNorm must be left out": {"hyperparameters": {"gradientClipNorm": 10}},
    "hyperparameters.consistency must be 0 or left out": {"hyperparameters": {"consistency": 0.2}},
    "initFrom must be left out": {"initFrom": {"s3": {"bucket": "old"}}},
    "earlyStop.minDelta and reduceOnPlateau.minDelta must be equal": {
        "earlyStop": {"minDelta": 0.1},
        "reduceOnPlateau": {},
    },
    "podTemplate.resources must not have GPUs in limits or requests": {
        "podTemplate": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    },
    "precision must be Auto or Float32": {"precision": "BFloat16"},
    "numWorkers must be 1": {"numWorkers": 2},
}


def stored(**training: Any) -> dict[str, Any]:
    """Return the settings with the defaults that the API server adds."""
    defaults = {
        "engine": "Native",
        "augmentation": "Auto",
        "schedule": {"type": "Auto"},
        "precision": "Auto",
        "numWorkers": 1,
    }
    return defaults | {
        name: {"minDelta": 0.05} | value if name in ("earlyStop", "reduceOnPlateau") else value
        for name, value in training.items()
    }


def refused_by_the_server(**training: Any) -> list[str]:
    return [message for rule, message in ENGINE_RULES if not cel.evaluate(rule, {"self": stored(**training)})]


@pytest.mark.parametrize("message, settings", REFUSED.items())
def test_a_setting_that_coqui_lacks_is_refused_with_the_name_of_its_field(
    message: str, settings: dict[str, Any]
) -> None:
    (sentence,) = refused_by_the_server(engine="CoquiSTT", **settings)
    assert sentence.startswith(f"{message} with the engine CoquiSTT, wh")
    with pytest.raises(ValidationError) as error:
        Training.model_validate({"engine": "CoquiSTT", **settings})
    assert sentence in str(error.value)
    assert refused_by_the_server(**settings) == []
    Training.model_validate(settings)


def test_all_settings_that_coqui_lacks_are_named_at_once() -> None:
    settings = {"engine": "CoquiSTT", "precision": "BFloat16", "numWorkers": 2, "augmentation": ["speed", "overlay"]}
    with pytest.raises(ValidationError) as error:
        Training.model_validate(settings)
    for sentence in (*refused_by_the_server(**settings), "not have 'speed' with", "not have 'overlay' with"):
        assert sentence in str(error.value)
    assert len(refused_by_the_server(**settings)) == 2


@pytest.mark.parametrize(
    "resources",
    [
        {"requests": {"nvidia.com/gpu": "1"}},
        {"limits": {"cpu": "2", "amd.com/gpu": "1"}},
        {"limits": {"nvidia.com/mig-1g.10gb": "1"}, "requests": {"nvidia.com/mig-1g.10gb": "1"}},
    ],
)
def test_coqui_holds_no_gpu_of_any_name(resources: dict[str, Any]) -> None:
    settings = {"engine": "CoquiSTT", "podTemplate": {"resources": resources}}
    (sentence,) = refused_by_the_server(**settings)
    with pytest.raises(ValidationError, match=re.escape(sentence)):
        Training.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"schedule": {"type": "Constant"}, "hyperparameters": {"layerNorm": True, "hiddenUnits": 64}},
        {"earlyStop": {"minDelta": 0.1}, "reduceOnPlateau": {"minDelta": 0.1}},
        {"earlyStop": {}},
        {"hyperparameters": {"consistency": 0.0}},
        {"podTemplate": {"resources": {"limits": {"cpu": "2"}}}},
        {"podTemplate": {"resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "0"}, "requests": {"cpu": "1"}}}},
        {"augmentation": ["warp[p=0.5,nt=2]", "add[domain=signal,stddev=0.1:0.2~0.05]"]},
    ],
)
def test_other_settings_are_taken(settings: dict[str, Any]) -> None:
    assert refused_by_the_server(engine="CoquiSTT", **settings) == []
    Training.model_validate({"engine": "CoquiSTT", **settings})


@pytest.mark.parametrize(
    "entry, message",
    [
        ("speed[p=0.5]", r"must not have 'speed\[p=0.5\]' with the engine CoquiSTT, which has add, codec, dropout"),
        ("overlay", "must not have 'overlay' with the engine CoquiSTT"),
        ("pitch[p=0.2:1]", r"must have a p without a range in 'pitch\[p=0.2:1\]' with the engine CoquiSTT"),
    ],
)
def test_an_entry_of_augmentation_that_coqui_lacks_is_refused(entry: str, message: str) -> None:
    Training.model_validate({"augmentation": [entry]})
    with pytest.raises(ValidationError, match=message):
        Training.model_validate({"engine": "CoquiSTT", "augmentation": [entry]})


@pytest.mark.parametrize(
    ("resources", "taken"),
    [
        ({}, True),
        ({"limits": {"cpu": "2", "memory": "2Gi"}, "requests": {"cpu": "100m"}}, True),
        ({"limits": {"nvidia.com/gpu": "0"}}, True),
        ({"limits": {"nvidia.com/gpu": "1"}}, False),
        ({"requests": {"nvidia.com/mig-1g.10gb": "1"}}, False),
    ],
)
def test_only_train_can_have_gpus(resources: dict[str, Any], taken: bool) -> None:
    settings = {"stageResources": resources}
    assert cel.evaluate(NO_GPUS_RULE, {"self": stored(**settings)}) == taken
    if taken:
        Training.model_validate(settings)
        return
    with pytest.raises(ValidationError, match=re.escape(NO_GPUS_MESSAGE)):
        Training.model_validate(settings)
