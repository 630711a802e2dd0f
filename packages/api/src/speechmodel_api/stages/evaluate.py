"""Inputs and outputs of evaluate, and of compare, which measures the served version on the same clips."""

from pathlib import PurePosixPath
from typing import Literal

from speechmodel_api.base import Document
from speechmodel_api.measures import ErrorRate
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.contract import Digest, Key, StageInput, StageName
from speechmodel_api.stages.decoders import (
    Decoding,
    GrammarDecoder,
    NativeEngine,
    Rejection,
    TextConfidence,
    WeighedScorer,
)


class EvaluateInput(StageInput):
    """evaluate: measure WER and CER on the test clips, with the runtime of the server, and what its
    grammar accepts and rejects.
    """

    stage: Literal[StageName.EVALUATE] = StageName.EVALUATE
    train_key: Key | None = None
    """Key that names the folder of the training history, for report.html. None shows no curves."""
    convert_key: Key
    model_sha256: Digest
    acoustic_sha256: Digest | None = None
    """Needed unless the model is decoded as free text."""
    quantised_sha256: Digest | None = None
    """Network of the engine Native, which is compared with the other one, and which scores free text. None compares
    nothing."""
    phrases_sha256: Digest | None = None
    """The phrase network, which decodes the grammar unless the network of acoustic.onnx recognises clearly more phrases. None
    leaves that one to decode it."""
    data_key: Key
    dataset_digest: Digest
    decoding: Decoding
    source: PurePosixPath | None = None
    """Folder of the dataset, mounted read-only, if decoding has a scorer, or text for one, in it. None without."""
    language: str = ""
    """BCP 47 tag, by which the text of a scorer is normalised."""


class GrammarFigures(Document):
    """Counts of test clips by the answer that a grammar, or rejection in free text, gives."""

    right: int
    """Phrases that were recognised. Every transcript is a phrase in free text."""
    wrong: int
    """Phrases that were taken for another one."""
    rejected: int
    """Phrases for which the answer was nothing."""
    foreign: int = 0
    """Clips of anything but phrases: negatives, and transcripts outside of the grammar."""
    accepted: int = 0
    """Foreign clips for which the answer was a text."""
    recorded: int | None = None
    """Foreign clips of recordings of other speech, which say more about people than built-in words. None without any, and
    for evaluations from before they were counted apart."""
    recorded_accepted: int | None = None
    """Those of them for which the answer was a text."""
    calibration_error: float | None = None
    """Expected calibration error of the confidences, from 0 to 1. None without clips that fit a
    phrase."""

    @property
    def phrases(self) -> int:
        """Clips of phrases."""
        return self.right + self.wrong + self.rejected


LEAST_SHARE = 0.9
"""Share of the other network's right phrases that the phrase network needs. Most calibration clips are of voices in training, which
the network of DeepSpeech knows by heart. The phrase network is for other voices and other words (decision 57)."""


class NetworkChoice(Document):
    """Phrases that each network recognised among the calibration clips and their copies, before rejection. The phrase
    network decodes the grammar, unless it recognised less than nine tenths of what the network of DeepSpeech did.
    """

    clips: int
    """The clips and their copies."""
    phrases_right: int
    """Those whose phrase the phrase network recognised."""
    acoustic_right: int
    """Those whose phrase the network of acoustic.onnx recognised."""

    @property
    def embedded(self) -> bool:
        """True if the phrase network decodes the grammar."""
        return self.phrases_right >= LEAST_SHARE * self.acoustic_right


class EvaluateOutput(Document):
    """Error rates on the test clips. report.json holds the transcript of every clip."""

    clips: int
    """Number of test clips. 0 when the split left none."""
    wer: float | None = None
    """Word errors divided by reference words over all clips of phrases, as the model is served: with
    its grammar if it has one. None without test clips."""
    cer: float | None = None
    """Character errors divided by reference characters over the same clips. None without test
    clips."""
    wer_unseen_speakers: ErrorRate | None = None
    """Word error rate on test clips of speakers who are not in training. None without any."""
    wer_seen_speakers: ErrorRate | None = None
    """Word error rate on held-out clips of speakers who are in training. None without any."""
    free_text_wer: float | None = None
    """Word error rate without the grammar, or without rejection. None for a model with neither, and
    without test clips."""
    grammar: GrammarDecoder | None = None
    """The files and numbers that decode with the grammar. None for free text."""
    networks: NetworkChoice | None = None
    """The choice of the network for the grammar. None for free text, and for a conversion without phrase network."""
    rejection: Rejection | None = None
    """The file and the number that reject foreign speech in free text. None when it is transcribed, and
    with a grammar."""
    confidence: TextConfidence | None = None
    """The file and the numbers that say how sure free text is. None with a grammar, and for conversions and evaluations
    from before there was such a file."""
    scorer: WeighedScorer | None = None
    """The scorer with its weights, given or tuned. None without one."""
    native: NativeEngine | None = None
    """The engine Native. None with a scorer, with a grammar that the phrase network decodes, since both engines run that one,
    and for conversions without the network of Native."""
    figures: GrammarFigures | None = None
    """Counts of test clips by the answer with the grammar or the rejection. None with neither, and without test
    clips."""
    report_sha256: Digest
    page_sha256: Digest | None = None
    """Digest of report.html. None for evaluations from before there was one."""
    selftest_sha256: Digest
    """Digest of selftest.wav, the clip that a server transcribes before it reports ready."""


class CompareInput(StageInput):
    """compare: measure a published version on the test clips of a new one, as it is served."""

    stage: Literal[StageName.COMPARE] = StageName.COMPARE
    data_key: Key
    dataset_digest: Digest
    evaluate_key: Key
    """Key of the evaluation of the new version, whose report names the clips."""
    report_sha256: Digest
    version: Key
    """The published version."""
    target: S3Location
    """Where the version is."""
    version_uri: str
    version_sha256: Digest
    public_keys: tuple[str, ...] | None = None
    """Public keys in PEM, one of which must verify the signature of the version. None verifies none."""


class CompareOutput(Document):
    """Error rate of the published version on the test clips that the new one was measured on."""

    version: Key
    version_sha256: Digest
    clips: int
    wer: float | None = None
    """Word errors divided by reference words. None without test clips."""
