"""`version.json`: what a published version is, where its files are, and how it was made."""

from typing import NamedTuple

from speechmodel_api.base import Document
from speechmodel_api.stages.contract import Digest, Key
from speechmodel_api.stages.decoders import (
    Decoding,
    GrammarDecoder,
    NativeEngine,
    Rejection,
    TextConfidence,
    WeighedScorer,
)
from speechmodel_api.stages.evaluate import EvaluateOutput
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.train import TrainOutput
from speechmodel_api.tflite import PublishedTflite
from speechmodel_api.times import Time
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, QUANTISED, SCORER, SELFTEST


class PublishedGrammar(GrammarDecoder):
    """The files of a version that is decoded with a grammar, and where they are."""

    acoustic_uri: str
    """Address of acoustic.onnx, or of phrases.onnx if that decodes. Servers name the file acoustic.onnx in both cases."""
    acoustic_bytes: int
    grammar_uri: str
    grammar_bytes: int


class PublishedRejection(Rejection):
    """The file of a version that rejects foreign speech in free text, and where it is."""

    acoustic_uri: str
    acoustic_bytes: int


class PublishedConfidence(TextConfidence):
    """The confidences of free text, and where their file is."""

    quantised_uri: str | None = None
    """None if foreign speech is rejected."""
    quantised_bytes: int | None = None


class PublishedScorer(WeighedScorer):
    """The scorer of a version, and where it is."""

    scorer_uri: str
    scorer_bytes: int


class PublishedNative(NativeEngine):
    """The network of the engine Native, and where it is."""

    quantised_uri: str
    quantised_bytes: int


class PublishedFile(NamedTuple):
    """A file of a version, which servers fetch."""

    name: str
    """Name in the folder of a server."""
    uri: str
    sha256: str
    size: int | None
    """Size in bytes. None where it is not recorded."""


class EpochLoss(Document):
    """The losses of an epoch, as training.csv has them."""

    epoch: int
    """1 for the first epoch."""
    loss: float
    """Mean CTC loss per training clip over the epoch."""
    dev_loss: float | None = None
    """Mean CTC loss per dev clip at the end of the epoch. None without dev clips."""
    dev_wer: float | None = None
    """Word error rate on the dev clips at the end of the epoch, by greedy decoding. None without dev clips, and for
    epochs from before it was measured."""
    learning_rate: float | None = None
    """Learning rate of the last step of the epoch. None for epochs from before it was recorded."""


class ModelCard(Document):
    """Describes how a version was made and measured, for people. No program decides by it."""

    dataset: PrepareOutput
    training: TrainOutput
    evaluation: EvaluateOutput
    epochs: tuple[EpochLoss, ...] = ()
    """Losses of every epoch. Empty when the training history was gone."""
    take_speakers: tuple[str, ...] | None = None
    """Hashes (speaker_hash) of the speakers whose takes are in any part of the dataset. None when the dataset was
    gone, and for versions from before they were recorded."""


class VersionManifest(Document):
    """`version.json`: the description of a published version. It never changes."""

    version: Key
    language: str
    decoding: Decoding
    grammar: PublishedGrammar | None = None
    """None for free text, as for every version from before there were grammars."""
    rejection: PublishedRejection | None = None
    """None when foreign speech is transcribed, and with a grammar."""
    confidence: PublishedConfidence | None = None
    """None with a grammar, and for versions from before free text had confidences."""
    scorer: PublishedScorer | None = None
    """None without a scorer, and with a grammar."""
    native: PublishedNative | None = None
    """None with a scorer, with a grammar that the phrase network decodes, because both engines run that one, and for versions
    from before there was the engine Native."""
    tflite: PublishedTflite | None = None
    """The same model for other programs; servers do not fetch it. None unless the manifest asks for it."""
    model_uri: str
    model_sha256: Digest
    model_bytes: int
    selftest_uri: str
    selftest_sha256: Digest
    selftest_text: str
    """Transcript of the self-test clip at evaluation. It may be empty for a model that has learned
    nothing yet."""
    report_uri: str
    page_uri: str | None = None
    """report.html. None for versions that were published before there was one."""
    speech_level: float | None = None
    """Loudness that a recording is brought to before it is decoded, in dBFS. None decodes it as it
    is, as for versions that were published before the field existed."""
    wer: float | None = None
    cer: float | None = None
    card: ModelCard | None = None
    """None for versions that were published before there were cards."""

    @property
    def embedded(self) -> bool:
        """True if the phrase network decodes the grammar of the version."""
        return self.grammar is not None and self.grammar.embedded

    @property
    def quantised(self) -> PublishedFile | None:
        """The network of Native, or of the confidences of free text. None if there is neither."""
        network = self.native or self.confidence
        if network is None or network.quantised_uri is None or network.quantised_sha256 is None:
            return None
        return PublishedFile(QUANTISED, network.quantised_uri, network.quantised_sha256, network.quantised_bytes)

    @property
    def files(self) -> tuple[PublishedFile, ...]:
        """The files that a server fetches beside version.json."""
        files = [
            PublishedFile(MODEL, self.model_uri, self.model_sha256, self.model_bytes),
            PublishedFile(SELFTEST, self.selftest_uri, self.selftest_sha256, None),
        ]
        if (scores := self.grammar or self.rejection) is not None:
            files.append(PublishedFile(ACOUSTIC, scores.acoustic_uri, scores.acoustic_sha256, scores.acoustic_bytes))
        if (quantised := self.quantised) is not None:
            files.append(quantised)
        if (scorer := self.scorer) is not None:
            files.append(PublishedFile(SCORER, scorer.scorer_uri, scorer.scorer_sha256, scorer.scorer_bytes))
        if (grammar := self.grammar) is not None:
            files.append(PublishedFile(GRAMMAR, grammar.grammar_uri, grammar.grammar_sha256, grammar.grammar_bytes))
        return tuple(files)


class VersionRecord(Document):
    """A version of a SpeechModel, as `versions.json` lists it."""

    version: Key
    published_at: Time
    take_speakers: tuple[str, ...] | None = None
    """As in ModelCard."""


class VersionList(Document):
    """`versions.json`: the versions of a SpeechModel that were in the bucket when a server fetched its own."""

    versions: tuple[VersionRecord, ...]
    """The newest first."""
