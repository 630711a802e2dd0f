"""Upload a model of 190 MB and read it back, against a plain boto3 upload of the same file, in the same run.

PYTHONPATH=tests python -m bench.s3_bench [runs]
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.figures import print_table
from bench.large_graph import write_large_graph
from speechmodel_api.schema import S3Location
from speechmodel_pipeline.s3.objects import Bucket
from support.seaweed import WRITER, Seaweed

BUCKET = "bench"


def main(runs: int) -> None:
    """Measure and print."""
    seconds: dict[str, list[float]] = {"boto3 upload_file": [], "upload and verify": [], "verify what is there": []}
    with tempfile.TemporaryDirectory() as folder, Seaweed(Path(folder) / "weed", BUCKET) as server:
        path = Path(folder) / "large.pbmm"
        size = write_large_graph(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        os.environ.update(WRITER.environment)
        plain, bucket = server.client(), Bucket.connect(S3Location(bucket=BUCKET, endpoint=server.endpoint))
        for run in range(runs):
            seconds["boto3 upload_file"].append(_timed(lambda: plain.upload_file(str(path), BUCKET, "plain")))
            seconds["upload and verify"].append(_timed(partial(bucket.ensure, f"ours/{run}", path, digest)))
            seconds["verify what is there"].append(_timed(partial(bucket.ensure, f"ours/{run}", path, digest)))
            plain.delete_object(Bucket=BUCKET, Key="plain")
            plain.delete_object(Bucket=BUCKET, Key=f"ours/{run}")
    print_table("S3 upload, SeaweedFS on this machine", size / 1e6, seconds, against="boto3 upload_file")


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
