"""train: turns a dataset into checkpoints of a lineage and a frozen graph."""

from typing import Any, final

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_api.status import ConditionType
from speechmodel_api.training_engine import TrainingEngine
from speechmodel_api.training_spec import Precision

from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Image, Needs, Outputs, Stage
from speechmodel_plan.task import Task


@final
class Train(Stage[TrainOutput]):
    """Train and export the graph."""

    name = StageName.TRAIN
    reads = (StageName.PREPARE, StageName.DOWNLOAD)
    program = "speechmodel_training.train"
    image = Image.TRAINING
    needs = Needs(accelerator=True, checkpoint=True)
    running = Reason.TRAINING
    awaited = Reason.WAITING_FOR_TRAIN
    condition = ConditionType.TRAINED
    complete = Reason.TRAINED
    output_type = TrainOutput

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: the lineage, the number of epochs and the learning settings."""
        return keys.train_key(task.spec, done.of(PREPARE))

    def document(self, task: Task, attempt: int, done: Outputs) -> TrainInput:
        """Return the input document."""
        training, data = task.spec.training, done.of(PREPARE)
        return TrainInput(
            **task.common(self.key(task, done), attempt),
            data_key=PREPARE.key(task, done),
            dataset_digest=data.dataset_digest,
            lineage=keys.lineage_key(task.spec, data),
            language=task.spec.language,
            max_epochs=training.max_epochs,
            hyperparameters=training.hyperparameters,
            schedule=training.schedule,
            init_from=task.checkpoint,
            drop_layers=training.init_from.drop_layers if training.init_from else 0,
            resume=training.init_from is not None and training.init_from.resume,
            early_stop=training.early_stop,
            reduce_on_plateau=training.reduce_on_plateau,
            augmentation=training.augmentation,
            checkpoints=training.checkpoints,
            precision=training.precision,
            workers=training.num_workers,
        )

    def program_for(self, spec: SpeechModelSpec) -> tuple[str, Image]:
        """Return the program of training.engine."""
        if spec.training.engine is TrainingEngine.COQUI_STT:
            return "speechmodel_training.coqui", Image.COQUI
        return self.program, self.image

    def summary(self, output: TrainOutput) -> str:
        """Return the epochs, the losses and the values that training used."""
        text = f"{output.epoch} epochs, loss {output.loss:.4g}"
        if output.dev_loss is not None:
            text += f", dev loss {output.dev_loss:.4g}; epoch {output.exported_epoch} exported"
        if output.stopped_early:
            text += "; stopped early, since the dev loss did not improve any more"
        if output.settings is not None:
            text += f"; trained with {output.settings}"
        if output.trained_epochs == 0:
            return f"the checkpoints had already reached maxEpochs: {text}"
        return text

    def succeeded(self, output: TrainOutput) -> Reason:
        """Return Trained, or NothingToTrain when no epoch was due."""
        return Reason.TRAINED if output.trained_epochs else Reason.NOTHING_TO_TRAIN

    def settings(self, spec: SpeechModelSpec) -> dict[str, Any]:
        """Return the checkpoint settings, the number of workers unless it is 1, and the precision unless it is Auto."""
        training = spec.training
        found = {"checkpoints": training.checkpoints.model_dump(mode="json", exclude_defaults=True)}
        workers = {"workers": self.workers(spec)} if self.workers(spec) > 1 else {}
        given = training.precision is not Precision.AUTO and training.engine is TrainingEngine.NATIVE
        precision = {"precision": training.precision} if given else {}
        return found | workers | precision

    def workers(self, spec: SpeechModelSpec) -> int:
        """Return the number of programs that train together."""
        return spec.training.num_workers


TRAIN = Train()
