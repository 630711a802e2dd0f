"""The gate and the pin: which version is served, and what the status says about it."""

from typing import Any

import pytest
from pydantic import ValidationError
from speechmodel_api.evaluation_spec import Gate
from speechmodel_api.serving_spec import Engine
from speechmodel_api.stages.contract import StageName, StageResult
from speechmodel_api.stages.decoders import Calibration, GrammarDecoder, NativeEngine, TextConfidence
from speechmodel_api.stages.evaluate import CompareInput, EvaluateOutput, GrammarFigures
from speechmodel_api.stages.publish import PublishInput
from speechmodel_api.status import HISTORY_LENGTH, Condition
from support.world import World


def gate(**limits: Any) -> dict[str, Any]:
    return {"gate": limits}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def served() -> World:
    """A model whose first version is served. Its WER is 10 %."""
    world = World()
    world.to_ready()
    world.started.clear()
    return world


def of_any_generation(condition: Condition) -> Condition:
    """Return the condition as it would be for another generation of the spec."""
    return condition.model_copy(update={"observed_generation": None})


def versions(world: World) -> tuple[str | None, str | None]:
    """Return the version that is served and the newest one."""
    return world.server.version if world.server else None, world.status.latest_version


def retrained(world: World, *, wer: float | None = 0.5, **edit: Any) -> str:
    """Publish a second version, and return the first."""
    first = world.status.model
    assert first
    world.edit(training__maxEpochs=20, **edit)
    world.wer = wer
    world.to_rest()
    return first.version


def test_a_version_that_fails_is_published_but_the_old_one_is_served(served: World) -> None:
    first = retrained(served, evaluation=gate(maxWER=0.15))
    old, new = versions(served)
    assert old == first != new
    condition = served.condition("Promoted")
    assert (condition.status, condition.reason) == ("False", "QualityGateFailed")
    assert "its WER 50.0% is above maxWER 15.0%" in condition.message
    assert f"version {first} is still served" in condition.message
    assert served.condition("Published").status == "True"
    assert [entry.promotion.promoted for entry in served.status.history if entry.promotion] == [False, True]


def test_a_version_that_failed_is_not_called_promoted_while_the_next_is_made(served: World) -> None:
    retrained(served, evaluation=gate(maxWER=0.15))
    before = served.condition("Promoted")
    served.edit(training__maxEpochs=30)
    for stage in (StageName.TRAIN, StageName.EVALUATE):
        served.until(stage)
        assert of_any_generation(served.condition("Promoted")) == of_any_generation(before)
        assert served.condition("Ready").status == "True"
        assert served.condition("Reconciling").status == "True"


GRAMMAR = GrammarDecoder(
    acoustic_sha256="c" * 64,
    grammar_sha256="d" * 64,
    calibration=Calibration(threshold=-1, offset=0, slope=1, word_offset=0, word_slope=1),
)


@pytest.mark.parametrize(
    ("measured", "engines"),
    [
        ({"grammar": GRAMMAR}, tuple(Engine)),
        ({}, ()),
        ({"native": NativeEngine(quantised_sha256="e" * 64, clips=9, differences=0)}, (Engine.AUTO, Engine.NATIVE)),
        ({"native": NativeEngine(quantised_sha256="e" * 64, clips=9, differences=1)}, (Engine.NATIVE,)),
    ],
)
def test_a_version_records_the_engines_that_serve_it_on_arm64(
    world: World, measured: dict[str, Any], engines: tuple[Engine, ...]
) -> None:
    world.until(StageName.EVALUATE)
    evaluated = EvaluateOutput(clips=1, wer=0.1, report_sha256="a" * 64, selftest_sha256="b" * 64, **measured)
    world.finish(result=StageResult[EvaluateOutput](output=evaluated).model_dump_json(by_alias=True))
    world.to_rest()
    assert world.status.model
    assert world.status.model.arm64_engines == engines


