"""Paths in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "deepspeech"
"""A small frozen graph, its alphabet, and the clips that it was trained on."""
EXAMPLE = ROOT / "examples" / "espejo"
RECIPE = ROOT / "examples" / "recipe"
CHART = ROOT / "charts" / "speechmodel-operator"
