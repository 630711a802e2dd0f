"""`speechmodel validate`: the checks of an API server and more, without a cluster, and of the dataset if asked."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechmodel_cli.manifest.problems import ManifestInvalid
from speechmodel_cli.manifest.reading import Manifest, read_manifests

if TYPE_CHECKING:
    from speechmodel_cli.validate_dataset import DatasetOptions


def validate(paths: Sequence[Path], dataset: "DatasetOptions | None" = None) -> int:
    """Print every problem of every file, and with `dataset` the report on the dataset of each model.

    Return 0 when there is no problem, else 1.
    """
    problems = sys.stderr if dataset and dataset.as_json else sys.stdout
    count, models = 0, []
    for path in paths:
        try:
            manifests = read_manifests(path)
        except ManifestInvalid as invalid:
            problems.write(f"{invalid}\n")
            count += len(invalid.problems)
        else:
            models += [(path, manifest) for manifest in manifests]
            if not (dataset and dataset.as_json):
                sys.stdout.write(f"{path}: {', '.join(model.name for model in manifests)} valid\n")
    if count:
        sys.stderr.write(f"{count} problem{'' if count == 1 else 's'}\n")
    unusable = _validate_datasets(models, dataset, all_read=not count) if dataset else 0
    return 1 if count or unusable else 0


def _validate_datasets(models: Sequence[tuple[Path, Manifest]], options: "DatasetOptions", *, all_read: bool) -> int:
    """Print the reports. An invalid manifest, which is not among `models`, may read any claim."""
    from speechmodel_cli.local.model import read_claims
    from speechmodel_cli.validate_dataset import validate_dataset

    if options.folder and len(models) > 1:
        names = ", ".join(manifest.name for _, manifest in models)
        sys.stderr.write(f"one folder is given for the datasets of {names}; validate them one by one\n")
        return 1
    read = dict.fromkeys(name for _, manifest in models for name in read_claims(manifest.spec))
    if all_read and (unknown := sorted(set(options.claims) - set(read))):
        known = ", ".join(read) or "none"
        sys.stderr.write(
            f"--claim {unknown[0]}: no manifest reads a claim of this name (claims: {known}); correct it\n"
        )
        return 1
    return sum(not validate_dataset(path, manifest, options) for path, manifest in models)
