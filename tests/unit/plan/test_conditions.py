"""Ready, Reconciling and Stalled, as kstatus, Argo CD, Flux and `kubectl wait` read them."""

from dataclasses import replace
from typing import Any

import pytest
from speechmodel_api.reasons import Reason
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.decoders import UnusableWords
from speechmodel_api.status import Condition, ConditionType, Phase, SpeechModelStatus
from speechmodel_plan.conditions import Failures
from speechmodel_plan.decoding import decoding
from speechmodel_plan.observed import RunState, Trouble
from speechmodel_plan.plan import Done
from speechmodel_plan.status import failed_status
from support.world import World

ABNORMAL = {"Reconciling", "Stalled"}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def served() -> World:
    world = World()
    world.to_ready()
    return world


def abnormal(status: SpeechModelStatus) -> dict[str, str]:
    """Return the reasons of Reconciling and Stalled, of which at most one is there."""
    return {each.type: each.reason for each in status.conditions if each.type in ABNORMAL}


def ready(world: World) -> str:
    return world.condition("Ready").status


def failed(world: World, **failures: Trouble) -> SpeechModelStatus:
    """Return the status after a step whose plan could not be applied."""
    assert world.plan
    return world.plan.after(Done(failures=Failures(**failures), not_started="stages" in failures)).status


def test_a_refused_object_beside_the_server_takes_nothing_from_what_is_served(served: World) -> None:
    status = failed(served, beside=Trouble("Refused", "a webhook denied the Ingress"))
    found = {each.type: each for each in status.conditions}
    assert [found[name].status for name in ("Ready", "Promoted", "Serving")] == ["True"] * 3
    assert "the spec is not in effect (Refused)" in found["Ready"].message
    assert abnormal(status) == {"Stalled": "Refused"}


def test_the_first_status_says_that_the_model_is_not_ready_and_for_which_spec(world: World) -> None:
    world.step()
    condition = world.condition("Ready")
    assert (condition.status, condition.observed_generation) == ("False", 1)
    assert abnormal(world.status) == {"Reconciling": "WaitingForClaim"}


def test_a_model_whose_spec_is_in_effect_has_neither_condition(served: World) -> None:
    assert abnormal(served.status) == {}
    assert served.status.in_effect


def test_a_step_never_leaves_both_conditions_and_ready_is_alone_only_in_effect(world: World) -> None:
    for _ in range(40):
        world.step()
        pending = abnormal(world.status)
        assert len(pending) == (0 if world.status.in_effect else 1)
        if any(run.state is RunState.RUNNING for run in world.runs.values()):
            world.finish()
        elif world.server and not world.server.settled:
            world.settle()
    assert world.status.in_effect


@pytest.mark.parametrize("stage", [StageName.TRAIN, StageName.CONVERT, StageName.EVALUATE, StageName.PUBLISH])
def test_ready_stays_true_while_the_old_version_serves_and_a_new_one_is_made(served: World, stage: StageName) -> None:
    before = served.condition("Ready")
    served.edit(training__maxEpochs=20)
    served.until(stage)
    assert served.condition("Ready").last_transition_time == before.last_transition_time
    assert served.condition("Ready").observed_generation == 2
    assert "is served; the spec is not in effect" in served.condition("Ready").message
    assert set(abnormal(served.status)) == {"Reconciling"}
    assert served.status.phase is not None
    assert served.status.phase.value.lower().startswith(stage.value[:5])


def test_ready_stays_true_while_the_new_version_is_rolled_out(served: World) -> None:
    served.edit(training__maxEpochs=20)
    served.until(StageName.PUBLISH)
    served.finish()
    served.step()
    assert served.server
    served.server = replace(served.server, ready_replicas=1)
    served.step()
    assert ready(served) == "True"
    assert abnormal(served.status) == {"Reconciling": "RollingOut"}


@pytest.fixture
def two() -> World:
    """A model whose version has been served by two replicas for a while."""
    world = World()
    world.edit(serving__replicas=2)
    world.to_ready()
    world.step()
    return world


def lacking(world: World, trouble: Trouble | None = None) -> None:
    """One of two replicas is not ready, and all have the newest template."""
    assert world.server
    world.server = replace(world.server, ready_replicas=1, settled=False, complete=True, trouble=trouble)
    world.step()


