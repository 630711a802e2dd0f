"""report.html: how a model was trained and measured, in one file that a browser shows without a network."""

import base64
import io
import logging
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import ValidationError
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.published import EpochLoss
from speechmodel_api.stages.evaluate import EvaluateInput
from speechmodel_api.stages.train import TrainOutput
from speechmodel_api.workspace import REPORT, Workspace
from speechmodel_stagekit.artefacts import recorded_output
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.chart import Chart, histogram, line_chart
from speechmodel_pipeline.evaluate.figures import word_errors
from speechmodel_pipeline.evaluation_report import ClipResult, EvaluationReport
from speechmodel_pipeline.prepare_report import PrepareReport
from speechmodel_pipeline.training_history import read_epochs

log = logging.getLogger(__name__)

MOST_AUDIO_BYTES = 2_000_000
"""Size of the recordings in a report, as FLAC: about two minutes."""
MOST_CLIP_SECONDS = 20.0
"""Longer clips have no player."""
_NAMES = {" ": "space", CATCH_ALL: "other speech"}
"""Labels that have other names than their own."""
MOST_ROWS = 100
"""Rows of a table. The tables of a large dataset are in report.json of prepare."""


@dataclass(frozen=True)
class WrongClip:
    """A clip that was not recognised."""

    result: ClipResult
    speaker: str
    audio: str | None
    """data: URI. None when the clip is too long or the report would be too large."""


@dataclass(frozen=True)
class SpeakerRow:
    """A speaker whose clips were measured."""

    name: str
    trained: bool
    clips: int
    seconds: float
    wer: float


@dataclass(frozen=True)
class PartRow:
    """The clips of a part and their lengths."""

    name: str
    clips: int
    minutes: float
    shortest: float
    middle: float
    longest: float


def report_page(
    task: EvaluateInput, dataset: PreparedDataset, report: EvaluationReport, clips: Mapping[str, Clip]
) -> str:
    """Return the page. `clips` has the measured clips by name.

    Without the training history, or the report of prepare, it has no part about them: both are only for people.
    Raises ArtefactMissing when a clip is gone.
    """
    workspace = Workspace(task.workspace)
    training = recorded_output(workspace.export(task.train_key), TrainOutput) if task.train_key else None
    parts = {part: dataset.clips(part) for part in Part}
    epochs = read_epochs(workspace, task.train_key)
    spoken = [clip for part in (Part.TRAIN, Part.DEV, Part.TEST, Part.SEEN) for clip in parts[part]]
    speakers = dataset.speakers()
    return _template().render(
        task=task,
        report=report,
        training=training,
        charts=_charts(epochs, training),
        averaged=any(
            epoch.dev_wer is not None for epoch in epochs
        ),  # Coqui neither averages weights nor decodes dev clips
        lengths=histogram("Length of the clips", [clip.samples / SAMPLE_RATE for clip in spoken]),
        parts=[_part(part, of_part) for part, of_part in parts.items() if of_part],
        labels=_labels(dataset.alphabet(), parts[Part.TRAIN]),
        prepared=_prepared(dataset.folder / REPORT),
        wrong=tuple(_wrong(report.worst, clips, speakers.of)),
        speakers=_speakers(report.results, speakers.of, speakers.trained),
        most=MOST_ROWS,
    )


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("speechmodel_pipeline.evaluate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    return environment.get_template("page.html.j2")


def _charts(epochs: Sequence[EpochLoss], training: TrainOutput | None) -> list[Chart]:
    def curve(name: str) -> list[tuple[int, float]]:
        values = [(record.epoch, getattr(record, name)) for record in epochs]
        return [(epoch, value) for epoch, value in values if value is not None]

    exported = training.exported_epoch if training else None
    drawn = (
        line_chart("CTC loss", {"training": curve("loss"), "dev": curve("dev_loss")}, marked=exported),
        line_chart("Word error rate on dev, greedy decoding", {"dev": curve("dev_wer")}, marked=exported),
        line_chart("Learning rate", {"learning rate": curve("learning_rate")}, marked=exported),
    )
    return [chart for chart in drawn if chart is not None]


def _part(part: Part, clips: Sequence[Clip]) -> PartRow:
    seconds = [clip.samples / SAMPLE_RATE for clip in clips]
    return PartRow(part.value, len(clips), sum(seconds) / 60, min(seconds), median(seconds), max(seconds))


def _labels(alphabet: Sequence[str], clips: Sequence[Clip]) -> list[tuple[str, int]]:
    """Return the labels in their order, as a person reads them, with their number in the training clips."""
    counts = Counter(character for clip in clips for character in clip.transcript)
    return [(label_name(label), counts[label]) for label in alphabet]


def label_name(label: str) -> str:
    """Return a label as a person can see it: a combining character on a circle, and one without a shape by its name."""
    if label in _NAMES:
        return _NAMES[label]
    match unicodedata.category(label[0])[0]:
        case "M":
            return f"\N{DOTTED CIRCLE}{label}"
        case "C" | "Z":
            return unicodedata.name(label[0], "").lower() or f"U+{ord(label[0]):04X}"
    return label


def _prepared(path: Path) -> PrepareReport | None:
    try:
        return PrepareReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        log.warning("report.html has no coverage, because %s cannot be read: %s", path, error)
        return None


def _wrong(
    worst: Sequence[ClipResult], clips: Mapping[str, Clip], speaker_of: Mapping[str, str]
) -> Iterator[WrongClip]:
    left = MOST_AUDIO_BYTES
    for result in worst:
        audio = _flac(clips[result.clip]) if result.seconds <= MOST_CLIP_SECONDS else None
        if audio is None or len(audio) > left:
            uri = None
        else:
            left -= len(audio)
            uri = f"data:audio/flac;base64,{base64.b64encode(audio).decode()}"
        yield WrongClip(result, speaker_of.get(result.clip, ""), uri)


def _flac(clip: Clip) -> bytes:
    """Return the clip as FLAC, which every browser plays and which is half as large as WAV."""
    content = io.BytesIO()
    soundfile.write(content, read_clip(clip), SAMPLE_RATE, format="FLAC")
    return content.getvalue()


def _speakers(
    results: Sequence[ClipResult], speaker_of: Mapping[str, str], trained: frozenset[str]
) -> list[SpeakerRow]:
    """Return the speakers of clips with phrases, those with the most errors first."""
    of_speaker: dict[str, list[ClipResult]] = defaultdict(list)
    for result in results:
        if not result.foreign and (name := speaker_of.get(result.clip)):
            of_speaker[name].append(result)
    rows = [
        SpeakerRow(name, name in trained, len(found), sum(result.seconds for result in found), word_errors(found).rate)
        for name, found in of_speaker.items()
    ]
    return sorted(rows, key=lambda row: (-row.wer, row.name))
