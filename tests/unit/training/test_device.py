import os
import subprocess
import sys


def test_onednn_computes_on_every_processor_and_keras_is_not_imported() -> None:
    program = (
        "import os, sys, speechmodel_training.trainer; "
        "print(os.environ['TF_ENABLE_ONEDNN_OPTS'], 'keras' in sys.modules)"
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ours | {"TF_CPP_MIN_LOG_LEVEL": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "oneDNN custom operations are on" in done.stderr
    assert done.stdout == "1 False\n"
