"""The use of the GPUs, by NVIDIA's management library (NVML), which the CUDA build has."""

import importlib
import logging
from types import ModuleType
from typing import Any

import tensorflow as tf

log = logging.getLogger(__name__)


class GpuUse:
    """The use of the GPUs that this pod has."""

    def __init__(self) -> None:
        self._nvml: ModuleType | None = None
        self._gpus: list[Any] = []
        if not tf.config.list_physical_devices("GPU"):
            return
        try:
            self._nvml = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._gpus = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(self._nvml.nvmlDeviceGetCount())]
        except (ImportError, OSError, RuntimeError, self._error) as error:
            log.info("the use of the GPU is unknown: %s", error)

    def latest(self) -> float | None:
        """Return the share of the last sample period (1/6 to 1 s) in which the GPUs computed, from 0 to 1: their mean.

        None without GPUs, and where NVML does not measure it, as with a part of a GPU (MIG).
        """
        if self._nvml is None or not self._gpus:
            return None
        try:
            rates: list[int] = [self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu for gpu in self._gpus]
        except self._error:
            return None
        return sum(rates) / len(rates) / 100

    @property
    def _error(self) -> type[Exception]:
        """The error of NVML, or one that nothing raises while it is not imported."""
        found: type[Exception] = getattr(self._nvml, "NVMLError", ImportError)
        return found
