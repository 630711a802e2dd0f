"""The command line: `speechmodel run|validate|status|plot|transcribe`. Each command imports its modules when it is called.

Exit codes: 0 done (for run: published, or suspended by the manifest); 1 something failed, and the message says what; 2 the
command line was wrong; 130 interrupted by Ctrl-C, 143 by SIGTERM and
129 by a closed terminal, with everything saved: the same command continues.
"""

import errno
import io
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from speechmodel_cli import DEFAULT_STATE

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 or 143 interrupted with everything saved."
_INTERRUPTED = 130
_ADVICE = {
    errno.ENOSPC: "make room, or choose a folder on another disk",
    errno.EDQUOT: "make room, or choose a folder on another disk",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "make it accessible, or choose another folder",
    errno.ENOTDIR: "choose a folder, not a file",
}
"""Advice for each system error."""
BESIDE = ""
"""Value of --dataset without a folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    _open_missing_streams()
    _replace_what_cannot_be_shown()
    try:
        code = int(speechmodel.main(arguments, prog_name="speechmodel", standalone_mode=False))
    except click.Abort:  # Ctrl-C
        code = _INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OSError as error:
        return _failed(_write_out() or error)
    unwritten = _write_out()
    return _failed(unwritten) if unwritten else code


def _failed(error: OSError) -> int:
    """Report a system error and return the exit code. A closed pipe, as after `| head`, is not reported."""
    if error.errno != errno.EPIPE:
        sys.stderr.write(f"{_sentence(error)}\n")
    return 1


def _write_out() -> OSError | None:
    """Write what the standard output has buffered, and return the error if that fails.

    The rest is dropped then: Python would try again when it ends, and report that with another exit code.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return OSError(error.errno, error.strerror, "standard output")
    return None


def _open_missing_streams() -> None:
    """Open the null device for standard streams that the caller has closed. Otherwise the next file that is opened takes
    the number of such a stream, and gets what other programs write there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            opened = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - it stays open as the stream
            if opened.fileno() != number:
                os.dup2(opened.fileno(), number)
            setattr(sys, name, opened)


def _replace_what_cannot_be_shown() -> None:
    """Show a question mark for characters that the encoding of the terminal lacks, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None when the stream is closed
            stream.reconfigure(errors="replace")


def _sentence(error: OSError) -> str:
    """Return the problem of a file or folder that no command expected, and what to do."""
    if error.errno == errno.ENOENT and not _current_folder_exists():
        return "the current folder was removed; change to another one and run the command again"
    advice = _ADVICE.get(error.errno or 0, "correct it and run the command again")
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or error}; {advice}"


def _current_folder_exists() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


class _UnicodePath(click.Path):
    """A path that programs can name to each other in JSON."""

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> Path:
        """Return the path. Fail when its absolute form is not UTF-8."""
        path = Path(str(value))
        try:
            str(path.absolute()).encode()
        except UnicodeEncodeError:
            encoding = sys.getfilesystemencoding()
            problem = "is not UTF-8; rename the file or folder"
            if encoding != "utf-8":
                problem = (
                    f"is not {encoding}, which Python uses for names of files here; set LC_ALL=C.UTF-8 and PYTHONUTF8=1"
                )
            self.fail(f"{str(path.absolute())!a} {problem}", parameter, context)
        return path


