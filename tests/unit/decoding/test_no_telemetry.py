"""ONNX Runtime sends nothing about its users."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OFF = ("CI", "ORT_DISABLE_TELEMETRY")
"""Variables by which ONNX Runtime leaves its telemetry off."""


@pytest.mark.parametrize(
    ("module", "begun"), [("onnxruntime", [".ses"]), ("speechmodel_decoding", []), ("speechmodel_inference.app", [])]
)
def test_no_telemetry_begins(module: str, begun: list[str], tmp_path: Path) -> None:
    """ONNX Runtime writes the file .ses where it begins its telemetry."""
    ours = {name: value for name, value in os.environ.items() if name not in OFF} | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", f"import {module}"], env=ours, check=True)
    assert [path.name for path in tmp_path.iterdir()] == begun
