"""Decisions of the plan, told as the life of one SpeechModel."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from speechmodel_api.learning import TrainingFacts, choose_settings
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.convert import ConvertInput
from speechmodel_api.stages.evaluate import EvaluateInput
from speechmodel_api.stages.train import DownloadInput, TrainInput
from speechmodel_api.status import Phase, StageState
from speechmodel_plan.conditions import Failures
from speechmodel_plan.observed import Claim, RunState, Trouble
from speechmodel_plan.plan import LOOK_AGAIN, RESYNC, Done
from speechmodel_plan.stages import STAGES
from speechmodel_plan.stages.compare import COMPARE
from speechmodel_plan.stages.download import DOWNLOAD
from support.world import World, digest

MORE = {"limits": {"memory": "2Gi"}}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ready() -> World:
    world = World()
    world.to_ready()
    world.started.clear()
    return world


def test_stages_run_one_after_another_and_the_model_is_served(world: World) -> None:
    world.to_ready()
    assert world.started == ["prepare-1", "train-1", "convert-1", "evaluate-1", "publish-1"]
    assert world.status.phase is Phase.READY
    assert world.status.progress == "10/10"
    assert world.status.model is not None
    assert world.status.serving is not None
    assert world.status.serving.version == world.status.model.version == world.status.latest_version
    assert {c.type: c.status for c in world.status.conditions} == dict.fromkeys(
        ("DatasetReady", "Trained", "Published", "Promoted", "Serving", "Ready"), "True"
    )


def test_a_ready_model_asks_for_nothing_and_writes_nothing(ready: World) -> None:
    writes = ready.writes
    plan = ready.step(3600)
    assert ready.report
    assert (plan.start, plan.stop, ready.report.events) == (None, (), ())
    assert plan.look_again == RESYNC
    assert ready.writes == writes


def test_a_job_whose_making_was_not_recorded_is_found_by_its_name(world: World) -> None:
    world.step()  # makes the claim
    world.step(forget_status=True)
    assert world.started == ["prepare-1"]
    world.step()
    assert world.started == ["prepare-1"], "no second Job for the same attempt"
    assert world.stage(StageName.PREPARE).state is StageState.RUNNING


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES if stage not in (DOWNLOAD, COMPARE)])
def test_a_run_that_finished_unseen_is_recorded_at_the_next_look(world: World, stage: StageName) -> None:
    world.until(stage)
    world.status = world.status.model_copy(update={"stages": tuple(s for s in world.status.stages if s.name != stage)})
    world.finish()
    world.step()
    assert world.stage(stage).state is StageState.SUCCEEDED
    assert world.started.count(f"{stage.value}-1") == 1


def test_a_finished_job_that_somebody_deleted_is_not_run_again(ready: World) -> None:
    ready.runs.clear()
    ready.step()
    assert ready.started == []


def test_raising_max_epochs_runs_training_again_in_the_same_lineage(ready: World) -> None:
    before = next(d for d in ready.documents.values() if isinstance(d, TrainInput))
    ready.edit(training__maxEpochs=20)
    ready.to_ready()
    assert ready.started == ["train-2", "convert-2", "evaluate-2", "publish-2"]
    after = max((d for d in ready.documents.values() if isinstance(d, TrainInput)), key=lambda d: d.attempt)
    assert after.lineage == before.lineage
    assert (after.max_epochs, after.attempt) == (20, 2)
    assert len(ready.status.history) == 2


def test_progress_is_read_while_a_training_executes_and_not_while_it_waits(world: World) -> None:
    world.until(StageName.TRAIN)
    (name,) = [run.name for run in world.runs.values() if run.stage is StageName.TRAIN]
    queued = Trouble("QueuedByKueue", "it waits in the queue gpus")
    for state, trouble, expected in (
        (RunState.PENDING, queued, LOOK_AGAIN),
        (RunState.RUNNING, None, timedelta(seconds=10)),
        (RunState.PENDING, None, LOOK_AGAIN),
    ):
        world.runs[name] = replace(world.runs[name], state=state, trouble=trouble)
        assert world.step(60).look_again == expected


def test_a_run_that_has_just_been_created_is_looked_at_soon_because_its_pod_may_be_rejected(world: World) -> None:
    world.until(StageName.PREPARE)
    (name,) = world.runs
    for age, trouble, expected in (
        (0, None, timedelta(seconds=10)),
        (29, None, timedelta(seconds=10)),
        (29, Trouble("Unschedulable", "0/2 nodes"), LOOK_AGAIN),
        (31, None, LOOK_AGAIN),
    ):
        created = world.now - timedelta(seconds=age)
        world.runs[name] = replace(world.runs[name], state=RunState.PENDING, trouble=trouble, created_at=created)
        assert world.step(0).look_again == expected


def test_a_restart_token_starts_another_lineage_on_the_same_data(ready: World) -> None:
    before = {d.lineage for d in ready.documents.values() if isinstance(d, TrainInput)}
    ready.edit(training__restartToken="again")
    ready.until(StageName.TRAIN)
    after = {d.lineage for d in ready.documents.values() if isinstance(d, TrainInput)}
    assert ready.started == ["train-2"]
    assert len(after - before) == 1


def test_a_new_revision_with_other_data_trains_again_while_the_old_model_serves(ready: World) -> None:
    old = ready.status.model
    assert old
    ready.edit(dataset__revision="2")
    ready.data = "other data"
    ready.until(StageName.PUBLISH)
    assert ready.status.model == old
    assert ready.server
    assert ready.server.version == old.version
    assert ready.condition("Serving").status == "True"
    assert ready.condition("Ready").status == "True"
    assert ready.condition("Reconciling").reason == "Publishing"


def test_a_new_revision_with_the_same_data_trains_nothing(ready: World) -> None:
    ready.edit(dataset__revision="2")
    ready.to_ready()
    assert ready.started == ["prepare-2"]


@pytest.mark.parametrize(
    "edit",
    [
        {"serving__replicas": 3},
        {"serving__service": {"name": "voice"}},
        {"training__podTemplate": {"resources": {"limits": {"memory": "8Gi"}}}},
        {"training__stageResources": {"limits": {"memory": "8Gi"}}},
        {"training__maxAttempts": 2},
        {"training__activeDeadlineSeconds": 60},
        {"publish__deletionPolicy": "Delete"},
        {"publish__s3__secretRef": {"name": "other"}},
        {"evaluation": {"gate": {"maxWER": 0.01, "notWorseThanServing": {}}}},
        {"serving__pinnedVersion": "0badcafe"},
    ],
    ids=str,
)
def test_edits_that_change_no_content_run_no_job(ready: World, edit: dict[str, object]) -> None:
    ready.edit(**edit)
    ready.step()
    ready.step()
    assert ready.started == []


def test_another_secret_for_the_recordings_replaces_a_prepare_that_runs(world: World) -> None:
    world.edit(dataset__source={"s3": {"bucket": "voices", "secretRef": {"name": "old"}}})
    world.until(StageName.PREPARE)
    world.edit(dataset__source={"s3": {"bucket": "voices", "secretRef": {"name": "new"}}})
    assert world.step().stop


def test_another_beam_width_is_measured_and_published_but_not_trained(ready: World) -> None:
    ready.edit(decoding={"beamWidth": 50})
    ready.to_ready()
    assert ready.started == ["evaluate-2", "publish-2"]


def test_suspend_ends_the_run_and_resume_goes_on_in_the_same_lineage(world: World) -> None:
    world.until(StageName.TRAIN)
    world.edit(suspend=True)
    plan = world.step()
    assert [run.stage for run in plan.stop] == [StageName.TRAIN]
    assert world.status.phase is Phase.SUSPENDED
    assert world.condition("Ready").reason == "Suspended"
    world.edit(suspend=False)
    world.step()
    assert world.condition("Ready").reason == "WaitingForPods", "the old pod may still write"
    world.bury()
    world.step()
    assert world.started[-2:] == ["train-1", "train-2"]
    assert world.stage(StageName.TRAIN).failures == 0


def test_suspending_a_ready_model_leaves_it_served(ready: World) -> None:
    ready.edit(suspend=True)
    ready.step()
    assert ready.condition("Ready").status == "True"
    assert ready.server


def test_an_edit_in_mid_training_replaces_the_run_by_one_of_the_new_key(world: World) -> None:
    world.until(StageName.TRAIN)
    world.edit(training__maxEpochs=30)
    assert world.step().stop
    assert world.stage(StageName.TRAIN).reason == "Superseded"
    world.bury()
    world.step()
    (document,) = [d for d in world.documents.values() if isinstance(d, TrainInput) and d.attempt == 2]
    assert document.max_epochs == 30


def test_other_pod_settings_in_mid_training_replace_the_pod(world: World) -> None:
    world.until(StageName.TRAIN)
    world.edit(training__podTemplate={"nodeSelector": {"pool": "gpu"}})
    assert world.step().stop
    world.bury()
    world.step()
    assert world.started[-1] == "train-2"


def test_a_new_revision_in_mid_training_stops_it_first(world: World) -> None:
    world.until(StageName.TRAIN)
    world.edit(dataset__revision="2")
    plan = world.step()
    assert [run.stage for run in plan.stop] == [StageName.TRAIN]
    assert plan.start is None
    world.bury()
    world.step()
    assert world.started[-1] == "prepare-2"


@pytest.mark.parametrize("code", [64, 65, 78])
def test_failures_that_the_same_spec_would_meet_again_wait_for_an_edit(world: World, code: int) -> None:
    world.until(StageName.PREPARE)
    world.fail(code, "InvalidDataset", "no usable row in commands.csv")
    ended = world.now
    world.step(3600)  # nobody looked for an hour
    assert world.stage(StageName.PREPARE).finished_at == ended
    assert world.status.phase is Phase.FAILED
    assert world.condition("DatasetReady").reason == "InvalidDataset"
    assert world.condition("Ready").message == "no usable row in commands.csv"
    world.step(7200)
    assert world.started == ["prepare-1"]
    world.edit(dataset__revision="2")
    world.step()
    assert world.started == ["prepare-1", "prepare-2"]


def test_the_retry_annotation_asks_once_more(world: World) -> None:
    world.until(StageName.PREPARE)
    world.fail(65)
    world.step()
    world.annotations["speechops.dev/retry"] = "1"
    world.step()
    assert world.started == ["prepare-1", "prepare-2"]
    world.fail(65)
    world.step()
    world.step(7200)
    assert world.started == ["prepare-1", "prepare-2"], "each value asks once"


def test_what_may_heal_is_retried_with_growing_pauses_and_then_given_up(world: World) -> None:
    world.until(StageName.PUBLISH)
    pauses = []
    for attempt in range(1, 12):
        world.fail(75, "UploadFailed", "AccessDenied")
        began = world.now
        world.step()
        assert world.condition("Published").reason == "UploadFailed"
        while world.started[-1] == f"publish-{attempt}":
            assert world.plan
            assert world.plan.look_again
            world.step(world.plan.look_again.total_seconds())
        pauses.append((world.now - began).total_seconds())
    world.fail(75, "UploadFailed", "AccessDenied")
    ended = world.now
    world.step(3600)  # nobody looked for an hour
    assert world.stage(StageName.PUBLISH).finished_at == ended
    assert pauses == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800]
    assert world.stage(StageName.PUBLISH).state is StageState.FAILED
    assert "speechops.dev/retry" in world.condition("Published").message


def test_a_corrected_secret_goes_on_with_publish_alone(world: World) -> None:
    world.until(StageName.PUBLISH)
    world.fail(75, "UploadFailed", "InvalidAccessKeyId")
    world.step()
    world.step(31)
    world.to_ready()
    assert world.started[-1] == "publish-2"
    assert world.started.count("train-1") == 1


def test_a_killed_pod_is_replaced_at_once_and_epochs_gained_reset_the_count(world: World) -> None:
    world.until(StageName.TRAIN)
    for attempt in range(1, 12):
        world.progress(epoch=attempt)
        world.fail(137, result=None)
        world.step()
        world.step()
        assert world.started[-1] == f"train-{attempt + 1}"
    assert world.stage(StageName.TRAIN).failures == 1


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({"exit_code": 137, "result": None}, "StageCrashed"),
        ({"exit_code": None, "result": None}, "PodLost"),
        (None, "RunVanished"),
    ],
    ids=["killed", "pod lost", "Job deleted"],
)
def test_a_run_that_another_one_follows_at_once_leaves_an_event(
    world: World, end: dict[str, object] | None, reason: str
) -> None:
    world.until(StageName.TRAIN)
    if end is None:
        world.runs = {name: run for name, run in world.runs.items() if run.stage is not StageName.TRAIN}
    else:
        world.finish(state=RunState.FAILED, **end)
    world.step()
    assert world.started[-1] == "train-2"
    assert world.report
    assert [(event.type, event.reason) for event in world.report.events] == [("Warning", reason)]
    world.step()
    assert world.report.events == ()


def test_a_disruption_that_was_reported_while_the_run_went_on_leaves_one_event(world: World) -> None:
    world.until(StageName.TRAIN)
    (name,) = [run.name for run in world.runs.values() if run.stage is StageName.TRAIN]
    world.runs[name] = replace(world.runs[name], trouble=Trouble("Evicted", "its node is drained"))
    reasons = []
    for _ in range(3):
        world.step()
        assert world.report
        reasons += [event.reason for event in world.report.events]
        if name in world.runs and world.runs[name].state is RunState.RUNNING:
            world.fail(137, result=None)
    assert (world.started[-1], reasons) == ("train-2", ["Evicted", "Training"])


def pull_in_vain(world: World, seconds: float = 60) -> None:
    """Take a step while the image of every run cannot be pulled. That is known a moment after its pod is created."""
    missing = Trouble("ImagePullFailed", "manifest unknown")
    world.bury()
    for name, run in world.runs.items():
        if run.state is RunState.RUNNING:
            world.runs[name] = replace(run, state=RunState.PENDING)
        elif run.state is RunState.PENDING:
            world.runs[name] = replace(run, trouble=missing)
    world.step(seconds)


def test_an_image_that_cannot_be_pulled_is_tried_less_and_less_often(world: World) -> None:
    world.until(StageName.PREPARE)
    began, reasons, starts = world.now, [], [world.now]
    while world.now - began < timedelta(days=1):
        attempts = len(world.started)
        pull_in_vain(world)
        assert world.report
        reasons += [event.reason for event in world.report.events]
        starts += [world.now] * (len(world.started) - attempts)
    pauses = [round((after - before).total_seconds() / 60) for before, after in pairwise(starts)]
    assert [pause // 5 * 5 for pause in pauses[:6]] == [5, 10, 20, 40, 60, 60]
    assert max(pauses) < 65
    assert set(reasons) == {"ImagePullFailed"}
    assert len(reasons) <= len(starts)


@pytest.mark.parametrize("how", ["pulled", "asked for", "other settings"])
def test_the_next_attempt_for_an_image_waits_for_five_minutes_again(world: World, how: str) -> None:
    world.until(StageName.PREPARE)
    while world.stage(StageName.PREPARE).image_failures != 3:
        pull_in_vain(world)
    while world.started[-1] != "prepare-4":
        pull_in_vain(world)
    assert world.stage(StageName.PREPARE).image_failures == 3
    if how == "pulled":
        world.step()
    elif how == "asked for":
        pull_in_vain(world)
        world.annotations["speechops.dev/retry"] = "1"
    else:
        world.edit(training__podTemplate={"imagePullSecrets": [{"name": "other"}]})
    for _ in range(4):
        pull_in_vain(world, seconds=1)
    assert world.started[-1] == ("prepare-4" if how == "pulled" else "prepare-5")
    assert world.stage(StageName.PREPARE).image_failures is None


def test_an_attempt_after_a_pause_does_not_repeat_why_the_one_before_was_stopped(world: World) -> None:
    world.until(StageName.PREPARE)
    while world.started[-1] != "prepare-2":
        pull_in_vain(world)
    assert world.stage(StageName.PREPARE).reason == "ImagePullFailed"
    for name, run in world.runs.items():
        world.runs[name] = replace(run, state=RunState.PENDING)
    world.edit(suspend=True)
    world.step()
    world.bury()
    world.step()
    assert world.stage(StageName.PREPARE).reason == "Suspended"
    world.edit(suspend=False)
    world.step()
    stage = world.stage(StageName.PREPARE)
    assert (world.started[-1], stage.image_failures, stage.reason) == ("prepare-3", 1, None)


@pytest.mark.parametrize(
    ("stage", "field", "other"),
    [
        ("train", {"podTemplate": {"resources": MORE}}, {"stageResources": MORE}),
        ("prepare", {"stageResources": MORE}, {"podTemplate": {"resources": MORE}}),
        ("evaluate", {"stageResources": MORE}, {"podTemplate": {"resources": MORE}}),
    ],
)
def test_out_of_memory_waits_for_other_resources_of_that_stage(
    world: World, stage: str, field: dict[str, object], other: dict[str, object]
) -> None:
    world.until(StageName(stage))
    world.fail(
        137, result=None, trouble=Trouble("OutOfMemory", "the container exceeded the memory limit 1Gi", final=True)
    )
    world.step()
    world.edit(**{f"training__{name}": value for name, value in other.items()})
    world.step(7200)
    assert world.condition("Stalled").reason == "OutOfMemory"
    assert world.started[-1] == f"{stage}-1"
    world.edit(**{f"training__{name}": value for name, value in field.items()})
    world.step()
    assert world.started[-1] == f"{stage}-2"


def test_a_node_that_runs_out_of_memory_is_no_fault_of_the_model_so_the_stage_is_tried_again(world: World) -> None:
    world.until(StageName.PREPARE)
    for attempt in (1, 2):
        world.fail(137, result=None, trouble=Trouble("OutOfMemory", "node n ran out of memory"))
        world.step()
        assert world.stage(StageName.PREPARE).reason == ("OutOfMemory" if attempt == 2 else None)
    assert world.started == ["prepare-1", "prepare-2"], "the second one waits"
    world.step(61)
    assert world.started[-1] == "prepare-3"
    world.fail(137, result=None, trouble=Trouble("OutOfMemory", "node n ran out of memory"))
    world.step()
    world.edit(training__stageResources={"requests": {"memory": "2Gi"}})
    world.step()
    assert world.started[-1] == "prepare-4", "whoever follows the advice does not wait"


def test_a_missing_artefact_makes_its_producers_run_again(world: World) -> None:
    world.until(StageName.EVALUATE)
    world.fail(66, "ArtefactMissing", "exports/x is missing")
    world.step()
    world.to_ready()
    again = world.started[world.started.index("evaluate-1") + 1 :]
    assert again == ["prepare-2", "convert-2", "evaluate-2", "publish-1"]


def test_a_lost_claim_retrains_nothing_until_an_edit_needs_it(ready: World) -> None:
    assert ready.runs
    ready.claim = None
    ready.step()
    assert ready.runs == {}, "pods of ended Jobs would hold back the deletion of the claim"
    assert ready.condition("Ready").status == "True"
    for condition in ("DatasetReady", "Trained"):
        assert "a workspace claim that is gone" in ready.condition(condition).message
    assert "claim" not in ready.condition("Published").message
    assert ready.started == []
    assert ready.claim is None
    ready.edit(training__maxEpochs=20)
    ready.to_ready()
    assert ready.started[:2] == ["prepare-2", "train-2"]
    assert "claim" not in ready.condition("Trained").message


def test_a_run_that_ended_with_its_claim_is_read_before_it_is_discarded(ready: World) -> None:
    ready.edit(training__maxEpochs=20)
    ready.until(StageName.TRAIN)
    ready.claim = None
    ready.fail(65, "NoFiniteLoss")
    ready.step(forget_status=True)
    assert any(run.stage is StageName.TRAIN for run in ready.runs.values())
    ready.step()
    assert ready.status.stages[1].reason == "NoFiniteLoss"


def test_a_recreated_claim_counts_as_empty(ready: World) -> None:
    ready.claim = Claim("espejo-workspace", "another uid", owned=False)
    ready.edit(decoding={"beamWidth": 9})
    ready.to_ready()
    assert ready.started == ["prepare-2", "convert-2", "evaluate-2", "publish-2"]


LOST = Claim("espejo-workspace", "another uid", owned=False)


def test_after_a_lost_claim_the_published_model_spares_the_training(ready: World) -> None:
    model = ready.status.model
    assert model
    ready.claim = LOST
    ready.edit(decoding={"beamWidth": 9})
    ready.until(StageName.PREPARE)
    ready.finish()
    start = ready.step(forget_status=True).start
    assert start
    assert isinstance(start.document, ConvertInput) and start.document.published
    assert (start.document.published.uri, start.document.published.sha256) == (model.uri, model.sha256)
    assert (start.bucket, start.restores) == (ready.observe().spec.publish.s3, model.version)
    ready.step()
    assert ready.started == ["prepare-2", "convert-2"], (
        "it goes on although the operator ended before it could write the status"
    )
    ready.edit(suspend=True)
    ready.step()
    ready.bury()
    ready.edit(suspend=False)
    ready.until(StageName.CONVERT)
    ready.edit(publish__s3__secretRef={"name": "new"})
    for _ in range(3):
        ready.step()
        ready.bury()
    assert ready.started[-1] == "convert-4", "a pod waits for ever for a Secret that does not exist"
    ready.to_ready()
    assert ready.started == ["prepare-2", "convert-2", "convert-3", "convert-4", "evaluate-2", "publish-2"]
    ready.edit(training__maxEpochs=20)
    ready.to_ready()
    assert "train-2" in ready.started, "its key is another one"


def test_after_a_lost_claim_another_format_of_the_same_network_is_made_of_the_published_model(ready: World) -> None:
    ready.claim = LOST
    ready.edit(publish__tflite=True)
    ready.to_ready()
    assert ready.started[:2] == ["prepare-2", "convert-2"]
    assert "train-2" not in ready.started


def test_after_a_lost_claim_the_phrase_network_is_taken_from_the_bucket_too(world: World) -> None:
    world.phrases = True
    world.to_ready()
    made = next(d for d in world.documents.values() if isinstance(d, ConvertInput))
    evaluated = next(d for d in world.documents.values() if isinstance(d, EvaluateInput))
    model = world.status.model
    assert model and model.phrases
    assert (made.phrase_head_sha256, evaluated.phrases_sha256) == (digest("h"), digest("p"))
    assert model.phrases.sha256 == digest("p")
    # another version of the same model is served, which was published for free text
    changes = {"version": "0badcafe", "version_uri": "s3://v", "phrases": None}
    served = model.model_copy(update=changes)
    world.status = world.status.model_copy(update={"model": served, "history": (served, model)})
    world.claim = LOST
    world.edit(decoding={"beamWidth": 9})
    world.until(StageName.PREPARE)
    world.finish()
    start = world.step().start
    assert start
    assert isinstance(start.document, ConvertInput) and start.document.published_phrases
    taken = start.document.published_phrases
    assert (taken.uri, taken.sha256, taken.size_bytes) == ("s3://p", digest("p"), 7)
    assert (taken.target, start.restores) == (start.bucket and start.bucket.location, model.version)


def test_the_model_of_another_training_spares_none(ready: World) -> None:
    ready.edit(training__maxEpochs=20)
    ready.until(StageName.TRAIN)
    ready.finish()
    ready.step(forget_status=True)
    assert ready.started == ["train-2", "convert-2"]
    ready.step()
    ready.claim = LOST
    ready.step()
    ready.bury()
    ready.to_ready()
    assert ready.started[2:4] == ["prepare-2", "train-3"], "the version that is published is of train-1"


def test_a_convert_that_restores_and_vanishes_is_a_failure_unless_its_settings_were_edited(ready: World) -> None:
    ready.claim = LOST
    ready.edit(decoding={"beamWidth": 9})
    ready.until(StageName.CONVERT)
    ready.runs.clear()
    ready.step()
    assert ready.stage(StageName.CONVERT).failures == 1
    ready.runs.clear()
    ready.edit(publish__s3__secretRef={"name": "new"})
    ready.step()
    assert ready.stage(StageName.CONVERT).failures == 1, "the operator stopped it"


@pytest.mark.parametrize(("limit", "failures"), [(1, 1), (2, 2), (3, 3), (4, 3), (9, 3)])
def test_a_published_model_that_is_lost_is_trained_again(ready: World, limit: int, failures: int) -> None:
    ready.claim = LOST
    ready.edit(decoding={"beamWidth": 9}, training__maxAttempts=limit)
    attempts = [f"convert-{2 + failure}" for failure in range(failures)]
    for attempt in attempts:
        ready.until(StageName.CONVERT)
        assert ready.started[-1] == attempt
        ready.fail(75, "PublishedModelLost", "NoSuchKey")
        ready.step(3600)
    assert ready.started[-1] == "train-2"
    converted = ready.stage(StageName.CONVERT)
    assert (converted.state, converted.failures, converted.reason) == (StageState.WAITING, 0, None)
    ready.to_ready()
    again = ["train-2", f"convert-{2 + failures}", "evaluate-2", "publish-2"]
    assert ready.started == ["prepare-2", *attempts, *again]


@pytest.mark.parametrize("reason", ["DownloadFailed", "CredentialsMissing"])
def test_while_the_bucket_of_a_published_model_cannot_be_read_nothing_is_trained(ready: World, reason: str) -> None:
    ready.claim = LOST
    ready.edit(decoding={"beamWidth": 9}, training__maxAttempts=6)
    for _ in range(6):
        ready.until(StageName.CONVERT)
        ready.fail(75, reason, "bucket models cannot be reached")
        ready.step(3600)
    assert "train-2" not in ready.started
    assert ready.stage(StageName.CONVERT).state is StageState.FAILED
    ready.step(3600)
    assert ready.started[-1] == "convert-7", "it was the last attempt"
    ready.edit(publish__s3__secretRef={"name": "new"})
    ready.to_ready()
    assert ready.started[-3:] == ["convert-8", "evaluate-2", "publish-2"], "the Secret was corrected"


def test_files_that_are_lost_inside_the_claim_are_made_again_from_the_published_model(ready: World) -> None:
    model = ready.status.model
    assert model
    ready.edit(decoding={"beamWidth": 9})
    ready.until(StageName.EVALUATE)
    ready.fail(66, "ArtefactMissing", "exports/x is missing")
    ready.until(StageName.CONVERT)
    ready.fail(66, "ArtefactMissing", "exports/y is missing")
    ready.step(3600)
    ready.until(StageName.CONVERT)
    run = next(run for run in ready.runs.values() if run.state is RunState.RUNNING)
    assert ready.stage_runs[run.name].restores == model.version
    ready.to_ready()
    assert not [name for name in ready.started if name.startswith("train")]
    assert "its files in the workspace are lost: an edit" in ready.condition("Trained").message


@pytest.fixture
def beginning() -> World:
    """A model whose training begins with a checkpoint in a bucket."""
    world = World()
    world.edit(training__initFrom={"s3": {"bucket": "pretrained", "prefix": "en", "secretRef": {"name": "old"}}})
    return world


def test_a_checkpoint_in_a_bucket_is_downloaded_before_training(beginning: World) -> None:
    beginning.until(StageName.DOWNLOAD)
    assert beginning.condition("Trained").reason == "Downloading"
    assert beginning.status.phase is Phase.DOWNLOADING
    assert beginning.condition("Published").reason == "WaitingForDownload"
    beginning.to_ready()
    assert beginning.started == ["prepare-1", "download-1", "train-1", "convert-1", "evaluate-1", "publish-1"]
    assert "began with 3 files of 5.0 MB, bucket listing 6c000000" in beginning.condition("Trained").message


def test_only_a_new_place_or_restart_token_downloads_a_checkpoint_again(beginning: World) -> None:
    beginning.to_ready()
    beginning.started.clear()
    beginning.edit(training__maxEpochs=20)
    beginning.to_ready()
    beginning.edit(training__initFrom__dropLayers=1)
    beginning.to_ready()
    assert not [run for run in beginning.started if run.startswith("download")]
    beginning.edit(training__restartToken="2")
    beginning.to_ready()
    assert [run for run in beginning.started if run.startswith("download")] == ["download-2"]
    beginning.edit(training__initFrom=None)
    beginning.started.clear()
    beginning.to_ready()
    assert beginning.started[0].startswith("train"), "a manifest without the field reads no download"


def test_a_bucket_that_is_away_is_tried_again_and_a_new_secret_at_once(beginning: World) -> None:
    beginning.until(StageName.DOWNLOAD)
    beginning.fail(75, "DownloadFailed", "bucket pretrained: AccessDenied")
    beginning.step()
    held = beginning.condition("Trained")
    assert (held.reason, beginning.stage(StageName.DOWNLOAD).state) == ("DownloadFailed", StageState.WAITING)
    beginning.step(40)
    assert beginning.started[-1] == "download-2"
    beginning.edit(training__initFrom__s3__secretRef={"name": "other"})
    beginning.step()
    assert beginning.plan
    assert [run.stage for run in beginning.plan.stop] == [StageName.DOWNLOAD]
    beginning.bury()
    beginning.step()
    assert beginning.started[-1] == "download-3"


def test_a_new_secret_of_other_speech_starts_prepare_again_at_once() -> None:
    world = World()
    world.edit(dataset__negatives={"source": {"s3": {"bucket": "radio", "secretRef": {"name": "old"}}}})
    world.until(StageName.PREPARE)
    world.edit(dataset__negatives__source__s3__secretRef={"name": "new"})
    world.step()
    assert world.plan
    assert [run.stage for run in world.plan.stop] == [StageName.PREPARE]
    world.bury()
    world.step()
    assert world.started[-1] == "prepare-2"


def test_a_checkpoint_that_is_gone_is_downloaded_again(beginning: World) -> None:
    beginning.until(StageName.TRAIN)
    beginning.fail(66, "ArtefactMissing", "sources/x is missing")
    beginning.step()
    beginning.to_ready()
    assert beginning.started[2:6] == ["train-1", "prepare-2", "download-2", "train-2"]


def test_the_download_is_kept_while_the_manifest_names_it(beginning: World) -> None:
    beginning.to_ready()
    folder = next(d.folder for d in beginning.documents.values() if isinstance(d, DownloadInput))
    for document in beginning.documents.values():
        assert document.kept is not None
        assert f"sources/{folder.name}" in document.kept.folders


def test_the_deadline_counts_over_attempts(world: World) -> None:
    world.edit(training__activeDeadlineSeconds=100)
    world.until(StageName.TRAIN)
    world.step(60)
    world.fail(137, result=None)
    world.step(1)
    world.step(1)
    assert world.started[-1] == "train-2"
    world.step(45)
    assert world.condition("Trained").reason == "DeadlineExceeded"
    assert world.plan
    assert world.plan.stop
    world.bury()
    world.edit(training__activeDeadlineSeconds=1000)
    world.step()
    assert world.started[-1] == "train-3"


def test_why_a_pod_waits_is_reported_in_the_schedulers_words(world: World) -> None:
    world.until(StageName.TRAIN)
    name = next(n for n, r in world.runs.items() if r.stage is StageName.TRAIN)
    said = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    world.finish(
        state=RunState.PENDING, finished_at=None, exit_code=None, result=None, trouble=Trouble("Unschedulable", said)
    )
    world.step()
    assert world.report
    assert (world.condition("Trained").reason, world.condition("Trained").message) == ("Unschedulable", said)
    assert [(e.type, e.reason) for e in world.report.events] == [("Warning", "Unschedulable")]
    assert world.runs[name].state is RunState.PENDING


def test_the_served_version_changes_only_when_every_replica_is_ready(ready: World) -> None:
    old = ready.status.serving
    assert old
    ready.edit(training__maxEpochs=20)
    ready.until(StageName.PUBLISH)
    ready.finish()
    ready.step()
    ready.step()
    assert ready.status.serving
    assert ready.status.serving.version == old.version
    assert ready.condition("Promoted").reason == "RollingOut"
    ready.settle()
    ready.step()
    assert ready.status.serving.version == ready.status.latest_version != old.version


@pytest.mark.parametrize("hours", [0, 1, -1])
def test_progress_is_written_at_an_epoch_or_each_15_seconds_whatever_the_trainers_clock_says(
    world: World, hours: int
) -> None:
    ahead = timedelta(hours=hours)
    world.until(StageName.TRAIN)
    world.progress(3, ahead=ahead)
    world.step(1)
    assert world.status.progress == "3/10"
    writes = world.writes
    for _ in range(5):
        world.progress(3, ahead=ahead)
        world.step(2)
    assert world.writes == writes
    world.step(4)
    world.progress(3, ahead=ahead, clips_per_second=80)
    world.step(1)
    assert world.status.training and world.status.training.clips_per_second == 80
    world.progress(4, ahead=ahead)
    world.step(2)
    assert world.status.progress == "4/10"


def test_speed_and_use_of_cpus_are_shown_and_afterwards_the_pod_seconds_of_all_attempts(world: World) -> None:
    world.until(StageName.TRAIN)
    world.progress(3, dev_wer=0.5, clips_per_second=123.4567891, cpu_utilization=0.87, gpu_utilization=0.93)
    world.step(1)
    training = world.status.training
    assert training is not None
    assert (training.dev_wer, training.clips_per_second, training.cpu_utilization) == (0.5, 123.457, 0.87)
    assert training.gpu_utilization == 0.93
    assert training.pod_seconds is None
    world.step(99)
    world.fail(75)
    world.step(1)  # 101 s after the run was created
    world.step(31)
    world.step(50)
    world.finish()
    world.step(0)
    training = world.status.training
    assert training is not None
    assert training.pod_seconds == world.stage(StageName.TRAIN).active_seconds == 100 + 50
    assert (training.clips_per_second, training.cpu_utilization, training.estimated_completion_time) == (
        123.457,
        None,
        None,
    )


def test_a_warning_of_the_trainer_is_shown_until_an_attempt_has_none(world: World) -> None:
    def warning() -> str | None:
        assert world.status.training is not None
        return world.status.training.warning

    world.until(StageName.TRAIN)
    world.progress(1, warning="the pod has nvidia.com/gpu,\nbut TensorFlow finds no GPU")
    world.step(1)
    assert warning() == "the pod has nvidia.com/gpu, but TensorFlow finds no GPU"
    world.fail(75)
    world.step(1)
    world.step(40)
    world.progress(3)
    world.step(20)
    assert warning() is None
    world.progress(4, warning="no GPU")
    world.step(20)
    world.finish()
    world.step(0)
    assert warning() == "no GPU", "it explains how long the training took"


def test_the_end_of_training_is_estimated_by_the_trainer_and_only_while_it_trains(world: World) -> None:
    def estimate() -> datetime | None:
        assert world.status.training is not None
        return world.status.training.estimated_completion_time

    world.until(StageName.TRAIN)
    world.progress(0)
    world.step(1)
    assert estimate() is None, "no step was made"
    world.progress(1, seconds_left=900)
    world.step(1)
    assert estimate() == world.now - timedelta(seconds=1) + timedelta(seconds=900)
    world.step(20)
    world.progress(1, seconds_left=1e14)
    world.step(1)
    assert estimate() is None, "a first step that is very slow says nothing"
    world.step(20)
    world.progress(1, cpu_utilization=0.5, gpu_utilization=0.5, seconds_left=900)
    world.step(20)
    world.edit(suspend=True)
    world.step()
    assert world.status.training is not None
    assert (estimate(), world.status.training.cpu_utilization) == (None, None)
    assert world.status.training.gpu_utilization is None
    world.bury()
    world.edit(suspend=False)
    world.step(36000)
    world.progress(1)  # the trainer has read its checkpoint
    world.step(20)
    assert estimate() is None
    world.progress(3, seconds_left=700)
    world.step(1)
    assert estimate() == world.now - timedelta(seconds=1) + timedelta(seconds=700), "the pause does not count"
    before = world.stage(StageName.TRAIN).job
    world.fail(143, trouble=Trouble(Reason.PREEMPTED, "a pod of a higher priority needs the place"))
    world.step()
    assert world.stage(StageName.TRAIN).job != before
    assert estimate() is None, "the next attempt has not reported yet"


def test_epochs_that_are_chosen_from_the_dataset_are_shown_once_the_trainer_reports_them(world: World) -> None:
    world.edit(training__maxEpochs=None)
    world.until(StageName.TRAIN)
    world.progress(3)
    world.step(1)
    assert world.status.progress == "3"
    settings = choose_settings(TrainingFacts(clips=338, hours=0.15, speakers=25, labels=24))
    world.progress(4, settings=settings)
    world.step(1)
    assert world.status.progress == f"4/{settings.max_epochs}"
    assert world.status.training is not None
    assert world.status.training.settings == settings


def test_a_condition_keeps_its_transition_time_until_its_status_changes(world: World) -> None:
    world.until(StageName.TRAIN)
    before = world.condition("Ready").last_transition_time
    world.finish()
    world.step(100)
    assert world.condition("Ready").last_transition_time == before
    assert world.condition("Trained").last_transition_time > before


def test_waiting_for_a_node_does_not_count_towards_the_deadline(world: World) -> None:
    world.edit(training__activeDeadlineSeconds=100)
    world.until(StageName.TRAIN)
    name = next(n for n, r in world.runs.items() if r.stage is StageName.TRAIN)
    world.runs[name] = replace(world.runs[name], state=RunState.PENDING, trouble=Trouble("Unschedulable", "0/2 nodes"))
    world.step(7200)
    assert world.condition("Trained").reason == "Unschedulable"
    world.runs[name] = replace(world.runs[name], state=RunState.RUNNING, trouble=None, started_at=world.now)
    world.step(50)
    assert world.condition("Trained").reason == "Training"
    world.step(60)
    assert world.condition("Trained").reason == "DeadlineExceeded"


def test_an_image_that_cannot_be_pulled_is_tried_again_with_the_present_one(world: World) -> None:
    world.until(StageName.PREPARE)
    name = next(iter(world.runs))
    stuck = replace(world.runs[name], state=RunState.PENDING, trouble=Trouble("ImagePullFailed", "not found"))
    world.runs[name] = stuck
    assert not world.step(60).stop
    assert [run.name for run in world.step(300).stop] == [name]
    world.bury()
    world.step()
    assert world.started == ["prepare-1", "prepare-2"]


def test_looking_again_never_stops_while_something_is_due(world: World) -> None:
    for _ in range(60):
        plan = world.step()
        if any(r.state is RunState.RUNNING for r in world.runs.values()):
            assert plan.look_again is not None
            assert plan.look_again <= timedelta(seconds=60)
            world.finish()
        elif world.server and not world.server.settled:
            assert plan.look_again is not None
            world.settle()


@pytest.mark.parametrize("edit", [{"suspend": True}, {"training__podTemplate": {"nodeSelector": {"pool": "gpu"}}}])
def test_a_run_that_was_stopped_without_being_recorded_is_no_failure(world: World, edit: dict[str, object]) -> None:
    world.until(StageName.TRAIN)
    world.edit(**edit)
    world.step(forget_status=True)
    world.bury()
    world.step()
    assert world.stage(StageName.TRAIN).failures == 0
    world.edit(suspend=False)
    world.step()
    assert world.started[-1] == "train-2"


def test_a_run_that_somebody_deleted_is_a_failure(world: World) -> None:
    world.until(StageName.TRAIN)
    world.runs.clear()
    world.step()
    assert world.stage(StageName.TRAIN).failures == 1


def test_a_run_that_cannot_be_made_keeps_its_attempt(world: World) -> None:
    world.until(StageName.PREPARE)
    world.finish()
    plan = world.step()
    assert plan.start
    assert plan.start.stage is StageName.TRAIN
    world.runs.pop(plan.start.name)
    world.status = plan.after(Done(failures=Failures(stages=Trouble("Refused", "a quota")), not_started=True)).status
    assert world.condition("Ready").reason == "Refused"
    assert world.status.stage(StageName.TRAIN) is None
    assert world.stage(StageName.PREPARE).state is StageState.SUCCEEDED
    again = world.step()
    assert again.start == plan.start


def test_a_pod_on_a_lost_node_is_reported_with_the_ways_out_while_its_successor_waits(world: World) -> None:
    world.until(StageName.TRAIN)
    world.edit(training__restartToken="again")
    world.step()
    (name,) = [name for name, run in world.runs.items() if run.state is RunState.ENDING]
    stuck = Trouble(Reason.POD_STUCK, "pod x on node gpu is still terminating; bring the node back")
    world.runs[name] = replace(world.runs[name], trouble=stuck)
    world.step()
    assert (world.condition("Trained").reason, world.condition("Trained").message) == (stuck.reason, stuck.message)


def test_a_long_message_is_cut_to_what_the_schema_takes(world: World) -> None:
    world.until(StageName.TRAIN)
    (name,) = [name for name, run in world.runs.items() if run.state is RunState.RUNNING]
    world.runs[name] = replace(world.runs[name], trouble=Trouble("Unschedulable", "taint " * 1000))
    world.step()
    assert len(world.stage(StageName.TRAIN).message or "") == len(world.condition("Trained").message) == 4000


@pytest.mark.parametrize("edit", [{"training__restartToken": "again"}, {"training__maxEpochs": 3}])
def test_the_epochs_of_an_earlier_training_are_not_shown_for_the_next(ready: World, edit: dict[str, object]) -> None:
    assert ready.status.progress == "10/10"
    ready.edit(**edit)
    ready.until(StageName.TRAIN)
    assert ready.status.progress is None
    ready.progress(2)
    ready.step()
    assert ready.status.progress is not None
    assert ready.status.progress.startswith("2/")


def test_what_was_published_at_each_place_is_in_the_history(ready: World) -> None:
    ready.edit(publish__s3__endpoint="http://elsewhere")
    ready.to_ready()
    ready.edit(publish__s3__endpoint=None)
    ready.to_ready()
    assert [model.endpoint for model in ready.status.history] == [None, "http://elsewhere"], "the newest is first"


def test_a_program_that_crashes_quotes_its_log_and_is_given_up_with_it(world: World) -> None:
    world.edit(training__maxAttempts=2)
    world.until(StageName.TRAIN)
    log = "loading\nepoch 1\nTraceback (most recent call last):\nRuntimeError: no kernel image\n"
    world.fail(1, result=log)
    world.step()
    assert world.condition("Trained").reason == "StageCrashed"
    assert world.condition("Trained").message.startswith("espejo-train-")
    assert "its log ends with: loading | epoch 1 | Traceback" in world.condition("Trained").message
    world.step(31)
    assert world.started[-1] == "train-2"
    world.fail(1, result=log)
    world.step()
    world.step()
    assert world.condition("Trained").reason == "BackoffLimitExceeded"
    assert "RuntimeError: no kernel image (given up after 2 attempts" in world.condition("Trained").message
    world.annotations["speechops.dev/retry"] = "1"
    world.step()
    world.step()
    assert world.condition("Trained").reason == "Training", "it clears by itself"
