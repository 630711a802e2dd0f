"""The decoders of a model as documents: settings, files and numbers that evaluate, publish and servers share."""

import hashlib
import json
from typing import Annotated

from pydantic import Field

from speechmodel_api.base import Document
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource, Scorer
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import Digest


class Decoding(Document):
    """Settings of the decoder, which are measured and served together with the model."""

    beam_width: Annotated[int, Field(ge=1)] = 500
    """Number of beams to keep in free text. 500 is the default of DeepSpeech 0.9.3."""
    grammar: GrammarSource = GrammarSource.FREE_TEXT
    """Origin of the phrases that the model may answer with."""
    phrases: tuple[str, ...] = ()
    """Phrases and templates without an intent, for a grammar of phrases."""
    intents: dict[str, tuple[str, ...]] = {}
    """Phrases and templates by the name of their intent, for a grammar of phrases. Empty in documents from before
    there were intents."""
    lists: dict[str, tuple[str, ...]] = {}
    """Values of the lists that the templates refer to, by name."""
    foreign_speech: ForeignSpeech = ForeignSpeech.TRANSCRIBE
    """The answer to speech that is unlike the dataset, in free text. Transcribe with a grammar."""
    scorer: Scorer | None = None
    """Language model for free text. None with a grammar."""

    @property
    def words_digest(self) -> str:
        """Digest of the phrases, intents, lists and hot words."""
        hot_words = sorted(self.scorer.hot_words) if self.scorer else []
        content = [self.phrases, self.intents, self.lists, hot_words]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


class UnusableWords(Document):
    """The reason why the words of a decoding cannot be used with the alphabet of a dataset."""

    words_digest: Digest
    """Digest of the words that were checked. Others may be usable."""
    reason: Reason
    message: str
    """A sentence that names the phrase and the letter, and says what to do."""


class Calibration(Document):
    """How the score of a phrase becomes a decision and a confidence. 0 is the best score."""

    threshold: float
    """Scores below it are rejected: 1 % of the right answers of the dev clips are there."""
    offset: float
    """Logit of the confidence of a phrase is offset - slope * log(0.001 - score)."""
    slope: float
    word_offset: float
    """The same for a word and its own score."""
    word_slope: float
    speech_time: bool = False
    """True for scores that are the log probability of the phrase for each character, times the seconds of
    speech for each character. False for the log probability alone, as in versions from before."""


class GrammarDecoder(Document):
    """The files and numbers by which a model is decoded with a grammar, as evaluate measured them."""

    acoustic_sha256: Digest
    """Digest of acoustic.onnx, or of phrases.onnx if that decodes, as convert made them."""
    grammar_sha256: Digest
    """Digest of grammar.zip, the compiled grammar."""
    calibration: Calibration
    embedded: bool = False
    """True if phrases.onnx, the phrase network, decodes the grammar for both engines. False for acoustic.onnx, as in every
    version from before there was a phrase network."""


class Rejection(Document):
    """The file and the number by which foreign speech is rejected in free text."""

    acoustic_sha256: Digest
    """Digest of acoustic.onnx, whose frames score the text."""
    threshold: float
    """Texts whose log probability for each character is below it are rejected: 1 % of the right texts
    of the dev clips are there."""


class TextConfidence(Document):
    """How the scores of free text become confidences. Calibration has the same for the phrases of a grammar."""

    quantised_sha256: Digest | None = None
    """Digest of acoustic.int8.onnx, whose frames score the text. None if foreign speech is rejected, because the frames
    of acoustic.onnx are there then."""
    offset: float
    """Logit of the confidence of a text is offset - slope * log(0.001 - score), where the score is its log
    probability for each character."""
    slope: float
    word_offset: float
    """The same for a word and its own score."""
    word_slope: float
    calibration_error: float | None = None
    """Expected calibration error of the confidences of the texts of the test clips, from 0 to 1. None without a text."""


class WeighedScorer(Document):
    """A scorer with the weights that free text is decoded with."""

    scorer_sha256: Digest
    alpha: float
    """Weight of the language model."""
    beta: float
    """Reward of each word."""


class NativeEngine(Document):
    """The network of the engine Native, and how its answers compare with those of the engine DeepSpeech."""

    quantised_sha256: Digest
    clips: int
    """Clips that both engines answered."""
    differences: int
    """Clips that they answered differently. The report names them."""
