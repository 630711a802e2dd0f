"""The `speechmodel` command: train, publish and serve a SpeechModel on one machine."""

from pathlib import Path

DEFAULT_STATE = Path(".speechmodel")
"""State folder, relative to the working directory, unless `--state` names another."""
