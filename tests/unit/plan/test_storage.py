"""The folders that a stage keeps on the workspace, and the use of its volume in the status."""

import json

import pytest
from pydantic import ValidationError
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_api.stages.publish import PublishInput
from speechmodel_api.training_spec import Storage
from support.world import World


def published(world: World) -> PublishInput:
    return [document for document in world.documents.values() if isinstance(document, PublishInput)][-1]


def test_everything_that_the_spec_refers_to_is_kept() -> None:
    world = World()
    world.to_ready()
    kept = published(world).kept
    assert kept is not None
    keys = {stage.name.value: stage.key for stage in world.status.stages}
    expected = {f"data/{keys['prepare']}", f"exports/{keys['train']}", f"exports/{keys['convert']}"}
    assert expected | {f"reports/{keys['evaluate']}"} <= set(kept.folders)
    assert [name for name in kept.folders if name.startswith("checkpoints/")]
    assert kept.models == ()
    assert kept.seconds == 7 * 86400


def test_what_is_served_is_kept_while_a_new_version_is_published() -> None:
    world = World()
    world.to_ready()
    served = world.status.model
    assert served
    world.edit(training__maxEpochs=20, training__storage={"keepFor": "12h"})
    world.to_ready()
    kept = published(world).kept
    assert kept is not None
    assert kept.models == (served.sha256,)
    assert kept.seconds == 12 * 3600


def test_an_edit_keeps_what_the_runs_before_it_made_until_their_stage_has_succeeded() -> None:
    world = World()
    world.to_ready()
    before = {stage.name: stage.key for stage in world.status.stages}
    world.edit(dataset__revision="2")
    world.until(StageName.PREPARE)
    (prepare,) = [each for each in world.documents.values() if each.key == world.stage(StageName.PREPARE).key]
    assert prepare.kept
    assert before[StageName.PREPARE] != prepare.key
    made = {f"data/{before[StageName.PREPARE]}", f"exports/{before[StageName.TRAIN]}"}
    assert made | {f"reports/{before[StageName.EVALUATE]}"} <= set(prepare.kept.folders)


def test_a_bucket_keeps_its_downloads() -> None:
    world = World()
    world.edit(dataset__source={"s3": {"bucket": "voices"}})
    world.to_ready()
    kept = published(world).kept
    assert kept is not None
    assert [name for name in kept.folders if name.startswith("sources/")]


def test_the_downloads_of_other_speech_are_kept_until_nothing_refers_to_them() -> None:
    world = World()
    world.edit(dataset__negatives={"source": {"s3": {"bucket": "radio"}}})
    world.to_ready()
    (prepared,) = (document for document in world.documents.values() if isinstance(document, PrepareInput))
    folder = str(prepared.other_speech).removeprefix("/workspace/espejo/")
    kept = published(world).kept
    assert kept is not None
    assert [name for name in kept.folders if name.startswith("sources/")] == [folder]
    world.edit(dataset__negatives={})
    world.data = "without other speech"
    world.to_ready()
    kept = published(world).kept
    assert kept is not None
    assert folder not in kept.folders


def test_a_stage_keeps_what_is_known_when_it_starts() -> None:
    world = World()
    world.until(StageName.TRAIN)
    (train,) = [document for document in world.documents.values() if document.key == world.stage(StageName.TRAIN).key]
    assert train.kept
    assert f"data/{world.stage(StageName.PREPARE).key}" in train.kept.folders
    assert f"exports/{train.key}" in train.kept.folders
    assert [name for name in train.kept.folders if name.startswith("checkpoints/")]
    assert not [name for name in train.kept.folders if name.startswith("reports/")]


def test_the_status_shows_the_volume_as_the_newest_stage_reported_it() -> None:
    world = World()
    world.until(StageName.TRAIN)
    assert world.status.storage is None
    full = {"error": {"reason": "StorageFull", "message": "it is full"}, "storage": {"usedBytes": 95, "freeBytes": 5}}
    world.fail(75, result=json.dumps(full))
    world.step()
    storage = world.status.storage
    assert storage is not None
    assert (storage.used_bytes, storage.free_bytes) == (95, 5)
    world.to_ready()
    assert world.status.storage == storage, "programs of an earlier release do not report it"


@pytest.mark.parametrize("value", ["7", "7 days", "1w", "-1d", "d"])
def test_a_time_without_its_unit_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="keepFor"):
        Storage.model_validate({"keepFor": value})