def test_confidences_of_free_text_are_published_and_their_error_is_in_the_status(world: World) -> None:
    world.until(StageName.EVALUATE)
    confidence = TextConfidence(offset=-2, slope=1.5, word_offset=-2, word_slope=1.5, calibration_error=0.043)
    evaluated = EvaluateOutput(
        clips=1, wer=0.1, confidence=confidence, report_sha256="a" * 64, selftest_sha256="b" * 64
    )
    world.finish(result=StageResult[EvaluateOutput](output=evaluated).model_dump_json(by_alias=True))
    world.to_rest()
    (published,) = (each for each in world.documents.values() if isinstance(each, PublishInput))
    assert published.confidence == confidence
    assert world.status.model
    assert world.status.model.calibration_error == 0.043


@pytest.mark.parametrize(
    ("recorded", "shares"), [({}, (0.09, None)), ({"recorded": 4, "recorded_accepted": 4}, (0.09, 1.0))]
)
def test_the_status_tells_accepted_recordings_of_other_speech_from_built_in_words(
    world: World, recorded: dict[str, int], shares: tuple[float, float | None]
) -> None:
    world.until(StageName.EVALUATE)
    figures = GrammarFigures(right=1, wrong=0, rejected=0, foreign=44, accepted=4, **recorded)
    evaluated = EvaluateOutput(clips=1, wer=0.1, figures=figures, report_sha256="a" * 64, selftest_sha256="b" * 64)
    world.finish(result=StageResult[EvaluateOutput](output=evaluated).model_dump_json(by_alias=True))
    world.to_rest()
    model = world.status.model
    assert model
    assert (round(model.false_accepts or 0, 2), model.false_accepts_recorded) == shares


def test_an_upgrade_does_not_move_the_servers_of_a_version_that_recorded_no_engines(served: World) -> None:
    model = served.status.model
    assert model
    earlier = model.model_copy(update={"arm64_engines": None})
    served.status = served.status.model_copy(update={"model": earlier, "history": (earlier,)})
    served.to_rest()
    assert served.status.model == earlier


def test_a_first_version_that_fails_is_not_served(world: World) -> None:
    world.edit(evaluation=gate(maxWER=0.05))
    world.to_rest()
    assert versions(world)[0] is None
    assert world.status.model is None
    assert world.status.latest_version is not None
    assert "nothing is served" in world.condition("Promoted").message
    assert world.condition("Ready").reason == "QualityGateFailed"
    assert world.plan
    assert world.plan.look_again is None


@pytest.mark.parametrize(
    ("limits", "wer", "accepted", "words"),
    [
        ({"maxWER": 0.1}, 0.1, None, None),
        ({"maxWER": 0.1}, 0.10001, None, "is above maxWER 10.0%"),
        ({"maxWER": 0}, 0.0, None, None),
        ({"maxWER": 1}, None, None, "its WER was not measured, because there are no test clips"),
        ({"maxFalseAccept": 0.2}, 0.9, 2, None),
        ({"maxFalseAccept": 0.2}, 0.0, 3, "it accepts 30.0% of foreign speech, which is above maxFalseAccept 20.0%"),
        ({"maxFalseAccept": 0.2}, 0.0, None, "its false accepts were not measured"),
        ({"maxWER": 0.1, "maxFalseAccept": 0.2}, 0.2, 2, "is above maxWER"),
        ({"notWorseThanServing": {}}, 0.1, None, None),
        ({"notWorseThanServing": {}}, 0.11, None, "its WER 11.0% is above 10.0% of version "),
        ({"notWorseThanServing": {"margin": 0.02}}, 0.12, None, None),
        ({"notWorseThanServing": {"margin": 0.02}}, 0.13, None, "and the margin is 2.0%"),
        ({"notWorseThanServing": {}}, None, None, "its WER was not measured"),
    ],
)
def test_every_limit_that_is_set_must_be_kept(
    served: World, limits: dict[str, Any], wer: float | None, accepted: int | None, words: str | None
) -> None:
    served.accepted = accepted
    retrained(served, wer=wer, evaluation=gate(**limits))
    old, new = versions(served)
    assert (old == new) == (words is None)
    assert words is None or words in served.condition("Promoted").message
    assert not any(run.startswith("compare") for run in served.started), "it was measured on the same clips"


