"""The recordings of other speech that dataset.negatives names, in the folder of the dataset or in a place of their own."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_runtime import level, load
from speechmodel_runtime.errors import AudioError
from speechmodel_stagekit.artefacts import file_digest
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.clip_audio import audio_digest
from speechmodel_pipeline.prepare.audio_files import audio_files
from speechmodel_pipeline.prepare.clips import LONGEST_SECONDS, ClipFile
from speechmodel_pipeline.prepare.passages import heard_seconds
from speechmodel_pipeline.prepare.recordings import Recording, printable
from speechmodel_pipeline.progress import Steps
from speechmodel_pipeline.s3.errors import where

PATH, SOURCE = "dataset.negatives.path", "dataset.negatives.source"
"""Fields of the spec that name the place of other speech. Only one of them is set."""
WITH_AUDIO = ("data", "sources", "reports")
"""Folders of the workspace that hold audio."""


@dataclass(frozen=True)
class OtherSpeech:
    """Recordings in which no transcript is spoken. There is at least one."""

    field: str
    """The field of the spec that names them."""
    folder: Path
    """The folder that they are in."""
    place: str
    """Their place in an error."""
    recordings: tuple[tuple[Path, str], ...]
    """Each with its name in reports."""

    @cached_property
    def lengths(self) -> tuple[float, ...]:
        """The seconds of each recording, at most HEARD_SECONDS, and 0 for one that cannot be read."""
        with ThreadPoolExecutor(available_cpus(), thread_name_prefix="length") as pool:
            return tuple(pool.map(lambda recording: heard_seconds(*recording), self.recordings))

    def not_in_folder(self, names: Sequence[str], source: Path) -> tuple[str, ...]:
        """Return the names, relative to the dataset's folder `source`, of files outside of `folder`, which may be in that folder
        and may be mounted a second time.
        """
        above = {source / parent for name in names for parent in PurePosixPath(name).parents}
        inside = {each for each in above if _is_one_of(self.folder, (each,))}
        return tuple(name for name in names if inside.isdisjoint((source / name).parents))


def find_other_speech(task: PrepareInput) -> OtherSpeech | None:
    """Return the recordings of other speech, or None when the spec names no place for them.

    Raises BadData (InvalidDataset) when there is no recording in that place, or when the workspace is in it, and OSError for
    a folder that cannot be read.
    """
    if task.other_speech is not None:
        folder, bucket, field = Path(task.other_speech), task.other_speech_bucket, SOURCE
    elif task.negatives.path:
        folder, bucket, field = Path(task.source) / task.negatives.path, task.bucket, PATH
    else:
        return None
    if bucket is None:
        refuse_workspace(field, folder, Path(task.workspace))
    return in_source(folder, bucket) if field == SOURCE else in_dataset(Path(task.source), task.negatives.path)


def refuse_workspace(field: str, folder: Path, workspace: Path) -> None:
    """Raise BadData (InvalidDataset) when a folder on a claim has the clips of the model in it: training would learn to
    reject every transcript.

    Clips are converted, so their content is not that of a recording. The claim of the workspace may be mounted a second
    time, so paths prove nothing.
    """
    relation = None
    if _is_one_of(folder, (workspace, *workspace.parents)):
        relation = "contains"
    elif any(_is_one_of(workspace / kind, (folder, *folder.resolve().parents)) for kind in WITH_AUDIO):
        relation = "is in"
    if relation:
        raise BadData(
            Reason.INVALID_DATASET,
            f"{field}: {folder} {relation} the workspace of the model, with its prepared clips; set path to a folder that has only "
            "other speech",
        )


def _is_one_of(folder: Path, folders: Iterable[Path]) -> bool:
    return folder.is_dir() and any(each.is_dir() and folder.samefile(each) for each in folders)


def in_dataset(source: Path, path: str) -> OtherSpeech:
    """Return the recordings in the folder `path` of the dataset in `source`, with the errors of find_other_speech."""
    folder = source / path
    if found := _recordings(folder, source):
        return OtherSpeech(PATH, folder, path, found)
    advice = "copy recordings of other speech into that folder, or remove the field"
    raise BadData(Reason.INVALID_DATASET, f"{PATH}: {path} has no recordings; {advice}")


def in_source(folder: Path, bucket: S3Location | None) -> OtherSpeech:
    """Return the recordings in `folder`, which is on a claim, or else holds those of `bucket`, of which there is at least
    one, with the errors of find_other_speech.
    """
    if found := _recordings(folder, folder):
        return OtherSpeech(SOURCE, folder, _name(bucket) if bucket else str(folder), found)
    claim = f"{SOURCE}.persistentVolumeClaim: {folder}"
    if not folder.is_dir():
        raise BadData(
            Reason.INVALID_DATASET, f"{claim} is not a folder; correct path, or create that folder on the claim"
        )
    advice = "copy recordings of other speech into that folder, or correct path"
    raise BadData(Reason.INVALID_DATASET, f"{claim} has no recordings; {advice}")


def refuse_recordings_of_rows(other: OtherSpeech, recordings: Sequence[Recording]) -> None:
    """Raise BadData (InvalidDataset) when a file of other speech has the content of one of these recordings of rows:
    training would learn to reject the row's words. Recordings without speech must not be among them, because such files
    are equal everywhere.

    The claim of the dataset may be mounted a second time, and a bucket may be copied, so paths prove nothing.
    """
    rows = list({recording.path: recording.name for recording in recordings}.items())
    sizes = {_size(path) for path, _ in rows} & {_size(path) for path, _ in other.recordings}
    if not sizes:
        return
    alike, suspects = ([each for each in files if _size(each[0]) in sizes] for files in (rows, other.recordings))
    steps = Steps(len(alike) + len(suspects), "recordings compared")

    def read(file: tuple[Path, str]) -> str:
        steps.advance()
        return _digest(file[0])

    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="compare") as pool:
        named = {digest: name for digest, (_, name) in zip(pool.map(read, alike), alike, strict=True)}
        both = [
            name if name == row else f"{name} is {row}"
            for digest, (_, name) in zip(pool.map(read, suspects), suspects, strict=True)
            if (row := named.get(digest))
        ]
    _refuse(other, both)


def refuse_copies_of_clips(other: OtherSpeech, clips: Mapping[str, ClipFile], speech_level: float | None) -> None:
    """Raise BadData (InvalidDataset) when a recording of other speech has the samples of one of these clips of rows, by the
    names of their recordings, as a copy in another format without losses has. `speech_level` is that of the clips.

    Only recordings with the length of a clip are decoded.
    """
    named = {clip.digest: name for name, clip in clips.items()}
    lengths = {round(clip.seconds * SAMPLE_RATE) for clip in clips.values()}

    def row_of(file: tuple[Path, str], seconds: float) -> str | None:
        length = round(seconds * SAMPLE_RATE)
        if lengths.isdisjoint(range(length - 1, length + 2)):  # resampling rounds
            return None
        try:
            pcm = load(file[0], name=file[1], max_seconds=LONGEST_SECONDS)
        except AudioError:  # reported when it is drawn
            return None
        return named.get(audio_digest(level(pcm, speech_level)))

    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="compare") as pool:
        rows = zip(pool.map(row_of, other.recordings, other.lengths), other.recordings, strict=True)
        _refuse(other, [f"{name} is {row}" for row, (_, name) in rows if row])


def _refuse(other: OtherSpeech, both: Sequence[str]) -> None:
    """Raise BadData when there are `both`, the files of other speech that are recordings of rows."""
    if both:
        verb = "is a recording" if len(both) == 1 else "are recordings"
        raise BadData(
            Reason.INVALID_DATASET,
            f"{other.field}: {len(both)} of the files in {other.place} {verb} of the dataset ({', '.join(both[:3])}); "
            "remove these copies, or name a place whose recordings contain none of the transcripts",
        )


def _name(bucket: S3Location) -> str:
    return f"{bucket.prefix}/ of {where(bucket)}" if bucket.prefix else where(bucket)


def _recordings(folder: Path, root: Path) -> tuple[tuple[Path, str], ...]:
    paths = audio_files(folder) if folder.is_dir() else []
    return tuple((path, printable(path, root)) for path in paths)


def _size(path: Path) -> int:
    """Return the size in bytes, and 0 for a file that is not there."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # ValueError for an impossible name
        return 0


def _digest(path: Path) -> str:
    """Return the sha256, or the path of a file that cannot be read, which is reported later."""
    try:
        return file_digest(path)
    except OSError:
        return str(path)
