"""The error of a graph file."""

from pathlib import Path


class GraphDamaged(Exception):
    """`path` is not a whole GraphDef. The message names the file and, where known, the byte."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path.name} is damaged: {problem}")
        self.path = path
        self.problem = problem
