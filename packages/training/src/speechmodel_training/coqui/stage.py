"""train by Coqui, from the input document to the finished folder `exports/<key>/`."""

import logging
from pathlib import Path

from speechmodel_api.learning import LearningSettings
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_api.training_spec import ScheduleType
from speechmodel_api.workspace import GRAPH, HISTORY, Workspace
from speechmodel_stagekit.artefacts import file_digest, once
from speechmodel_stagekit.durable import replace_file

from speechmodel_training.chosen import CHOSEN, chosen_settings
from speechmodel_training.coqui.epochs import Epochs
from speechmodel_training.coqui.flags import export_flags
from speechmodel_training.coqui.program import run
from speechmodel_training.coqui.state import BEST
from speechmodel_training.dataset import TrainingSet, read_training_set
from speechmodel_training.epochs import as_csv
from speechmodel_training.errors import TranscriptsTooLong
from speechmodel_training.ownership import Owner, owning

log = logging.getLogger(__name__)


def train(document: TrainInput) -> TrainOutput:
    """Fill `exports/<key>/`, continuing from the newest checkpoint of the lineage.

    Raises what read_training_set, owning, Epochs.run and program.run raise.
    """
    workspace = Workspace(document.workspace)

    def make(folder: Path) -> TrainOutput:
        training_set = read_training_set(workspace.data(document.data_key), document.dataset_digest)
        _require_enough_frames(training_set)
        owner = Owner(owner=document.owner, attempt=document.attempt)
        with owning(workspace.checkpoints(document.lineage), owner) as ownership:
            settings = _settings(document, training_set, ownership.folder)
            epochs = Epochs(document, training_set, settings, ownership)
            epochs.run()
            return _export(document, settings, epochs, folder)

    return once(workspace.export(document.key), TrainOutput, make)


def _require_enough_frames(training_set: TrainingSet) -> None:
    """Raise TranscriptsTooLong. Coqui does not train on the frame that the runtime adds, and stops at such a clip."""
    clips = (*training_set.train, *training_set.dev)
    offenders = [
        (clip.path.name, clip.frames - 1, clip.frames_needed) for clip in clips if clip.frames - 1 < clip.frames_needed
    ]
    if offenders:
        raise TranscriptsTooLong(offenders)


def _settings(document: TrainInput, training_set: TrainingSet, folder: Path) -> LearningSettings:
    """Return the settings, and record those that were chosen for the lineage."""
    path, given = folder / CHOSEN, document.hyperparameters
    chosen = chosen_settings(path, training_set, layer_norm=bool(given.layer_norm), hidden_units=given.hidden_units)
    if not path.exists():
        replace_file(path, chosen.model_dump_json(by_alias=True, indent=1))
    settings = chosen.with_given(given, document.max_epochs, ScheduleType.CONSTANT)
    settings = settings.model_copy(update={"gradient_clip_norm": None})  # Coqui has none
    log.info("training with %s", settings)
    return settings


def _export(document: TrainInput, settings: LearningSettings, epochs: Epochs, folder: Path) -> TrainOutput:
    """Let Coqui write the graph of the best epoch, or of the last one without dev clips, and write the history."""
    state, lineage = epochs.state, Workspace(document.workspace).checkpoints(document.lineage)
    best = bool(state.best_epoch) and (lineage / BEST).is_dir()
    made = folder / "coqui"
    flags = export_flags(document, settings, lineage / BEST if best else lineage, "best" if best else "last", made)
    for _ in run("export", flags, epochs.check):
        pass
    graph = (made / GRAPH).rename(folder / GRAPH)
    for path in made.iterdir():  # a form about the author of the model
        path.unlink()
    made.rmdir()
    (folder / HISTORY).write_text(as_csv(state.history), encoding="utf-8")
    last = state.history[-1]
    return TrainOutput(
        epoch=state.epoch,
        step=last.step,
        loss=last.loss,
        dev_loss=last.dev_loss,
        exported_epoch=state.best_epoch if best else state.epoch,
        trained_epochs=state.epoch - state.target_began,
        stopped_early=state.stopped_early,
        settings=settings,
        graph_sha256=file_digest(graph),
        graph_bytes=graph.stat().st_size,
    )