def test_a_pod_of_the_server_that_is_replaced_changes_no_condition_but_serving(two: World) -> None:
    before = {each.type: each for each in two.status.conditions}
    lacking(two)
    assert two.report and two.report.events == ()
    after = {each.type: each for each in two.status.conditions}
    assert after["Serving"].message == "1 of 2 replicas are ready"
    assert {name: after[name] for name in after if name != "Serving"} == {
        name: before[name] for name in before if name != "Serving"
    }
    assert two.status.phase == "Ready"
    two.settle()
    two.step()
    assert two.report.events == ()


def test_a_pod_of_the_server_that_cannot_start_is_why_the_spec_is_not_in_effect(two: World) -> None:
    lacking(two, Trouble("Unschedulable", "0/2 nodes"))
    assert abnormal(two.status) == {"Reconciling": "Unschedulable"}
    assert (two.condition("Promoted").status, ready(two)) == ("True", "True")
    assert two.report and two.report.events == ()
    two.settle()
    two.step()
    assert two.status.in_effect
    assert two.report.events == ()


def test_a_replica_that_an_edit_adds_is_waited_for_and_the_version_stays_promoted(two: World) -> None:
    two.edit(serving__replicas=3)
    assert two.server
    two.server = replace(two.server, replicas=3, settled=False, complete=True)
    for _ in range(2):
        two.step()
        assert abnormal(two.status) == {"Reconciling": "Deploying"}
        assert (two.condition("Promoted").status, two.status.phase) == ("True", "Deploying")
    two.settle()
    two.step()
    assert two.status.in_effect


def test_ready_is_false_when_no_replica_is_ready(served: World) -> None:
    served.edit(training__maxEpochs=20)
    served.until(StageName.TRAIN)
    assert served.server
    served.server = replace(served.server, ready_replicas=0, settled=False)
    served.step()
    assert ready(served) == "False"
    assert served.condition("Serving").status == "False"


def test_a_first_version_is_ready_when_every_replica_serves_it(world: World) -> None:
    world.edit(serving__replicas=2)
    world.until(StageName.PUBLISH)
    world.finish()
    world.step()
    assert world.server
    world.server = replace(world.server, ready_replicas=1)
    world.step()
    assert ready(world) == "False"


@pytest.mark.parametrize(
    ("code", "reason", "condition"),
    [
        (65, "InvalidDataset", {"Stalled": "InvalidDataset"}),
        (78, "InvalidGrammar", {"Stalled": "InvalidGrammar"}),
        (75, "UploadFailed", {"Reconciling": "UploadFailed"}),
    ],
)
def test_what_a_person_must_fix_is_stalled_and_what_is_retried_is_not(
    world: World, code: int, reason: str, condition: dict[str, str]
) -> None:
    world.until(StageName.PREPARE)
    world.fail(code, reason)
    world.step()
    assert abnormal(world.status) == condition


def test_phrases_that_no_model_can_say_stall_the_spec_while_training_goes_on(world: World) -> None:
    world.edit(decoding={"phrases": ["pon música"], "beamWidth": 400})
    words = decoding(SpeechModelSpec.model_validate(world.spec)).words_digest
    problem = "decoding: the phrase 'pon música': the model's alphabet does not contain 'ú'"
    world.unusable_words = UnusableWords(words_digest=words, reason=Reason.INVALID_GRAMMAR, message=problem)
    world.until(StageName.TRAIN)
    trained = next(each for each in world.runs.values() if each.state is RunState.RUNNING).name
    assert (abnormal(world.status), world.status.phase) == ({"Stalled": "InvalidGrammar"}, Phase.TRAINING)
    message = world.condition("Stalled").message
    assert message == f"{problem}; the stage train continues, and a correction trains nothing again"
    assert world.condition("Trained").reason == "Training"
    world.edit(decoding={"phrases": ["pon música"], "beamWidth": 500})
    world.step()
    assert abnormal(world.status) == {"Stalled": "InvalidGrammar"}, "the phrase is still there"
    world.edit(decoding={"phrases": ["pon la radio"]})
    world.step()
    assert abnormal(world.status) == {"Reconciling": "Training"}
    assert world.runs[trained].state is RunState.RUNNING, "the edit of the phrases stopped the training"
    world.until(StageName.EVALUATE)
    assert abnormal(world.status) == {"Reconciling": "Evaluating"}


