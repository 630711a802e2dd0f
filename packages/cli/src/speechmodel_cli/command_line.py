"""The command line: `speechmodel run|validate|status|transcribe`. What a command needs is imported when it is called.

Exit codes: 0 done (for run: published, or suspended by the manifest); 1 something failed, and the message says what; 2 the
command line was wrong; 130 interrupted by Ctrl-C and 143 by SIGTERM, with everything saved: the same call goes on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from speechmodel_cli import DEFAULT_STATE

EPILOG = "exit codes: 0 done, 1 failed, 2 wrong usage, 130 or 143 interrupted with everything saved"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _command(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1


def _command(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            from speechmodel_cli.run import RunOptions, run

            names = ("manifest", "state", "s3", "serve", "port", "listen")
            return run(RunOptions(claims=dict(options.claim), **{name: getattr(options, name) for name in names}))
        case "validate":
            from speechmodel_cli.validate import validate

            return validate(options.manifests)
        case "status":
            from speechmodel_cli.status import status

            return status(options.state, options.name)
        case _:
            from speechmodel_cli.transcribe import transcribe

            return transcribe(options.files, state=options.state, model=options.model, url=options.url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="speechmodel", description="Train, publish and serve a speech recogniser on this machine.", epilog=EPILOG
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="do what a manifest asks for; called again, it goes on where it was"))
    validate = commands.add_parser("validate", help="say everything that is wrong with manifests")
    validate.add_argument("manifests", metavar="MANIFEST", type=Path, nargs="+", help="YAML file with SpeechModels")
    status = commands.add_parser("status", help="show how models stand that were run here")
    status.add_argument("name", metavar="NAME", nargs="?", help="one model, with its conditions; default: all")
    transcribe = commands.add_parser("transcribe", help="print the words of recordings")
    transcribe.add_argument("files", metavar="FILE", type=Path, nargs="+", help="recording: wav, flac, ogg, mp3")
    heard_by = transcribe.add_mutually_exclusive_group()
    heard_by.add_argument("--model", metavar="NAME", help="a model that was published here; default: the only one")
    heard_by.add_argument("--url", help="a server, such as http://127.0.0.1:8080")
    for command in commands.choices.values():
        command.epilog = EPILOG
        if command not in (validate,):
            command.add_argument(
                "--state", metavar="DIR", type=Path, default=DEFAULT_STATE, help="state folder; default: %(default)s"
            )
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument("manifest", metavar="MANIFEST", type=Path, help="YAML file with one SpeechModel")
    run.add_argument(
        "--claim",
        metavar="NAME=DIR",
        type=_claim,
        action="append",
        default=[],
        help="the folder that stands for a dataset claim; default: the folder NAME beside the manifest",
    )
    run.add_argument(
        "--s3",
        choices=("embedded", "manifest"),
        default="embedded",
        help="publish to a server on this machine, or where the manifest says, with AWS_* from the environment; "
        "default: %(default)s",
    )
    run.add_argument("--serve", action="store_true", help="then serve it in the foreground")
    run.add_argument("--port", type=_port, default=8080, help="of --serve; default: %(default)s")
    run.add_argument(
        "--listen",
        metavar="DIR",
        type=Path,
        help="then print spoken against heard for the recordings in DIR (*.wav and a .csv that names file and words)",
    )


def _claim(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR")
    return name, Path(folder)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)
