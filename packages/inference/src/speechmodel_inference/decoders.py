"""The decoder of a version: with its grammar by Kaldi and ONNX Runtime, or as free text by libdeepspeech or
ONNX Runtime.

Shortest use:

    with open_decoder(folder, manifest, choose_engine(manifest, Engine.AUTO)) as decoder:
        print(decoder.decode(pcm, name="clip.wav").text)

`transcribing` cuts recordings at their pauses and decodes the parts.
"""

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
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
    Decision,
    Grammar,
    LogProbabilities,
    Recogniser,
    Spelling,
    TextJudge,
    TextScorer,
)
from speechmodel_runtime import Model, Pcm, Scorer, read_graph
from speechmodel_runtime.model import require_window

from speechmodel_inference.errors import ClientLeft

FRAME_SECONDS = STRIDE / SAMPLE_RATE
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
    """Probability from 0 to 1 that the word was said. None in free text of a version without confidences."""


@dataclass(frozen=True)
class DecodedUtterance:
    """The words of one utterance."""

    text: str
    """With a grammar, a phrase of it, or empty for anything else. Empty for speech that is rejected."""
    words: tuple[SpokenWord, ...] = ()
    """The words of `text`."""
    candidates: tuple[Candidate, ...] = ()
    """Phrases of the grammar, or free texts, that fit, the best first, also when it was rejected. Empty in free text of
    a version without confidences."""

    @property
    def accepted(self) -> Candidate | None:
        """The candidate that was recognised. None for anything else, and without candidates."""
        return self.candidates[0] if self.candidates and self.text else None


@dataclass(frozen=True)
class DecodingOptions:
    """The wishes of a request."""

    alternatives: int = 1
    """Most candidates."""
    hot_words: tuple[str, ...] = ()
    """Words that are likelier than the language model says. They have an effect in free text with a scorer."""
    abandoned: threading.Event | None = None
    """Set when the client left."""
    confidences: bool = True
    """False for words so far, of which the text alone is used. Free text is scored then only to reject foreign speech."""

    @property
    def of_text_alone(self) -> Self:
        """The same wishes for a decoding of which the text alone is used."""
        return replace(self, alternatives=1, confidences=False)


_NO_WISHES = DecodingOptions()


class VersionDecoder(AbstractContextManager["VersionDecoder"], Protocol):
    """Decodes utterances. Safe for any number of threads."""

    sample_rate: int
    """Hz of the recordings that it takes."""
    has_grammar: bool
    """True when anything that is not a phrase of a grammar gives an empty text."""
    takes_hot_words: bool
    """True if hot words have an effect: in free text with a scorer."""
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
    `cpus` threads at once. A grammar that the phrase network decodes is the same for both.

    Raises SpeechRuntimeError or DecodingError when its files cannot be used.
    """
    if manifest.grammar is not None and manifest.grammar.embedded:
        return WithGrammar(_recogniser(folder, manifest.grammar, AcousticModel(folder / ACOUSTIC)))
    if engine is Engine.NATIVE:
        network = AcousticModel(folder / QUANTISED, runs=cpus)
        if manifest.grammar is None:
            search = BeamSearch(_alphabet(folder), beam_width=manifest.decoding.beam_width)
            return NativeFreeText(network, search, _judge(folder, manifest, network), _letters(_alphabet(folder)))
        return WithGrammar(_recogniser(folder, manifest.grammar, network))
    if manifest.grammar is None:
        model = Model(folder / MODEL, beam_width=manifest.decoding.beam_width, scorer=_scorer(folder, manifest))
        if manifest.rejection is not None:
            return FreeText(model, _judge(folder, manifest, AcousticModel(folder / ACOUSTIC)))
        if manifest.confidence is not None:
            return FreeText(model, _judge(folder, manifest, AcousticModel(folder / QUANTISED, runs=cpus)))
        return FreeText(model)
    return WithGrammar(_recogniser(folder, manifest.grammar, AcousticModel(folder / ACOUSTIC)))


def _scorer(folder: Path, manifest: VersionManifest) -> Scorer | None:
    if manifest.scorer is None:
        return None
    hot_words = manifest.decoding.scorer.hot_words if manifest.decoding.scorer else {}
    return Scorer(folder / SCORER, manifest.scorer.alpha, manifest.scorer.beta, hot_words)


def _judge(folder: Path, manifest: VersionManifest, network: AcousticModel) -> TextJudge | None:
    """Return the judge of free text by the frames of `network`, or None for a version that accepts any text."""
    rejection, confidences = manifest.rejection, manifest.confidence
    if rejection is None and confidences is None:
        return None
    scorer = TextScorer(network, _alphabet(folder))
    return TextJudge(scorer, rejection.threshold if rejection else None, confidences)


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
    judge: TextJudge | None = None
    """Rejects foreign speech, and knows how sure a text is. None does neither."""
    sample_rate: int = field(init=False)
    has_grammar: bool = False
    takes_hot_words: bool = field(init=False)
    letters: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.sample_rate = self.model.info.sample_rate
        self.takes_hot_words = self.model.has_scorer
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
            best = stream.finish(alternatives=options.alternatives, name=name)
        spellings = [Spelling(each.labels, tuple(each.times)) for each in (best, *best.alternatives)]
        judge = self.judge
        if judge is None:
            return _spelled(spellings[0])
        frames = partial(_frames, judge.scorer.model, pcm, options.abandoned)
        return _judged(judge, frames, spellings, confidences=options.confidences)

    def close(self) -> None:
        """Release the model's memory."""
        self.model.close()


