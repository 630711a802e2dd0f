"""convert, from the input document to the finished folder `exports/<key>/`.

    check the graph -> map it, while its digest is computed -> check the file -> let the runtime transcribe clips
                    -> export the acoustic models -> compare the scores of the one in floats with the runtime's
                    -> export the phrase network of train's head -> try it on the clips
                    -> with publish.tflite, export the TFLite model -> compare its probabilities

If the workspace was lost, the graph is made again from the model of a version that was published, and the phrase network
is that of the version.

The runtime loads graphs that it cannot run. Only a trial shows the difference (trial.py).
"""

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_api.stages.convert import ConvertInput, ConvertOutput, PublishedModel
from speechmodel_api.tflite import TfliteFile
from speechmodel_api.workspace import ACOUSTIC, GRAPH, MODEL, PHRASE_HEAD, PHRASES, QUANTISED, TFLITE, Workspace
from speechmodel_runtime import GraphInfo, read_graph
from speechmodel_runtime.errors import ModelError, ModelMissing
from speechmodel_stagekit.artefacts import file_digest, once, require_file
from speechmodel_stagekit.dataset import Part, PreparedDataset, open_dataset
from speechmodel_stagekit.errors import ArtefactMissing, BadData, TryAgain

from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.convert.agreement import require_agreement
from speechmodel_pipeline.convert.lite import export_lite_model
from speechmodel_pipeline.convert.lite_trial import try_lite_model
from speechmodel_pipeline.convert.phrases import export_phrase_network
from speechmodel_pipeline.convert.phrases_trial import try_phrase_network
from speechmodel_pipeline.convert.quantised import export_quantised_model
from speechmodel_pipeline.convert.trial import try_model
from speechmodel_pipeline.graphdef.errors import GraphDamaged
from speechmodel_pipeline.graphdef.pbmm import MappedFile, memory_map
from speechmodel_pipeline.graphdef.unmap import unmap

log = logging.getLogger(__name__)

TRIAL_CLIPS = 3
"""Clips that show that the graph runs; evaluate measures how well."""


def convert(task: ConvertInput) -> ConvertOutput:
    """Make the model in `exports/<key>/`, unless it is complete.

    Raises ArtefactMissing when the graph, the head or the clips are gone or changed, TryAgain when a published model cannot be
    read (_fetch) or gives another model, and BadData (ModelUnusable) when the graph is damaged, was exported with another alphabet,
    crashes the runtime or cannot be run by it, or when the head is unusable.
    """
    return once(Workspace(task.workspace).export(task.key), ConvertOutput, lambda folder: _make(task, folder))


def convert_file(source: Path, target: Path) -> MappedFile:
    """Convert by hand. `target` appears when it is complete and was tried on a second of noise.

    Raises as convert does.
    """
    if not source.is_file():
        raise ArtefactMissing(Reason.ARTEFACT_MISSING, f"{source} is missing; correct the path")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as folder:
        partial = Path(folder) / target.name
        made = _map(source, partial)
        try_model(partial, ())
        partial.replace(target)
    return made


def _make(task: ConvertInput, folder: Path) -> ConvertOutput:
    graph = Workspace(task.workspace).export(task.train_key) / GRAPH
    # with a published model, one that is damaged here is not trained for again
    if task.published is None or (graph.is_file() and file_digest(graph) == task.graph_sha256):
        return _convert(task, require_file(graph), task.graph_sha256, folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="published-") as name:
        made = _restored(task.published, Path(name))
        output = _convert(task, made, file_digest(made), folder)
    if output.model_sha256 != task.published.sha256:
        raise TryAgain(
            Reason.PUBLISHED_MODEL_LOST,
            f"the model made from {task.published.uri} has the sha256 {output.model_sha256} instead of {task.published.sha256}, so it is "
            "not used; after three failures the model is trained again",
        )
    return output


def _restored(published: PublishedModel, folder: Path) -> Path:
    """Return the graph of a published version. Raises as _fetch does."""
    model, graph = folder / MODEL, folder / GRAPH
    _fetch(published, model)
    try:
        unmap(model, graph)
    except GraphDamaged as error:
        raise TryAgain(Reason.PUBLISHED_MODEL_LOST, str(error)) from error
    model.unlink()
    return graph


