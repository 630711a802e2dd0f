"""Threads of the stage programs."""

import os
import subprocess
import sys

import pytest

THREADS = """
import numpy
from threadpoolctl import threadpool_info
print({pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", ["speechmodel_pipeline.prepare", "speechmodel_pipeline.evaluate", "speechmodel_training.train"]
)
def test_the_products_of_numpy_stay_in_one_thread(program: str) -> None:
    ours = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", f"import {program}\n{THREADS}"], env=ours, capture_output=True, text=True, check=True
    )
    assert done.stdout == "{1}\n"
