"""convert: turns the frozen graph into a memory-mapped one, an acoustic model and, if wanted, a TFLite model."""

from typing import final

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.convert import ConvertInput, ConvertOutput
from speechmodel_api.status import ConditionType

from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.stages.train import TRAIN
from speechmodel_plan.task import Task


@final
class Convert(Stage[ConvertOutput]):
    """Convert the graph and try it on a few clips."""

    name = StageName.CONVERT
    reads = (StageName.PREPARE, StageName.TRAIN)
    program = "speechmodel_pipeline.convert"
    running = Reason.CONVERTING
    awaited = Reason.WAITING_FOR_CONVERT
    condition = ConditionType.PUBLISHED
    complete = Reason.PUBLISHED
    output_type = ConvertOutput

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: the graph's digest, and if it is also converted to TFLite."""
        return keys.convert_key(task.spec, done.of(TRAIN))

    def document(self, task: Task, attempt: int, done: Outputs) -> ConvertInput:
        """Return the input document."""
        return ConvertInput(
            **task.common(self.key(task, done), attempt),
            train_key=TRAIN.key(task, done),
            graph_sha256=done.of(TRAIN).graph_sha256,
            data_key=PREPARE.key(task, done),
            beam_width=task.spec.decoding.beam_width,
            tflite=task.spec.publish.tflite,
            phrase_head_sha256=done.of(TRAIN).phrase_head_sha256,
        )

    def summary(self, output: ConvertOutput) -> str:
        """Return the sizes of the files."""
        tflite = f", TFLite model of {output.tflite.size_bytes / 1e6:.1f} MB" if output.tflite else ""
        return f"memory-mapped model of {output.size_bytes / 1e6:.1f} MB{tflite}"


CONVERT = Convert()
