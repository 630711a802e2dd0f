"""`speechmodel validate`: the checks of an API server and more, without a cluster."""

import sys
from collections.abc import Sequence
from pathlib import Path

from speechmodel_cli.manifest.problems import ManifestInvalid
from speechmodel_cli.manifest.reading import read_manifests


def validate(paths: Sequence[Path]) -> int:
    """Print every problem of every file. Return 0 when there is none, else 1."""
    count = 0
    for path in paths:
        try:
            models = read_manifests(path)
        except ManifestInvalid as invalid:
            sys.stdout.write(f"{invalid}\n")
            count += len(invalid.problems)
        else:
            sys.stdout.write(f"{path}: {', '.join(model.name for model in models)} valid\n")
    if count:
        sys.stderr.write(f"{count} problem{'' if count == 1 else 's'}\n")
    return 1 if count else 0
