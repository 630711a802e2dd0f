"""Workspaces of a model that is trained: a dataset of the fixture's clips and an exported graph."""

import csv
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from speechmodel_api.dataset_spec import DatasetFormat, Negatives, Split
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.convert import ConvertInput, ConvertOutput
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.evaluate import EvaluateInput, EvaluateOutput
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_api.stages.publish import PublishInput
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.evaluate.stage import evaluate
from speechmodel_pipeline.prepare.stage import prepare

DATA, TRAIN, CONVERT, EVALUATE, VERSION = "0000000a", "0000000b", "0000000c", "0000000d", "0000000e"
BASE = "team/speechops/espejo/uid-1"
BEAMS = 32
"""The fixture's network knows its clips by heart, and 500 beams take five times as long."""
FREE_TEXT = Decoding(beam_width=BEAMS)


@dataclass(frozen=True)
class Workspace:
    """A model's folder on the claim."""

    root: Path
    dataset: PrepareOutput

    @property
    def graph(self) -> Path:
        """Where the trainer exports to."""
        return self.root / "exports" / TRAIN / "output_graph.pb"

    @property
    def head(self) -> Path:
        """Where the trainer writes the head of the phrase network."""
        return self.root / "exports" / TRAIN / "phrase_head.npz"

    @property
    def source(self) -> Path:
        """The folder of the dataset as the user gave it."""
        return self.root.parent / "source"

    def convert_input(self) -> ConvertInput:
        """For the graph, and the head if there is one, as they lie there."""
        digest = hashlib.sha256(self.graph.read_bytes()).hexdigest()
        head = hashlib.sha256(self.head.read_bytes()).hexdigest() if self.head.exists() else None
        return ConvertInput(
            key=CONVERT,
            attempt=1,
            workspace=PurePosixPath(self.root),
            train_key=TRAIN,
            graph_sha256=digest,
            data_key=DATA,
            phrase_head_sha256=head,
        )

    def evaluate_input(
        self, converted: ConvertOutput, beam_width: int = BEAMS, decoding: Decoding | None = None
    ) -> EvaluateInput:
        """For the converted model, in free text unless `decoding` says otherwise."""
        return EvaluateInput(
            key=EVALUATE,
            attempt=1,
            workspace=PurePosixPath(self.root),
            convert_key=CONVERT,
            model_sha256=converted.model_sha256,
            acoustic_sha256=converted.acoustic_sha256,
            quantised_sha256=converted.quantised_sha256,
            phrases_sha256=converted.phrases_sha256,
            data_key=DATA,
            dataset_digest=self.dataset.dataset_digest,
            decoding=decoding or Decoding(beam_width=beam_width),
            source=PurePosixPath(self.source) if decoding and decoding.scorer else None,
        )

    def publish_input(
        self, converted: ConvertOutput, evaluated: EvaluateOutput, target: S3Location, base: str = BASE
    ) -> PublishInput:
        """For the evaluated model."""
        return PublishInput(
            key="0000000f",
            attempt=1,
            workspace=PurePosixPath(self.root),
            convert_key=CONVERT,
            model_sha256=converted.model_sha256,
            evaluate_key=EVALUATE,
            report_sha256=evaluated.report_sha256,
            version=VERSION,
            decoding=FREE_TEXT,
            grammar=evaluated.grammar,
            rejection=evaluated.rejection,
            confidence=evaluated.confidence,
            scorer=evaluated.scorer,
            native=evaluated.native,
            language="es",
            target=target,
            base=base,
        )

    def finish(self, decoding: Decoding | None = None) -> tuple[ConvertOutput, EvaluateOutput]:
        """Convert and evaluate."""
        converted = convert(self.convert_input())
        return converted, evaluate(self.evaluate_input(converted, decoding=decoding))


def make_workspace(
    root: Path,
    fixtures: Path,
    split: Split,
    speech_level: float | None = None,
    negatives: Negatives = Negatives(built_in=False),  # noqa: B008 - frozen
) -> Workspace:
    """A dataset of the fixture's clips, divided by `split`, and the fixture's graph as the export."""
    source = root / "source"
    recordings = source / "original" / "es"
    recordings.mkdir(parents=True)
    with (fixtures / "clips.csv").open(encoding="utf-8", newline="") as file:
        rows = [(Path(row["wav_filename"]), row["transcript"]) for row in csv.DictReader(file)]
    for path, _ in rows:
        shutil.copy(fixtures / path, recordings)
    with (source / "commands.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "es"), *((path.stem, transcript) for path, transcript in rows)])
    workspace = root / "workspace"
    dataset = prepare(
        PrepareInput(
            key=DATA,
            attempt=1,
            workspace=PurePosixPath(workspace),
            source=PurePosixPath(source),
            format=DatasetFormat.COMMANDS,
            language="es",
            split=split,
            speech_level=speech_level,
            negatives=negatives,
        )
    )
    made = Workspace(workspace, dataset)
    made.graph.parent.mkdir(parents=True)
    shutil.copy(fixtures / "tf2_128.pb", made.graph)
    return made
