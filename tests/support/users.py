"""Another user than the one who runs the tests."""

import codecs
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """A folder of a user who may not read everything, as whom the caller acts while the context lasts."""
    # Python remembers a lookup that failed as another user
    for codec in ("utf-8-sig", "cp1252", "latin-1", "ascii", "idna"):
        codecs.lookup(codec)
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)
