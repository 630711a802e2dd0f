"""The card of a version, as publish writes it."""

from math import exp

from speechmodel_api.learning import LearningSettings
from speechmodel_api.measures import ErrorRate
from speechmodel_api.published import EpochLoss, ModelCard
from speechmodel_api.stages.evaluate import EvaluateOutput, GrammarFigures
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.train import TrainOutput

DIGEST = "3f9a1c" + "0" * 58


def card() -> ModelCard:
    """A model of 25 voices with every figure."""
    return ModelCard(
        dataset=PrepareOutput(
            dataset_digest=DIGEST,
            alphabet_digest=DIGEST,
            labels=17,
            train_clips=240,
            dev_clips=30,
            test_clips=26,
            audio_seconds=412.5,
            negatives=60,
            speakers=25,
            note="1 row was left out: original/es/private.wav is empty",
        ),
        training=TrainOutput(
            epoch=36,
            step=1080,
            loss=0.8,
            dev_loss=2.9,
            exported_epoch=33,
            trained_epochs=36,
            settings=LearningSettings(
                hidden_units=128, batch_size=8, learning_rate=1e-3, dropout=0.1, max_epochs=36, schedule="Cosine"
            ),
            graph_sha256=DIGEST,
            graph_bytes=1,
        ),
        evaluation=EvaluateOutput(
            clips=26,
            wer=0.0694,
            cer=0.04,
            wer_unseen_speakers=ErrorRate(rate=0.0694, low=0.014, high=0.148, clips=26, speakers_guessed=True),
            wer_seen_speakers=ErrorRate(rate=0.011, low=0.0, high=0.032, clips=30),
            figures=GrammarFigures(right=24, wrong=0, rejected=2, foreign=40, accepted=1),
            report_sha256=DIGEST,
            selftest_sha256=DIGEST,
        ),
        epochs=tuple(
            EpochLoss(epoch=epoch, loss=60 * exp(-epoch / 7) + 0.8, dev_loss=58 * exp(-epoch / 8) + 2.9)
            for epoch in range(1, 37)
        ),
    )
