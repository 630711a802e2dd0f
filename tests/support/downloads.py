"""Make what tests keep in the user's cache before they begin: `python -m support.downloads`.

Two of the processes of `make test` are in network namespaces of their clusters, from which nothing can be downloaded.
"""

import sys
from collections.abc import Callable

import pytest
from kubecluster.errors import ClusterError

from support import arm64, client_programs, coqui, kueue, stock_deepspeech, tflite, version_before
from support.coqui_image import CoquiImage

MAKERS: tuple[Callable[[], object], ...] = (
    client_programs.environment,
    stock_deepspeech.environment,
    coqui.coqui,
    tflite.runtimes,
    arm64.folder,
    CoquiImage.build,
    version_before.prepare,
    kueue.prepare,
)


def main() -> None:
    """Make all of it. What cannot be had is named; its tests are skipped or fail, and say so too."""
    for make in MAKERS:
        try:
            make()
        except (pytest.skip.Exception, ClusterError) as reason:
            print(reason, file=sys.stderr)


if __name__ == "__main__":
    main()
