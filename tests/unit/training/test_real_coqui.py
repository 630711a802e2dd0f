"""The settings that the engine CoquiSTT takes, on coqui-stt-training 1.4.0 itself."""

import pytest
from speechmodel_api.training_engine import COQUI_AUGMENTATIONS, COQUI_PYTHON
from speechmodel_stagekit.errors import Stopped
from speechmodel_stagekit.program import stop_requested
from speechmodel_training.coqui.epochs import Epochs
from speechmodel_training.coqui.stage import train
from support.coqui import coqui

from .conftest import Workspace

pytestmark = [pytest.mark.training, pytest.mark.slow]

NO_GAIN = {"patience": 1, "minDelta": 1000}


def test_every_setting_works_and_a_reduced_rate_outlives_a_stop(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COQUI_PYTHON, str(coqui()))
    changes = {
        "hyperparameters": {"hiddenUnits": 16, "batchSize": 2, "layerNorm": True, "learningRate": 0.001},
        "augmentation": [f"{name}[p=0.5]" for name in sorted(COQUI_AUGMENTATIONS)],
        "reduceOnPlateau": NO_GAIN | {"factor": 0.5},
        "earlyStop": NO_GAIN | {"patience": 9},
    }
    finish = Epochs._finish_epoch

    def finish_and_stop(self: Epochs, *, stopped_early: bool) -> None:
        finish(self, stopped_early=stopped_early)
        if self.state.epoch == 3:
            stop_requested.set()

    with monkeypatch.context() as stopped:
        stopped.setattr(Epochs, "_finish_epoch", finish_and_stop)
        try:
            with pytest.raises(Stopped, match="3 epochs finished"):
                train(workspace.input(maxEpochs=4, **changes))
        finally:
            stop_requested.clear()
    output = train(workspace.input(maxEpochs=4, attempt=2, **changes))
    assert output.epoch == 4 and output.exported_epoch in (1, 2, 3, 4)
    assert workspace.graph().stat().st_size == output.graph_bytes
    history = workspace.history()
    assert all(float(row["dev_loss"]) > 0 for row in history)
    rates = [float(row["learning_rate"]) for row in history]
    assert rates[0] == 0.001 and rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.001, "it is reduced during the first three epochs"
