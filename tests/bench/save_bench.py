"""Save a network of 2048 units beside training, against a copy and a write that training waits for.

    PYTHONPATH=tests python -m bench.save_bench [runs]

The stall is the time of the call that starts a save, and of the step after it, less that of a step without a
save: the step copies what the save still holds.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import tensorflow as tf
from speechmodel_training.background import BackgroundWriter
from speechmodel_training.checkpoints import write_tensors
from speechmodel_training.device import prepare_device
from speechmodel_training.features import COEFFICIENTS
from speechmodel_training.learner import Batch, Learner
from speechmodel_training.network import Geometry

UNITS, LABELS, CLIPS, FRAMES = 2048, 30, 2, 20


def main(runs: int) -> None:
    """Measure and print."""
    prepare_device()
    learner, batch = Learner(Geometry(UNITS, LABELS), seed=1, learning_rate=1e-4, dropout=0.05), _batch()
    _step(learner, batch)
    steps, calls, steps_after, waiting = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, BackgroundWriter() as writer:
        path = Path(folder) / "model"
        for _ in range(runs):
            steps.append(_step(learner, batch))
            began = time.perf_counter()
            tensors, written = learner.tensors(), time.perf_counter()
            calls.append(written - began)
            steps_after.append(_step(learner, batch))
            writer.start(lambda tensors=tensors: write_tensors(path, tensors))  # type: ignore[misc]
            writer.wait()
            began = time.perf_counter()
            write_tensors(path, {name: np.array(tensor) for name, tensor in learner.tensors().items()})
            waiting.append(time.perf_counter() - began)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    stalls = [after - step for after, step in zip(steps_after, steps, strict=True)]
    print(f"save {size / 1e6:.0f} MB, {runs} alternating runs")
    print(f"start a save beside training: median {1000 * median(calls):.1f} ms, most {1000 * max(calls):.1f} ms")
    print(f"step after it, less a step without a save: median {1000 * median(stalls):.0f} ms, of {median(steps):.2f} s")
    print(f"copy and write that training waits for: median {median(waiting):.2f} s, least {min(waiting):.2f} s")


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
