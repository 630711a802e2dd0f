"""Problems of a manifest, with their places."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Location: TypeAlias = tuple[str | int, ...]
"""Field names and list indices from the document's root."""


@dataclass(frozen=True)
class Problem:
    """One problem of a manifest."""

    location: Location
    line: int
    """Line of the file, from 1."""
    message: str

    def __str__(self) -> str:
        return f"{dotted(self.location)}: {self.message}" if self.location else self.message


class ManifestInvalid(Exception):
    """A manifest cannot be used. The message lists every problem as `file:line: field: problem`."""

    def __init__(self, path: Path, problems: tuple[Problem, ...]) -> None:
        ordered = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(f"{path}:{problem.line}: {problem}" for problem in ordered))
        self.path = path
        self.problems = tuple(ordered)


def dotted(location: Location) -> str:
    """Return a location as `spec.training.podTemplate.tolerations[0].key`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")
