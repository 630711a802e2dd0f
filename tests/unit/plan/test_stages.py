"""The stages: one object each, in order, with one summary for the condition and the terminal."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from speechmodel_api.audio import SPEECH_LEVEL
from speechmodel_api.base import Document
from speechmodel_api.spec import Annotations, Numbers, SpeechModelSpec
from speechmodel_api.stages import EvaluateOutput, PrepareInput, PrepareOutput, PublishOutput, StageName, TrainOutput
from speechmodel_plan.stages import STAGES, stage_named
from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.task import Owner, Task

SHA = "0" * 64
SPEC = SpeechModelSpec.model_validate(
    {
        "language": "es",
        "dataset": {
            "source": {"persistentVolumeClaim": {"claimName": "clips"}},
            "annotations": "Strip",
            "numbers": "Spell",
        },
        "publish": {"s3": {"bucket": "models"}},
    }
)


def trained(epochs: int, dev_loss: float | None = None) -> TrainOutput:
    return TrainOutput(
        epoch=75,
        step=900,
        loss=12.345678,
        dev_loss=dev_loss,
        exported_epoch=70,
        trained_epochs=epochs,
        graph_sha256=SHA,
        graph_bytes=1,
    )


def measured(wer: float | None, cer: float | None, clips: int) -> EvaluateOutput:
    return EvaluateOutput(clips=clips, wer=wer, cer=cer, report_sha256=SHA, selftest_sha256=SHA)


PREPARED = PrepareOutput(
    dataset_digest=SHA,
    alphabet_digest=SHA,
    labels=20,
    train_clips=8,
    dev_clips=1,
    test_clips=1,
    audio_seconds=90,
    normalised=2,
    note="1 row was left out",
)
PUBLISHED = PublishOutput(
    version="0badcafe", uri="s3://models/a/b/output_graph.pbmm", version_uri="s3://models/a", version_sha256=SHA
)


def test_there_is_one_stage_for_each_name_in_the_order_of_the_names() -> None:
    assert [stage.name for stage in STAGES] == list(StageName)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_reads_from_earlier_stages_only(stage: Stage[Any]) -> None:
    order = list(StageName)
    assert all(order.index(name) < order.index(stage.name) for name in stage.reads)


def test_prepare_gets_the_settings_that_are_in_its_key() -> None:
    task = Task(Owner("ns", "espejo", "uid"), SPEC, PurePosixPath("/work"), PurePosixPath("/dataset"))
    stage = stage_named(StageName.PREPARE)
    document = stage.document(task, 1, Outputs({}))
    assert isinstance(document, PrepareInput)
    assert document.speech_level == SPEECH_LEVEL == -22
    assert (document.annotations, document.numbers) == (Annotations.STRIP, Numbers.SPELL)


@pytest.mark.parametrize(
    ("name", "output", "summary"),
    [
        (
            StageName.PREPARE,
            PREPARED,
            "8 train, 1 dev and 1 test clips, 1.5 minutes; 2 transcripts normalised; 1 row was left out",
        ),
        (StageName.TRAIN, trained(75), "75 epochs, loss 12.35"),
        (StageName.TRAIN, trained(75, 14.0), "75 epochs, loss 12.35, dev loss 14; epoch 70 exported"),
        (StageName.TRAIN, trained(0), "the checkpoints had already reached maxEpochs: 75 epochs, loss 12.35"),
        (StageName.EVALUATE, measured(0.125, 0.0321, 1), "WER 12.5%, CER 3.2% on 1 test clip"),
        (StageName.PUBLISH, PUBLISHED, "version 0badcafe in bucket models"),
        (StageName.EVALUATE, measured(None, None, 0), "WER not measured, because the split left no test clips"),
    ],
)
def test_a_summary_says_what_a_stage_came_to(name: StageName, output: Document, summary: str) -> None:
    assert stage_named(name).summary(output) == summary
