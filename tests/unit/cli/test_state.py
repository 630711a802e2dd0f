"""The state of a model that is kept between calls."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from speechmodel_api.measures import ErrorRate
from speechmodel_api.schema import S3Location
from speechmodel_api.serving_spec import Engine
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import ModelStatus, Phase, SpeechModelStatus
from speechmodel_cli.local.errors import StateDamaged
from speechmodel_cli.local.state import ModelState, known_models
from speechmodel_cli.status import row

SPEC = SpeechModelSpec.model_validate(
    {
        "language": "es",
        "dataset": {"source": {"persistentVolumeClaim": {"claimName": "data"}}},
        "publish": {"s3": {"bucket": "models"}},
    }
)


@pytest.fixture
def state(tmp_path: Path) -> ModelState:
    state = ModelState(tmp_path / "espejo")
    with state.owned():
        pass
    return state


def test_the_uid_is_made_once(state: ModelState) -> None:
    uid = state.record(SPEC).uid
    assert state.record(SPEC).uid == uid
    assert state.record(SPEC.model_copy(update={"language": "en"})).uid == uid
    assert ModelState(state.folder.parent / "other").known_record() is None


def test_the_generation_grows_with_edits_and_only_then(state: ModelState) -> None:
    edited = SPEC.model_copy(update={"suspend": True})
    assert [state.record(spec).generation for spec in (SPEC, SPEC, edited, edited, SPEC)] == [1, 1, 2, 2, 3]


def test_a_record_of_an_earlier_release_gets_the_engine_without_an_edit(state: ModelState) -> None:
    served = {"serving": {"settings": {"engine": "Native"}}}
    spec = SpeechModelSpec.model_validate(SPEC.model_dump(by_alias=True, exclude_none=True) | served)
    state.record(spec)
    file = state.folder / "model.json"
    old = {name: value for name, value in json.loads(file.read_bytes()).items() if name != "engine"}
    file.write_text(json.dumps(old))
    record = ModelState(state.folder).record(spec)
    assert (record.generation, record.engine, state.engine) == (1, Engine.NATIVE, Engine.NATIVE)


def test_a_removed_workspace_comes_back_with_another_uid(state: ModelState) -> None:
    assert state.claim_uid() is None
    state.make_claim()
    first = state.claim_uid()
    assert first == state.claim_uid() is not None
    for path in state.workspace.iterdir():
        path.unlink()
    state.workspace.rmdir()
    assert state.claim_uid() is None
    state.make_claim()
    assert state.claim_uid() not in (None, first)


def test_the_status_is_read_back_as_it_was_written(state: ModelState) -> None:
    assert state.read_status() == SpeechModelStatus()
    status = SpeechModelStatus(phase=Phase.TRAINING, progress="3/75")
    state.write_status(status)
    assert ModelState(state.folder).read_status() == status


@pytest.mark.parametrize(("guessed", "cell"), [(None, "0.25"), (True, "0.25 (guessed)")])
def test_the_table_says_that_the_speakers_behind_a_figure_are_guessed(
    state: ModelState, guessed: bool | None, cell: str
) -> None:
    rate = ErrorRate(rate=0.25, low=0.1, high=0.4, clips=40, speakers_guessed=guessed)
    model = ModelStatus(
        version="0123abcd",
        wer=0.2,
        wer_unseen_speakers=rate,
        uri="s3://models/m",
        sha256="0" * 64,
        size_bytes=1,
        version_uri="s3://models/v",
        version_sha256="1" * 64,
        region="us-east-1",
        published_at="2026-01-01T00:00:00Z",
    )
    state.write_status(SpeechModelStatus(model=model))
    assert row(state, datetime.now(UTC))[3:6] == ["0.2", cell, "0123abcd"]


def test_a_damaged_status_names_the_file_and_the_way_out(state: ModelState) -> None:
    state.status_file.write_text('{"phase": "Nonsense"')
    with pytest.raises(StateDamaged, match=r"status\.json cannot be read: .*move this file away"):
        state.read_status()


def test_each_version_remembers_its_bucket(state: ModelState) -> None:
    here, there = S3Location(bucket="here"), S3Location(bucket="there", endpoint="http://s3:9000")
    state.note_target("aaaaaaaa", here)
    state.note_target("bbbbbbbb", there)
    state.note_target("aaaaaaaa", there)
    assert state.targets() == {"aaaaaaaa": there, "bbbbbbbb": there}


def test_models_are_found_by_what_ran_and_not_by_folders(state: ModelState) -> None:
    state.record(SPEC)
    (state.folder.parent / "empty").mkdir()
    (state.folder.parent / ".s3").mkdir()
    assert [model.name for model in known_models(state.folder.parent)] == ["espejo"]
