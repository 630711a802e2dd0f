"""The set-up of TensorFlow, and the warning of a trainer whose GPU is not used."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf
from speechmodel_api.progress import TrainProgress
from speechmodel_training.device import missing_gpu
from speechmodel_training.gpus import GpuUse

from .conftest import Workspace


def test_onednn_computes_on_every_processor_and_keras_is_not_imported() -> None:
    program = (
        "import os, sys, speechmodel_training.trainer; "
        "print(os.environ['TF_ENABLE_ONEDNN_OPTS'], 'keras' in sys.modules)"
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ours | {"TF_CPP_MIN_LOG_LEVEL": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "oneDNN custom operations are on" in done.stderr
    assert done.stdout == "1 False\n"


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "amd.com/gpu"])
def test_a_pod_with_a_gpu_that_the_image_cannot_use_is_told_the_image_that_can(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_gpu() is None, "no GPU is asked for"
    monkeypatch.setenv("SPEECHMODEL_GPUS", name)
    sentence = missing_gpu() or ""
    assert sentence.startswith(f"the pod has {name}, but TensorFlow finds no GPU and trains on CPUs: ")
    assert "TENSORFLOW=cuda" in sentence
    assert "images.training.tag" in sentence and 'images.training.digest to ""' in sentence, "the chart rejects both"
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"is_cuda_build": True})
    assert "driver" in (missing_gpu() or "") and "images.training.tag" not in (missing_gpu() or "")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert missing_gpu() is None, "TensorFlow has a GPU"


@pytest.mark.training
def test_the_trainer_reports_a_gpu_that_it_does_not_use(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECHMODEL_GPUS", "nvidia.com/mig-1g.10gb")
    workspace.train(maxEpochs=1)
    records = [TrainProgress.model_validate(json.loads(line)) for line in capsys.readouterr().out.splitlines()]
    assert {record.warning for record in records} == {missing_gpu()} != {None}


def test_the_use_of_a_gpu_is_that_of_the_first_and_unknown_where_nvml_does_not_measure_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NVML is a stand-in: no GPU is here."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert GpuUse().latest() is None, "without a GPU"
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert GpuUse().latest() is None, "the image for CPUs has no NVML"

    class NotMeasured(Exception):
        """NVML's error for parts of a GPU."""

    rates = {0: 90, 1: 30}
    nvml = SimpleNamespace(
        NVMLError=NotMeasured,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=rates[gpu]),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    use = GpuUse()
    assert use.latest() == 0.9

    def not_measured(gpu: int) -> None:
        raise NotMeasured

    nvml.nvmlDeviceGetUtilizationRates = not_measured
    assert use.latest() is None
    nvml.nvmlInit = lambda: not_measured(0)
    assert GpuUse().latest() is None, "without a driver"
