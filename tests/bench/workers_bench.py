"""Steps of one worker and of two, at the same batch.

    PYTHONPATH=tests python -m bench.workers_bench [units] [steps]

Both workers run on this machine and share its cores. One worker uses all of them already, so two cannot be faster
here: the ratio shows what the exchange of gradients and the smaller products of matrices cost.
"""

import json
import os
import subprocess
import sys
import time
from statistics import median

import tensorflow as tf
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_training.device import prepare_device
from speechmodel_training.features import COEFFICIENTS
from speechmodel_training.learner import Batch, Learner
from speechmodel_training.network import Geometry, Share
from speechmodel_training.workers import VARIABLE, Workers, configured_workers
from support.ports import free_ports

LABELS, CLIPS, FRAMES = 30, 16, 110
WORKER = "worker"


def main(units: int = 256, steps: int = 20) -> None:
    """Measure and print."""
    print(
        f"{units} units, batches of {CLIPS} clips of {FRAMES} frames, {available_cpus()} CPUs, median of {steps} steps"
    )
    alone, two = (_seconds(count, units, steps) for count in (1, 2))
    print(f"1 worker: {alone:.3f} s; 2 workers that share the CPUs: {two:.3f} s, {two / alone:.2f} times that")


def work(count: int, units: int, steps: int) -> None:
    """Make the steps of one worker and print the seconds of each, as JSON."""
    prepare_device()
    workers = configured_workers(count)
    workers.join()
    learner = Learner(Geometry(units, LABELS), seed=1, learning_rate=1e-4, dropout=0.05, workers=workers)
    batch = _batch(workers)
    learner.train(batch)
    took = []
    for _ in range(steps):
        began = time.perf_counter()
        learner.train(batch)
        _ = learner.loss_sum  # waits for the step
        took.append(time.perf_counter() - began)
    print(json.dumps(took))


def _seconds(count: int, units: int, steps: int) -> float:
    """Return the median time of a step, as the first worker sees it."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", "bench.workers_bench", WORKER, str(count), str(units), str(steps)]
        environment = os.environ | {VARIABLE: json.dumps(config)}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    outputs = [process.communicate()[0] for process in processes]
    return float(median(json.loads(outputs[0])))


def _batch(workers: Workers) -> Batch:
    rows = range(workers.index, CLIPS, workers.count)
    clips = len(rows)
    features = tf.random.stateless_normal([clips, FRAMES, COEFFICIENTS], [1, workers.index])
    labels = tf.sparse.from_dense(tf.constant([[1, 2, 3, 4, 5]] * clips, tf.int32))
    share = Share(tf.constant(rows, tf.int32), tf.constant(CLIPS), tf.constant(FRAMES), tf.constant(1.0))
    return Batch(features, tf.fill([clips], FRAMES), tf.zeros([clips], tf.int32), labels, ("",) * clips, share)


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        work(*map(int, sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
