"""The set-up of TensorFlow before its first operation."""

import logging

import tensorflow as tf
from speechmodel_stagekit.cpus import available_cpus
from threadpoolctl import threadpool_limits

log = logging.getLogger(__name__)


def prepare_device() -> None:
    """Choose deterministic kernels, one thread per available CPU, and GPU memory that grows with
    the need.

    Runs are equal to the last bit on the same kind of processor with the same number of CPUs. Other
    vector instructions or another number of threads change the order of rounding, and the weights
    drift apart step by step.
    """
    cpus = available_cpus()
    tf.config.threading.set_intra_op_parallelism_threads(cpus)
    tf.config.threading.set_inter_op_parallelism_threads(cpus)
    tf.config.experimental.enable_op_determinism()
    # numpy makes features beside the network; its small products only wait for threads of their own
    threadpool_limits(1, user_api="blas")
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    log.info("TensorFlow %s on %s", tf.__version__, ", ".join(names) or f"{cpus} CPUs")
