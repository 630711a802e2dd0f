"""Problems of a manifest, with their places."""

from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.field_problems import Location, dotted


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
