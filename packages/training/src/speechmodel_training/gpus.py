"""GPU utilization, read from NVIDIA's management library (NVML), which only the CUDA build contains."""

import importlib
import logging
from types import ModuleType

import tensorflow as tf

log = logging.getLogger(__name__)


class GpuUse:
    """The utilization of the GPU that TensorFlow computes on, which is the first one."""

    def __init__(self) -> None:
        self._nvml: ModuleType | None = None
        self._gpu: object = None
        if not tf.config.list_physical_devices("GPU"):
            return
        try:
            self._nvml = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(0)
        except (ImportError, OSError, RuntimeError, self._error) as error:
            log.info("GPU utilization is not available: %s", error)

    def latest(self) -> float | None:
        """Return the share of time, from 0 to 1, in which the GPU was busy in the last sample period (1/6 to 1 s).

        None without GPUs, and where NVML does not measure it, as with a part of a GPU (MIG).
        """
        if self._nvml is None or self._gpu is None:
            return None
        try:
            percent: int = self._nvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu
        except self._error:
            return None
        return percent / 100

    @property
    def _error(self) -> type[Exception]:
        """NVML's error, or ImportError if NVML was not imported."""
        found: type[Exception] = getattr(self._nvml, "NVMLError", ImportError)
        return found
