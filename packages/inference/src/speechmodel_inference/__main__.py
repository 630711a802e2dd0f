"""`python -m speechmodel_inference`: serve the version in $SPEECHMODEL_FOLDER."""

import os
import signal
import sys


def main() -> int:
    """Exit code: 0 after SIGTERM, 78 when the settings cannot work."""
    # The first process of a container does not get signals that it has no handler for, and imports take most of a second.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from speechmodel_inference.run import run

    return run(os.environ)


if __name__ == "__main__":
    sys.exit(main())