def test_what_was_given_up_is_stalled(world: World) -> None:
    world.edit(training__maxAttempts=1)
    world.until(StageName.PREPARE)
    world.fail(75, "UploadFailed")
    world.step()
    world.step()
    assert abnormal(world.status) == {"Stalled": "UploadFailed"}
    world.annotations["speechops.dev/retry"] = "1"
    world.step()
    world.step()
    assert abnormal(world.status) == {"Reconciling": "Preparing"}


def test_a_pod_that_waits_for_a_node_is_reconciling(world: World) -> None:
    world.until(StageName.PREPARE)
    name = next(iter(world.runs))
    world.runs[name] = replace(world.runs[name], state=RunState.PENDING, trouble=Trouble("Unschedulable", "0/2 nodes"))
    world.step()
    assert abnormal(world.status) == {"Reconciling": "Unschedulable"}


@pytest.mark.parametrize(
    ("edit", "condition"),
    [
        ({"evaluation": {"gate": {"maxWER": 0.01}}}, {"Stalled": "QualityGateFailed"}),
        ({"serving__pinnedVersion": "0badcafe"}, {"Stalled": "UnknownVersion"}),
    ],
)
def test_a_version_that_is_not_promoted_is_stalled_and_the_old_one_ready(
    served: World, edit: dict[str, Any], condition: dict[str, str]
) -> None:
    served.edit(training__maxEpochs=20, **edit)
    served.to_rest()
    assert abnormal(served.status) == condition
    assert ready(served) == "True"
    assert served.status.phase == "Failed"


def test_a_pinned_version_is_in_effect(served: World) -> None:
    served.edit(training__maxEpochs=20, serving__pinnedVersion=served.status.latest_version)
    served.to_rest()
    assert served.status.in_effect
    assert served.status.phase == "Ready"


def test_a_suspended_training_is_reconciling_and_the_old_version_ready(served: World) -> None:
    served.edit(training__maxEpochs=20, suspend=True)
    served.step()
    assert abnormal(served.status) == {"Reconciling": "Suspended"}
    assert (ready(served), served.status.phase) == ("True", "Suspended")


def test_a_run_that_is_refused_is_stalled_and_leaves_the_old_version_ready(served: World) -> None:
    served.edit(training__maxEpochs=20)
    served.step()
    status = failed(served, stages=Trouble("Refused", "a policy"))
    assert abnormal(status) == {"Stalled": "Refused"}
    trained = status.condition(next(kind for kind in status.conditions if kind.type == "Trained").type)  # type: ignore[arg-type]
    assert isinstance(trained, Condition)
    assert (trained.status, trained.reason) == ("False", "Refused")
    found = status.condition("Ready")  # type: ignore[arg-type]
    assert found
    assert found.status == "True"


def test_a_service_that_belongs_to_something_else_is_stalled_and_not_ready(served: World) -> None:
    served.edit(serving__service={"name": "voice"})
    served.step()
    status = failed(served, service=Trouble("NameConflict", "Service voice exists"))
    assert abnormal(status) == {"Stalled": "NameConflict"}
    assert {each.type: each.status for each in status.conditions}["Ready"] == "False"
    assert {each.type: each.reason for each in status.conditions}["Promoted"] == "NameConflict"


def test_a_deployment_that_is_refused_is_stalled_and_what_is_served_stays_ready(served: World) -> None:
    served.edit(serving__settings={"waiting": 7})
    served.step()
    status = failed(served, serving=Trouble("Refused", "a policy"))
    assert abnormal(status) == {"Stalled": "Refused"}
    found = {each.type: each for each in status.conditions}
    assert [found[name].status for name in ("Ready", "Promoted", "Serving")] == ["True", "False", "True"]
    assert "the spec is not in effect (Refused)" in found["Ready"].message


def test_a_first_deployment_that_is_refused_is_not_ready(world: World) -> None:
    world.until(StageName.PUBLISH)
    world.finish()
    world.step()
    status = failed(world, serving=Trouble("Refused", "a policy"))
    assert {each.type: each.status for each in status.conditions}["Ready"] == "False"
    assert abnormal(status) == {"Stalled": "Refused"}


