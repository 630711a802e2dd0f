"""report.json of evaluate. It has no times, so a second run gives the same bytes and digest."""

from speechmodel_api.base import Document
from speechmodel_api.measures import ErrorRate
from speechmodel_api.stages.contract import Digest
from speechmodel_api.stages.decoders import Calibration, Decoding, TextConfidence
from speechmodel_api.stages.evaluate import GrammarFigures, NetworkChoice


class ClipResult(Document):
    """The result of one clip."""

    clip: str
    """Its name in the dataset: the digest of its samples."""
    seconds: float
    """Duration of the clip in seconds."""
    reference: str
    """The transcript in the dataset."""
    hypothesis: str
    """The transcript of the model, as it is served: with a grammar, a phrase of it, or empty. Empty for
    a text that is rejected."""
    intent: str | None = None
    """The intent of the phrase, or of the only phrase that has one. None if several have one, or none does."""
    wer: float
    """Word errors / reference words. It may exceed 1."""
    cer: float
    """Character errors / reference characters."""
    confidence: float
    """The probability of the phrase, or of the free text, from 0 to 1, also of a rejected one. For free text without
    confidences (EvaluationReport.confidence), the log score of the beam, from the runtime."""
    unseen_speaker: bool | None = None
    """True when training never hears the speaker. None when the speaker is unknown."""
    foreign: bool = False
    """True for a negative, and for a clip whose reference is no phrase of the grammar. The right
    answer is nothing."""
    free_text: str | None = None
    """The transcript without grammar or rejection. None for a model with neither."""
    phrase: str | None = None
    """The phrase that fits best, also when it was rejected. None when no phrase fits, and in free
    text."""
    score: float | None = None
    """The number that is compared with the threshold, for that phrase or the free text. 0 is best. None for
    an empty text, and for free text without confidences."""


class Errors(Document):
    """Errors over all clips, by the shortest edit from references to hypotheses."""

    substitutions: int
    deletions: int
    insertions: int
    hits: int

    @property
    def rate(self) -> float:
        """Errors / length of the references."""
        return (self.substitutions + self.deletions + self.insertions) / (
            self.substitutions + self.deletions + self.hits
        )


class ForeignClips(Document):
    """Clips of one kind that must be rejected."""

    clips: int
    accepted: int
    """Clips for which the answer was a text."""


class GrammarReport(Document):
    """Figures of the test clips with the grammar, and the clips that its threshold was set on."""

    calibration: Calibration
    calibrated_on: str
    """Part of the dataset that threshold and confidences were set on: dev, or train without dev clips."""
    calibration_clips: int
    calibration_copies: int
    """Copies of these clips that are quieter, in hiss, and among other voices."""
    calibration_right: int
    """Clips and copies whose phrase was recognised before rejection. 1 % of them are below the
    threshold."""
    networks: NetworkChoice | None = None
    """The choice of the network. None for a conversion without phrase network."""
    figures: GrammarFigures | None = None
    """None without test clips."""
    foreign: dict[str, ForeignClips] = {}
    """Test clips that the grammar must reject, by kind."""
    free_text_wer: float | None = None


class RejectionReport(Document):
    """Figures of the test clips with rejection in free text, and the clips that its threshold was set on."""

    threshold: float
    """Score below which a text is rejected."""
    set_on: str
    """Part of the dataset that the threshold was set on: dev, or train without dev clips."""
    clips: int
    copies: int
    """Copies of these clips that are quieter, in hiss, and among other voices."""
    right: int
    """Clips and copies with at most one word in five wrong. 1 % of them are below the threshold."""
    figures: GrammarFigures | None = None
    """None without test clips and negatives."""
    foreign: dict[str, ForeignClips] = {}
    """Clips that must be rejected, by kind."""
    free_text_wer: float | None = None
    """Word error rate on the test clips without rejection."""


class ConfidenceReport(Document):
    """The confidences of free text, and the clips that they were set on."""

    calibration: TextConfidence
    calibrated_on: str
    """Part of the dataset that the confidences were set on: dev, or train without dev clips."""
    calibration_clips: int
    calibration_copies: int
    """Copies of these clips that are quieter, in hiss, and among other voices."""
    calibration_right: int
    """Clips and copies whose text was right, word for word."""


class TriedWeights(Document):
    """Weights of a scorer, and the word error rate of the tuning clips with them."""

    alpha: float
    beta: float
    wer: float


class BuiltFrom(Document):
    """The text that a scorer was built from."""

    sentences: int
    left_out: int
    """Lines that cannot be written in the alphabet of the model."""
    words: int
    """Different words."""
    ngrams: tuple[int, ...]
    """Different n-grams of 1, 2, ... words."""


class ScorerReport(Document):
    """The weights of the scorer, and what they were tuned on."""

    alpha: float
    beta: float
    built_from: BuiltFrom | None = None
    """None for a scorer that was given."""
    unknown_words: int
    """Words of the transcripts that the scorer lacks, so that they are never recognised."""
    tuned_on: str | None = None
    """Part of the dataset: dev, or train without dev clips. None when both weights were given."""
    clips: int
    tried: tuple[TriedWeights, ...] = ()
    """In the order in which they were tried. Of equal error rates, the first won."""


class EngineDifference(Document):
    """A clip that the two engines answer differently, as a whole or in the parts into which a server cuts it."""

    clip: str
    reference: str
    deep_speech: str
    native: str


class NativeReport(Document):
    """The answers of the engine Native beside those of the engine DeepSpeech, which the error rates are of."""

    clips: int
    differences: tuple[EngineDifference, ...] = ()
    """Empty when every answer is the same, so that the engine Auto is Native."""
    same_network: bool | None = None
    """True if both engines run the phrase network, so that their answers are the same and none was compared. None otherwise."""


class SelfTest(Document):
    """selftest.wav, the clip that a server must transcribe before it reports ready."""

    clip: str
    part: str
    reference: str
    text: str
    """The transcript of the model, as it is served."""
    confidence: float
    """As in ClipResult."""


class EvaluationReport(Document):
    """report.json."""

    model_sha256: Digest
    dataset_digest: Digest
    decoding: Decoding
    speech_level: float | None = None
    """Loudness of the speech in the clips, in dBFS (PrepareOutput.speech_level)."""
    clips: int
    seconds: float
    """Duration of all clips in seconds."""
    wer: float | None = None
    cer: float | None = None
    wer_unseen_speakers: ErrorRate | None = None
    wer_seen_speakers: ErrorRate | None = None
    words: Errors | None = None
    characters: Errors | None = None
    note: str | None = None
    """The reason why there are no error rates. None if there are some."""
    grammar: GrammarReport | None = None
    """None for free text."""
    rejection: RejectionReport | None = None
    """None when foreign speech is transcribed, and with a grammar."""
    confidence: ConfidenceReport | None = None
    """None with a grammar, and for a conversion without the network that scores texts."""
    scorer: ScorerReport | None = None
    """None without a scorer, and with a grammar."""
    native: NativeReport | None = None
    """None with a scorer, and for a conversion without the network of Native."""
    selftest: SelfTest
    worst: tuple[ClipResult, ...]
    """The clips with the most word errors per word, the worst first. Correct clips are left out."""
    results: tuple[ClipResult, ...]
