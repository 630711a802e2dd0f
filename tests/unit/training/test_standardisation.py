"""The first layer of a fresh network sees features of mean 0 and deviation 1."""

from pathlib import Path

import numpy as np
from speechmodel_runtime import save
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_training.features import clip_features, read_samples
from speechmodel_training.learner import Learner
from speechmodel_training.network import Geometry
from speechmodel_training.standardisation import CLIPS, Standardisation


def clips(folder: Path, count: int) -> list[Clip]:
    chance = np.random.default_rng(1)
    made = []
    for number in range(count):
        path = folder / f"{number}.wav"
        save(path, (chance.normal(0, 100 + number, 1600)).astype(np.int16))
        made.append(Clip(path, "a", Part.TRAIN))
    return made


def test_weights_give_for_features_what_they_would_give_for_standardised_ones() -> None:
    chance = np.random.default_rng(1)
    mean, deviation = chance.normal(size=26).astype(np.float32), chance.uniform(0.1, 9, 26).astype(np.float32)
    weights, bias = chance.normal(size=(494, 8)).astype(np.float32), chance.normal(size=8).astype(np.float32)
    features = chance.normal(size=(19, 26)).astype(np.float32) * deviation + mean
    scaled, shifted = Standardisation(mean, deviation).folded(weights, bias)
    expected = ((features - mean) / deviation).ravel() @ weights + bias
    np.testing.assert_allclose(features.ravel() @ scaled + shifted, expected, rtol=1e-3, atol=1e-3)


def test_mean_and_deviation_are_those_of_the_clips(tmp_path: Path) -> None:
    made = clips(tmp_path, 5)
    found = Standardisation.of(made)
    features = np.concatenate([clip_features(read_samples(clip.path)) for clip in made])
    np.testing.assert_allclose((features - found.mean).mean(axis=0), np.zeros(26), atol=1e-3)
    np.testing.assert_allclose((features / found.deviation).std(axis=0), np.ones(26), rtol=1e-3)


def test_a_large_dataset_is_measured_on_some_of_its_clips(tmp_path: Path) -> None:
    made = clips(tmp_path, 3)
    many = [made[0], made[1]] * CLIPS + [Clip(tmp_path / "absent.wav", "a", Part.TRAIN)]
    assert Standardisation.of(many).mean.shape == (26,)


def test_digital_silence_gives_no_infinite_weight(tmp_path: Path) -> None:
    save(tmp_path / "silent.wav", np.zeros(1600, np.int16))
    found = Standardisation.of([Clip(tmp_path / "silent.wav", "a", Part.TRAIN)])
    assert np.isfinite(found.folded(np.ones((494, 2), np.float32), np.zeros(2, np.float32))[0]).all()


def test_fresh_weights_and_their_averages_are_both_changed() -> None:
    learner = Learner(Geometry(16, 5), seed=1, learning_rate=0.1, dropout=0)
    before = learner.tensors()
    learner.standardise_inputs(Standardisation(np.ones(26, np.float32), np.full(26, 2, np.float32)))
    after = learner.tensors()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {
        f"layer_1/{kind}{average}" for kind in ("weights", "bias") for average in ("", "/ExponentialMovingAverage")
    }
    halved = np.asarray(before["layer_1/weights"], np.float32) / 2
    np.testing.assert_allclose(np.asarray(after["layer_1/weights"], np.float32), halved)
