"""The finished epochs for people and plots: training.csv, and an event file for TensorBoard."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from speechmodel_api.workspace import HISTORY
from speechmodel_stagekit.durable import replace_file

from speechmodel_training.epochs import EpochRecord, as_csv

SUMMARIES = "tensorboard"
"""Folder in that of a lineage with the event file of TensorBoard."""
_SCALARS = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
"""Shows a tensor as a point of a curve. tf.summary.scalar does the same, but only where TensorBoard is
installed."""


class History:
    """training.csv and the event file in a lineage's folder, which grow while it trains.

    Both are written again at the start, so epochs that a killed run had not saved appear once.
    """

    def __init__(self, folder: Path, records: Sequence[EpochRecord]) -> None:
        self._path = folder / HISTORY
        shutil.rmtree(folder / SUMMARIES, ignore_errors=True)
        self._events = tf.summary.create_file_writer(str(folder / SUMMARIES))
        self._records = list(records)
        for record in records:
            self._add_events(record)
        self._write()

    def add(self, record: EpochRecord) -> None:
        """Add a finished epoch. Raises OSError and the errors of TensorFlow when it cannot be written."""
        self._records.append(record)
        self._add_events(record)
        self._write()

    def _add_events(self, record: EpochRecord) -> None:
        curves = {
            "loss/train": record.loss,
            "loss/dev": record.dev_loss,
            "wer/dev": record.dev_wer,
            "learning_rate": record.learning_rate,
            "clips_per_second": record.clips_per_second,
        }
        with self._events.as_default(step=record.epoch):
            for name, value in curves.items():
                if value is not None:
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=_SCALARS)

    def _write(self) -> None:
        self._events.flush()
        replace_file(self._path, as_csv(self._records))
