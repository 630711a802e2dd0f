"""A status that somebody clears by hand: it is made again from the Jobs, and what is served stays."""

import pytest
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import SpeechModelStatus
from support.world import World


@pytest.fixture
def served() -> World:
    world = World()
    world.to_ready()
    return world


def test_nothing_runs_again_while_the_jobs_are_there(served: World) -> None:
    before, started, server = served.status, list(served.started), served.server
    served.status = SpeechModelStatus()
    served.to_rest()
    assert served.started == started
    assert served.server == server
    assert served.status.in_effect
    assert served.status.model and before.model
    assert served.status.model.version_uri == before.model.version_uri
    assert [stage.output for stage in served.status.stages] == [stage.output for stage in before.stages]


@pytest.mark.parametrize("jobs_are_there", [True, False])
def test_the_servers_stay_while_the_next_version_is_made(served: World, jobs_are_there: bool) -> None:
    server = served.server
    served.edit(training__maxEpochs=20)
    served.until(StageName.TRAIN)
    (running,) = [run for run in served.runs.values() if run.result is None]
    served.status = SpeechModelStatus()
    if not jobs_are_there:
        served.runs.clear()
    served.step()
    assert served.server == server
    assert served.condition("Ready").status == "True"
    if jobs_are_there:
        assert served.stage(StageName.TRAIN).job == running.name
        assert served.started[-1] == "train-2", "the training goes on"


def test_the_servers_stay_when_the_version_that_is_known_is_not_promoted(served: World) -> None:
    server = served.server
    served.wer = 0.9
    served.edit(training__maxEpochs=20, evaluation={"gate": {"maxWER": 0.5}})
    served.to_rest()
    served.status = SpeechModelStatus()
    served.to_rest()
    promoted = served.condition("Promoted")
    assert promoted.reason == "QualityGateFailed"
    assert server and f"version {server.version} is still served" in promoted.message
    assert served.server == server


def test_a_version_that_cannot_be_compared_with_what_is_served_is_not_promoted(served: World) -> None:
    server = served.server
    assert server
    served.status = SpeechModelStatus()
    served.runs.clear()
    served.wer = 0.9
    served.edit(training__maxEpochs=20, evaluation={"gate": {"notWorseThanServing": {}}})
    served.to_rest()
    promoted = served.condition("Promoted")
    assert promoted.reason == "QualityGateFailed"
    assert f"version {server.version} is served, and the status has lost its figures" in promoted.message
    remedy = f"; set serving.pinnedVersion to {served.status.latest_version}, or remove gate.notWorseThanServing"
    assert promoted.message.endswith(remedy), "more recordings cannot help"
    assert served.server == server
    served.edit(serving={"pinnedVersion": served.status.latest_version})
    served.to_ready()
    assert served.status.model and served.status.model.version == served.status.latest_version != server.version


def test_servers_that_the_manifest_no_longer_asks_for_are_removed_also_without_a_status(served: World) -> None:
    served.status = SpeechModelStatus()
    served.edit(serving=None)
    served.step()
    assert served.server is None
