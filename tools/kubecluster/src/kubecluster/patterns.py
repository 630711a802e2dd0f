"""Docker's path patterns, as .dockerignore and COPY use them."""

import re
from pathlib import PurePosixPath

from .errors import ImageError


class Pattern:
    """One pattern: *, ?, [...] within a path's part, ** over any number of parts; a folder means all below it."""

    def __init__(self, text: str) -> None:
        self.text = str(PurePosixPath(text.strip().strip("/") or "."))
        try:
            self._regex = re.compile(_translate(self.text))
        except re.error as error:
            raise ImageError(f"path pattern {text!r}: {error}") from error

    def matches(self, path: PurePosixPath) -> bool:
        """Whether the path, or a folder that it lies in, is meant."""
        if self.text == ".":
            return True
        return any(self._regex.fullmatch(str(part)) for part in (path, *path.parents))

    def may_match_below(self, folder: PurePosixPath) -> bool:
        """Whether something in the folder could be meant."""
        literal = re.split(r"[*?\[\\]", self.text, maxsplit=1)[0]
        return f"{folder}/".startswith(literal) or literal.startswith(f"{folder}/")


class Ignore:
    """A .dockerignore: the last line that matches a path decides; a leading ! takes it in again."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        self._rules = [(not line.startswith("!"), Pattern(line.removeprefix("!"))) for line in lines]

    def ignores(self, path: PurePosixPath) -> bool:
        """Whether the path is kept out of the build context."""
        ignored = False
        for excludes, pattern in self._rules:
            if ignored != excludes and pattern.matches(path):
                ignored = excludes
        return ignored

    def ignores_all_below(self, folder: PurePosixPath) -> bool:
        """Whether nothing in the folder can be in the build context."""
        taken_in = [pattern for excludes, pattern in self._rules if not excludes]
        return self.ignores(folder) and not any(pattern.may_match_below(folder) for pattern in taken_in)


def _translate(glob: str) -> str:
    """A Go filepath.Match pattern, with ** added, as a regular expression."""
    out, i = [], 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif glob.startswith("**", i):
            out.append(".*")
            i += 2
        elif glob[i] == "*":
            out.append("[^/]*")
            i += 1
        elif glob[i] == "?":
            out.append("[^/]")
            i += 1
        elif glob[i] == "[" and "]" in glob[i:]:
            end = glob.index("]", i)
            out.append(glob[i : end + 1])
            i = end + 1
        elif glob[i] == "\\" and i + 1 < len(glob):
            out.append(re.escape(glob[i + 1]))
            i += 2
        else:
            out.append(re.escape(glob[i]))
            i += 1
    return "".join(out)
