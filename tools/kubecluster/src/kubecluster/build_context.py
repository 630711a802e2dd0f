"""What of a build context an image depends on, so that a build is asked for only when that changed."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from .errors import ImageError
from .patterns import Ignore, Pattern

EVERYTHING = "."


def digest(context: Path, dockerfile: Path, args: Mapping[str, str]) -> str:
    """sha256 over the Dockerfile, the build arguments and the files that its COPY, ADD and bind mounts name.

    Contents and the executable bit count, times do not. Files that .dockerignore keeps out do not count.
    """
    text = dockerfile.read_text()
    total = hashlib.sha256(json.dumps([text, dict(args)], sort_keys=True).encode())
    wanted = [Pattern(source) for source in sources(text)]
    for path in files(context):
        if any(pattern.matches(path) for pattern in wanted):
            total.update(_entry(context / path, path))
    return total.hexdigest()


def sources(dockerfile: str) -> set[str]:
    """The paths of the build context that a Dockerfile reads; everything where a path holds a variable.

    Raises ImageError for a COPY that cannot be read.
    """
    found: set[str] = set()
    for instruction, rest in _instructions(dockerfile):
        if instruction in ("COPY", "ADD"):
            found |= _copied(rest)
        elif instruction == "RUN":
            found |= _bound(rest)
    return {EVERYTHING} if any("$" in path for path in found) else found


def mount_targets(dockerfile: str) -> list[str]:
    """Where the RUN steps of a Dockerfile mount something."""
    mounts = [
        options for instruction, rest in _instructions(dockerfile) for options in _mounts(rest) if instruction == "RUN"
    ]
    return [target for options in mounts if (target := options.get("target") or options.get("dst"))]


def files(context: Path) -> Iterator[PurePosixPath]:
    """Every file and symbolic link that .dockerignore lets into the build context, in a fixed order."""
    ignorefile = context / ".dockerignore"
    ignore = Ignore(ignorefile.read_text() if ignorefile.exists() else "")
    for root, folders, names in os.walk(context):
        here = PurePosixPath(Path(root).relative_to(context))
        folders[:] = sorted(name for name in folders if not ignore.ignores_all_below(here / name))
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        yield from (here / name for name in sorted([*names, *links]) if not ignore.ignores(here / name))


def _entry(file: Path, path: PurePosixPath) -> bytes:
    if file.is_symlink():
        return f"{path}\0link\0{file.readlink()}\0".encode()
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{path}\0{file.stat().st_mode & 0o111}\0{content}\0".encode()


def _instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\[ \t]*\n", " ", "\n".join(lines)).splitlines():
        words = line.split(maxsplit=1)
        if len(words) == 2:
            yield words[0].upper(), words[1]


def _copied(rest: str) -> set[str]:
    """The sources of a COPY or ADD; none when they come from another stage or an address."""
    flags = re.match(r"(?:--\S+\s+)*", rest)
    assert flags is not None
    if "--from=" in flags[0]:
        return set()
    rest = rest[flags.end() :]
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except json.JSONDecodeError as error:
            raise ImageError(f"COPY {rest}: not a JSON list ({error})") from error
    else:
        words = rest.split()
    return {word for word in words[:-1] if not word.startswith("<<") and "://" not in word}


def _bound(rest: str) -> set[str]:
    """The sources of a RUN's bind mounts; an empty one is the whole context."""
    own = [options for options in _mounts(rest) if options.get("type", "bind") == "bind" and "from" not in options]
    return {options.get("source") or options.get("src") or EVERYTHING for options in own}


def _mounts(rest: str) -> list[dict[str, str]]:
    """The options of each --mount of a RUN."""
    options = [mount.split(",") for mount in re.findall(r"--mount=(\S+)", rest)]
    return [dict(part.partition("=")[::2] for part in parts) for parts in options]
