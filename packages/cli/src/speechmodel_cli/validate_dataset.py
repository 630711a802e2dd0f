"""`speechmodel validate --dataset`: what prepare makes of a dataset, without a workspace and without training."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.dataset_spec import InvalidSamplePolicy
from speechmodel_api.field_problems import dotted
from speechmodel_api.progress import StepProgress
from speechmodel_pipeline.prepare_report import PrepareReport

from speechmodel_cli import wording
from speechmodel_cli.dataset_report import show_report
from speechmodel_cli.local.analysis import analyse
from speechmodel_cli.local.errors import ClaimMissing, LocalError
from speechmodel_cli.local.model import LocalModel
from speechmodel_cli.manifest.phrases import phrase_problem
from speechmodel_cli.manifest.reading import Manifest
from speechmodel_cli.manifest.scorer import scorer_problem


@dataclass(frozen=True)
class DatasetOptions:
    """The options of validate that concern datasets."""

    folder: Path | None = None
    """Folder of the dataset claim. None is that of `claims`, or the one beside the manifest."""
    claims: Mapping[str, Path] = field(default_factory=dict)
    """Folder by claim name, for claims that are elsewhere."""
    as_json: bool = False
    """Print the report as a line of JSON."""


def validate_dataset(path: Path, manifest: Manifest, options: DatasetOptions) -> bool:
    """Print the report on the dataset of `manifest`, which was read from `path`. Return True when it
    can be trained on.
    """
    source = manifest.spec.dataset.source.persistent_volume_claim
    if options.folder and source is None:
        sys.stderr.write("the recordings are in a bucket (dataset.source.s3); give --dataset without a folder\n")
        return False
    claims = dict(options.claims)
    if options.folder and source:
        if source.claim_name in claims:
            sys.stderr.write(
                f"--dataset and --claim {source.claim_name} both give a folder of the dataset claim; keep one\n"
            )
            return False
        claims[source.claim_name] = options.folder
    model = LocalModel(manifest.name, manifest.namespace, manifest.spec, path.absolute().parent, claims)
    try:
        _check_beginning(model)
        report = asyncio.run(_analyse(model))
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return False
    except asyncio.CancelledError as cancelled:
        sys.exit(128 + int(cancelled.args[0]))
    if options.as_json:
        sys.stdout.write(report.model_dump_json(by_alias=True, exclude_none=True) + "\n")
    else:
        show_report(Console(highlight=False), report)
    if report.rejected and manifest.spec.dataset.invalid_sample_policy is InvalidSamplePolicy.FAIL:
        sys.stderr.write(f"{len(report.rejected)} rejected and dataset.invalidSamplePolicy is Fail; correct them\n")
        return False
    spec, alphabet = manifest.spec, [label for label in report.alphabet if label != CATCH_ALL]
    if found := phrase_problem(spec, alphabet):
        place, reason = found
        sys.stderr.write(f"{dotted(place)}: {reason}\n")
        return False
    if source and (problem := scorer_problem(manifest.spec, model.dataset, report.alphabet)):
        sys.stderr.write(f"{problem}\n")
        return False
    return True


def _check_beginning(model: LocalModel) -> None:
    """Raise CheckpointMissing. A claim that is not here is only named, since a cluster may have it."""
    try:
        model.require_checkpoint()
    except ClaimMissing as missing:
        sys.stderr.write(f"not checked: {missing}\n")


async def _analyse(model: LocalModel) -> PrepareReport:
    """Analyse the dataset with a bar on a terminal. SIGTERM and a closed terminal end it as Ctrl-C does.

    Raises CancelledError with the number of the signal. A signal that the caller had switched off, as
    nohup does, stays off.
    """
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel, int(number))
    terminal = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}"),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
    with bar:
        shown = bar.add_task(model.name, total=None, text="reading")

        def progressed(record: StepProgress) -> None:
            bar.update(shown, completed=record.done, total=record.total, text=wording.progress(record))

        return await analyse(model, progressed)
