"""Decoding with the grammar, as the server does it: compile it, calibrate it on the dev clips, and
decode the clips that are measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.decoders import Calibration, Decoding
from speechmodel_api.words import folded
from speechmodel_decoding import (
    SHORT_SECONDS,
    AcousticModel,
    Decision,
    Decoder,
    Examples,
    Grammar,
    LogProbabilities,
    Phrase,
    Recogniser,
    calibrate,
    cut_at_pauses,
    decode_short,
    only_intent,
    speech_seconds,
    timed_score,
    word_score,
)
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.errors import AcousticModelError, GrammarError
from speechmodel_decoding.text.phrases import compile_phrases
from speechmodel_runtime import Pcm, level
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset
from speechmodel_stagekit.errors import BadConfiguration, BadData

from speechmodel_pipeline.evaluate.calibrating import chosen_clips, impostors, of_each
from speechmodel_pipeline.evaluate.figures import same_text


@dataclass(frozen=True)
class CalibratedOn:
    """The clips that threshold and confidences were set on."""

    part: Part
    clips: int
    copies: int
    right: int
    """Clips and copies whose phrase was recognised, before rejection."""


def compile_for(decoding: Decoding, dataset: PreparedDataset, alphabet: Sequence[str], language: str) -> Grammar:
    """Return the grammar of a model with this alphabet, whose phrases are normalised as transcripts are.

    Raises BadConfiguration (InvalidGrammar) when a phrase, an intent or a list cannot be used.
    """
    try:
        if decoding.grammar is GrammarSource.DATASET:
            return _of_transcripts(dataset, alphabet)
        # a dataset of before they were recorded is read as it was then
        annotations, numbers = dataset.annotations or Annotations.REJECT, dataset.numbers or Numbers.REJECT
        return compile_phrases(decoding, alphabet, language, annotations, numbers)
    except GrammarError as error:
        raise BadConfiguration(Reason.INVALID_GRAMMAR, f"decoding: {error}") from error


def calibrated(model: AcousticModel, grammar: Grammar, dataset: PreparedDataset) -> tuple[Calibration, CalibratedOn]:
    """Return the threshold and the confidences for the dev clips of the dataset, or its training clips
    if it has no dev clips. If none has a phrase of the grammar, their own transcripts are the phrases.

    The best of other phrases of the dataset is one more wrong answer for each clip, see impostors().
    """
    if not any(_known(clip, grammar) for part in (Part.DEV, Part.TRAIN) for clip in dataset.clips(part)):
        grammar = _of_transcripts(dataset, grammar.about.alphabet)
    part, clips = chosen_clips(dataset, lambda clip: _known(clip, grammar))
    texts = sorted({clip.transcript for clip in clips})
    decoder = Decoder(grammar)

    def examples(clip: Clip, heard: list[Pcm]) -> _Examples:
        spoken = [(model.log_probabilities(pcm), speech_seconds(pcm)) for pcm in heard]
        found = [_Timed(phrase, seconds) for frames, seconds in spoken for phrase in decoder.decode(frames)]
        frames, seconds = spoken[0]
        return _Examples(
            right=[each for each in found if same_text(each.phrase.text, clip.transcript)],
            wrong=[each for each in found if not same_text(each.phrase.text, clip.transcript)]
            + [_Timed(phrase, seconds) for phrase in _impostor(frames, clip, texts, decoder)],
            copies=len(heard) - 1,
        )

    found = of_each(clips, part, dataset, examples)
    right = sum(len(each.right) for each in found)
    calibration = calibrate(
        Examples(
            right=[timed.score for each in found for timed in each.right],
            wrong=[timed.score for each in found for timed in each.wrong],
        ),
        Examples(
            right=[score for each in found for timed in each.right for score in _word_scores(timed.phrase)],
            wrong=[
                score
                for each, clip in zip(found, clips, strict=True)
                for timed in each.wrong
                for score in _word_scores(timed.phrase, without=folded(clip.transcript).split())
            ],
        ),
    )
    return calibration, CalibratedOn(part, len(clips), sum(each.copies for each in found), right)


def decide(recogniser: Recogniser, pcm: Pcm, dbfs: float | None) -> Decision:
    """Return the answer of a server to a recording at the level `dbfs`, which may be several phrases with
    pauses between them, or nothing when nobody speaks.

    Its score and its confidence are the lowest of the phrases. Raises BadData (ModelUnusable) when the
    model does not run.
    """
    try:
        if len(pcm) <= SHORT_SECONDS * SAMPLE_RATE:
            decisions = decode_short(
                pcm, lambda utterance: recogniser.recognise(utterance.pcm), lambda decision: bool(decision.text)
            )
        else:
            decisions = [recogniser.recognise(level(utterance.pcm, dbfs)) for utterance in cut_at_pauses(pcm)]
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
    return decisions[0] if len(decisions) == 1 else _joined(decisions)


def load_acoustic_model(path: Path) -> AcousticModel:
    """Return the acoustic model, for every CPU. Raises BadData (ModelUnusable) when it cannot be loaded."""
    try:
        return AcousticModel(path, runs=available_cpus())
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error


def _joined(decisions: Sequence[Decision]) -> Decision:
    """Return the accepted phrases of several utterances as one, or the best candidate when none is accepted."""
    accepted = [decision.candidates[0] for decision in decisions if decision.text]
    if not accepted:
        best = sorted((each for decision in decisions for each in decision.candidates), key=lambda each: -each.score)
        return Decision("", tuple(best[:1]))
    text = " ".join(candidate.text for candidate in accepted)
    lowest = min(accepted, key=lambda candidate: candidate.score)
    return Decision(text, (replace(lowest, text=text, words=(), slots={}, intent=only_intent(accepted)),))


def _of_transcripts(dataset: PreparedDataset, alphabet: Sequence[str]) -> Grammar:
    every = {clip.transcript for part in Part for clip in dataset.clips(part)}
    return compile_grammar(sorted(text for text in every if CATCH_ALL not in text), alphabet)


def _known(clip: Clip, grammar: Grammar) -> bool:
    return grammar.accepts(clip.transcript)


@dataclass(frozen=True)
class _Timed:
    """A phrase and the seconds of speech in its recording."""

    phrase: Phrase
    seconds: float

    @property
    def score(self) -> float:
        return timed_score(self.phrase, self.seconds)


@dataclass(frozen=True)
class _Examples:
    """Phrases that were recognised in a clip and its copies."""

    right: list[_Timed]
    wrong: list[_Timed]
    copies: int


def _impostor(frames: LogProbabilities, clip: Clip, texts: Sequence[str], decoder: Decoder) -> list[Phrase]:
    """Return the best of some other phrases that fit into the clip; none when there is none."""
    phrases = [decoder.score(frames, text) for text in impostors(clip, texts, len(frames))]
    return [max(phrases, key=lambda phrase: phrase.score)] if phrases else []


def _word_scores(phrase: Phrase, without: Sequence[str] = ()) -> list[float]:
    return [word_score(spans) for word, spans in phrase.words() if folded(word) not in without]
