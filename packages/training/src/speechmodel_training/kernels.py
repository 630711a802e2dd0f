"""The operations that this machine trains the network with, chosen when training starts."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tensorflow as tf
from speechmodel_api.training_spec import Precision

from speechmodel_training.cudnn import cudnn_lstm
from speechmodel_training.lstm import lstm
from speechmodel_training.products import BFLOAT16, FLOAT32, Products

log = logging.getLogger(__name__)

_MATRIX_UNIT = "amx_bf16"
"""Linux's name of the matrix unit for bfloat16. On the processor that was measured, the vector instructions for bfloat16
were slower than those for float32 (decision 43)."""
_GPU_CAPABILITY = (8, 0)
"""Least compute capability of NVIDIA GPUs with matrix units for bfloat16 and for TF32 (Ampere)."""


@dataclass(frozen=True)
class Kernels:
    """The products of matrices, and the recurrent layer."""

    products: Products = FLOAT32
    cudnn: bool = False
    """True to compute the recurrent layer by cuDNN, which has its own precision."""

    @property
    def lstm(self) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
        """The recurrent layer: outputs [time, batch, n] of inputs [time, batch, n], kernel and bias."""
        return cudnn_lstm if self.cudnn else partial(lstm, products=self.products)


PLAIN = Kernels()
"""Those that every machine has, in float32."""


def chosen_kernels(wanted: Precision) -> Kernels:
    """Return the operations for the wanted precision, and log them.

    On a GPU, float32 is float32: TF32, which has 11 significant bits, is on with BFloat16 only.
    """
    gpu = bool(tf.config.list_physical_devices("GPU"))
    rounds = wanted is Precision.BFLOAT16 or (wanted is Precision.AUTO and multiplies_bfloat16())
    log.info(
        "training.precision %s: products in %s; LSTM by %s",
        wanted,
        "bfloat16" if rounds else "float32",
        "cuDNN" if gpu else "a loop",
    )
    tf.config.experimental.enable_tensor_float_32_execution(rounds)
    return Kernels(BFLOAT16 if rounds else FLOAT32, cudnn=gpu)


def slow_precision(wanted: Precision) -> Iterator[str]:
    """Yield a sentence if the wanted precision is slow on this machine."""
    if wanted is Precision.BFLOAT16 and not multiplies_bfloat16():
        yield (
            "training.precision BFloat16 is probably slower than Float32 here: neither AMX nor GPUs of compute "
            "capability 8.0 or above were found; use Auto"
        )


def multiplies_bfloat16() -> bool:
    """Return True if the hardware has matrix units for bfloat16: all GPUs if there are any, and otherwise the processor."""
    if gpus := tf.config.list_physical_devices("GPU"):
        found = (tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus)
        return all(capability >= _GPU_CAPABILITY for capability in found)
    return _MATRIX_UNIT in _cpu_flags()


def _cpu_flags() -> set[str]:
    """Return the instructions of the first processor, and nothing on systems other than Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())
