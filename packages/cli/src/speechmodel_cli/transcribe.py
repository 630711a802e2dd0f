"""`speechmodel transcribe`: the words of recordings, by a model that was published here or by a server."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.errors import LocalError
from speechmodel_cli.local.state import ModelState, known_models


def transcribe(files: Sequence[Path], *, state: Path, model: str | None, url: str | None) -> int:
    """Print the words of each file, after its name when there are several; 1 when one of them failed."""
    try:
        heard = _by_server(files, url) if url else _here(files, _choose(state, model))
        failed = False
        for file, text, error in heard:
            if error is not None:
                failed = True
                sys.stderr.write(f"{error}\n")
            else:
                sys.stdout.write(f"{file}: {text}\n" if len(files) > 1 else f"{text}\n")
                sys.stdout.flush()
    except (CommandError, LocalError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return int(failed)


def _choose(folder: Path, name: str | None) -> ModelState:
    models = [state for state in known_models(folder) if name in (None, state.name)]
    if len(models) == 1:
        return models[0]
    known = ", ".join(state.name for state in known_models(folder))
    if not models:
        missing = f"no model {name}" if name else "no model"
        raise CommandError(
            f"{missing} in {folder.absolute()} (known: {known or 'none'}); `speechmodel run MANIFEST` makes one"
        )
    raise CommandError(f"several models in {folder.absolute()}: choose one with --model ({known})")


def _here(files: Sequence[Path], state: ModelState) -> Iterator[tuple[Path, str, str | None]]:
    from speechmodel_cli.hearing import hear
    from speechmodel_cli.published import published_folder

    folder = asyncio.run(published_folder(state))
    for item in hear(folder, files):
        yield item.file, item.text, item.error


def _by_server(files: Sequence[Path], url: str) -> Iterator[tuple[Path, str, str | None]]:
    import httpx  # only this way needs it

    address = f"{url.rstrip('/')}/v1/audio/transcriptions"
    with httpx.Client(timeout=httpx.Timeout(300, connect=10)) as client:
        for file in files:
            try:
                with file.open("rb") as content:
                    answer = client.post(
                        address, files={"file": (file.name, content)}, data={"response_format": "text"}
                    )
            except OSError as error:
                yield file, "", f"{file}: cannot be read: {error.strerror}"
                continue
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise CommandError(f"{address} does not answer: {error}; does the server run?") from error
            text = answer.text.strip()
            yield (
                file,
                text,
                None if answer.is_success else f"{file}: {address} said {answer.status_code}: {_said(text)}",
            )


def _said(text: str) -> str:
    """The message of OpenAI's error document, or what came instead."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300]
