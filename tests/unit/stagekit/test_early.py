"""A container's first process ends on SIGTERM from its first moment on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLOW = "import speechmodel_pipeline, time; print('imported', flush=True); time.sleep(30)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")
def test_sigterm_while_a_stage_is_still_importing_ends_it_with_143() -> None:
    outside = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", SLOW], stdout=subprocess.PIPE, text=True
    )
    assert outside.stdout
    assert outside.stdout.readline() == "imported\n"
    (first,) = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
    began = time.monotonic()
    os.kill(int(first), signal.SIGTERM)
    assert outside.wait(10) == 143
    assert time.monotonic() - began < 5
