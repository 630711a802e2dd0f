"""The decoder of a version: with its grammar by Kaldi and ONNX Runtime, or as free text by libdeepspeech or
ONNX Runtime.

Shortest use:

    with open_decoder(folder, manifest, choose_engine(manifest, Engine.AUTO)) as decoder:
        print(decoder.decode(pcm, name="clip.wav").text)

`transcribing` cuts recordings at their pauses and decodes the parts.
"""

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW
from speechmodel_api.published import PublishedGrammar, VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, QUANTISED, SCORER
from speechmodel_decoding import (
    AcousticModel,
    BeamSearch,
    Candidate,
    ForeignSpeechFilter,
    FreeTextRecogniser,
    Grammar,
    LogProbabilities,
    Recogniser,
    TextScorer,
)
from speechmodel_runtime import Model, Pcm, Scorer, read_graph
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
    letters: frozenset[str]
    """The characters that texts may have."""

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the words of an utterance.

        Errors call the recording `name`. Raises AudioTooShort, DecodingFailed or AcousticModelError,
        and ClientLeft soon after `options.abandoned` is set.
        """

    def close(self) -> None:
        """Release the model's memory. Nothing may use the decoder any more."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def open_decoder(folder: Path, manifest: VersionManifest, engine: Engine, *, cpus: int = 1) -> VersionDecoder:
    """Return the decoder of the version in `folder` by DeepSpeech or Native. Native runs its network on at most
    `cpus` threads at once.

    Raises SpeechRuntimeError or DecodingError when its files cannot be used.
    """
    if engine is Engine.NATIVE:
        network = AcousticModel(folder / QUANTISED, runs=cpus)
        if manifest.grammar is None:
            return NativeFreeText(network, _spelling(folder, manifest, network), _letters(_alphabet(folder)))
        return WithGrammar(_recogniser(folder, manifest.grammar, network))
    if manifest.grammar is None:
        model = Model(folder / MODEL, beam_width=manifest.decoding.beam_width, scorer=_scorer(folder, manifest))
        foreign = _foreign(folder, manifest, AcousticModel(folder / ACOUSTIC)) if manifest.rejection else None
        return FreeText(model, foreign)
    return WithGrammar(_recogniser(folder, manifest.grammar, AcousticModel(folder / ACOUSTIC)))


def _scorer(folder: Path, manifest: VersionManifest) -> Scorer | None:
    if manifest.scorer is None:
        return None
    hot_words = manifest.decoding.scorer.hot_words if manifest.decoding.scorer else {}
    return Scorer(folder / SCORER, manifest.scorer.alpha, manifest.scorer.beta, hot_words)


def _foreign(folder: Path, manifest: VersionManifest, network: AcousticModel) -> ForeignSpeechFilter | None:
    if manifest.rejection is None:
        return None
    return ForeignSpeechFilter(TextScorer(network, _alphabet(folder)), manifest.rejection.threshold)


def _spelling(folder: Path, manifest: VersionManifest, network: AcousticModel) -> FreeTextRecogniser:
    search = BeamSearch(_alphabet(folder), beam_width=manifest.decoding.beam_width)
    return FreeTextRecogniser(search, _foreign(folder, manifest, network))


def _recogniser(folder: Path, published: PublishedGrammar, network: AcousticModel) -> Recogniser:
    grammar = Grammar.from_bytes((folder / GRAMMAR).read_bytes(), _alphabet(folder))
    return Recogniser(network, grammar, published.calibration)


def _alphabet(folder: Path) -> list[str]:
    return [label.decode() for label in read_graph(folder / MODEL).labels]


def _letters(alphabet: Iterable[str]) -> frozenset[str]:
    return frozenset(alphabet) - {CATCH_ALL}


@dataclass
class FreeText(VersionDecoder):
    """Any sequence of characters, by libdeepspeech."""

    model: Model
    foreign: ForeignSpeechFilter | None = None
    """Rejects foreign speech. None transcribes it."""
    sample_rate: int = field(init=False)
    has_grammar: bool = False
    letters: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.sample_rate = self.model.info.sample_rate
        self.letters = _letters(label.decode() for label in self.model.info.labels)

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
        return DecodedUtterance(found.text, tuple(_words((token.text, token.start_seconds) for token in found.tokens)))

    def close(self) -> None:
        """Release the model's memory."""
        self.model.close()


@dataclass
class NativeFreeText(VersionDecoder):
    """Any sequence of characters, by the engine Native."""

    network: AcousticModel
    recogniser: FreeTextRecogniser
    letters: frozenset[str]
    sample_rate: int = SAMPLE_RATE
    has_grammar: bool = False

    def __enter__(self) -> Self:
        return self

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the words of an utterance, none for foreign speech that is rejected."""
        require_window(len(pcm), name, window=WINDOW, sample_rate=SAMPLE_RATE)
        found = self.recogniser.spell(_frames(self.network, pcm, options.abandoned))
        starts = (frame * FRAME_SECONDS for frame in found.frames)
        return DecodedUtterance(found.text, tuple(_words(zip(found.labels, starts, strict=True))))

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""


@dataclass
class WithGrammar(VersionDecoder):
    """A phrase of the grammar, or nothing."""

    recogniser: Recogniser
    sample_rate: int = SAMPLE_RATE
    has_grammar: bool = True
    letters: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.letters = _letters(self.recogniser.grammar.about.alphabet)

    def __enter__(self) -> Self:
        return self

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the phrase of an utterance."""
        require_window(len(pcm), name, window=WINDOW, sample_rate=SAMPLE_RATE)
        frames = _frames(self.recogniser.model, pcm, options.abandoned)
        decision = self.recogniser.decide(frames, pcm, alternatives=options.alternatives)
        accepted = decision.accepted
        words = accepted.words if accepted else ()
        return DecodedUtterance(
            decision.text,
            tuple(SpokenWord(word.text, word.start_seconds, word.end_seconds, word.confidence) for word in words),
            decision.candidates,
        )

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""


def _words(labels: Iterable[tuple[str, float]]) -> Iterator[SpokenWord]:
    """Yield the words of free text from its labels and their seconds. A word ends 20 ms after its last label was
    emitted.
    """
    for space, together in groupby(labels, key=lambda label: label[0] == SPACE):
        if not space:
            texts, seconds = zip(*together, strict=True)
            yield SpokenWord("".join(texts), round(seconds[0], 2), round(seconds[-1] + FRAME_SECONDS, 2))


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
