"""The image of the engine CoquiSTT trains a model, in a container without a network and without a writable root."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from speechmodel_api.dataset_spec import Split
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.stages.train import TrainOutput
from support.coqui_image import SHARED, USER, CoquiImage, stop
from support.workplace import read_until, rest
from support.workspaces import DATA, TRAIN, Workspace, make_workspace

pytestmark = [pytest.mark.training, pytest.mark.slow, pytest.mark.cluster]

EPOCHS = 4


@pytest.fixture
def workspace(tmp_path: Path, deepspeech: Path) -> Workspace:
    """A dataset, with nothing trained, in a folder of the image's user."""
    made = make_workspace(tmp_path, deepspeech, Split())
    shutil.rmtree(made.graph.parent)
    for path in (made.root, *made.root.rglob("*")):
        os.chown(path, USER, USER)
    return made


def test_the_image_trains_what_convert_and_evaluate_take(workspace: Workspace, tmp_path: Path) -> None:
    image = CoquiImage.build()
    document = {
        "key": TRAIN,
        "attempt": 1,
        "workspace": SHARED,
        "dataKey": DATA,
        "datasetDigest": workspace.dataset.dataset_digest,
        "lineage": "22222222",
        "language": "es",
        "maxEpochs": EPOCHS,
        "hyperparameters": {"hiddenUnits": 64, "batchSize": 1, "learningRate": 0.003, "dropout": 0},
        "augmentation": [],
        "checkpoints": {"everySeconds": 600, "keep": 3},
    }
    result = workspace.root / "result.json"

    def start() -> subprocess.Popen[str]:
        result.unlink(missing_ok=True)
        environment = {"STAGE_INPUT": json.dumps(document), "STAGE_RESULT": f"{SHARED}/{result.name}"}
        return image.start(tmp_path / "root", workspace.root, **environment)

    first = start()
    read_until(first, lambda line: json.loads(line)["epoch"] == 1)
    stop(first)
    code, _ = rest(first)
    assert code == ExitCode.STOPPED
    document["attempt"] = 2
    code, progress = rest(start())
    assert code == ExitCode.DONE
    assert json.loads(progress.splitlines()[0])["epoch"] >= 1, "it continues the stopped training"
    output = TrainOutput.model_validate(json.loads(result.read_bytes())["output"])
    assert (output.epoch, output.trained_epochs) == (EPOCHS, EPOCHS)
    converted, _ = workspace.finish()
    assert converted.model_sha256
