"""The audio that thresholds, confidences and weights are set on."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.decoding_spec import Scorer as ScorerSpec
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.decoders import Decoding
from speechmodel_decoding import AcousticModel, LogProbabilities, TextScorer
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_pipeline.evaluate import calibrating, grammar, scorer, text_scores
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_runtime import AudioInfo, Model, Pcm, Scorer, Token, Transcript, level, loudness
from speechmodel_stagekit.dataset import PreparedDataset
from speechmodel_stagekit.errors import BadConfiguration

ALPHABET = [" ", "a", "n", "o"]
LEVEL = -25.0
LENGTHS = range(8_000, 20_000, 1_000)
"""Samples of the dev clips, from short to long as in a prepared dataset."""


def spoken(samples: int) -> Pcm:
    """A vowel between two pauses."""
    voice = np.sin(np.arange(samples) / 7) * (np.abs(np.arange(samples) - samples / 2) < samples / 4)
    return level((8000 * voice).astype(np.int16), LEVEL)


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    rows = []
    (tmp_path / "clips").mkdir()
    for samples in LENGTHS:
        clip = write_clip(spoken(samples), tmp_path, AudioInfo(16_000, 1, samples, "wav"))
        rows.append([clip.name, clip.size_bytes, "No"])
    with (tmp_path / "dev.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["wav_filename", "wav_filesize", "transcript"], *rows])
    return PreparedDataset(tmp_path, "0" * 64, LEVEL, None)


class Silent:
    """A network that knows nothing."""

    def log_probabilities(self, _: Pcm) -> LogProbabilities:
        return np.log(np.full((40, len(ALPHABET) + 1), 1 / (len(ALPHABET) + 1), np.float32))


class Heard(list[Pcm]):
    """Stands for the models, and keeps what they are given."""

    def transcribe(self, pcm: Pcm, name: str) -> Transcript:
        del name
        self.append(pcm)
        tokens = tuple(Token(label, place, place / 50) for place, label in enumerate("no"))
        return Transcript("no", 0.0, tokens, "no")

    def log_probabilities(self, pcm: Pcm) -> LogProbabilities:
        self.append(pcm)
        return Silent().log_probabilities(pcm)

    def weigh_scorer(self, alpha: float, beta: float) -> None: ...


def set_threshold(dataset: PreparedDataset, heard: Heard) -> None:
    judged = TextScorer(cast(AcousticModel, Silent()), ALPHABET)
    text_scores.calibrated(cast(Model, heard), judged, dataset)


def set_confidences(dataset: PreparedDataset, heard: Heard) -> None:
    calibrate(dataset, heard)


def calibrate(dataset: PreparedDataset, heard: Heard) -> grammar.CalibratedOn:
    return grammar.calibrated(cast(AcousticModel, heard), compile_grammar(["no"], ALPHABET), dataset)[1]


def tune_weights(dataset: PreparedDataset, heard: Heard) -> None:
    wanted = ScorerSpec(path="es.scorer")
    taken = scorer.TakenScorer(wanted, Scorer(dataset.folder / "es.scorer", 1.0, 1.0), None, 0)
    scorer.tune(cast(Model, heard), taken, dataset)


@pytest.mark.parametrize("use", [set_threshold, set_confidences, tune_weights])
def test_a_sample_of_the_dev_clips_has_short_and_long_ones(
    use: Any, dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "CALIBRATION_CLIPS", 4)
    monkeypatch.setattr(scorer, "TUNING_SECONDS", sum(LENGTHS) / 16_000 / 3 + 0.001)
    heard = Heard()
    use(dataset, heard)
    assert sorted({len(pcm) for pcm in heard}) == [9_000, 12_000, 15_000, 18_000]


@pytest.mark.parametrize("use", [set_threshold, set_confidences])
def test_rough_copies_are_heard_at_the_level_of_a_served_recording(use: Any, dataset: PreparedDataset) -> None:
    heard = Heard()
    use(dataset, heard)
    assert len(heard) == 4 * len(LENGTHS)
    assert [loudness(pcm) for pcm in heard] == pytest.approx([LEVEL] * len(heard), abs=0.2)


def test_a_phrase_in_small_letters_is_right_for_a_clip_with_a_capital(dataset: PreparedDataset) -> None:
    assert calibrate(dataset, Heard()).right == 4 * len(LENGTHS)


@pytest.mark.parametrize("numbers", [None, Numbers.REJECT, Numbers.SPELL])
def test_numbers_of_phrases_are_spelled_if_those_of_the_dataset_are(
    dataset: PreparedDataset, numbers: Numbers | None
) -> None:
    decoding = Decoding(grammar=GrammarSource.PHRASES, phrases=("canal 5",))
    prepared = replace(dataset, numbers=numbers, annotations=Annotations.REJECT)
    if numbers is Numbers.SPELL:
        assert list(grammar.compile_for(decoding, prepared, list(" acilno"), "es").phrases()) == ["canal cinco"]
        return
    with pytest.raises(BadConfiguration, match="'5'"):
        grammar.compile_for(decoding, prepared, list(" acilno"), "es")


def test_a_sentence_of_two_intents_is_an_invalid_grammar(dataset: PreparedDataset) -> None:
    decoding = Decoding(grammar=GrammarSource.PHRASES, intents={"On": ("[la] luz",), "Off": ("luz",)})
    with pytest.raises(BadConfiguration, match=r"^decoding: the sentence 'luz' is in the intents 'Off' and 'On'") as no:
        grammar.compile_for(decoding, dataset, list(" aluz"), "es")
    assert no.value.reason is Reason.INVALID_GRAMMAR
