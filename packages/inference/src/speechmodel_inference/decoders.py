"""The decoder of a version: with its grammar by Kaldi and ONNX Runtime, or as free text by libdeepspeech.

Shortest use:

    with open_decoder(folder, manifest) as decoder:
        print(decoder.transcribe(pcm, name="clip.wav").text)
"""

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE, WINDOW
from speechmodel_api.stages import PublishedGrammar, VersionManifest
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, SCORER
from speechmodel_decoding import (
    AcousticModel,
    Candidate,
    ForeignSpeechFilter,
    Grammar,
    LogProbabilities,
    Recogniser,
    TextScorer,
)
from speechmodel_runtime import Model, Pcm, Scorer, read_graph, seconds
from speechmodel_runtime.model import require_window

from speechmodel_inference.errors import ClientLeft

PIECE = 16_000
"""Samples fed to libdeepspeech at once. Between two pieces a client that left is noticed."""


@dataclass(frozen=True)
class Transcript:
    """The words of a recording and its length."""

    text: str
    """With a grammar, a phrase of it, or empty for anything else. Empty for speech that is rejected."""
    audio_seconds: float
    candidates: tuple[Candidate, ...] = ()
    """Phrases of the grammar that fit, the best first, also when it was rejected. Empty in free
    text."""

    @property
    def accepted(self) -> Candidate | None:
        """The phrase that was recognised. None for anything else, and in free text."""
        return self.candidates[0] if self.candidates and self.text else None


class VersionDecoder(AbstractContextManager["VersionDecoder"], Protocol):
    """Decodes recordings. Safe for any number of threads."""

    sample_rate: int
    """Hz of the recordings that it takes."""

    def transcribe(
        self, pcm: Pcm, *, name: str, alternatives: int = 1, abandoned: threading.Event | None = None
    ) -> Transcript:
        """Return the words of a recording, and up to `alternatives` candidates with a grammar.

        Errors call the recording `name`. Raises AudioTooShort, DecodingFailed or AcousticModelError,
        and ClientLeft soon after `abandoned` is set.
        """

    def close(self) -> None:
        """Release the model's memory. Nothing may use the decoder any more."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def open_decoder(folder: Path, manifest: VersionManifest) -> VersionDecoder:
    """Return the decoder of the version in `folder`.

    Raises SpeechRuntimeError or DecodingError when its files cannot be used.
    """
    if manifest.grammar is None:
        model = Model(folder / MODEL, beam_width=manifest.decoding.beam_width, scorer=_scorer(folder, manifest))
        return FreeText(model, _foreign(folder, manifest))
    return WithGrammar(_recogniser(folder, manifest.grammar))


def _scorer(folder: Path, manifest: VersionManifest) -> Scorer | None:
    if manifest.scorer is None:
        return None
    hot_words = manifest.decoding.scorer.hot_words if manifest.decoding.scorer else {}
    return Scorer(folder / SCORER, manifest.scorer.alpha, manifest.scorer.beta, hot_words)


def _foreign(folder: Path, manifest: VersionManifest) -> ForeignSpeechFilter | None:
    if manifest.rejection is None:
        return None
    scorer = TextScorer(AcousticModel(folder / ACOUSTIC), _alphabet(folder))
    return ForeignSpeechFilter(scorer, manifest.rejection.threshold)


def _recogniser(folder: Path, published: PublishedGrammar) -> Recogniser:
    grammar = Grammar.from_bytes((folder / GRAMMAR).read_bytes(), _alphabet(folder))
    return Recogniser(AcousticModel(folder / ACOUSTIC), grammar, published.calibration)


def _alphabet(folder: Path) -> list[str]:
    return [label.decode() for label in read_graph(folder / MODEL).labels]


@dataclass
class FreeText(VersionDecoder):
    """Any sequence of characters, by libdeepspeech."""

    model: Model
    foreign: ForeignSpeechFilter | None = None
    """Rejects foreign speech. None transcribes it."""
    sample_rate: int = field(init=False)

    def __post_init__(self) -> None:
        self.sample_rate = self.model.info.sample_rate

    def __enter__(self) -> Self:
        return self

    def transcribe(
        self, pcm: Pcm, *, name: str, alternatives: int = 1, abandoned: threading.Event | None = None
    ) -> Transcript:
        """Return the words of a recording, none for foreign speech that is rejected."""
        del alternatives
        self.model.require_window(len(pcm), name)
        with self.model.stream() as stream:
            for start in range(0, len(pcm), PIECE):
                _require_client(abandoned)
                stream.feed(pcm[start : start + PIECE])
            found = stream.finish(name=name)
        rejected = False
        if self.foreign is not None and found.text:
            frames = _frames(self.foreign.scorer.model, pcm, abandoned)
            rejected = self.foreign.rejects(frames, found.text, found.times)
        return Transcript("" if rejected else found.text, seconds(len(pcm), sample_rate=self.sample_rate))

    def close(self) -> None:
        """Release the model's memory."""
        self.model.close()


@dataclass
class WithGrammar(VersionDecoder):
    """A phrase of the grammar, or nothing."""

    recogniser: Recogniser
    sample_rate: int = SAMPLE_RATE

    def __enter__(self) -> Self:
        return self

    def transcribe(
        self, pcm: Pcm, *, name: str, alternatives: int = 1, abandoned: threading.Event | None = None
    ) -> Transcript:
        """Return the phrase of a recording."""
        require_window(len(pcm), name, window=WINDOW, sample_rate=SAMPLE_RATE)
        decision = self.recogniser.decide(_frames(self.recogniser.model, pcm, abandoned), alternatives=alternatives)
        return Transcript(decision.text, seconds(len(pcm)), decision.candidates)

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""


def _frames(model: AcousticModel, pcm: Pcm, abandoned: threading.Event | None) -> LogProbabilities:
    """Return the log probabilities of a recording. Between two blocks a client that left is noticed."""
    blocks = []
    for block in model.blocks(pcm):
        _require_client(abandoned)
        blocks.append(block)
    return np.concatenate(blocks)


def _require_client(abandoned: threading.Event | None) -> None:
    if abandoned is not None and abandoned.is_set():
        raise ClientLeft