@dataclass
class NativeFreeText(VersionDecoder):
    """Any sequence of characters, by the engine Native."""

    network: AcousticModel
    search: BeamSearch
    judge: TextJudge | None
    """Rejects foreign speech, and knows how sure a text is. None does neither."""
    letters: frozenset[str]
    sample_rate: int = SAMPLE_RATE
    has_grammar: bool = False
    takes_hot_words: bool = False

    def __enter__(self) -> Self:
        return self

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions = _NO_WISHES) -> DecodedUtterance:
        """Return the words of an utterance, none for foreign speech that is rejected."""
        require_window(len(pcm), name, window=WINDOW, sample_rate=SAMPLE_RATE)
        frames = _frames(self.network, pcm, options.abandoned)
        judge = self.judge
        if judge is None:
            return _spelled(self.search.spell(frames))
        several = options.confidences and judge.confidences is not None
        most = options.alternatives if several else 1
        spellings = self.search.spell_several(frames, most, partial(require_client, options.abandoned))
        return _judged(judge, lambda: frames, spellings, confidences=options.confidences)

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""


@dataclass
class WithGrammar(VersionDecoder):
    """A phrase of the grammar, or nothing."""

    recogniser: Recogniser
    sample_rate: int = SAMPLE_RATE
    has_grammar: bool = True
    takes_hot_words: bool = False
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
        return _decided(decision)

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""


def _judged(
    judge: TextJudge, frames: Callable[[], LogProbabilities], spellings: Sequence[Spelling], *, confidences: bool
) -> DecodedUtterance:
    """Return the decision on texts of one recording, the best first. `frames` is called if a score is needed."""
    best = spellings[0]
    if not best.text:
        return DecodedUtterance("")
    if judge.confidences is None or not confidences:
        rejected = judge.threshold is not None and judge.rejects(frames(), best)
        return DecodedUtterance("") if rejected else _spelled(best)
    different = {each.text: each for each in reversed(spellings) if each.text}  # of equal texts, the best one stays
    return _decided(judge.decide(frames(), [each for each in spellings if different.get(each.text) is each]))


def _spelled(spelling: Spelling) -> DecodedUtterance:
    """Return free text without confidences. A word ends 20 ms after its last label was emitted."""
    words = tuple(
        SpokenWord(text, round(first * FRAME_SECONDS, 2), round((last + 1) * FRAME_SECONDS, 2))
        for text, first, last in spelling.words()
    )
    return DecodedUtterance(spelling.text, words)


def _decided(decision: Decision) -> DecodedUtterance:
    accepted = decision.accepted
    words = accepted.words if accepted else ()
    return DecodedUtterance(
        decision.text,
        tuple(SpokenWord(word.text, word.start_seconds, word.end_seconds, word.confidence) for word in words),
        decision.candidates,
    )


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
