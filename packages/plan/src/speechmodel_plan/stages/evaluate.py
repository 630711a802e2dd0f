"""evaluate: measures the converted model on the test clips."""

from typing import final

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.evaluate import EvaluateInput, EvaluateOutput
from speechmodel_api.status import ConditionType

from speechmodel_plan.decoding import decoding
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.stages.train import TRAIN
from speechmodel_plan.task import Task


@final
class Evaluate(Stage[EvaluateOutput]):
    """Measure word and character error rates with the runtime that serves."""

    name = StageName.EVALUATE
    reads = (StageName.PREPARE, StageName.CONVERT)
    program = "speechmodel_pipeline.evaluate"
    running = Reason.EVALUATING
    awaited = Reason.WAITING_FOR_EVALUATE
    condition = ConditionType.PUBLISHED
    complete = Reason.PUBLISHED
    output_type = EvaluateOutput

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: the model, the dataset and the decoding settings."""
        return keys.evaluate_key(task.spec, done.of(CONVERT).model_sha256, done.of(PREPARE), decoding(task.spec))

    def document(self, task: Task, attempt: int, done: Outputs) -> EvaluateInput:
        """Return the input document."""
        return EvaluateInput(
            **task.common(self.key(task, done), attempt),
            train_key=TRAIN.key(task, done),
            convert_key=CONVERT.key(task, done),
            model_sha256=done.of(CONVERT).model_sha256,
            acoustic_sha256=done.of(CONVERT).acoustic_sha256,
            quantised_sha256=done.of(CONVERT).quantised_sha256,
            phrases_sha256=done.of(CONVERT).phrases_sha256,
            data_key=PREPARE.key(task, done),
            dataset_digest=done.of(PREPARE).dataset_digest,
            decoding=decoding(task.spec),
            source=task.recordings if self.reads_dataset(task.spec) else None,
            language=task.spec.language,
        )

    def reads_dataset(self, spec: SpeechModelSpec) -> bool:
        """Return True for a scorer, or the text of one, in the folder of the dataset."""
        scorer = decoding(spec).scorer
        return scorer is not None and scorer.file is not None

    def summary(self, output: EvaluateOutput) -> str:
        """Return the error rates and the number of clips behind them."""
        if output.wer is None or output.cer is None:
            return "WER not measured, because the split left no test clips"
        clips = f"{output.clips} test clip{'' if output.clips == 1 else 's'}"
        text = f"WER {output.wer:.1%}, CER {output.cer:.1%} on {clips}"
        if output.free_text_wer is not None:
            with_grammar, without = ("rejection", "without") if output.rejection else ("the grammar", "in free text")
            text += f" with {with_grammar}, WER {output.free_text_wer:.1%} {without}"
        if (figures := output.figures) is not None:
            text += f"; {figures.right} right, {figures.wrong} wrong, {figures.rejected} rejected"
            if figures.foreign:
                text += f", {figures.accepted} of {figures.foreign} foreign clips accepted"
        if (networks := output.networks) is not None and not networks.embedded:
            text += (
                f"; the network of DeepSpeech decodes the grammar, because it recognised {networks.acoustic_right} of "
                f"{networks.clips} calibration clips and the phrase network {networks.phrases_right}"
            )
        if (native := output.native) is not None and native.differences:
            text += f"; the engines answer {native.differences} of {native.clips} clips differently"
        measured = (("unseen", output.wer_unseen_speakers), ("known", output.wer_seen_speakers))
        for voices, rate in measured:
            if rate:
                guessed = ", speakers guessed" if rate.speakers_guessed else ""
                text += f"; {rate.rate:.1%} for {voices} voices ({rate.low:.1%} to {rate.high:.1%}, {rate.clips} clips{guessed})"
        return text


EVALUATE = Evaluate()
