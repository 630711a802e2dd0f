"""report.json of evaluate. It has no times, so a second run gives the same bytes and digest."""

from speechmodel_api.base import Document
from speechmodel_api.measures import ErrorRate
from speechmodel_api.stages import Decoding, Digest


class ClipResult(Document):
    """The result of one clip."""

    clip: str
    """Its name in the dataset: the digest of its samples."""
    seconds: float
    """Duration of the clip in seconds."""
    reference: str
    """The transcript in the dataset."""
    hypothesis: str
    """The transcript of the model."""
    wer: float
    """Word errors / reference words. It may exceed 1."""
    cer: float
    """Character errors / reference characters."""
    confidence: float
    """Log score of the beam, from the runtime."""
    unseen_speaker: bool | None = None
    """True when training never hears the speaker. None when the speaker is unknown."""


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


class SelfTest(Document):
    """selftest.wav, the clip that a server must transcribe before it reports ready."""

    clip: str
    part: str
    reference: str
    text: str
    """The runtime's transcript."""
    confidence: float


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
    selftest: SelfTest
    worst: tuple[ClipResult, ...]
    """The clips with the most word errors per word, the worst first. Correct clips are left out."""
    results: tuple[ClipResult, ...]
