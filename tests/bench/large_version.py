"""The network of engine_bench, or a smaller one, as a version that a server loads."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from bench import engine_bench
from speechmodel_api.workspace import MODEL, QUANTISED, SELFTEST, VERSION
from speechmodel_runtime import load, save
from speechmodel_stagekit.verified import VerifiedFile, record_verified
from support.servers import OK_ESPEJO


@contextmanager
def large_version(units: int = engine_bench.UNITS) -> Iterator[Path]:
    """Give a folder as fetch leaves it. The weights are random, and the text of every recording is empty."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(  # in a process of its own, which TensorFlow leaves again
            [sys.executable, "-m", "bench.engine_bench", "make", name, str(units)],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        save(folder / SELFTEST, load(OK_ESPEJO))
        model, quantised, selftest = (
            sha256((folder / file).read_bytes()).hexdigest() for file in (MODEL, QUANTISED, SELFTEST)
        )
        manifest = engine_bench.manifest(model=model, quantised=quantised, selftest=selftest)
        (folder / VERSION).write_text(manifest.model_dump_json(by_alias=True), encoding="utf-8")
        files = {file.name: VerifiedFile.of((folder / file.name).stat(), file.sha256) for file in manifest.files}
        record_verified(folder, files)
        yield folder
