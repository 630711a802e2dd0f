import pytest
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_training.dataset import read_training_set
from speechmodel_training.errors import NoTrainingClips, TranscriptsTooLong, UnknownCharacters

from .conftest import ALPHABET, DATASET_DIGEST, Row, Workspace


def test_the_parts_that_training_uses_are_read(workspace: Workspace, rows: list[Row]) -> None:
    training_set = read_training_set(workspace.data, DATASET_DIGEST)
    assert training_set.alphabet == ALPHABET
    assert [clip.transcript for clip in training_set.train] == [transcript for _, transcript in rows[:14]]
    assert [clip.transcript for clip in training_set.dev] == [transcript for _, transcript in rows[14:]]
    assert training_set.train[0].path == workspace.data / rows[0][0]
    assert training_set.train[0].frames == 58


def test_all_unknown_characters_are_named_at_once(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare([(rows[0][0], "espejó"), (rows[1][0], "ñu óx"), rows[2]])
    with pytest.raises(UnknownCharacters, match=r"3 characters are not in alphabet\.txt") as caught:
        read_training_set(workspace.data, DATASET_DIGEST)
    name = rows[0][0].removeprefix("clips/")
    assert f"'ó' in 2 clips (first: {name})" in str(caught.value)
    assert "'x' in 1 clips" in str(caught.value)
    assert "'ñ'" in str(caught.value)


def test_clips_too_short_for_their_transcripts_are_named_with_their_numbers(
    workspace: Workspace, rows: list[Row]
) -> None:
    workspace.prepare([(rows[0][0], "llama a mi hija " * 4), *rows[1:4]])
    name = rows[0][0].removeprefix("clips/")
    with pytest.raises(TranscriptsTooLong, match=f"1 clips are too short .* {name} has 58 frames, needs 68"):
        read_training_set(workspace.data, DATASET_DIGEST)


def test_a_dev_clip_is_checked_as_well(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare(rows[:4], [(rows[5][0], "x")])
    with pytest.raises(UnknownCharacters):
        read_training_set(workspace.data, DATASET_DIGEST)


def test_a_dataset_without_training_clips_is_refused(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare([], rows)
    with pytest.raises(NoTrainingClips, match="has no clips"):
        read_training_set(workspace.data, DATASET_DIGEST)


def test_another_dataset_than_asked_for_is_prepared_again(workspace: Workspace) -> None:
    with pytest.raises(ArtefactMissing, match="holds the dataset 000"):
        read_training_set(workspace.data, "1" * 64)


@pytest.mark.parametrize(
    "name", ["manifest.json", "train.csv", "alphabet.txt", "clips/shapes_6364d3f0_2_3_000000_3_002.wav"]
)
def test_a_missing_file_sends_prepare_back_to_work(workspace: Workspace, name: str) -> None:
    (workspace.data / name).unlink()
    with pytest.raises(ArtefactMissing, match=f"{name} is missing"):
        read_training_set(workspace.data, DATASET_DIGEST)


@pytest.mark.parametrize(("name", "content"), [("manifest.json", "{"), ("train.csv", "a,b\n1,2\n")])
def test_a_damaged_file_sends_prepare_back_to_work(workspace: Workspace, name: str, content: str) -> None:
    (workspace.data / name).write_text(content)
    with pytest.raises(ArtefactMissing, match="prepared again"):
        read_training_set(workspace.data, DATASET_DIGEST)