@pytest.mark.parametrize(("margin", "promoted"), [(0, False), (0.25, True)])
def test_the_served_version_is_measured_on_the_new_test_clips(served: World, margin: float, promoted: bool) -> None:
    first = served.status.model
    assert first
    served.edit(dataset__revision="2", evaluation=gate(notWorseThanServing={"margin": margin}))
    served.data, served.wer = "other data", 0.5
    served.to_rest()
    assert served.started == ["prepare-2", "train-2", "convert-2", "evaluate-2", "publish-2", "compare-1"]
    (document,) = [each for each in served.documents.values() if isinstance(each, CompareInput)]
    assert (document.version, document.version_uri) == (first.version, first.version_uri)
    old, new = versions(served)
    assert (old == new) == promoted
    if not promoted:
        assert f"is above 30.0% of version {first.version} on the same 10 clips" in served.condition("Promoted").message


def test_while_the_served_version_is_measured_the_condition_says_so(served: World) -> None:
    served.edit(dataset__revision="2", evaluation=gate(notWorseThanServing={}))
    served.data = "other data"
    served.until(StageName.COMPARE)
    assert served.condition("Promoted").reason == "Comparing"
    assert served.condition("Published").status == "True"
    assert served.condition("Serving").status == "True"
    old, new = versions(served)
    assert old != new


def test_other_phrases_are_other_test_clips(served: World) -> None:
    served.edit(decoding={"phrases": ["ok"], "beamWidth": 50}, evaluation=gate(notWorseThanServing={}))
    served.to_rest()
    assert served.started == ["evaluate-2", "publish-2", "compare-1"]


def test_a_first_version_without_test_clips_has_nothing_to_be_compared_with(world: World) -> None:
    world.edit(evaluation=gate(notWorseThanServing={}))
    world.wer = None
    world.to_rest()
    assert versions(world)[0] == world.status.latest_version is not None


def test_a_failed_version_that_is_compared_after_all_is_being_compared(served: World) -> None:
    served.edit(dataset__revision="2", evaluation=gate(maxWER=0.15))
    served.data, served.wer = "other data", 0.5
    served.to_rest()
    assert served.condition("Promoted").reason == "QualityGateFailed"
    served.edit(evaluation=gate(notWorseThanServing={"margin": 1}))
    served.until(StageName.COMPARE)
    assert served.condition("Promoted").reason == "Comparing"


def test_what_a_status_says_of_an_earlier_version_in_a_field_that_an_earlier_release_did_not_know_is_forgotten(
    served: World,
) -> None:
    right = served.status.model
    assert right and right.arm64_engines == ()
    left = right.model_copy(update={"arm64_engines": (Engine.NATIVE,)})
    served.status = served.status.model_copy(update={"model": left})
    served.to_rest()
    assert served.status.model == right


def test_an_edit_of_the_gate_decides_by_the_figures_that_exist(served: World) -> None:
    retrained(served, evaluation=gate(maxWER=0.15))
    served.started.clear()
    served.edit(evaluation=gate(maxWER=0.6))
    served.to_rest()
    old, new = versions(served)
    assert old == new
    served.edit(evaluation=gate(maxWER=0.01))
    served.to_rest()
    assert versions(served) == (new, new), "a gate never takes away the version that is served"
    assert served.condition("Promoted").status == "True"
    assert served.started == []


def test_a_gate_that_is_removed_promotes_the_newest_version(served: World) -> None:
    retrained(served, evaluation=gate(maxWER=0.15))
    served.edit(evaluation={})
    served.to_rest()
    old, new = versions(served)
    assert old == new
    assert served.condition("Ready").status == "True"


