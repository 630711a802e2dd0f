"""The workspace: where each artefact of a model is on the claim, and what its file is called.

sources/<source key>/        the recordings, the other speech, or the checkpoint to begin with, of a bucket
data/<prepare key>/          the prepared dataset
checkpoints/<lineage>/       checkpoints, owner and lock of a lineage
exports/<train key>/         the frozen graph, the training history and the head of the phrase network
exports/<convert key>/       the memory-mapped graph, the acoustic models, the phrase network and the TFLite model
reports/<evaluate key>/      the evaluation report for programs and for people, the self-test clip, the compiled grammar or the scorer
"""

from pathlib import Path, PurePath

ALPHABET = "alphabet.txt"
"""The labels of a prepared dataset, as DeepSpeech 0.9.3 reads them."""
CLIPS = "clips"
"""Folder of a prepared dataset with its clips: 16 kHz, mono, 16-bit WAV, named by their sha256."""
REGISTRY = "registry.csv"
"""Every clip of a prepared dataset with its origin and every row that was rejected."""
GRAPH = "output_graph.pb"
"""The frozen TensorFlow graph that train exports."""
HISTORY = "training.csv"
"""Losses, word error rate and learning rate by epoch: beside the frozen graph, and in the folder of a lineage
while it trains."""
PHRASE_HEAD = "phrase_head.npz"
"""The weights of the phrase network that training learns: those over the speech embedding."""
MODEL = "output_graph.pbmm"
"""The memory-mapped graph that the runtime loads, on the workspace, in S3 and in a server's folder."""
ACOUSTIC = "acoustic.onnx"
"""The network for ONNX Runtime, which decodes with a grammar."""
PHRASES = "phrases.onnx"
"""The phrase network for ONNX Runtime: the speech embedding and the head over it, which decodes with a grammar too."""
QUANTISED = "acoustic.int8.onnx"
"""The network in 8-bit integers, which the engine Native runs, on the workspace, in S3 and in a server's folder."""
TFLITE = "output_graph.tflite"
"""The network for deepspeech-tflite and stt, on the workspace and in S3."""
GRAMMAR = "grammar.zip"
"""The compiled grammar."""
SCORER = "lm.scorer"
"""The scorer of free text, beside the evaluation report, in S3 and in a server's folder."""
REPORT = "report.json"
"""The report of prepare or of evaluate, each in its own folder."""
PAGE = "report.html"
"""The report of evaluate for people: one file that a browser shows without a network."""
SELFTEST = "selftest.wav"
"""The clip that a server transcribes before it reports ready."""
VERSION = "version.json"
"""A VersionManifest: the description of a published version."""
VERSIONS = "versions.json"
"""The published versions of a SpeechModel, in a server's folder."""
VERIFIED = "verified.json"
"""The digests that fetch compared, in a server's folder."""
SIGNATURE = "model.sig"
"""The signature of a published version, beside version.json, in S3 and in a server's folder."""

PARTIAL = ".partial"
"""Ending of the folder beside a folder of downloads with the files that are not whole yet."""


def part_table(part: str) -> str:
    """Return the file name of a dataset part: train.csv, dev.csv, test.csv or negatives.csv."""
    return f"{part}.csv"


def downloads_index(folder: Path) -> Path:
    """Return the file beside a folder of downloads that lists those that are whole."""
    return folder.with_name(f"{folder.name}.objects.jsonl")


class Workspace:
    """The folder of one SpeechModel on its workspace claim."""

    def __init__(self, root: PurePath) -> None:
        self.root = Path(root)

    def source(self, key: str) -> Path:
        """Return the folder that prepare or download downloads the bucket of `key` to."""
        return self.root / "sources" / key

    def data(self, key: str) -> Path:
        """Return the folder of the dataset that prepare made for `key`."""
        return self.root / "data" / key

    def checkpoints(self, lineage: str) -> Path:
        """Return the checkpoint folder of a lineage."""
        return self.root / "checkpoints" / lineage

    def export(self, key: str) -> Path:
        """Return the folder of the graph that train (frozen) or convert (memory-mapped) made for `key`."""
        return self.root / "exports" / key

    def report(self, key: str) -> Path:
        """Return the folder of the report that evaluate made for `key`."""
        return self.root / "reports" / key
