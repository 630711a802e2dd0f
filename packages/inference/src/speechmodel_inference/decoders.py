"""The decoder of a version: with its grammar by Kaldi and ONNX Runtime, or as free text by libdeepspeech.

Shortest use:

    with open_decoder(folder, manifest) as decoder:
        print(decoder.decode(pcm, name="clip.wav").text)

`transcribing` cuts recordings at their pauses and decodes the parts.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW
from speechmodel_api.published import PublishedGrammar, VersionManifest
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
from speechmodel_runtime import Model, Pcm, Scorer, Transcript, read_graph
from speechmodel_runtime.model import require_window

from speechmodel_inference.errors import ClientLeft

FRAME_SECONDS = STRIDE / SAMPLE_RATE
SPACE = " "
MOST_HOT_WORDS = 100
"""Hot words of a request that count. The runtime is told of each before and after an utterance."""
PIECE = 16_000
"""Samples fed to libdeepspeech at once. Between two pieces a client that left is noticed."""


@dataclass(frozen=True)
class SpokenWord:
    """A word and its time from the beginning of what was decoded."""

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float | None = None
    """Probability from 0 to 1 that the word was said. None in free text."""


@dataclass(frozen=True)
class DecodedUtterance:
    """The words of one utterance."""

    text: str
    """With a grammar, a phrase of it, or empty for anything else. Empty for speech that is rejected."""
    words: tuple[SpokenWord, ...] = ()
    """The words of `text`."""
    candidates: tuple[Candidate, ...] = ()
    """Phrases of the grammar that fit, the best first, also when it was rejected. Empty in free
    text."""

    @property
    def accepted(self) -> Candidate | None:
        """The phrase that was recognised. None for anything else, and in free text."""
        return self.candidates[0] if self.candidates and self.text else None


@dataclass(frozen=True)
class DecodingOptions:
    """The wishes of a request."""

    alternatives: int = 1
    """Most candidates with a grammar."""
    hot_words: tuple[str, ...] = ()
    """Words that are likelier than the language model says. They have an effect in free text with a scorer."""
    abandoned: threading.Event | None = None
    """Set when the client left."""


_NO_WISHES = DecodingOptions()


class VersionDecoder(AbstractContextManager["VersionDecoder"], Protocol):
    """Decodes utterances. Safe for any number of threads."""

    sample_rate: int
    """Hz of the recordings that it takes."""
    has_grammar: bool
    """True when anything that is not a phrase of a grammar gives an empty text."""

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the words of an utterance.

        Errors call the recording `name`. Raises AudioTooShort, DecodingFailed or AcousticModelError,
        and ClientLeft soon after `options.abandoned` is set.
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
    has_grammar: bool = False

    def __post_init__(self) -> None:
        self.sample_rate = self.model.info.sample_rate

    def __enter__(self) -> Self:
        return self

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the words of an utterance, none for foreign speech that is rejected."""
        self.model.require_window(len(pcm), name)
        with self.model.stream(hot_words=options.hot_words) as stream:
            for start in range(0, len(pcm), PIECE):
                require_client(options.abandoned)
                stream.feed(pcm[start : start + PIECE])
            found = stream.finish(name=name)
        if self.foreign is not None and found.text:
            frames = _frames(self.foreign.scorer.model, pcm, options.abandoned)
            if self.foreign.rejects(frames, found.text, found.times):
                return DecodedUtterance("")
        return DecodedUtterance(found.text, tuple(_words(found)))

    def close(self) -> None:
        """Release the model's memory."""
        self.model.close()


@dataclass
class WithGrammar(VersionDecoder):
    """A phrase of the grammar, or nothing."""

    recogniser: Recogniser
    sample_rate: int = SAMPLE_RATE
    has_grammar: bool = True

    def __enter__(self) -> Self:
        return self

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the phrase of an utterance."""
        require_window(len(pcm), name, window=WINDOW, sample_rate=SAMPLE_RATE)
        frames = _frames(self.recogniser.model, pcm, options.abandoned)
        decision = self.recogniser.decide(frames, alternatives=options.alternatives)
        accepted = decision.accepted
        words = accepted.words if accepted else ()
        return DecodedUtterance(
            decision.text,
            tuple(SpokenWord(word.text, word.start_seconds, word.end_seconds, word.confidence) for word in words),
            decision.candidates,
        )

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""


def _words(transcript: Transcript) -> Iterator[SpokenWord]:
    """Yield the words of free text. A word ends 20 ms after its last label was emitted."""
    for space, tokens in groupby(transcript.tokens, key=lambda token: token.text == SPACE):
        if not space:
            labels = list(tokens)
            end = round(labels[-1].start_seconds + FRAME_SECONDS, 2)
            yield SpokenWord("".join(label.text for label in labels), round(labels[0].start_seconds, 2), end)


def _frames(model: AcousticModel, pcm: Pcm, abandoned: threading.Event | None) -> LogProbabilities:
    """Return the log probabilities of a recording. Between two blocks a client that left is noticed."""
    blocks = []
    for block in model.blocks(pcm):
        require_client(abandoned)
        blocks.append(block)
    return np.concatenate(blocks)


def hot_words(text: str) -> tuple[str, ...]:
    """Return the words of `text` as scorers have them, each once and at most MOST_HOT_WORDS."""
    return tuple(dict.fromkeys(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())))[:MOST_HOT_WORDS]


def require_client(abandoned: threading.Event | None) -> None:
    """Raise ClientLeft when `abandoned` is set."""
    if abandoned is not None and abandoned.is_set():
        raise ClientLeft
