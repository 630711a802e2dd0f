"""The served version for people: how it was made, how well it works, and what it can hear."""

from collections.abc import Iterable
from itertools import islice
from typing import Self

from pydantic import BaseModel
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource
from speechmodel_api.learning import LearningSettings
from speechmodel_api.measures import ErrorRate
from speechmodel_api.published import EpochLoss, ModelCard, VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_decoding import Grammar
from speechmodel_decoding.phrase_search import find_phrases

from speechmodel_inference.settings import Settings

MOST_PHRASES = 2_000
"""Phrases that are listed. A grammar may have more than anybody reads."""
MOST_FOUND = 200
"""Phrases that a search returns."""


class Limits(BaseModel):
    """The limits of a recording."""

    upload_bytes: int
    audio_seconds: float


class Answers(BaseModel):
    """Counts of test clips by the answer."""

    right: int
    wrong: int
    rejected: int
    """Clips of phrases that got no answer."""
    foreign: int
    """Clips of other speech."""
    accepted: int
    """Clips of other speech that got an answer."""


class Measured(BaseModel):
    """The error rates on the test clips."""

    clips: int
    wer: float | None
    cer: float | None
    unseen_speakers: ErrorRate | None
    """Word error rate of voices that are not in training. None without any."""
    seen_speakers: ErrorRate | None
    """Word error rate of voices that are in training. None without any."""
    answers: Answers | None
    """None for a model that rejects nothing."""


class Dataset(BaseModel):
    """The recordings that the model was made from."""

    digest: str
    train_clips: int
    dev_clips: int
    test_clips: int
    audio_seconds: float
    speakers: int | None
    """None when they are unknown."""
    negatives: int
    synthesized: int


class Training(BaseModel):
    """The training of the model."""

    epochs: int
    exported_epoch: int
    stopped_early: bool
    settings: LearningSettings | None
    losses: tuple[EpochLoss, ...]
    """Empty when the history was gone."""


class SpeechModelCard(BaseModel):
    """The answer of GET /v1/speechmodel. The last three fields are null for versions that were published
    before there were cards.
    """

    name: str
    version: str
    language: str
    engine: Engine
    """DeepSpeech or Native."""
    fetched: int
    """Time when the version was fetched, in Unix seconds."""
    grammar: GrammarSource
    rejects: bool
    """True if speech that fits nothing gets an empty text."""
    hot_words: dict[str, float]
    language_model: bool
    """True for free text with a scorer."""
    wer: float | None
    takes: bool
    """True if people may record takes for the dataset here."""
    misheard_days: int | None
    """Days for which clips that were rejected or doubtful are kept. None if they are not kept."""
    retrain: bool
    """True if people may start a training here."""
    report: str | None
    """Address of report.html, as s3://bucket/key. None for versions from before there was one."""
    limits: Limits
    measured: Measured | None
    dataset: Dataset | None
    training: Training | None

    @classmethod
    def of(cls, manifest: VersionManifest, settings: Settings, fetched: int, engine: Engine) -> Self:
        """Return the card of a version."""
        decoding, card = manifest.decoding, manifest.card
        return cls(
            name=settings.name,
            version=manifest.version,
            language=manifest.language,
            engine=engine,
            fetched=fetched,
            grammar=decoding.grammar if manifest.grammar else GrammarSource.FREE_TEXT,
            rejects=manifest.grammar is not None or decoding.foreign_speech is ForeignSpeech.REJECT,
            hot_words=decoding.scorer.hot_words if decoding.scorer else {},
            language_model=manifest.scorer is not None,
            wer=manifest.wer,
            takes=settings.keeps_takes,
            misheard_days=settings.misheard_days,
            retrain=settings.service_account is not None,
            report=manifest.page_uri,
            limits=Limits(upload_bytes=settings.max_upload_bytes, audio_seconds=settings.max_audio_seconds),
            measured=_measured(card) if card else None,
            dataset=_dataset(card) if card else None,
            training=_training(card) if card else None,
        )


class PhraseList(BaseModel):
    """The answer of GET /v1/speechmodel/phrases. All of it is empty in free text."""

    written: tuple[str, ...]
    """The phrases and templates of the manifest without an intent. Empty when the transcripts of the dataset are
    the phrases."""
    intents: dict[str, tuple[str, ...]]
    """The phrases and templates of the manifest by the name of their intent."""
    lists: dict[str, tuple[str, ...]]
    """The values of the lists that the templates refer to."""
    phrases: tuple[str, ...]
    """The first phrases that the templates stand for, in the order of the alphabet."""
    intent_of: dict[str, str]
    """The intents of these phrases. A phrase without one is absent."""
    complete: bool
    """True if these are all phrases."""

    @classmethod
    def of(cls, manifest: VersionManifest, grammar: Grammar | None) -> Self:
        """Return the phrases of a version. It takes up to a second for a large grammar."""
        first = tuple(islice(grammar.phrases(), MOST_PHRASES + 1)) if grammar else ()
        listed = first[:MOST_PHRASES]
        return cls(
            written=manifest.decoding.phrases,
            intents=manifest.decoding.intents,
            lists=manifest.decoding.lists,
            phrases=listed,
            intent_of=_intents(grammar, listed) if grammar else {},
            complete=len(first) <= MOST_PHRASES,
        )


class PhraseMatches(BaseModel):
    """The answer of GET /v1/speechmodel/phrases/search."""

    phrases: tuple[str, ...]
    """Phrases that have the letters, in the order of the alphabet. If these are not all, those that begin with the letters
    come first. Empty in free text."""
    intent_of: dict[str, str]
    """The intents of these phrases. A phrase without one is absent."""
    complete: bool
    """True if these are all of them. False if there are more, or if the search would take too long."""

    @classmethod
    def of(cls, grammar: Grammar | None, letters: str) -> Self:
        """Return the phrases of a grammar that have `letters`, which are at least one. It takes up to half a second."""
        if grammar is None:
            return cls(phrases=(), intent_of={}, complete=True)
        found = find_phrases(grammar, letters, MOST_FOUND)
        return cls(phrases=found.phrases, intent_of=_intents(grammar, found.phrases), complete=found.complete)


def _intents(grammar: Grammar, phrases: Iterable[str]) -> dict[str, str]:
    return {phrase: intent for phrase in phrases if (intent := grammar.intent(phrase)) is not None}


def _measured(card: ModelCard) -> Measured:
    evaluation = card.evaluation
    figures = evaluation.figures
    return Measured(
        clips=evaluation.clips,
        wer=evaluation.wer,
        cer=evaluation.cer,
        unseen_speakers=evaluation.wer_unseen_speakers,
        seen_speakers=evaluation.wer_seen_speakers,
        answers=Answers.model_validate(figures.model_dump()) if figures else None,
    )


def _dataset(card: ModelCard) -> Dataset:
    return Dataset(digest=card.dataset.dataset_digest, **card.dataset.model_dump(include=set(Dataset.model_fields)))


def _training(card: ModelCard) -> Training:
    training = card.training
    return Training(
        epochs=training.epoch,
        exported_epoch=training.exported_epoch,
        stopped_early=training.stopped_early,
        settings=training.settings,
        losses=card.epochs,
    )
