"""The formats of datasets: their readers, and what a folder looks like."""

import logging
from dataclasses import replace
from pathlib import Path

from speechmodel_api.dataset_spec import DatasetFormat
from speechmodel_api.workspace import part_table
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.audio_folder import looks_like_audio_folder, read_audio_folder
from speechmodel_pipeline.prepare.commands_csv import TABLE, read_commands
from speechmodel_pipeline.prepare.common_voice import looks_like_common_voice, read_common_voice
from speechmodel_pipeline.prepare.deepspeech_csv import read_deepspeech
from speechmodel_pipeline.prepare.kaldi import looks_like_kaldi, read_kaldi
from speechmodel_pipeline.prepare.librispeech import looks_like_librispeech, read_librispeech
from speechmodel_pipeline.prepare.recordings import Listing

log = logging.getLogger(__name__)


def list_recordings(
    source: Path, layout: DatasetFormat, language: str, name_pattern: str = "", *, only_inside: bool = False
) -> Listing:
    """Return the dataset in `source`.

    `name_pattern` is `dataset.recordings.namePattern`. With `only_inside`, rows of the format
    DeepSpeechCSV cannot name files outside of `source`; those of others never can. Raises BadData when the dataset cannot be read
    in this format, and names the format that the folder looks like if it is another one.

    A dataset with a single part gives no parts, so that `dataset.split` divides it.
    """
    try:
        listing = _read(source, layout, language, name_pattern, only_inside=only_inside)
    except BadData as error:
        if _looks_like(source, layout, language):
            raise
        others = [other for other in DatasetFormat if _looks_like(source, other, language)]
        if not others:
            raise
        advice = f"the folder looks like the format {others[0]}: set dataset.format: {others[0]}"
        raise BadData(error.reason, f"{error}; {advice}") from error
    parts = {recording.part for recording in listing.recordings}
    if len(parts) != 1 or parts == {None}:
        return listing
    log.info("the dataset has only the part %s, so dataset.split divides it", parts.pop())
    return replace(listing, recordings=tuple(replace(recording, part=None) for recording in listing.recordings))


def _read(source: Path, layout: DatasetFormat, language: str, name_pattern: str, *, only_inside: bool) -> Listing:
    match layout:
        case DatasetFormat.COMMANDS:
            return read_commands(source, language, name_pattern)
        case DatasetFormat.DEEPSPEECH_CSV:
            return read_deepspeech(source, only_inside=only_inside)
        case DatasetFormat.COMMON_VOICE:
            return read_common_voice(source, language)
        case DatasetFormat.LIBRISPEECH:
            return read_librispeech(source)
        case DatasetFormat.AUDIO_FOLDER:
            return read_audio_folder(source)
        case DatasetFormat.KALDI:
            return read_kaldi(source)


def _looks_like(source: Path, layout: DatasetFormat, language: str) -> bool:
    match layout:
        case DatasetFormat.COMMANDS:
            return (source / TABLE).is_file()
        case DatasetFormat.DEEPSPEECH_CSV:
            return (source / part_table(Part.TRAIN)).is_file()
        case DatasetFormat.COMMON_VOICE:
            return looks_like_common_voice(source, language)
        case DatasetFormat.LIBRISPEECH:
            return looks_like_librispeech(source)
        case DatasetFormat.AUDIO_FOLDER:
            return looks_like_audio_folder(source)
        case DatasetFormat.KALDI:
            return looks_like_kaldi(source)
