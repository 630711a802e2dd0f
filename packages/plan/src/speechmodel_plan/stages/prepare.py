"""prepare: turns a folder of recordings into a dataset of clips."""

from typing import final

from speechmodel_api import keys
from speechmodel_api.audio import SPEECH_LEVEL
from speechmodel_api.dataset_spec import DEFAULT_REVISION
from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Target
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_api.status import ConditionType, ModelStatus

from speechmodel_plan.decoding import decoding
from speechmodel_plan.stages.stage import Needs, Outputs, Stage
from speechmodel_plan.task import Task, negatives_bucket


@final
class Prepare(Stage[PrepareOutput]):
    """Check, convert and split the recordings."""

    name = StageName.PREPARE
    program = "speechmodel_pipeline.prepare"
    needs = Needs(dataset=True, negatives=True)
    running = Reason.PREPARING
    awaited = Reason.WAITING_FOR_PREPARE
    condition = ConditionType.DATASET_READY
    complete = Reason.PREPARED
    output_type = PrepareOutput

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: the location of the dataset and the settings for reading it."""
        del done
        return keys.prepare_key(task.spec)

    def document(self, task: Task, attempt: int, done: Outputs) -> PrepareInput:
        """Return the input document."""
        dataset, s3, other = task.spec.dataset, task.spec.dataset.source.s3, negatives_bucket(task.spec)
        return PrepareInput(
            **task.common(self.key(task, done), attempt),
            source=task.recordings,
            bucket=s3.location if s3 else None,
            pinned=dataset.revision != DEFAULT_REVISION,
            format=dataset.format,
            language=task.spec.language,
            split=dataset.split,
            alphabet=dataset.alphabet,
            invalid_sample_policy=dataset.invalid_sample_policy,
            name_pattern=dataset.recordings.name_pattern,
            annotations=dataset.annotations,
            numbers=dataset.numbers,
            speech_level=SPEECH_LEVEL,
            negatives=dataset.negatives.model_copy(update={"source": None}),
            other_speech=task.other_speech,
            other_speech_bucket=other.location if other else None,
            synthesize=dataset.synthesize,
            decoding=_with_words(task.spec),
        )

    def for_task(self, output: PrepareOutput, task: Task) -> PrepareOutput:
        """Return the output without a problem of words that the spec no longer has."""
        found, words = output.unusable_words, _with_words(task.spec)
        if found is None or (words is not None and words.words_digest == found.words_digest):
            return output
        return output.model_copy(update={"unusable_words": None})

    def bucket(self, spec: SpeechModelSpec, served: ModelStatus | None = None) -> S3Target | None:
        """Return the bucket of the recordings, if they are in one."""
        del served
        return spec.dataset.source.s3

    def summary(self, output: PrepareOutput) -> str:
        """Return the numbers of clips, their length and the rejected rows."""
        text = (
            f"{output.train_clips} train, {output.dev_clips} dev and {output.test_clips} test clips, "
            f"{output.audio_seconds / 60:.1f} minutes"
        )
        if output.negatives:
            text += f"; {output.negatives} negatives"
        if output.synthesized:
            text += f"; {output.synthesized} synthetic takes"
        if output.seen_clips:
            text += f"; {output.seen_clips} more clips measure known voices"
        if output.unseen_test_speakers:
            voices = "voice" if output.unseen_test_speakers == 1 else "voices"
            guessed = " guessed from names of files or folders" if output.speakers_guessed else ""
            text += f"; {output.speakers} speakers{guessed}, the test clips are of {output.unseen_test_speakers} unseen {voices}"
        elif output.speakers is not None:
            known = f"only {output.speakers} known" if output.speakers else "no speaker is known"
            text += f"; the WER will be for known voices ({known})" if output.test_clips else ""
        if not output.test_clips:
            text += "; no test clip is left to measure the model"
        if output.listing_digest:
            text += f"; bucket listing {output.listing_digest[:8]}"
        if output.normalised:
            text += f"; {output.normalised} transcripts normalised"
        return f"{text}; {output.note}" if output.note else text


def _with_words(spec: SpeechModelSpec) -> Decoding | None:
    """Return the settings of the decoder if they have words of their own."""
    settings = decoding(spec)
    hot_words = settings.scorer.hot_words if settings.scorer else {}
    return settings if settings.grammar is GrammarSource.PHRASES or hot_words else None


PREPARE = Prepare()