def test_a_promoted_version_is_not_compared_with_itself(served: World) -> None:
    served.edit(dataset__revision="2", evaluation=gate(notWorseThanServing={"margin": 1}))
    served.data = "other data"
    served.to_rest()
    served.started.clear()
    writes = served.writes
    for _ in range(3):
        served.step(60)
    assert (served.started, served.writes) == ([], writes)


def test_a_comparison_that_fails_leaves_the_old_version_served(served: World) -> None:
    served.edit(dataset__revision="2", evaluation=gate(notWorseThanServing={}), training__maxAttempts=1)
    served.data = "other data"
    served.until(StageName.COMPARE)
    served.fail(75, "DownloadFailed", "bucket models: NoSuchKey")
    served.step()
    served.step()
    old, new = versions(served)
    assert old != new
    assert served.condition("Promoted").reason == "DownloadFailed"
    served.edit(evaluation={})
    served.to_rest()
    assert versions(served) == (new, new)
    assert served.status.stage(StageName.COMPARE) is None, "it is not wanted any more, so it has not failed either"


def test_a_pin_rolls_back_and_holds_until_it_is_removed(served: World) -> None:
    first = retrained(served, wer=0.1)
    second = served.status.latest_version
    assert second
    assert versions(served) == (second, second)
    served.edit(serving__pinnedVersion=first)
    served.to_rest()
    assert versions(served) == (first, second)
    assert served.condition("Promoted").reason == "PromotionHeld"
    assert second in served.condition("Promoted").message
    assert served.condition("Ready").status == "True"
    served.edit(training__maxEpochs=30)
    served.to_rest()
    third = served.status.latest_version
    assert third not in (first, second)
    assert versions(served) == (first, third)
    newest = served.status.history[0].promotion
    assert newest is not None
    assert (newest.promoted, newest.reason) == (False, "PromotionHeld")
    served.edit(serving__pinnedVersion=None)
    served.to_rest()
    assert versions(served) == (third, third)
    assert served.condition("Promoted").status == "True"


def test_a_pin_takes_effect_while_a_training_runs(served: World) -> None:
    first = retrained(served, wer=0.1)
    served.edit(training__maxEpochs=30)
    served.until(StageName.TRAIN)
    served.edit(serving__pinnedVersion=first)
    served.step()
    assert versions(served)[0] == first


def test_a_pin_that_is_removed_with_an_edit_does_not_serve_the_version_that_it_held(served: World) -> None:
    first = retrained(served, wer=0.1)
    served.edit(serving__pinnedVersion=first)
    served.to_rest()
    held = served.status.latest_version
    served.edit(serving__pinnedVersion=None, training__maxEpochs=30)
    served.until(StageName.TRAIN)
    assert versions(served) == (first, held)
    condition = served.condition("Promoted")
    assert (condition.status, condition.reason) == ("False", "PromotionHeld")
    served.to_rest()
    third = served.status.latest_version
    assert versions(served) == (third, third)
    assert third not in (first, held)


def test_a_pinned_version_need_not_pass_the_gate(world: World) -> None:
    world.edit(evaluation=gate(maxWER=0.05))
    world.to_rest()
    version = world.status.latest_version
    world.edit(serving__pinnedVersion=version)
    world.to_rest()
    assert versions(world) == (version, version)
    assert world.condition("Ready").status == "True"
    promotion = world.status.history[0].promotion
    assert promotion is not None
    assert promotion.message == "serving.pinnedVersion names it"


def test_a_release_asks_the_gate(served: World) -> None:
    first = retrained(served, wer=0.5)
    served.edit(serving__pinnedVersion=first, evaluation=gate(maxWER=0.2))
    served.to_rest()
    served.edit(serving__pinnedVersion=None)
    served.to_rest()
    assert versions(served)[0] == first
    assert served.condition("Promoted").reason == "QualityGateFailed"


