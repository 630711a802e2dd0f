"""The operations by which this machine trains the network, chosen when training starts."""

import logging
import os
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
"""Name that Linux gives to a unit for matrices of bfloat16. Without one, the vector instructions for bfloat16 are slower
than those for float32 (decision 43)."""
_GPU_CAPABILITY = (8, 0)
"""Least compute capability of NVIDIA GPUs with units for matrices of bfloat16 (Ampere)."""


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


ON_CPU = Kernels()
"""The operations of a processor, in float32."""


def chosen_kernels(wanted: Precision) -> Kernels:
    """Return the operations for the wanted precision, and log them."""
    gpu = bool(tf.config.list_physical_devices("GPU"))
    rounds = wanted is Precision.BFLOAT16 or (wanted is Precision.AUTO and multiplies_bfloat16())
    log.info(
        "training.precision %s: products in %s; LSTM by %s",
        wanted,
        "bfloat16" if rounds else "float32",
        "cuDNN" if gpu else "the same products",
    )
    return Kernels(BFLOAT16 if rounds else FLOAT32, cudnn=gpu)


def slow_precision(wanted: Precision) -> Iterator[str]:
    """Yield a sentence if the wanted precision is slow on this machine."""
    if wanted is Precision.BFLOAT16 and not multiplies_bfloat16():
        yield "precision BFloat16 is slower than Float32 here, because no unit for matrices (AMX or a GPU) is there; use Auto"


def multiplies_bfloat16() -> bool:
    """Return True if all GPUs have units for matrices of bfloat16 or, without GPUs, the processor has."""
    if gpus := tf.config.list_physical_devices("GPU"):
        found = (tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus)
        return all(capability >= _GPU_CAPABILITY for capability in found)
    return _MATRIX_UNIT in _cpu_flags()


def _cpu_flags() -> set[str]:
    """Return the instructions of the first processor, and nothing on systems other than Linux."""
    path = Path(os.sep, "proc", "cpuinfo")
    lines = path.read_text(encoding="ascii", errors="replace").splitlines() if path.exists() else []
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())
