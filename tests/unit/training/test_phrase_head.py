"""The head of the phrase network, from clips to the frames that decoding gets."""

import json
from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.augmentation import parse
from speechmodel_decoding import AcousticModel, Decoder
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_embedding import frame_count
from speechmodel_pipeline.convert.phrases import export_phrase_network
from speechmodel_runtime import load
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_stagekit.errors import Stopped
from speechmodel_stagekit.program import stop_requested
from speechmodel_training.augmentation import Augmenter
from speechmodel_training.dataset import TrainingSet
from speechmodel_training.embeddings import EmbeddedClip, embedded_clips, embeddings
from speechmodel_training.phrase_head import _batch_size, train_head
from support.tones import rising_tone

from .conftest import ALPHABET, DATASET_DIGEST, UNCHANGED, Row

ORIGINAL = json.loads((Path(__file__).parents[1] / "embedding" / "original.json").read_text())


@pytest.fixture
def sweep() -> np.ndarray:
    """The recording of original.json."""
    return rising_tone()


@pytest.fixture
def training_set(fixtures: Path, rows: list[Row]) -> TrainingSet:
    clips = tuple(Clip(fixtures / name, transcript, Part.TRAIN) for name, transcript in rows)
    return TrainingSet(DATASET_DIGEST, ALPHABET, clips, ())


def test_the_embeddings_are_those_of_the_original(sweep: np.ndarray) -> None:
    found = embeddings(sweep)
    assert found.shape == (frame_count(len(sweep)), 96)
    for frame, expected in ORIGINAL["embeddings"].items():
        assert found[int(frame), : len(expected)] == pytest.approx(expected, abs=5e-3)


@pytest.mark.training
def test_decoding_hears_the_phrases_that_a_head_was_trained_on(training_set: TrainingSet, tmp_path: Path) -> None:
    train_head(training_set, UNCHANGED, seed=1, steps=400).save(tmp_path / "head.npz")
    export_phrase_network(tmp_path / "head.npz", tmp_path / "phrases.onnx")
    model = AcousticModel(tmp_path / "phrases.onnx")
    texts = [clip.transcript for clip in training_set.train]
    decoder = Decoder(compile_grammar(sorted(set(texts)), ALPHABET))
    heard = [decoder.decode(model.log_probabilities(load(clip.path))) for clip in training_set.train]
    assert [phrases[0].text if phrases else "" for phrases in heard] == texts


def test_equal_trainings_give_equal_heads(training_set: TrainingSet, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        train_head(training_set, UNCHANGED, seed=seed, steps=3).save(tmp_path / name)
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_a_stop_ends_the_training(training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_requested, "is_set", lambda: True)
    with pytest.raises(Stopped, match="is trained anew"):
        train_head(training_set, UNCHANGED, seed=1, steps=3)


def test_clips_are_embedded_in_every_version_and_a_part_of_the_negatives(training_set: TrainingSet) -> None:
    negatives = tuple(Clip(clip.path, CATCH_ALL, Part.TRAIN) for clip in training_set.train for _ in range(8))
    mixed = TrainingSet(DATASET_DIGEST, (*ALPHABET, CATCH_ALL), (*training_set.train, *negatives), ())
    found = embedded_clips(mixed, UNCHANGED, seed=1, versions=2)
    catch_all = sum(clip.labels == (len(ALPHABET),) for clip in found)
    assert len(found) - catch_all == 2 * len(training_set.train)
    assert 0 < catch_all < len(negatives)


@pytest.mark.parametrize(("frames", "labels", "size"), [(100, 30, 4), (1500, 3000, 2), (1500, 20_000, 1)])
def test_a_step_has_fewer_clips_where_its_outputs_are_many(frames: int, labels: int, size: int) -> None:
    clips = [EmbeddedClip(np.zeros((frames, 96), np.float16), (0,)) for _ in range(4)]
    assert _batch_size(clips, labels + 1) == size


def test_fast_speech_has_as_many_frames_as_its_transcript_needs(training_set: TrainingSet) -> None:
    clip = Clip(training_set.train[0].path, "espejo llama a mi hija " * 2, Part.TRAIN)
    faster = Augmenter((parse("speed[factor=2]"),), seed=1)
    (found,) = embedded_clips(TrainingSet(DATASET_DIGEST, ALPHABET, (clip,), ()), faster, seed=1, versions=1)
    assert clip.frames / 2 < len(found.embeddings) == clip.frames_needed
