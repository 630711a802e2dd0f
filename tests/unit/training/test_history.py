"""The finished epochs for people: training.csv and the event file of TensorBoard, and greedy decoding."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_training.epochs import EpochRecord
from speechmodel_training.greedy import WordErrors, greedy_texts
from speechmodel_training.history import SUMMARIES, History


def record(epoch: int, dev_loss: float | None = 2.0) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        step=10 * epoch,
        loss=3.0,
        dev_loss=dev_loss,
        seconds=1.5,
        clips_per_second=20.0,
        learning_rate=0.001,
        dev_wer=None if dev_loss is None else 0.25,
    )


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The points that TensorBoard shows."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in (folder / SUMMARIES).iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def epochs(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "training.csv").open(encoding="utf-8", newline="") as file:
        return [(row["epoch"], row["dev_loss"], row["dev_wer"]) for row in csv.DictReader(file)]


def test_a_run_that_repeats_epochs_shows_each_of_them_once(tmp_path: Path) -> None:
    killed = History(tmp_path, [])
    for epoch in (1, 2, 3):
        killed.add(record(epoch))
    assert epochs(tmp_path) == [("1", "2.0", "0.25"), ("2", "2.0", "0.25"), ("3", "2.0", "0.25")]
    History(tmp_path, [record(1)]).add(record(2))
    assert epochs(tmp_path) == [("1", "2.0", "0.25"), ("2", "2.0", "0.25")]
    assert curves(tmp_path) == {
        "loss/train": [(1, 3.0), (2, 3.0)],
        "loss/dev": [(1, 2.0), (2, 2.0)],
        "wer/dev": [(1, 0.25), (2, 0.25)],
        "learning_rate": [(1, pytest.approx(0.001)), (2, pytest.approx(0.001))],
        "clips_per_second": [(1, 20.0), (2, 20.0)],
    }


def test_without_dev_clips_there_is_no_curve_of_them(tmp_path: Path) -> None:
    History(tmp_path, [record(1, dev_loss=None)])
    assert epochs(tmp_path) == [("1", "", "")]
    assert set(curves(tmp_path)) == {"loss/train", "learning_rate", "clips_per_second"}


def test_greedy_decoding_merges_repeats_and_drops_blanks() -> None:
    labels = np.array([[0, 3], [0, 1], [3, 1], [0, 2], [1, 0]])  # [time, batch]; 3 is the blank
    assert greedy_texts(labels, np.array([5, 4]), "ab ") == ["aab", "b "]


def test_word_errors_are_counted_over_all_clips() -> None:
    errors = WordErrors()
    errors.count(["ok espejo", "hola"], ["ok", "hola que tal"])
    errors.count(["uno"], [""])
    assert errors.rate == 4 / 4