def _claim(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise click.BadParameter(f"{text!r} is not NAME=DIR")
    return name, _PATH.convert(folder, None, None)


def _each_once(claims: tuple[tuple[str, Path], ...]) -> dict[str, Path]:
    if twice := [name for name, count in Counter(name for name, _ in claims).items() if count > 1]:
        raise click.UsageError(f"--claim {twice[0]} is given more than once; keep one")
    return dict(claims)


_PATH = _UnicodePath()
_claims = click.option(
    "--claim",
    "claims",
    metavar="NAME=DIR",
    type=_claim,
    multiple=True,
    help="Folder to use as the claim NAME, with recordings or a checkpoint. Defaults to the folder NAME beside the manifest.",
)
_state = click.option(
    "--state",
    metavar="DIR",
    type=_PATH,
    default=DEFAULT_STATE,
    show_default=True,
    help="Folder that holds the state of the models.",
)


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def speechmodel() -> None:
    """Train, publish and serve a speech recogniser on this machine."""


@speechmodel.command(epilog=EPILOG)
@click.argument("manifest", type=_PATH)
@_claims
@click.option(
    "--s3",
    type=click.Choice(["embedded", "manifest"]),
    default="embedded",
    show_default=True,
    help="Publish to an S3 server on this machine, or to the manifest's bucket with the AWS_* environment variables.",
)
@click.option("--serve", is_flag=True, help="Then serve the model in the foreground.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port that --serve listens on."
)
@click.option(
    "--listen",
    metavar="DIR",
    type=_PATH,
    help="Transcribe the recordings in DIR and compare them with the words in its .csv or .tsv file. "
    "Its columns are file (or wav_filename, path) and words (or text, transcript, sentence).",
)
@_state
def run(
    manifest: Path,
    claims: tuple[tuple[str, Path], ...],
    s3: str,
    serve: bool,
    port: int,
    listen: Path | None,
    state: Path,
) -> int:
    """Train and publish the SpeechModel in MANIFEST. The same command continues an interrupted run.

    Give - to read a manifest from the standard input; folders are then looked for in the current folder.
    """
    folders = _each_once(claims)
    from speechmodel_cli.run import RunOptions, run

    return run(RunOptions(manifest, state, folders, s3, serve, port, listen))


@speechmodel.command(epilog=EPILOG)
@click.argument("manifests", metavar="MANIFEST...", type=_PATH, nargs=-1)
@click.option(
    "--dataset",
    metavar="[FOLDER]",
    is_flag=False,
    flag_value=BESIDE,
    help="Also check the recordings, and show what they cover and what to record next. Nothing is trained or kept. "
    "FOLDER is the dataset claim, by default the folder of its name beside the manifest.",
)
@_claims
@click.option("--json", "as_json", is_flag=True, help="Print the report of --dataset as a line of JSON.")
def validate(
    manifests: tuple[Path, ...], dataset: str | None, claims: tuple[tuple[str, Path], ...], as_json: bool
) -> int:
    """Check manifests, and with --dataset their recordings, and report every problem. The file - is the standard input."""
    if not manifests:
        order = "; write it before --dataset" if dataset else ""
        raise click.UsageError(f"Missing argument 'MANIFEST...'{order}.")
    if as_json and dataset is None:
        raise click.UsageError("--json shows the report of --dataset; add --dataset")
    folders = _each_once(claims)
    if folders and dataset is None:
        raise click.UsageError("--claim names a folder that --dataset reads; add --dataset")
    from speechmodel_cli.validate import validate

    if dataset is None:
        return validate(manifests)
    from speechmodel_cli.validate_dataset import DatasetOptions

    folder = None if dataset == BESIDE else _PATH.convert(dataset, None, None)
    return validate(manifests, DatasetOptions(folder, folders, as_json))


@speechmodel.command(epilog=EPILOG)
@click.argument("name", required=False)
@_state
def status(name: str | None, state: Path) -> int:
    """Show the models that ran here. With NAME, show one model and its conditions."""
    from speechmodel_cli.status import status

    return status(state, name)


@speechmodel.command(epilog=EPILOG)
@click.argument("name")
@click.option("--png", metavar="FILE", type=_PATH, help="Write a PNG file instead; - is stdout.")
@_state
def plot(name: str, png: Path | None, state: Path) -> int:
    """Draw loss, word error rate and learning rate by epoch of the model NAME, also while it trains."""
    from speechmodel_cli.plot import plot

    return plot(state, name, png)


@speechmodel.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--model", metavar="NAME", help="Name of a published model. Only needed if there are several.")
@click.option("--url", help="URL of a server to use instead, such as http://127.0.0.1:8080.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a line of JSON for each file, with confidences, words, intent and slots.",
)
@_state
def transcribe(files: tuple[Path, ...], model: str | None, url: str | None, as_json: bool, state: Path) -> int:
    """Transcribe recordings in any usual format and print the text. The file - is the standard input."""
    if url == "":
        raise click.UsageError(
            "--url is empty; give the URL of a server, or leave it out to use a model of this machine"
        )
    if model and url:
        raise click.UsageError("--model and --url cannot be used together; leave one out")
    from speechmodel_cli.transcribe import transcribe

    return transcribe(files, state=state, model=model, url=url, as_json=as_json)
