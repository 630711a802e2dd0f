"""`python -m speechmodel_inference` serves the version in $SPEECHMODEL_FOLDER."""

import sys

from speechmodel_inference.run import run

if __name__ == "__main__":
    sys.exit(run())
