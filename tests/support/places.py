"""Paths in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "deepspeech"
"""A small frozen graph, its alphabet, and the clips that it was trained on."""
EXAMPLE = ROOT / "examples" / "espejo"
CLIENTS = ROOT / "tests" / "clients"
"""Programs for clients, and the requirements of their environments."""
RECIPE = ROOT / "examples" / "recipe"
CHART = ROOT / "charts" / "speechmodel-operator"