@pytest.mark.parametrize(
    ("reason", "condition"), [("ReconcileError", "Reconciling"), ("NameConflict", "Stalled"), ("Refused", "Stalled")]
)
def test_a_step_that_fails_leaves_what_is_served_ready(served: World, reason: str, condition: str) -> None:
    status = failed_status(served.status, 2, Trouble(reason, "no answer"), served.now)
    assert abnormal(status) == {condition: reason}
    before, found = (each.condition(ConditionType.READY) for each in (served.status, status))
    if condition == "Reconciling":
        assert found == before
    else:
        version = served.status.latest_version
        assert found
        assert (found.status, found.observed_generation) == ("True", 2)
        assert found.message == f"version {version} is served; the spec is not in effect ({reason})"
    again = failed_status(status, 2, Trouble("ReconcileError", "no answer"), served.now)
    assert set(abnormal(again)) == {"Reconciling"}
    served.status = status
    served.step()
    assert served.status.in_effect, "it clears by itself"


def test_a_first_step_that_fails_is_not_ready_for_its_generation(world: World) -> None:
    status = failed_status(world.status, 1, Trouble("ReconcileError", "no answer"), world.now)
    (found,) = [each for each in status.conditions if each.type == "Ready"]
    assert (found.status, found.observed_generation) == ("False", 1)


@pytest.mark.parametrize(("reason", "observed", "phase"), [("ReconcileError", 1, "Ready"), ("Refused", 2, "Failed")])
def test_a_step_that_fails_has_observed_the_spec_if_a_person_must_act(
    reason: str, observed: int, phase: str, served: World
) -> None:
    before = served.status.observed_generation
    assert before is not None
    status = failed_status(served.status, before + 1, Trouble(reason, "a policy"), served.now)
    assert (status.observed_generation, status.phase) == (before + observed - 1, phase)


def test_a_deletion_that_fails_stays_a_deletion(served: World) -> None:
    deleting = served.status.model_copy(update={"phase": Phase.DELETING})
    status = failed_status(deleting, 2, Trouble("Refused", "a policy"), served.now)
    assert (status.phase, abnormal(status)) == ("Deleting", {"Stalled": "Refused"})


def test_a_published_model_that_nothing_serves_is_not_ready_while_a_person_must_act(world: World) -> None:
    del world.spec["serving"]
    world.to_ready()
    status = failed_status(world.status, 2, Trouble("InvalidSpec", "spec.language: wrong"), world.now)
    ready = status.condition(ConditionType.READY)
    assert ready
    assert (ready.status, ready.message) == ("False", "spec.language: wrong")


def test_a_status_of_the_release_before_gains_the_conditions_and_restarts_nothing(served: World) -> None:
    served.edit(training__maxEpochs=20)
    served.until(StageName.TRAIN)
    old = served.status
    before = tuple(
        each.model_copy(update={"status": "False", "reason": "Training"}) if each.type == "Ready" else each
        for each in old.conditions
        if each.type not in ABNORMAL
    )
    served.status = old.model_copy(update={"conditions": before})
    served.started.clear()
    plan = served.step()
    assert (served.started, plan.stop) == ([], ())
    assert ready(served) == "True"
    assert abnormal(served.status) == {"Reconciling": "Training"}
    served.to_ready()
    assert served.started == ["convert-2", "evaluate-2", "publish-2"]


def test_reconciling_and_stalled_post_no_event_of_their_own(world: World) -> None:
    world.until(StageName.PREPARE)
    world.fail(65, "InvalidDataset")
    world.step()
    assert world.report
    assert [event.reason for event in world.report.events] == ["InvalidDataset"]


def test_a_first_server_that_cannot_start_posts_one_event_for_the_conditions_that_say_so(world: World) -> None:
    world.until(StageName.PUBLISH)
    world.finish()
    world.step()
    assert world.server
    world.server = replace(world.server, trouble=Trouble("ImagePullFailed", "not found"))
    world.step()
    assert {world.condition(name).reason for name in ("Promoted", "Serving")} == {"ImagePullFailed"}
    assert world.report
    assert [event.reason for event in world.report.events] == ["ImagePullFailed"]


def test_a_claim_of_a_cache_that_does_not_exist_leaves_the_old_servers_and_is_named() -> None:
    world = World()
    world.to_ready()
    world.edit(serving__cache={"claimName": "models"})
    missing = Trouble("VolumePending", '0/2 nodes are available: persistentvolumeclaim "models" not found.')
    assert world.server
    world.server = replace(world.server, settled=False, trouble=missing)
    world.step()
    assert world.status.phase == "Deploying"
    assert (world.condition("Ready").status, world.condition("Serving").status) == ("True", "True")
    assert "the spec is not in effect (VolumePending)" in world.condition("Ready").message
    assert (world.condition("Promoted").reason, world.condition("Promoted").message) == (
        missing.reason,
        missing.message,
    )
