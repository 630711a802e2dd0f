"""`speechmodel transcribe`: the words of recordings, by a model that was published here or by a server."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.errors import LocalError
from speechmodel_cli.local.state import ModelState, known_models
from speechmodel_cli.transcriptions import Transcription, transcribe_by_server, transcribe_here

if TYPE_CHECKING:
    from speechmodel_inference.openai_types import VerboseTranscription


def transcribe(files: Sequence[Path], *, state: Path, model: str | None, url: str | None, as_json: bool) -> int:
    """Print the words of each file, after its name when there are several, or a line of JSON for each.

    Return 1 when one of them failed.
    """
    failed = False
    try:
        for one in transcribe_by_server(url, files) if url else _by_model(_choose(state, model), files):
            if one.error is not None:
                failed = True
                sys.stderr.write(f"{one.error}\n")
            elif one.answer is not None:
                sys.stdout.write(_line(one.file, one.answer, as_json=as_json, several=len(files) > 1) + "\n")
                sys.stdout.flush()
    except (CommandError, LocalError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return int(failed)


def _line(file: Path, answer: "VerboseTranscription", *, as_json: bool, several: bool) -> str:
    if as_json:
        return json.dumps({"file": _printable(file), **answer.model_dump()}, ensure_ascii=False)
    return f"{_printable(file)}: {answer.text}" if several else answer.text


def _printable(file: Path) -> str:
    """Return the name of a file. Bytes that are not UTF-8 are replaced."""
    return str(file).encode(errors="surrogateescape").decode(errors="replace")


def _by_model(model: ModelState, files: Sequence[Path]) -> Iterator[Transcription]:
    """Transcribe files by the version to be served, as its server does."""
    from speechmodel_cli.published import published_folder

    return transcribe_here(asyncio.run(published_folder(model)), files, model.engine)


def _choose(folder: Path, name: str | None) -> ModelState:
    models = [state for state in known_models(folder) if name in (None, state.name)]
    if len(models) == 1:
        return models[0]
    known = ", ".join(state.name for state in known_models(folder))
    if not models:
        missing = f"no model {name}" if name else "no model"
        raise CommandError(
            f"{missing} in {folder.absolute()} (known: {known or 'none'}); run `speechmodel run MANIFEST` to create one"
        )
    raise CommandError(f"there are several models in {folder.absolute()}; choose one with --model ({known})")
