"""Checkpoints go both ways between our trainer and coqui-stt-training 1.4.0, the successor of deepspeech_training."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_training.checkpoints import read_state
from speechmodel_training.network import Geometry
from support.coqui import coqui, train, write_table

from .conftest import ALPHABET, FIXTURES, Row, Workspace

pytestmark = [pytest.mark.training, pytest.mark.slow]

UNITS = 48
TINY_RATE = 1e-9
"""A learning rate that leaves the weights as they are, so that the loss of an epoch is that of the checkpoint."""
UNCHANGED = {"learningRate": TINY_RATE, "dropout": 0.0, "batchSize": 7, "seed": 1}
PLAIN = {"augmentation": [], "schedule": {"type": "Constant"}}
FLAGS = ("--n_hidden", str(UNITS), "--train_batch_size", "7", "--dev_batch_size", "2", "--dropout_rate", "0")
ONE_EPOCH = ("--epochs", "1", "--load_train", "last", "--learning_rate", str(TINY_RATE))
UNCHANGED_FLAGS = (*FLAGS, *ONE_EPOCH, "--force_initialize_learning_rate", "true")
SAME_LOSS = 0.01
"""Relative difference of the losses: our trainer reads one frame more, which the runtime adds. Measured: 0.001."""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> tuple[Path, float, float]:
    """A folder of checkpoints after 12 epochs that was moved, and its losses in training and on dev."""
    python, folder = coqui(), tmp_path_factory.mktemp("coqui")
    tables = parts(folder, rows)
    labels = ("--alphabet_config_path", str(FIXTURES / "alphabet.txt"))
    train(python, folder / "here", folder / "here", *tables, *labels, *FLAGS, "--epochs", "12")
    losses = train(python, folder / "here", folder / "after", *tables, *labels, *UNCHANGED_FLAGS)
    moved = (folder / "here").rename(folder / "moved")
    return moved, losses["training"], losses["validating"]


def parts(folder: Path, rows: list[Row]) -> tuple[Path, Path]:
    """Return the tables of the parts train and dev, with the clips of Workspace.prepare."""
    return write_table(folder / "train.csv", FIXTURES, rows[:14]), write_table(folder / "dev.csv", FIXTURES, rows[14:])


@pytest.mark.parametrize("resume", [False, True], ids=["weights", "with steps and moments"])
def test_a_checkpoint_of_coqui_has_the_same_loss_here(
    theirs: tuple[Path, float, float], make_workspace: Callable[[str], Workspace], *, resume: bool
) -> None:
    folder, loss, dev_loss = theirs
    workspace = make_workspace("ours")
    changes: dict[str, object] = {"maxEpochs": 1, "hyperparameters": UNCHANGED, **PLAIN}
    # hiddenUnits is its own; without resume, it would be best_dev of the folder
    changes |= {"initFrom": str(folder if resume else folder / "train-24"), "resume": resume}
    output = workspace.train(**changes)
    assert output.loss == pytest.approx(loss, rel=SAME_LOSS)
    assert output.dev_loss == pytest.approx(dev_loss, rel=SAME_LOSS)
    assert output.settings is not None and output.settings.hidden_units == UNITS
    assert output.step == (12 * 2 if resume else 0) + 2


def test_coqui_continues_one_of_our_checkpoints(workspace: Workspace, rows: list[Row], tmp_path: Path) -> None:
    python = coqui()
    learning = UNCHANGED | {"hiddenUnits": UNITS, "learningRate": 0.003}
    workspace.train(maxEpochs=12, hyperparameters=learning, **PLAIN)
    newest = max(workspace.lineage.glob("step-*"))
    moved = shutil.copytree(newest, tmp_path / "moved")
    shutil.rmtree(workspace.path)
    labels = ("--alphabet_config_path", str(moved / "alphabet.txt"))
    losses = train(python, moved, tmp_path / "after", *parts(tmp_path, rows), *labels, *UNCHANGED_FLAGS)
    assert 0 < losses["training"] < 100
    after = tf.train.load_checkpoint(str(tmp_path / "after" / f"train-{read_state(moved).step + 2}"))
    ours = tf.train.load_checkpoint(str(moved / "model"))
    for name in Geometry(UNITS, len(ALPHABET)).weight_shapes():
        np.testing.assert_allclose(after.get_tensor(name), ours.get_tensor(name), atol=1e-6, err_msg=name)
