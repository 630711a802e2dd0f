"""What can be wrong with a graph file."""

from pathlib import Path


class GraphDamaged(Exception):
    """`path` is no whole GraphDef; the message names the file and, where known, the byte."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path.name} is damaged: {problem}")
        self.path = path
        self.problem = problem