def _fetch(published: PublishedModel, target: Path) -> None:
    """Download a file of a published version. Raises TryAgain: PublishedModelLost if it is missing or damaged, DownloadFailed or
    CredentialsMissing if S3 cannot be reached or rejects the request.
    """
    from speechmodel_pipeline.s3.errors import (
        storage_errors,  # boto3 takes half a second to import, and is seldom needed
    )
    from speechmodel_pipeline.s3.objects import Bucket, split_uri

    lost = Reason.PUBLISHED_MODEL_LOST
    with storage_errors(Reason.DOWNLOAD_FAILED, published.target, missing=lost):
        key = split_uri(published.uri)[1]
        Bucket.connect(published.target).fetch(key, target, published.sha256, published.size_bytes, damaged=lost)


def _convert(task: ConvertInput, source: Path, sha256: str, folder: Path) -> ConvertOutput:
    workspace = Workspace(task.workspace)
    clips = _trial_clips(open_dataset(workspace.data(task.data_key)))
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(file_digest, source)  # beside the conversion: hashing releases the GIL
        try:
            made = _map(source, folder / MODEL)
        except BadData:
            # a graph that was damaged after its export is exported again
            _require_digest(source, digest.result(), sha256)
            raise
        _require_digest(source, digest.result(), sha256)
    transcripts = try_model(folder / MODEL, clips, task.beam_width)
    _export(source, folder)
    require_agreement(folder / ACOUSTIC, read_graph(source), clips, transcripts)
    return ConvertOutput(
        model_sha256=made.sha256,
        size_bytes=made.size_bytes,
        acoustic_sha256=file_digest(folder / ACOUSTIC),
        quantised_sha256=file_digest(folder / QUANTISED),
        phrases_sha256=_phrases(task, folder, read_graph(source), clips),
        tflite=_tflite(source, folder, clips) if task.tflite else None,
    )


def _map(source: Path, target: Path) -> MappedFile:
    try:
        read_graph(source)
        made = memory_map(source, target)
        read_graph(target)
    except ModelMissing as error:
        raise ArtefactMissing(Reason.ARTEFACT_MISSING, str(error)) from error
    except (ModelError, GraphDamaged) as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
    return made


def _export(source: Path, folder: Path) -> None:
    try:
        export_acoustic_model(source, folder / ACOUSTIC)
        export_quantised_model(source, folder / QUANTISED)
    except GraphDamaged as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error


def _phrases(task: ConvertInput, folder: Path, graph: GraphInfo, clips: Sequence[Path]) -> str | None:
    """Make phrases.onnx and return its digest. None if there is no head for it."""
    if task.phrase_head_sha256 is None:
        return None
    head, target = Workspace(task.workspace).export(task.train_key) / PHRASE_HEAD, folder / PHRASES
    if task.published is None or (head.is_file() and file_digest(head) == task.phrase_head_sha256):
        try:
            export_phrase_network(require_file(head, task.phrase_head_sha256), target)
        except ValueError as error:
            raise BadData(
                Reason.MODEL_UNUSABLE, f"{head} is not a valid head ({error}); train the model again"
            ) from error
    elif task.published_phrases is not None:
        _fetch(task.published_phrases, target)
    else:
        log.warning(
            "%s is lost, and the published version has no phrase network, so the network of DeepSpeech decodes a grammar; "
            "set another training.restartToken to train both again",
            head,
        )
        return None
    try_phrase_network(target, graph, clips)
    return file_digest(target)


def _tflite(source: Path, folder: Path, clips: list[Path]) -> TfliteFile:
    target = folder / TFLITE
    export_lite_model(source, read_graph(source), target)
    try_lite_model(target, folder / ACOUSTIC, clips)
    return TfliteFile(sha256=file_digest(target), size_bytes=target.stat().st_size)


def _require_digest(source: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise ArtefactMissing(
            Reason.ARTEFACT_DAMAGED, f"{source} has the sha256 {found}, not {wanted}; it is exported again"
        )


def _trial_clips(dataset: PreparedDataset) -> list[Path]:
    clips = (clip for part in (Part.TEST, Part.DEV, Part.TRAIN) for clip in dataset.clips(part))
    return [require_file(clip.path) for clip in islice(clips, TRIAL_CLIPS)]