def test_an_unknown_version_is_said_and_changes_nothing(served: World) -> None:
    first = served.status.latest_version
    served.edit(serving__pinnedVersion="0badcafe")
    served.to_rest()
    assert versions(served) == (first, first)
    condition = served.condition("Promoted")
    assert condition.reason == "UnknownVersion"
    assert f"serving.pinnedVersion 0badcafe is not in status.history ({first})" in condition.message


def test_the_history_tells_each_version_apart(served: World) -> None:
    retrained(served, wer=0.5, evaluation=gate(maxWER=0.15))
    new, old = served.status.history
    assert (old.epochs, old.wer, new.epochs, new.wer) == (10, 0.1, 20, 0.5)
    assert old.data_digest == new.data_digest is not None
    assert old.uri != new.uri
    assert old.promotion is not None
    assert new.promotion is not None
    assert (old.promotion.reason, new.promotion.reason) == ("Promoted", "QualityGateFailed")
    assert "above maxWER 15.0%" in new.promotion.message


def test_the_served_version_stays_in_the_history(served: World) -> None:
    first = served.status.latest_version
    served.edit(serving__pinnedVersion=first)
    for epochs in range(20, 20 + HISTORY_LENGTH + 2):
        served.edit(training__maxEpochs=epochs)
        served.to_rest()
    assert len(served.status.history) == HISTORY_LENGTH
    assert versions(served)[0] == first
    assert served.status.history[-1].version == first


def test_a_status_of_the_release_before_restarts_nothing(served: World) -> None:
    """Its versions have none of the new fields."""
    new = {"data_digest", "test_clips", "epochs", "promotion"}
    before = served.status
    assert before.model
    old_model = before.model.model_copy(update=dict.fromkeys(new))
    served.status = before.model_copy(update={"model": old_model, "history": (old_model,)})
    served.edit(evaluation=gate(maxWER=0.01, notWorseThanServing={}))
    served.to_rest()
    assert served.started == []
    assert served.server
    assert served.server.version == old_model.version
    assert served.condition("Ready").status == "True"
    assert served.status.history[0].data_digest == before.model.data_digest


@pytest.mark.parametrize(
    "given", [{}, {"maxWER": 15}, {"maxFalseAccept": -0.1}, {"notWorseThanServing": {"margin": 2}}]
)
def test_a_gate_without_a_limit_or_with_percentages_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Gate.model_validate(given)


def test_a_local_command_that_ends_changes_no_decision(served: World) -> None:
    """It leaves serving out of the spec while it stops, and the pin with it."""
    first = retrained(served, wer=0.1)
    served.edit(serving__pinnedVersion=first)
    served.to_rest()
    before = served.status.history
    served.interrupted = True
    served.edit(serving=None, suspend=True)
    served.step()
    assert served.status.model is not None
    assert served.status.model.version == first
    assert served.status.history == before


def test_an_older_version_that_an_edit_brings_back_is_the_latest_until_the_next(served: World) -> None:
    first = retrained(served, wer=0.1)
    served.edit(training__maxEpochs=10)
    served.to_rest()
    assert versions(served) == (first, first)
    assert served.status.history[0].version == first, "the newest is first"
    served.edit(training__maxEpochs=30)
    served.until(StageName.TRAIN)
    assert versions(served) == (first, first)
    assert len(served.status.history) == 2


def test_a_tflite_file_makes_another_version_of_the_same_model_without_training_or_evaluation(served: World) -> None:
    before = served.status.model
    assert before and before.tflite is None
    served.edit(publish__tflite=True)
    served.to_ready()
    after = served.status.model
    assert after and after.tflite
    assert served.started == ["convert-2", "publish-2"]
    assert (after.sha256, after.tflite.uri, after.tflite.size_bytes) == (before.sha256, "s3://t", 2_500_000)
    assert after.version != before.version == served.status.history[1].version
    served.edit(publish__tflite=False)
    served.to_ready()
    assert served.status.model and served.status.model.version == before.version
    assert served.status.model.tflite is None
