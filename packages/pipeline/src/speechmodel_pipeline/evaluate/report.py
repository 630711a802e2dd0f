"""report.json of evaluate. It holds nothing that changes from run to run, so a rerun gives the same bytes and digest."""

from speechmodel_api.base import Document
from speechmodel_api.stages import Decoding, Digest


class ClipResult(Document):
    """One clip."""

    clip: str
    """Its name in the dataset: the digest of its samples."""
    seconds: float
    """Duration of the clip."""
    reference: str
    hypothesis: str
    wer: float
    """Word errors / reference words; may exceed 1."""
    cer: float
    """Character errors / reference characters."""
    confidence: float
    """The runtime's log score of the beam."""


class Errors(Document):
    """Errors over all clips, as the shortest way from references to hypotheses counts them."""

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
    """The clip that a server must transcribe before it calls itself ready: selftest.wav."""

    clip: str
    part: str
    reference: str
    text: str
    """What the runtime heard."""
    confidence: float


class EvaluationReport(Document):
    """report.json."""

    model_sha256: Digest
    dataset_digest: Digest
    decoding: Decoding
    clips: int
    seconds: float
    """Duration of all clips."""
    wer: float | None = None
    cer: float | None = None
    words: Errors | None = None
    characters: Errors | None = None
    note: str | None = None
    """Why there are no figures, when there are none."""
    selftest: SelfTest
    worst: tuple[ClipResult, ...]
    """The clips with the most word errors per word, worst first; clips that are right are not among them."""
    results: tuple[ClipResult, ...]
