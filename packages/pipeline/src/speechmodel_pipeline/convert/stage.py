"""convert, from the input document to the finished folder `exports/<key>/`.

    check the graph -> map it, while its digest is computed -> check the file -> let the runtime transcribe clips

A graph that the runtime loads is not yet one that it can run: only inference shows it (trial.py).
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speechmodel_api.stages import ConvertInput, ConvertOutput
from speechmodel_runtime import read_graph
from speechmodel_runtime.errors import ModelError, ModelMissing
from speechmodel_stagekit.artefacts import file_digest, once, require_file
from speechmodel_stagekit.errors import ArtefactMissing, BadData

from speechmodel_pipeline.convert.trial import try_model
from speechmodel_pipeline.dataset import Dataset, open_dataset
from speechmodel_pipeline.files import GRAPH, MODEL
from speechmodel_pipeline.graphdef.errors import GraphDamaged
from speechmodel_pipeline.graphdef.pbmm import MappedFile, memory_map
from speechmodel_pipeline.prepare.samples import Part

TRIAL_CLIPS = 3
"""Enough to see whether the graph runs at all; how well it hears is for evaluate to measure."""


def convert(task: ConvertInput) -> ConvertOutput:
    """The model in `exports/<key>/`, made unless it is there already.

    Raises ArtefactMissing when graph or clips are gone or not the ones that were meant, BadData("ModelUnusable") when the graph
    is damaged, was exported with another alphabet, crashes the runtime or cannot be run by it.
    """
    exports = Path(task.workspace) / "exports"
    return once(exports / task.key, ConvertOutput, lambda folder: _make(task, folder))


def convert_file(source: Path, target: Path) -> MappedFile:
    """Convert by hand: `target` appears when it is complete and tried, on a second of noise. Raises as convert does."""
    if not source.is_file():
        raise ArtefactMissing("ArtefactMissing", f"{source} is missing")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as folder:
        partial = Path(folder) / target.name
        made = _map(source, partial)
        try_model(partial, ())
        partial.replace(target)
    return made


def _make(task: ConvertInput, folder: Path) -> ConvertOutput:
    workspace = Path(task.workspace)
    source = require_file(workspace / "exports" / task.train_key / GRAPH)
    clips = _trial_clips(open_dataset(workspace / "data" / task.data_key))
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(file_digest, source)  # beside the conversion: hashing releases the GIL
        try:
            made = _map(source, folder / MODEL)
        except BadData:
            _require_digest(
                source, digest.result(), task.graph_sha256
            )  # a damaged file is its producer's to make again
            raise
        _require_digest(source, digest.result(), task.graph_sha256)
    try_model(folder / MODEL, clips)
    return ConvertOutput(model_sha256=made.sha256, size_bytes=made.size_bytes)


def _map(source: Path, target: Path) -> MappedFile:
    try:
        read_graph(source)
        made = memory_map(source, target)
        read_graph(target)
    except ModelMissing as error:
        raise ArtefactMissing("ArtefactMissing", str(error)) from error
    except (ModelError, GraphDamaged) as error:
        raise BadData("ModelUnusable", str(error)) from error
    return made


def _require_digest(source: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise ArtefactMissing("ArtefactDamaged", f"{source} has the sha256 {found}, not {wanted}; it is exported again")


def _trial_clips(dataset: Dataset) -> Sequence[Path]:
    every = (clip.path for part in (Part.TEST, Part.DEV, Part.TRAIN) for clip in dataset.clips(part))
    return [require_file(path) for path, _ in zip(every, range(TRIAL_CLIPS), strict=False)]
