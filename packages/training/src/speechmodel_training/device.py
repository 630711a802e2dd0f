"""The set-up of TensorFlow before its first operation."""

import logging
import os
from functools import cache

import tensorflow as tf
from speechmodel_api.pods import GPUS_VARIABLE
from speechmodel_stagekit.cpus import available_cpus

log = logging.getLogger(__name__)


def prepare_device() -> None:
    """Choose deterministic kernels, one thread per available CPU, and GPU memory that grows with
    the need.

    Runs are equal to the last bit on the same kind of processor with the same number of CPUs. Other
    vector instructions or another number of threads change the order of rounding, and the weights
    drift apart step by step.
    """
    _let_idle_threads_sleep()
    cpus = available_cpus()
    tf.config.threading.set_intra_op_parallelism_threads(cpus)
    tf.config.threading.set_inter_op_parallelism_threads(cpus)
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    log.info("TensorFlow %s on %s", tf.__version__, ", ".join(names) or f"{cpus} CPUs")
    if (problem := missing_gpu()) is not None:
        log.warning("%s", problem)


def missing_gpu() -> str | None:
    """Return a sentence if the pod asks for a GPU and TensorFlow finds none."""
    wanted = os.environ.get(GPUS_VARIABLE, "")
    if not wanted or tf.config.list_physical_devices("GPU"):
        return None
    if tf.sysconfig.get_build_info()["is_cuda_build"]:
        remedy = "the image has CUDA, so look at the driver of the node and at training.podTemplate.runtimeClassName, which is often nvidia"
    else:
        remedy = (
            "this training image is for CPUs. Set images.training.tag of the chart to a CUDA build "
            '(docker build --target training --build-arg TENSORFLOW=cuda) and images.training.digest to "", '
            "or remove the GPU from training.podTemplate.resources"
        )
    return f"the pod has {wanted}, but TensorFlow finds no GPU and trains on CPUs: {remedy}"


@cache
def _let_idle_threads_sleep() -> None:
    """Let the threads of TensorFlow sleep when they have no work. By default they spin, on the CPU that the
    augmentation of the next batch needs.

    TensorFlow takes this option only where a program turns eager execution on.
    """
    options = tf.compat.v1.ConfigProto()
    options.experimental.disable_thread_spinning = True
    tf.compat.v1.disable_eager_execution()
    tf.compat.v1.enable_eager_execution(options)
