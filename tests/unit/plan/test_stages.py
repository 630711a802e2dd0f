"""The stages: one object each, in order, with one summary for the condition and the terminal."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from pydantic import ValidationError
from speechmodel_api.audio import SPEECH_LEVEL
from speechmodel_api.base import Document
from speechmodel_api.dataset_spec import Annotations, DatasetFormat, Numbers
from speechmodel_api.decoding_spec import DecodingSpec, GrammarSource
from speechmodel_api.learning import LearningSettings
from speechmodel_api.measures import ErrorRate
from speechmodel_api.schema import S3Location
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.convert import ConvertOutput
from speechmodel_api.stages.evaluate import EvaluateOutput, GrammarFigures, NetworkChoice
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_api.stages.publish import PublishOutput
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_api.tflite import TfliteFile
from speechmodel_api.training_spec import Hyperparameters, ScheduleType
from speechmodel_plan.decoding import decoding
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


SETTINGS = LearningSettings(
    hidden_units=192, batch_size=16, learning_rate=0.003, dropout=0.15, max_epochs=75, schedule=ScheduleType.COSINE
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


def decoded_by_grammar(foreign: int, accepted: int, networks: NetworkChoice | None = None) -> EvaluateOutput:
    figures = GrammarFigures(right=18, wrong=1, rejected=1, foreign=foreign, accepted=accepted)
    return measured(0.1, 0.05, 20).model_copy(update={"free_text_wer": 0.3, "figures": figures, "networks": networks})


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
    task = Task(Owner("ns", "espejo", "uid"), SPEC, PurePosixPath("/workspace"), PurePosixPath("/dataset"))
    stage = stage_named(StageName.PREPARE)
    document = stage.document(task, 1, Outputs({}))
    assert isinstance(document, PrepareInput)
    assert document.speech_level == SPEECH_LEVEL == -22
    assert (document.annotations, document.numbers) == (Annotations.STRIP, Numbers.SPELL)


@pytest.mark.parametrize(("revision", "pinned"), [({}, False), ({"revision": "1"}, False), ({"revision": "2"}, True)])
def test_a_bucket_is_downloaded_to_the_workspace_and_pinned_by_a_revision(
    revision: dict[str, str], pinned: bool
) -> None:
    s3 = {"bucket": "voices", "prefix": "es", "secretRef": {"name": "key"}}
    spec = SpeechModelSpec.model_validate(
        {"language": "es", "dataset": {"source": {"s3": s3}, **revision}, "publish": {"s3": {"bucket": "models"}}}
    )
    task = Task(Owner("ns", "espejo", "uid"), spec, PurePosixPath("/workspace"), PurePosixPath("/dataset"))
    document = stage_named(StageName.PREPARE).document(task, 1, Outputs({}))
    assert isinstance(document, PrepareInput)
    assert document.bucket == S3Location(bucket="voices", prefix="es")
    assert document.source.parent == PurePosixPath("/workspace/sources")
    assert document.pinned == pinned


def test_the_trainer_can_read_a_document_in_which_everything_is_chosen() -> None:
    task = Task(Owner("ns", "espejo", "uid"), SPEC, PurePosixPath("/workspace"), PurePosixPath("/dataset"))
    document = stage_named(StageName.TRAIN).document(task, 1, Outputs().plus(stage_named(StageName.PREPARE), PREPARED))
    sent = document.model_dump_json(by_alias=True, exclude_none=True)  # as programs are started
    read = TrainInput.model_validate_json(sent)
    assert read == document
    assert (read.max_epochs, read.hyperparameters) == (None, Hyperparameters())


@pytest.mark.parametrize(
    ("name", "output", "summary"),
    [
        (
            StageName.PREPARE,
            PREPARED,
            "8 train, 1 dev and 1 test clips, 1.5 minutes; 2 transcripts normalised; 1 row was left out",
        ),
        (
            StageName.PREPARE,
            PREPARED.model_copy(update={"speakers": 12, "unseen_test_speakers": 1, "seen_clips": 3, "normalised": 0}),
            "8 train, 1 dev and 1 test clips, 1.5 minutes; 3 more clips measure known voices; 12 speakers, the test "
            "clips are of 1 unseen voice; 1 row was left out",
        ),
        (
            StageName.PREPARE,
            PREPARED.model_copy(
                update={"speakers": 12, "speakers_guessed": True, "unseen_test_speakers": 2, "normalised": 0}
            ),
            "8 train, 1 dev and 1 test clips, 1.5 minutes; 12 speakers guessed from names of files or folders, the test clips are of 2 "
            "unseen voices; 1 row was left out",
        ),
        (
            StageName.PREPARE,
            PREPARED.model_copy(update={"speakers": 0, "unseen_test_speakers": 0, "normalised": 0}),
            "8 train, 1 dev and 1 test clips, 1.5 minutes; the WER will be for known voices (no speaker is known); "
            "1 row was left out",
        ),
        (
            StageName.PREPARE,
            PREPARED.model_copy(update={"test_clips": 0, "normalised": 0}),
            "8 train, 1 dev and 0 test clips, 1.5 minutes; no test clip is left to measure the model; 1 row was left out",
        ),
        (
            StageName.PREPARE,
            PREPARED.model_copy(update={"listing_digest": "0badcafe" * 8}),
            "8 train, 1 dev and 1 test clips, 1.5 minutes; bucket listing 0badcafe; 2 transcripts normalised; "
            "1 row was left out",
        ),
        (StageName.TRAIN, trained(75), "75 epochs, loss 12.35"),
        (StageName.TRAIN, trained(75, 14.0), "75 epochs, loss 12.35, dev loss 14; epoch 70 exported"),
        (
            StageName.TRAIN,
            trained(75).model_copy(update={"settings": SETTINGS}),
            "75 epochs, loss 12.35; trained with 192 units, batches of 16, learning rate 0.003 (Cosine), dropout 0.15, "
            "75 epochs",
        ),
        (
            StageName.TRAIN,
            trained(75).model_copy(update={"stopped_early": True}),
            "75 epochs, loss 12.35; stopped early, since the dev loss did not improve any more",
        ),
        (StageName.TRAIN, trained(0), "the checkpoints had already reached maxEpochs: 75 epochs, loss 12.35"),
        (StageName.EVALUATE, measured(0.125, 0.0321, 1), "WER 12.5%, CER 3.2% on 1 test clip"),
        (
            StageName.EVALUATE,
            measured(0.125, 0.0321, 1).model_copy(
                update={"wer_unseen_speakers": ErrorRate(rate=0.25, low=0.1, high=0.404, clips=40)}
            ),
            "WER 12.5%, CER 3.2% on 1 test clip; 25.0% for unseen voices (10.0% to 40.4%, 40 clips)",
        ),
        (
            StageName.EVALUATE,
            measured(0.125, 0.0321, 1).model_copy(
                update={
                    "wer_unseen_speakers": ErrorRate(rate=0.25, low=0.1, high=0.404, clips=40, speakers_guessed=True)
                }
            ),
            "WER 12.5%, CER 3.2% on 1 test clip; 25.0% for unseen voices (10.0% to 40.4%, 40 clips, speakers guessed)",
        ),
        (
            StageName.EVALUATE,
            decoded_by_grammar(foreign=0, accepted=0),
            "WER 10.0%, CER 5.0% on 20 test clips with the grammar, WER 30.0% in free text; 18 right, 1 wrong, 1 rejected",
        ),
        (
            StageName.EVALUATE,
            decoded_by_grammar(foreign=9, accepted=2),
            "WER 10.0%, CER 5.0% on 20 test clips with the grammar, WER 30.0% in free text; 18 right, 1 wrong, 1 rejected, "
            "2 of 9 foreign clips accepted",
        ),
        (
            StageName.EVALUATE,
            decoded_by_grammar(
                foreign=0, accepted=0, networks=NetworkChoice(clips=60, phrases_right=45, acoustic_right=50)
            ),
            "WER 10.0%, CER 5.0% on 20 test clips with the grammar, WER 30.0% in free text; 18 right, 1 wrong, 1 rejected",
        ),
        (
            StageName.EVALUATE,
            decoded_by_grammar(
                foreign=0, accepted=0, networks=NetworkChoice(clips=60, phrases_right=44, acoustic_right=50)
            ),
            "WER 10.0%, CER 5.0% on 20 test clips with the grammar, WER 30.0% in free text; 18 right, 1 wrong, 1 rejected; "
            "the network of DeepSpeech decodes the grammar, because it recognised 50 of 60 calibration clips and the phrase "
            "network 44",
        ),
        (StageName.PUBLISH, PUBLISHED, "version 0badcafe in bucket models"),
        (StageName.EVALUATE, measured(None, None, 0), "WER not measured, because the split left no test clips"),
    ],
)
def test_a_summary_says_what_a_stage_came_to(name: StageName, output: Document, summary: str) -> None:
    assert stage_named(name).summary(output) == summary


@pytest.mark.parametrize(
    ("layout", "given", "source"),
    [
        (DatasetFormat.COMMANDS, {}, GrammarSource.DATASET),
        (DatasetFormat.DEEPSPEECH_CSV, {}, GrammarSource.FREE_TEXT),
        (DatasetFormat.COMMON_VOICE, {}, GrammarSource.FREE_TEXT),
        (DatasetFormat.KALDI, {}, GrammarSource.FREE_TEXT),
        (DatasetFormat.DEEPSPEECH_CSV, {"grammar": "Dataset"}, GrammarSource.DATASET),
        (DatasetFormat.COMMANDS, {"grammar": "FreeText"}, GrammarSource.FREE_TEXT),
        (DatasetFormat.COMMANDS, {"phrases": ["ok"]}, GrammarSource.PHRASES),
        (DatasetFormat.DEEPSPEECH_CSV, {"intents": {"TurnOn": ["ok"]}}, GrammarSource.PHRASES),
    ],
)
def test_commands_are_decoded_by_a_grammar_unless_the_spec_says_otherwise(
    layout: DatasetFormat, given: dict[str, Any], source: GrammarSource
) -> None:
    spec = SpeechModelSpec.model_validate(
        {
            "language": "es",
            "dataset": {"source": {"persistentVolumeClaim": {"claimName": "clips"}}, "format": layout},
            "decoding": given,
            "publish": {"s3": {"bucket": "models"}},
        }
    )
    assert decoding(spec).grammar is source
    assert (decoding(spec).phrases, decoding(spec).intents) == (spec.decoding.phrases, spec.decoding.intents)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"grammar": "Phrases"}, "set phrases or intents if grammar is Phrases"),
        ({"grammar": "Dataset", "phrases": ["ok"]}, "leave both out if grammar is Dataset or FreeText"),
        ({"grammar": "FreeText", "intents": {"TurnOn": ["ok"]}}, "leave both out if grammar is Dataset or FreeText"),
        ({"intents": {"TurnOn": []}}, "intents.TurnOn"),
        ({"intents": {"TurnOn": [""]}}, "intents.TurnOn.0"),
        ({"intents": {"turn on": ["ok"]}}, "String should match pattern"),
        ({"intents": {"a" * 64: ["ok"]}}, "at most 63 characters"),
        ({"intents": {"TurnOn": ["ok"] * 1001}}, "at most 1000 items"),
        (
            {"phrases": ["a" * 500] * 253},
            "phrases, intents and lists have 127265 bytes as JSON; at most 126976 are allowed",
        ),
        ({"intents": {"A": ["a" * 500] * 253}}, "have 127274 bytes as JSON; at most 126976 are allowed"),
        (
            {"phrases": ["{a}"], "lists": {"a": ["ñ" * 200] * 400}},
            "have 161217 bytes as JSON; at most 126976 are allowed",
        ),
    ],
)
def test_decoding_that_contradicts_itself_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DecodingSpec.model_validate(given)


@pytest.mark.parametrize("name", ["HassTurnOn", "ask_weather", "faq/ask_name", "turn-on", "lights.on", "_x", "a" * 63])
def test_intents_have_the_names_that_others_give_them(name: str) -> None:
    given = DecodingSpec.model_validate({"grammar": "Phrases", "intents": {name: ["ok"]}})
    assert given.intents == {name: ("ok",)}


@pytest.mark.parametrize("value", ["a", "ab", '"', '"' * 200, "\\\\", "\t", "ñ" * 100])
def test_every_grammar_that_is_accepted_fits_into_an_environment_variable(value: str) -> None:
    outputs = {
        StageName.PREPARE: PREPARED,
        StageName.TRAIN: trained(1),
        StageName.CONVERT: ConvertOutput(model_sha256=SHA, size_bytes=1, acoustic_sha256=SHA),
    }
    done = Outputs()
    for name, output in outputs.items():
        done = done.plus(stage_named(name), output)
    sizes = []
    for values in range(250, 32_000, 250):
        lists = {str(first): [value] * min(1000, values - first) for first in range(0, values, 1000)}
        try:
            given = DecodingSpec.model_validate(
                {"phrases": ["{0}"], "intents": {"A": ["{1}"], "B": ["{2}"]}, "lists": lists}
            )
        except ValidationError:
            break
        spec = SPEC.model_copy(update={"decoding": given})
        task = Task(Owner("speech", "espejo", "u" * 36), spec, PurePosixPath("/workspace"), PurePosixPath("/dataset"))
        document = stage_named(StageName.EVALUATE).document(task, 1, done)
        sent = document.model_dump_json(by_alias=True, exclude_none=True)
        sizes.append(len(f"STAGE_INPUT={sent}\0".encode()))
    assert 100_000 < max(sizes) <= 128 * 1024


def test_the_summary_of_convert_names_the_files_for_people() -> None:
    output = ConvertOutput(model_sha256=SHA, size_bytes=9_500_000)
    summary = stage_named(StageName.CONVERT).summary
    assert summary(output) == "memory-mapped model of 9.5 MB"
    tflite = output.model_copy(update={"tflite": TfliteFile(sha256=SHA, size_bytes=2_500_000)})
    assert summary(tflite) == "memory-mapped model of 9.5 MB, TFLite model of 2.5 MB"
