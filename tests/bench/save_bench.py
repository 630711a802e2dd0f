"""Save a network of 2048 units beside training, against a copy and a write that training waits for.

    PYTHONPATH=tests python -m bench.save_bench [runs]

A save makes training wait in three ways: in the call that starts it, in the next step, which copies what is not yet in
the file, and in later ones, which share the disk with the write. So the time of each step is compared with the
step before the save, and the same difference is taken where nothing is saved.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import tensorflow as tf
from speechmodel_stagekit.durable import sync_folder
from speechmodel_training.background import BackgroundWriter
from speechmodel_training.device import prepare_device
from speechmodel_training.features import COEFFICIENTS
from speechmodel_training.learner import Batch, Learner, Tensors, sum_of_tensors
from speechmodel_training.network import Geometry
from speechmodel_training.tensor_files import write_tensors

UNITS, LABELS, CLIPS, FRAMES = 2048, 30, 2, 20


def main(runs: int) -> None:
    """Measure and print."""
    prepare_device()
    learner, batch = Learner(Geometry(UNITS, LABELS), seed=1, learning_rate=1e-4, dropout=0.05), _batch()
    _step(learner, batch)
    unsaved, calls, first, during, waiting, steps = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder, BackgroundWriter() as writer:
        path = Path(folder) / "model"
        for _ in range(runs):
            steps.append(_step(learner, batch))
            unsaved.append(_step(learner, batch) - steps[-1])

            steps.append(_step(learner, batch))
            began = time.perf_counter()
            tensors = learner.tensors()
            writer.start(partial(_write, path, tensors))
            del tensors
            calls.append(time.perf_counter() - began)
            first.append(_step(learner, batch) - steps[-1])
            while not writer.idle():
                during.append(_step(learner, batch) - steps[-1])

            began = time.perf_counter()
            _write(path, {name: np.array(tensor) for name, tensor in learner.tensors().items()})
            waiting.append(time.perf_counter() - began)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    print(f"save {size / 1e6:.0f} MB, {runs} alternating runs, steps of {median(steps):.2f} s")
    print(f"the call that starts a save: {_milliseconds(calls)}")
    print(f"the step after it is longer by: {_milliseconds(first)}; without a save by {_milliseconds(unsaved)}")
    print(f"the other steps during the write are longer by: {_milliseconds(during)}")
    print(f"copy and write that training waits for: median {median(waiting):.2f} s, least {min(waiting):.2f} s")


def _write(path: Path, tensors: Tensors) -> None:
    sum_of_tensors(tensors)
    write_tensors(path, tensors)
    tensors.clear()
    sync_folder(path.parent)


def _milliseconds(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    low, high = min(seconds), max(seconds)
    return f"median {1000 * median(seconds):.0f} ms ({1000 * low:.0f} to {1000 * high:.0f})"


def _step(learner: Learner, batch: Batch) -> float:
    began = time.perf_counter()
    learner.train(batch)
    _ = learner.loss_sum  # waits for the step
    return time.perf_counter() - began


def _batch() -> Batch:
    features = np.random.default_rng(0).standard_normal((CLIPS, FRAMES, COEFFICIENTS), np.float32)
    labels = tf.sparse.from_dense(np.tile(np.arange(1, 6, dtype=np.int32), (CLIPS, 1)))
    return Batch(tf.constant(features), tf.fill([CLIPS], FRAMES), tf.zeros([CLIPS], tf.int32), labels, ("",) * CLIPS)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
