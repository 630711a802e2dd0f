"""`python -m speechmodel_inference` serves the version in $SPEECHMODEL_FOLDER."""

import gc
import os
import sys


def main() -> int:
    """Serve, and return the exit code."""
    gc.disable()  # imports leave no garbage, and looking for it takes a tenth of their time; run() enables it
    # the products of numpy are small: more threads of OpenBLAS, which is NumPy's, would wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _defer_types()
    from speechmodel_inference.run import run

    return run()


def _defer_types() -> None:
    """Let pydantic build a type when it is first used. FastAPI defines some forty for OpenAPI, which few clients ask for."""
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True  # each type inherits it


if __name__ == "__main__":
    sys.exit(main())
